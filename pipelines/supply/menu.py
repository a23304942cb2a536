"""What each line could order and what that would cost: the choices that baskets, trucks and budgets pick from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.settings import Supply
from pipelines.supply.constraints import Terms
from pipelines.supply.decision import across, costs_of, price_breaks
from pipelines.supply.line_arrays import Lines
from pipelines.supply.outlook import Outlook
from pipelines.supply.paths import Array
from pipelines.supply.window import View

_CHOICES = 16
_EXACT = 1e-9


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


def menu(
    lines: Lines, ahead: Outlook, supply: Supply, wish: Array, *, seed: int, threads: int = 1, choices: int = _CHOICES
) -> Menu:
    """Quantities on the supplier's grid around the one each line would order by itself, and what they would cost.

    Half of them lie evenly between nothing and the wish, for budgets and capacities to cut to; the wish is one; the
    rest lie above it by 1, 2, 4 … packs, for minima and trucks to fill. What is left after the window is held until it
    sells at the mean rate, and each price break saves what its price is below the first.

    Args:
        lines: What is there, what comes, and the terms.
        ahead: Demand ahead of the same lines.
        supply: What happens to unmet demand, and how to look ahead.
        wish: The quantity each line would order by itself, feasible, units, shape (n,).
        seed: Seed of the draws that all lines share, the one of `decide`.
        threads: Blocks of lines at work at once; the result does not depend on it.
        choices: Quantities of each line, at least 4.
    """
    room = np.maximum(lines.storage_maximum - lines.on_hand - lines.due_by_arrival(), wish)
    keeps = np.where(lines.perishable(), wish, np.inf)  # more than wished might expire
    most = np.minimum(lines.maximum, np.minimum(room, keeps))
    quantity = quantities(Terms(lines.moq, lines.multiple, most), wish, choices)

    def costs(rows: npt.NDArray[np.intp], some: Lines, view: View) -> dict[str, Array]:
        columns = [_cost(some, view, supply, ordered) for ordered in quantity[rows].T]
        return {"cost": np.stack(columns, axis=1)}

    return Menu(quantity, across(lines, ahead, supply, costs, seed=seed, threads=threads)["cost"])


def quantities(terms: Terms, wish: Array, choices: int = _CHOICES) -> Array:
    """Feasible quantities around the wish of each line, ascending from 0, shape (n, choices).

    Example:
        >>> terms = Terms(np.array([12.0]), np.array([6.0]), np.array([48.0]))
        >>> quantities(terms, np.array([24.0]), choices=8)
        array([[ 0., 12., 18., 24., 30., 36., 48., 48.]])
    """
    lowest, highest = terms.lowest()[:, None], terms.highest()[:, None]
    least = np.maximum(lowest, np.where(lowest > 0, 0.0, 1.0))
    middle = np.clip(wish[:, None], least, np.maximum(highest, least))
    pack = np.where(terms.multiple > 0, terms.multiple, np.maximum(wish / choices, 1.0))[:, None]
    below = choices // 2
    parts = middle * np.arange(1, below + 1) / below
    more = middle + pack * 2.0 ** np.arange(choices - below - 1)
    step = np.where(terms.multiple > 0, terms.multiple, 1.0)[:, None]
    asked = np.concatenate([parts, more], axis=1)
    on_grid = np.where(terms.multiple[:, None] > 0, np.ceil(asked / step - _EXACT) * step, asked)
    told = np.sort(np.clip(on_grid, lowest, highest), axis=1)
    told = np.concatenate([np.zeros_like(lowest), told], axis=1)
    again = np.diff(told, axis=1, prepend=-1.0) <= _EXACT  # what is told twice goes to the end, as the last one
    return np.asarray(np.sort(np.where(again, told[:, -1:], told), axis=1))


def _cost(lines: Lines, view: View, supply: Supply, ordered: Array) -> Array:
    cost = costs_of(lines, supply).of(view.prospect, ordered) + lines.fixed_cost * (ordered > 0)
    breaks = price_breaks(lines, view)
    return np.asarray(cost + breaks.carried(ordered) - breaks.saved(ordered))
