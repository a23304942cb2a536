"""(s, S) period by period when the end is in sight: dynamic programming over a finite horizon, backorders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from pipelines.supply.paths import Array

_SPREAD = 4  # standard deviations of demand that are looked at, as in the published figures


@dataclass(frozen=True)
class Season:
    """An item sold for a number of periods, with normal demand and no lead time.

    Attributes:
        periods: How many.
        fixed_cost: Per order.
        holding_cost: Per unit left at the end of a period.
        backorder_cost: Per unit that waits at the end of a period.
        purchase_cost: Per unit ordered.
        mean: Of demand in one period, units.
        deviation: Its standard deviation, units.
        discount: What a cost is worth one period earlier, at most 1.
        final_holding_cost: Per unit left after the last period.
        final_backorder_cost: Per unit that still waits after it.
    """

    periods: int
    fixed_cost: float
    holding_cost: float
    backorder_cost: float
    purchase_cost: float
    mean: float
    deviation: float
    discount: float
    final_holding_cost: float
    final_backorder_cost: float

    def demand(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Whole units of demand and the probability of each; what lies beyond four deviations is left out."""
        low = max(0, round(self.mean - _SPREAD * self.deviation))
        units = np.arange(low, round(self.mean + _SPREAD * self.deviation) + 1)
        edges = (np.append(units, units[-1] + 1) - 0.5 - self.mean) / self.deviation
        return units, np.diff(ndtr(edges))

    def period_cost(self, stock: Array) -> Array:
        """Expected holding and backorder cost of one period, from the normal loss function, shape of `stock`."""
        z = (stock - self.mean) / self.deviation
        missing = self.deviation * (np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) - z * ndtr(-z))
        return np.asarray(self.holding_cost * (stock - self.mean + missing) + self.backorder_cost * missing)


@dataclass(frozen=True)
class SeasonPolicy:
    """When to order and up to what, period by period.

    Attributes:
        reorder_points: Stock at or below which an order is placed, shape (periods,), units.
        order_up_to: Stock it is raised to, shape (periods,), units.
        cost: Expected discounted cost of the season.
    """

    reorder_points: npt.NDArray[np.int64]
    order_up_to: npt.NDArray[np.int64]
    cost: float


def finite_horizon(season: Season, *, start: int = 0) -> SeasonPolicy:
    """The optimal (s, S) of every period (Scarf 1960; Snyder & Shen 2019, section 4.4.3).

    Args:
        season: The item.
        start: Stock before the first period, units.
    """
    units, chance = season.demand()
    most = season.periods * int(units[-1])  # nobody orders more, or falls deeper, than all demand there may be
    stock = np.arange(min(start, 0) - most, max(start, 0) + most + 1)
    after = np.clip(np.arange(len(stock))[:, None] - units, 0, None)  # place of the stock that demand leaves
    value = season.final_holding_cost * np.maximum(stock, 0) + season.final_backorder_cost * np.maximum(-stock, 0)
    now = season.purchase_cost * stock + season.period_cost(stock.astype(np.float64))
    points, levels = [], []
    for _ in range(season.periods):
        ordered_to = now + season.discount * (value[after] @ chance)
        best = int(ordered_to.argmin())
        ordering = season.fixed_cost + ordered_to[best]
        point = int(np.flatnonzero(ordered_to[: best + 1] >= ordering)[-1])
        value = np.where(np.arange(len(stock)) <= point, ordering, ordered_to) - season.purchase_cost * stock
        points.append(stock[point])
        levels.append(stock[best])
    first = int(np.flatnonzero(stock == start)[0])
    return SeasonPolicy(np.array(points[::-1]), np.array(levels[::-1]), float(value[first]))
