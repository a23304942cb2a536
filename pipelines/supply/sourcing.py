"""Whom to buy from where several suppliers offer a series, and whether two share an order.

Single: the offer of least landed cost a unit: price and inbound, the capital held over the lead time, expected
lateness, and a surcharge for leaning on one supplier. Two share an order only where that lowers expected plus tail
cost: the second offer costs more, but seldom both are late.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.supply.paths import Array

SHARES = (0.25, 0.5, 0.75)  # parts of an order the better offer may keep
_TAIL = 0.95  # beyond this share of cases lies the tail
_EXACT = 1e-9


@dataclass(frozen=True)
class Offers:
    """Up to K offers for each of n series, shape (n, K) unless said; times in periods, money per unit.

    Attributes:
        unit_cost: Price; infinite where there is no offer.
        inbound_cost: Freight and duty.
        lead: Mean lead time.
        lead_sd: Its standard deviation.
        on_time_share: Share of deliveries on time, in [0, 1].
        fixed_cost: Of one order line, money.
        spend_share: Part of all spend that goes to the supplier, in [0, 1].
        holding_cost: Per unit and period, shape (n,).
        lateness_cost: Of a unit that comes one period late, shape (n,).
    """

    unit_cost: Array
    inbound_cost: Array
    lead: Array
    lead_sd: Array
    on_time_share: Array
    fixed_cost: Array
    spend_share: Array
    holding_cost: Array
    lateness_cost: Array

    def landed(self, concentration: float = 0.0) -> Array:
        """Expected cost of one unit on the shelf from each offer, shape (n, K).

        A late delivery overruns the mean lead time by sd · √(2/π), the mean of the upper half of a normal.

        Args:
            concentration: Surcharge as a share of the price for a supplier that has all spend, less in proportion.
        """
        capital = self.holding_cost[:, None] * self.lead
        late = (1 - self.on_time_share) * self.lead_sd * np.sqrt(2 / np.pi) * self.lateness_cost[:, None]
        price = np.where(np.isfinite(self.unit_cost), self.unit_cost, 0.0) * (1 + concentration * self.spend_share)
        return np.where(np.isfinite(self.unit_cost), price + self.inbound_cost + capital + late, np.inf)


@dataclass(frozen=True)
class Sources:
    """Whom each series is bought from, shape (n,).

    Attributes:
        first: Column of the offer that has the order, or its larger claim.
        second: Column of the offer that has the rest; −1 where nobody shares.
        share: Part of the order the first has.
        cost: Expected plus weighed tail cost of the order, money.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    share: Array
    cost: Array


def sources(
    offers: Offers,
    quantity: Array,
    cover: Array,
    demand: Array,
    late: Array,
    *,
    shortage_cost: Array,
    concentration: float = 0.0,
    tail_weight: float = 0.5,
) -> Sources:
    """Choose one offer a series, or two that share the order.

    Args:
        offers: What there is to choose from.
        quantity: Units to order, shape (n,).
        cover: Periods that stock and open orders last, shape (n,).
        demand: Units a period, shape (n,).
        late: Standard normal deviates of the lead times, one set for each of two suppliers, shape (2, paths).
        shortage_cost: Per unit of unmet demand, shape (n,).
        concentration: As for `Offers.landed`.
        tail_weight: What a unit of money in the tail weighs: mean + weight · (mean of the worst 5 % − mean).
    """
    landed = offers.landed(concentration)
    ranked = np.argsort(landed, axis=1, kind="stable")
    first = ranked[:, 0].astype(np.int64)
    second = ranked[:, min(1, landed.shape[1] - 1)].astype(np.int64)
    rows = np.arange(len(first))

    def cost(share: float) -> Array:
        parts = [(first, share * quantity), (second, (1 - share) * quantity)]
        paid = sum(
            (
                landed[rows, who] * units + offers.fixed_cost[rows, who]
                for who, units in parts
                if share < 1 or who is first
            ),
            start=np.zeros(len(rows)),
        )
        arrives = [
            np.maximum(offers.lead[rows, who][:, None] + offers.lead_sd[rows, who][:, None] * draw, 0.0)
            for (who, _), draw in zip(parts, late, strict=True)
        ]
        missing = _missing(arrives[0], arrives[1], share, quantity, cover, demand)
        return paid + _with_tail(shortage_cost[:, None] * missing, tail_weight)

    shareable = np.isfinite(landed[rows, second]) & (second != first) & (quantity > 0)
    best, share = cost(1.0), np.ones(len(rows))
    for part in SHARES:
        together = np.where(shareable, cost(part), np.inf) if shareable.any() else np.full(len(rows), np.inf)
        cheaper = together < best - _EXACT * np.maximum(np.abs(best), 1.0)
        best, share = np.where(cheaper, together, best), np.where(cheaper, part, share)
    return Sources(first, np.where(share < 1, second, -1), share, best)


def _missing(one: Array, two: Array, share: float, quantity: Array, cover: Array, demand: Array) -> Array:
    """Units of demand unmet before the whole order is in, shape (n, paths).

    Nothing is there from the end of the cover to the first part, and from the end of that part to the second.
    """
    if share == 1.0:
        return np.asarray(demand[:, None] * np.maximum(one - cover[:, None], 0.0))
    sooner, later = np.minimum(one, two), np.maximum(one, two)
    part = np.where(one <= two, share, 1 - share) * quantity[:, None]
    lasts = part / np.maximum(demand, _EXACT)[:, None]
    gap = np.maximum(sooner - cover[:, None], 0.0)
    again = np.maximum(later - np.maximum(sooner, cover[:, None]) - lasts, 0.0)
    return np.asarray(demand[:, None] * (gap + again))


def _with_tail(costs: Array, weight: float) -> Array:
    """Mean plus what the worst cases weigh, shape (n,) for costs of shape (n, paths)."""
    mean = costs.mean(axis=1)
    worst = max(round((1 - _TAIL) * costs.shape[1]), 1)
    tail = np.partition(costs, -worst, axis=1)[:, -worst:].mean(axis=1)
    return np.asarray(mean + weight * (tail - mean))
