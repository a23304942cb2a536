"""(s, S): at each review, order up to S when the inventory position is at or below s. Backorders, whole units.

Numbered equations and examples are those of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition (2019),
sections 4.3.3 and 4.4. Costs are positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.supply.paths import Array
from pipelines.supply.policies.parameters import ReorderPolicy


@dataclass(frozen=True)
class Periodic:
    """An item under periodic review, demand independent from period to period.

    Attributes:
        fixed_cost: Per order.
        holding_cost: Per unit left at the end of a period.
        backorder_cost: Per unit that waits at the end of a period.
        demand: Probability of 0, 1, 2, … units in one period, shape (n,); that of 0 below 1.
        protected: The same over lead time + 1 periods; left out where the lead time is 0.
    """

    fixed_cost: float
    holding_cost: float
    backorder_cost: float
    demand: Array
    protected: Array | None = None

    @property
    def chance(self) -> Array:
        """Probability of 0, 1, 2, … units over the periods an order protects."""
        return self.demand if self.protected is None else self.protected

    def period_cost(self, position: npt.NDArray[np.int64]) -> Array:
        """Expected holding and backorder cost of a period for positions after ordering, shape of `position`."""
        left = position[:, None] - np.arange(len(self.chance))
        costs = self.holding_cost * np.maximum(left, 0) + self.backorder_cost * np.maximum(-left, 0)
        return np.asarray(costs @ self.chance)

    def cost(self, reorder_point: int, order_up_to: int) -> float:
        """Expected cost per period of any (s, S), s < S, exact (Veinott & Wagner 1965; eq. 4.68).

        A cycle starts at S. How often it is expected to see S − 0, S − 1, … before it falls to s is the renewal
        density of demand; costs and length of the cycle are sums over it.
        """
        visits = self._visits(order_up_to - reorder_point)
        costs = self.period_cost(order_up_to - np.arange(len(visits)))
        return float((self.fixed_cost + visits @ costs) / visits.sum())

    def _visits(self, depth: int) -> Array:
        """Expected periods a cycle spends at 0 … depth − 1 units below S, shape (depth,)."""
        chance = np.zeros(depth)
        chance[: len(self.demand)] = self.demand[:depth]
        visits = np.zeros(depth)
        visits[0] = 1 / (1 - chance[0])
        for below in range(1, depth):
            visits[below] = chance[1 : below + 1] @ visits[below - 1 :: -1] / (1 - chance[0])
        return visits


def zheng_federgruen(item: Periodic) -> ReorderPolicy:
    """The (s, S) of least expected cost (Zheng & Federgruen 1991, doi:10.1287/opre.39.4.654).

    s falls from the best base stock until it is the best for that S; then S rises for as long as a higher one could
    still do better, and with each better S, s rises.
    """

    def period_cost(position: int) -> float:
        return float(item.period_cost(np.array([position]))[0])

    order_up_to = int(item.period_cost(np.arange(len(item.chance))).argmin())
    point = order_up_to - 1
    while item.cost(point, order_up_to) > period_cost(point):
        point -= 1
    least, above = item.cost(point, order_up_to), order_up_to + 1
    while period_cost(above) <= least:
        if item.cost(point, above) < least:
            order_up_to = above
            while item.cost(point, order_up_to) <= period_cost(point + 1):
                point += 1
            least = item.cost(point, order_up_to)
        above += 1
    return ReorderPolicy(point, order_up_to - point, least)


def power_approximation(
    fixed_cost: float, holding_cost: float, backorder_cost: float, mean: float, deviation: float, *, lead_time: int = 0
) -> ReorderPolicy:
    """Near-optimal (s, S) from two moments (Ehrhardt & Mosier 1984, doi:10.1287/mnsc.30.5.618; section 4.4.4).

    Args:
        fixed_cost: Per order.
        holding_cost: Per unit left at the end of a period.
        backorder_cost: Per unit that waits at the end of a period.
        mean: Of demand in one period, units.
        deviation: Its standard deviation, units.
        lead_time: Whole periods.

    Returns:
        s and S − s as fitted, without the authors' cap at the best base stock; the method states no cost.
    """
    periods = lead_time + 1
    over, spread = mean * periods, deviation * math.sqrt(periods)
    quantity = 1.3 * mean**0.494 * (fixed_cost / holding_cost) ** 0.506 * (1 + spread**2 / mean**2) ** 0.116
    z = math.sqrt(quantity * holding_cost / (spread * backorder_cost))
    point = 0.973 * over + spread * (0.183 / z + 1.063 - 2.192 * z)
    return ReorderPolicy(point, quantity, math.nan)
