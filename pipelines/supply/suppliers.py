"""What suppliers ask of an order as a whole, in the measures an order is counted in."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from pipelines.supply.paths import Array

MEASURES = ("value", "units", "pallets", "volume", "weight")
_EXACT = 1e-6


@dataclass(frozen=True)
class Suppliers:
    """The rules of S suppliers: an order is nothing, or at least the minimum and in trucks that are filled.

    A truck counts as filled from `fill` of its most taken measure on; only the last one may lack the rest.

    Attributes:
        of_line: Supplier of each line, 0 … S − 1, shape (n,).
        minimum: Least of each of `MEASURES` an order holds, 0 for none, shape (S, 5).
        truck: What one truck holds of each, infinite for no limit, shape (S, 5).
        fixed_cost: Of one order, money, shape (S,).
        fill: Least share of the last truck that is filled.
    """

    of_line: npt.NDArray[np.int64]
    minimum: Array
    truck: Array
    fixed_cost: Array
    fill: float = 0.9

    def ruled(self) -> npt.NDArray[np.bool_]:
        """Which suppliers ask anything of an order as a whole, shape (S,)."""
        return np.asarray((self.minimum > 0).any(axis=1) | self.by_truck() | (self.fixed_cost > 0))

    def by_truck(self) -> npt.NDArray[np.bool_]:
        """Which suppliers deliver in whole trucks, shape (S,)."""
        return np.asarray(np.isfinite(self.truck).any(axis=1))

    def loads(self, uses: Array, quantity: Array) -> Array:
        """What the orders of each supplier hold of each measure, shape (S, 5).

        Args:
            uses: What one unit of each line takes, shape (n, 5).
            quantity: Units of each line, shape (n,).
        """
        taken = uses * quantity[:, None]
        count = len(self.fixed_cost)
        return np.column_stack([np.bincount(self.of_line, each, minlength=count) for each in taken.T])

    def met(self, loads: Array) -> npt.NDArray[np.bool_]:
        """Whether each supplier accepts its load, shape (S,).

        Example:
            >>> truck = np.array([[np.inf, np.inf, 20, np.inf, np.inf]])
            >>> one = Suppliers(np.zeros(1, int), np.array([[100.0, 0, 0, 0, 0]]), truck, np.zeros(1))
            >>> loads = ([[value, 1, pallets, 0, 0.0]] for value, pallets in ((99, 20), (100, 17), (100, 38)))
            >>> [bool(one.met(np.array(load))[0]) for load in loads]
            [False, False, True]
        """
        trucks = (loads / self.truck).max(axis=1)
        slack = _EXACT * np.maximum(trucks, 1.0)
        filled = trucks >= np.ceil(trucks - slack) - 1 + self.fill - slack
        enough = (loads >= self.minimum - _EXACT * np.maximum(self.minimum, 1.0)).all(axis=1)
        return np.asarray((loads <= 0).all(axis=1) | enough & (~self.by_truck() | (trucks > 0) & filled))

    def of(self, lines: npt.NDArray[np.int64]) -> Suppliers:
        """The same rules for some of the lines."""
        return replace(self, of_line=self.of_line[lines])

    def one(self, number: int) -> Suppliers:
        """The rules of one supplier alone, its lines counted as of supplier 0."""
        lines = np.zeros(int((self.of_line == number).sum()), dtype=np.int64)
        rules = {f.name: getattr(self, f.name)[[number]] for f in fields(self) if f.name not in ("of_line", "fill")}
        return Suppliers(of_line=lines, fill=self.fill, **rules)


def unruled(n: int) -> Suppliers:
    """One supplier of all n lines that asks nothing of an order as a whole."""
    none = np.zeros((1, len(MEASURES)))
    return Suppliers(np.zeros(n, dtype=np.int64), none, none + np.inf, np.zeros(1))
