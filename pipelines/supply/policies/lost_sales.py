"""The exact optimum where unmet demand is lost: the yardstick no policy can beat.

Unlike with backorders, no base stock is optimal: the best order depends on every order still on its way, so the state
has as many numbers as the lead time has periods (Zipkin 2008, doi:10.1287/opre.1070.0471). Small lead times can be
solved by value iteration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from pipelines.supply.paths import Array

_ORDER_TAIL, _STOCK_TAIL = 1e-3, 1e-4  # chance of demand beyond which an order or a stock is never worth having
_ROUNDS = 10_000


@dataclass(frozen=True)
class LostSales:
    """An item reviewed every period; what is not there when asked for is lost. Whole units.

    An order placed at the end of period t arrives at the start of t + 1 + lead_time, before demand.

    Attributes:
        holding_cost: Per unit left at the end of a period.
        shortage_cost: Per unit of lost demand.
        demand: Probability of 0, 1, 2, … units in one period, shape (n,), independent from period to period.
        lead_time: Whole periods, at least 1.
    """

    holding_cost: float
    shortage_cost: float
    demand: Array
    lead_time: int

    def __post_init__(self) -> None:
        if self.lead_time < 1:
            raise ValueError("with a lead time of 0 nothing is on its way: order up to the newsvendor quantity")


@dataclass(frozen=True)
class OptimalOrders:
    """The optimal policy and its cost.

    Attributes:
        cost: Expected cost per period in the long run.
        orders: Units to order, by stock after the next receipt and by what arrives in each period after, shape
            (stock + 1, order + 1, …), one axis a period of lead time.
    """

    cost: float
    orders: npt.NDArray[np.int64]

    def __call__(self, inventory: Array, pipeline: Array, period: int) -> Array:
        """Units to order now, shape (n,).

        Args:
            inventory: Stock at the end of the period, shape (n,), units.
            pipeline: What is on its way, next to arrive first, shape (n, lead time), units.
            period: Not used: the policy is the same for ever.
        """
        state = np.column_stack([inventory + pipeline[:, 0], pipeline[:, 1:]]).astype(np.int64)
        inside = np.minimum(state, np.array(self.orders.shape) - 1)
        return np.asarray(self.orders[tuple(inside.T)].astype(inventory.dtype))

    def rows(self, chosen: slice) -> OptimalOrders:
        """The policy of some of the items: the same for each."""
        return self


def optimal_orders(item: LostSales, *, tolerance: float = 1e-4, largest_order: int | None = None) -> OptimalOrders:
    """Solve by relative value iteration until upper and lower bound on the cost meet (Puterman 1994, section 8.5).

    Args:
        item: What to solve. Work grows with the power `lead_time` of demand's range: four periods of Poisson demand
            with mean 5 take about a second.
        tolerance: Between the bounds, money per period.
        largest_order: Units; left out, what demand of one period exceeds once in a thousand.

    Example:
        >>> round(optimal_orders(LostSales(1, 3, np.array([0.25, 0.5, 0.25]), 1)).cost, 3)
        1.118
    """
    most_ordered = _exceeded(item.demand, _ORDER_TAIL) if largest_order is None else largest_order
    over = item.demand
    for _ in range(item.lead_time):
        over = np.convolve(over, item.demand)
    most_held = _exceeded(over, _STOCK_TAIL)
    sold = _after_demand(item.demand, most_held)
    left = sold @ np.arange(most_held + 1)
    missing = item.demand @ np.arange(len(item.demand)) - np.arange(most_held + 1) + left
    period = (item.holding_cost * left + item.shortage_cost * missing).reshape(-1, *[1] * (item.lead_time - 1))

    with threadpool_limits(1, user_api="blas"):  # threads that wait for each other cost more than these small products
        change, orders = _iterate(period, sold, most_ordered, item.lead_time, tolerance)
    return OptimalOrders(float(change.max() + change.min()) / 2, orders)


def _iterate(
    period: Array, sold: Array, most_ordered: int, lead_time: int, tolerance: float
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Relative value iteration: the last change of each state's value, and the best order in it."""
    value = np.zeros((len(sold), *[most_ordered + 1] * (lead_time - 1)))
    for _ in range(_ROUNDS):
        ahead = _ahead(value, sold, most_ordered)
        following = period + np.stack([costs.min(axis=-1) for costs in ahead], axis=1).reshape(value.shape)
        change = following - value
        value = following - following.flat[0]
        if change.max() - change.min() < tolerance:
            break
    ahead = _ahead(value, sold, most_ordered)
    return change, np.stack([costs.argmin(axis=-1) for costs in ahead], axis=1).reshape(value.shape)


def _ahead(value: Array, sold: Array, most_ordered: int) -> Iterator[Array]:
    """Expected value of the next period's state, for each quantity that arrives then.

    Yields:
        Shape (stock, …, order): by stock now, by what arrives in later periods, and by the order placed now. With a
        lead time of one period the order itself is what arrives next.
    """
    states = np.arange(len(sold))
    arriving = np.minimum(states[:, None] + np.arange(most_ordered + 1), states[-1])
    if value.ndim == 1:
        yield sold @ value[arriving]
        return
    for stock in arriving.T:
        yield (sold @ value[stock].reshape(len(sold), -1)).reshape(value.shape)


def _after_demand(demand: Array, most: int) -> Array:
    """Probability of each stock after demand (column) from each before (row), shape (most + 1, most + 1)."""
    chance = np.zeros(most + 1)
    chance[: len(demand)] = demand[: most + 1]
    units = np.arange(most + 1)
    asked = units[:, None] - units
    sold = np.where(asked >= 0, chance[np.maximum(asked, 0)], 0.0)
    sold[:, 0] = 1 - sold[:, 1:].sum(axis=1)
    return sold


def _exceeded(chance: Array, tail: float) -> int:
    """The smallest number of units exceeded with a probability of at most `tail`."""
    return int((np.cumsum(chance) >= 1 - tail).argmax())
