"""What each line could order and what that would cost: the choices that baskets, trucks and budgets pick from."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.supply.paths import Array


@dataclass(frozen=True)
class Menu:
    """Feasible order quantities of each line and their expected costs.

    Attributes:
        quantity: Units, ascending from 0, padded by repeating the last, shape (n, J).
        cost: Expected cost of each, money: holding, shortage, waste, fixed cost, less what is saved in purchase,
            shape (n, J).
    """

    quantity: Array
    cost: Array
