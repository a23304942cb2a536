"""(r, Q): watch stock all the time, and order Q units whenever the inventory position falls to r. Backorders.

Numbered equations and examples are those of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition (2019),
chapter 5. Costs are positive; rates, holding and backorder cost refer to the same unit of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.optimize import brentq, minimize_scalar
from scipy.special import ndtr, ndtri

from pipelines.supply.policies.lot_sizing import economic_order_quantity, economic_order_quantity_with_backorders
from pipelines.supply.policies.newsvendor import newsvendor_poisson
from pipelines.supply.policies.parameters import ReorderPolicy

_SPREAD = 12.0  # standard deviations within which a reorder point is looked for


@dataclass(frozen=True)
class Continuous:
    """An item under continuous review whose lead-time demand is normal.

    Attributes:
        fixed_cost: Per order.
        holding_cost: Per unit and unit of time.
        backorder_cost: Per unit that waits and unit of time; per unit that has to wait where a method says so.
        demand_rate: Units per unit of time.
        demand_deviation: Standard deviation of demand in one unit of time, units, above 0.
        lead_time: Units of time, above 0.
    """

    fixed_cost: float
    holding_cost: float
    backorder_cost: float
    demand_rate: float
    demand_deviation: float
    lead_time: float

    @property
    def mean(self) -> float:
        """Of lead-time demand, units."""
        return self.demand_rate * self.lead_time

    @property
    def deviation(self) -> float:
        """Standard deviation of lead-time demand, units."""
        return self.demand_deviation * math.sqrt(self.lead_time)

    def at(self, probability: float) -> float:
        """The quantile of lead-time demand, units."""
        return self.mean + self.deviation * float(ndtri(probability))

    def loss(self, level: float) -> float:
        """E(D − level)⁺ of lead-time demand D, units (eq. C.31)."""
        z = (level - self.mean) / self.deviation
        return self.deviation * (_density(z) - z * float(ndtr(-z)))

    def second_loss(self, level: float) -> float:
        """½ E[((D − level)⁺)²] of lead-time demand D, units squared (eq. C.32)."""
        z = (level - self.mean) / self.deviation
        return self.deviation**2 / 2 * ((z**2 + 1) * float(ndtr(-z)) - z * _density(z))

    def cost(self, reorder_point: float, quantity: float) -> float:
        """Expected cost per unit of time of any (r, Q), exact for normal lead-time demand (eq. 5.8).

        The inventory position is uniform on (r, r + Q]; what is backordered follows from the second-order loss.
        """
        waiting = (self.second_loss(reorder_point) - self.second_loss(reorder_point + quantity)) / quantity
        return (
            self.fixed_cost * self.demand_rate / quantity
            + self.holding_cost * (reorder_point + quantity / 2 - self.mean)
            + (self.holding_cost + self.backorder_cost) * waiting
        )


def exact(item: Continuous) -> ReorderPolicy:
    """The (r, Q) of least expected cost (section 5.2)."""
    start = economic_order_quantity_with_backorders(
        item.fixed_cost, item.holding_cost, item.backorder_cost, item.demand_rate
    ).quantity
    found = minimize_scalar(
        lambda quantity: item.cost(_best_point(item, quantity), quantity),
        bounds=(start * 1e-3, start + _SPREAD * item.deviation),
        method="bounded",
        options={"xatol": 1e-9 * start},
    )
    return _costed(item, _best_point(item, float(found.x)), float(found.x))


def expected_inventory_level(item: Continuous) -> ReorderPolicy:
    """The approximation of Whitin (1953) and Hadley & Whitin (1963) (section 5.3.1).

    Stock is held as if nothing ever waited, and `backorder_cost` is paid once for every unit that has to wait. Its
    stated cost is its own approximate one.

    Raises:
        ValueError: A unit that waits costs less than holding a lot for as long as one lasts: there is no such point.
    """
    h, p, rate = item.holding_cost, item.backorder_cost, item.demand_rate

    def turn(quantity: float) -> tuple[float, float]:
        if quantity * h >= p * rate:
            raise ValueError(f"at {p} for a unit that waits it is cheaper to let everybody wait")
        point = item.at(1 - quantity * h / (p * rate))
        return point, math.sqrt(2 * rate * (item.fixed_cost + p * item.loss(point)) / h)

    point, quantity = _settled(turn, economic_order_quantity(item.fixed_cost, h, rate).level)
    cost = h * (point - item.mean + quantity / 2) + (item.fixed_cost + p * item.loss(point)) * rate / quantity
    return ReorderPolicy(point, quantity, cost)


def eoq_with_backorders(item: Continuous) -> ReorderPolicy:
    """The quantity of the EOQ with backorders, and the best reorder point for it (section 5.3.2).

    At most 11.8 % dearer than the optimum (Zheng 1992, doi:10.1287/mnsc.38.1.87).
    """
    quantity = economic_order_quantity_with_backorders(
        item.fixed_cost, item.holding_cost, item.backorder_cost, item.demand_rate
    ).quantity
    return _costed(item, _best_point(item, quantity), quantity)


def eoq_with_safety_stock(item: Continuous) -> ReorderPolicy:
    """The EOQ, and lead-time demand plus safety stock at the critical ratio as reorder point (section 5.3.3)."""
    ratio = item.backorder_cost / (item.backorder_cost + item.holding_cost)
    quantity = economic_order_quantity(item.fixed_cost, item.holding_cost, item.demand_rate).level
    return _costed(item, item.at(ratio), quantity)


def loss_function(item: Continuous) -> ReorderPolicy:
    """The approximation that what waits at r + Q can be ignored (section 5.3.4; Hadley & Whitin 1963)."""
    h, p = item.holding_cost, item.backorder_cost

    def turn(quantity: float) -> tuple[float, float]:
        point = _root(item, lambda r: h * quantity - (h + p) * item.loss(r))
        square = 2 * (item.fixed_cost * item.demand_rate + (h + p) * item.second_loss(point)) / h
        return point, math.sqrt(square)

    return _costed(item, *_settled(turn, economic_order_quantity(item.fixed_cost, h, item.demand_rate).level))


def reorder_point_poisson(
    fixed_cost: float, holding_cost: float, backorder_cost: float, demand_rate: float, lead_time: float
) -> ReorderPolicy:
    """The best whole (r, Q) when demand is Poisson (Federgruen & Zheng 1992, doi:10.1287/opre.40.4.808; section 5.5).

    The positions an order leaves in use grow from the best one to whichever side is cheaper, as long as the next is
    cheaper than the average so far.

    Args:
        fixed_cost: Per order.
        holding_cost: Per unit and unit of time.
        backorder_cost: Per unit that waits and unit of time.
        demand_rate: Units per unit of time.
        lead_time: Units of time.
    """

    def rate(position: int) -> float:
        if position < 0:
            return backorder_cost * (mean - position)
        return newsvendor_poisson(holding_cost, backorder_cost, mean, level=position).cost

    mean = demand_rate * lead_time
    top = int(newsvendor_poisson(holding_cost, backorder_cost, mean).level)
    point, total, quantity = top - 1, fixed_cost * demand_rate + rate(top), 1
    while (cheaper := min(below := rate(point), rate(top + 1))) < total / quantity:
        point, top = (point - 1, top) if below == cheaper else (point, top + 1)
        total, quantity = total + cheaper, quantity + 1
    return ReorderPolicy(point, quantity, total / quantity)


def _best_point(item: Continuous, quantity: float) -> float:
    """The reorder point of least expected cost for a quantity: holding and waiting cost equal at r and r + Q."""
    h, p = item.holding_cost, item.backorder_cost
    return _root(item, lambda r: h * quantity - (h + p) * (item.loss(r) - item.loss(r + quantity)), below=quantity)


def _root(item: Continuous, slope: Callable[[float], float], *, below: float = 0.0) -> float:
    """Where a slope that rises with the reorder point is zero."""
    low = item.mean - below - _SPREAD * item.deviation
    while slope(low) > 0:
        low -= item.mean + _SPREAD * item.deviation
    return float(brentq(slope, low, item.mean + _SPREAD * item.deviation, xtol=1e-10))


def _settled(turn: Callable[[float], tuple[float, float]], quantity: float) -> tuple[float, float]:
    """Turn by turn a reorder point from a quantity and a quantity from a reorder point, until they agree."""
    for _ in range(200):
        point, following = turn(quantity)
        if abs(following - quantity) < 1e-10 * quantity:
            break
        quantity = following
    return point, following


def _costed(item: Continuous, reorder_point: float, quantity: float) -> ReorderPolicy:
    return ReorderPolicy(reorder_point, quantity, item.cost(reorder_point, quantity))


def _density(z: float) -> float:
    return math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
