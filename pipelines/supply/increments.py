"""Steps up each line's menu, ordered by what one more of a scarce measure is worth: what greedy choices are made of.

Only the lower convex hull of a menu is walked: a choice above the chord of its neighbours is never the cheapest at any
price of the measure, and along the hull the worth of a step falls from step to step, so that a list sorted by worth
never asks for a line's second step before its first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.supply.menu import Menu
from pipelines.supply.paths import Array

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Increments:
    """Steps between neighbours on the hulls, sorted by line, then upwards; shape (m,).

    Attributes:
        line: Row of the menu.
        start: Column a step leaves.
        end: Column it reaches.
        quantity: Units added.
        cost: Money added; negative where a step saves.
    """

    line: Places
    start: Places
    end: Places
    quantity: Array
    cost: Array

    def by_worth(self, use: Array) -> tuple[Places, Array]:
        """The order in which to take the steps, cheapest first for what they use, and the cost per use in that order.

        Args:
            use: What one unit of each line takes of a measure, shape (n,); steps that take none come first where
                they save and last where they cost.
        """
        taken = self.quantity * use[self.line]
        per_use = np.divide(self.cost, taken, out=np.copysign(np.inf, self.cost), where=taken > 0)
        order = np.argsort(per_use, kind="stable")
        return order, per_use[order]


def increments(menu: Menu) -> Increments:
    """The steps along the lower convex hull of each line's menu.

    Points above the chord of their neighbours are struck out, all at once, until none is left: each round works on
    what the last one left, so few rounds see more than a small part of the points.

    Example:
        >>> menu = Menu(np.array([[0.0, 1, 2, 2]]), np.array([[9.0, 8, 3, 3]]))
        >>> steps = increments(menu)
        >>> steps.end.tolist(), steps.cost.tolist()
        ([2], [-6.0])
    """
    new = np.diff(menu.quantity, axis=1, prepend=-np.inf) > 0
    line, column = (place.astype(np.int64) for place in np.nonzero(new))
    quantity, cost = menu.quantity[line, column], menu.cost[line, column]
    while True:
        same = line[1:] == line[:-1]
        rise, run = np.diff(cost), np.diff(quantity)
        # the slope in is not below the slope out: the point lies on or above the chord of its neighbours
        inner = same[1:] & same[:-1]
        above = inner & (rise[:-1] * run[1:] >= rise[1:] * run[:-1])
        if not above.any():
            break
        keep = np.concatenate([[True], ~above, [True]])
        line, column, quantity, cost = line[keep], column[keep], quantity[keep], cost[keep]
    return Increments(line[1:][same], column[:-1][same], column[1:][same], run[same], rise[same])
