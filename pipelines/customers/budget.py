"""Which contacts to make when money and people are short: the knapsack of a campaign."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HALVINGS = 60

Figures = NDArray[np.float64]
Marks = NDArray[np.bool_]


def select(
    profit: Figures, cost: Figures, *, spends: Marks | None = None, budget: float | None, capacity: int | None
) -> Marks:
    """Choose the rows with the most profit within a budget and a number of contacts.

    Rows are taken in the order of `profit − price × cost`, where the price of money is the smallest at which what is
    worth it fits the budget: with a budget alone that is the order of profit per cost, with a capacity alone the
    order of profit. No choice earns more than this one and the one row at the border that did not fit any more.

    Source: Lagrangian relaxation of the knapsack problem (Martello & Toth 1990, Knapsack Problems, section 2.2).

    Args:
        profit: Expected profit of each row, money; what loses is never chosen.
        cost: What each row takes from the budget, money ≥ 0.
        spends: Rows that cost money and a contact; the others (a control group) are chosen as if they did, and cost
            nothing. Everyone unless said.
        budget: Most that may be spent, money; None = no limit.
        capacity: Most contacts; None = no limit.

    Returns:
        Whether each row is chosen.

    Example:
        >>> profit, cost = np.array([9.0, 5.0, 8.0, -1.0]), np.array([9.0, 1.0, 4.0, 1.0])
        >>> select(profit, cost, budget=6, capacity=None).tolist()
        [False, True, True, False]
    """
    spends = np.ones(len(profit), dtype=bool) if spends is None else spends
    price = 0.0 if budget is None else _price_of_money(profit[spends], cost[spends], budget, capacity)
    order = np.argsort(price * cost - profit, kind="stable")
    order = order[profit[order] > 0]
    fits = np.ones(len(order), dtype=bool)
    if budget is not None:
        fits &= np.cumsum(np.where(spends, cost, 0.0)[order]) <= budget
    if capacity is not None:
        fits &= np.cumsum(spends[order]) <= capacity
    chosen = np.zeros(len(profit), dtype=bool)
    chosen[order[fits]] = True
    return chosen


def _price_of_money(profit: Figures, cost: Figures, budget: float, capacity: int | None) -> float:
    """The smallest price at which the rows that are worth it can be paid; 0 where the budget does not bind."""
    if _spent(profit, cost, 0.0, capacity) <= budget:
        return 0.0
    low, high = 0.0, float(np.max(profit[cost > 0] / cost[cost > 0])) + 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _spent(profit, cost, middle, capacity) > budget:
            low = middle
        else:
            high = middle
    return high


def _spent(profit: Figures, cost: Figures, price: float, capacity: int | None) -> float:
    worth = profit - price * cost
    wanted = worth > 0
    if capacity is not None and int(wanted.sum()) > capacity:
        wanted = worth >= np.partition(worth, -capacity)[-capacity]
    return float(cost[wanted].sum())
