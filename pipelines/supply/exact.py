"""The best choices from menus under every rule at once, by integer programming (HiGHS).

Variables: x[i, j] = 1 where line i takes column j; y[s] = 1 where supplier s gets an order; t[s], whole, its trucks;
z[s, d] = 1 for the measure whose trucks are filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

from pipelines.supply.increments import Places
from pipelines.supply.menu import Menu
from pipelines.supply.paths import Array
from pipelines.supply.suppliers import Suppliers

LINES = 2_000  # integer lines up to which a whole problem is handed over
_NODES = 2_000  # the limit that ends a search: the same on every machine, unlike seconds
_SECONDS = 30.0  # a stop for emergencies
_GAP = 1e-4
_Entries = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]  # rows, columns, values


@dataclass(frozen=True)
class Exact:
    """A choice and how good it is known to be.

    Attributes:
        column: Column of the menu taken by each line, shape (n,).
        bound: No choice costs less than this, money.
    """

    column: Places
    bound: float


def choose(
    menu: Menu,
    uses: Array,
    capacities: Array,
    suppliers: Suppliers,
    column: Places,
    free: npt.NDArray[np.bool_] | None = None,
) -> Exact | None:
    """Choose anew for some lines, the others stay.

    Args:
        menu: Choices of all lines.
        uses: What one unit of each line takes of each measure, shape (n, d).
        capacities: Most of each measure that all orders may take, shape (d,).
        suppliers: Rules per supplier.
        column: The choices so far, shape (n,).
        free: Lines that may choose anew, shape (n,); None: all.

    Returns:
        None where no plan was found within the limits of the search.
    """
    free = np.ones(len(column), dtype=bool) if free is None else free
    program = _Program(menu, uses, capacities, suppliers, column, free)
    found = optimize.milp(
        program.cost,
        integrality=program.integral,
        bounds=optimize.Bounds(program.lower, program.upper),
        constraints=program.constraints(),
        options={"node_limit": _NODES, "time_limit": _SECONDS, "mip_rel_gap": _GAP},
    )
    if found.x is None:
        return None
    weight = np.full(menu.cost.shape, -1.0)
    weight[program.line, program.column] = found.x[: len(program.line)]
    chosen = np.where(free, weight.argmax(axis=1), column)
    settled = float(menu.cost[~free, column[~free]].sum())
    return Exact(chosen, float(found.mip_dual_bound) + settled)


class _Program:
    """The integer program of `choose`: columns x, then y, t and z of the suppliers."""

    def __init__(
        self,
        menu: Menu,
        uses: Array,
        capacities: Array,
        suppliers: Suppliers,
        column: Places,
        free: npt.NDArray[np.bool_],
    ) -> None:
        choices = (np.diff(menu.quantity, axis=1, prepend=-np.inf) > 0) & free[:, None]
        self.line, self.column = np.nonzero(choices)
        units = menu.quantity[self.line, self.column]
        self.taken = uses[self.line] * units[:, None]  # shape (x, d)
        self.capacities, self.suppliers, self.free = capacities, suppliers, free
        held = np.where(free, 0.0, menu.quantity[np.arange(len(column)), column])
        self.fixed = suppliers.loads(uses, held)  # what lines that stay hold already, shape (S, d)
        self.ordered = units > 0
        self._lay_out(menu, suppliers, held)

    def _lay_out(self, menu: Menu, suppliers: Suppliers, held: Array) -> None:
        count, measures = suppliers.truck.shape
        has_free = np.bincount(suppliers.of_line[self.free], minlength=count) > 0
        self.ruled = np.flatnonzero(suppliers.ruled() & has_free)
        self.trucked = np.flatnonzero(suppliers.by_truck() & has_free)
        self.filled = np.argwhere(np.isfinite(suppliers.truck) & has_free[:, None])
        x, y, t, z = len(self.line), len(self.ruled), len(self.trucked), len(self.filled)
        self.start_y, self.start_t, self.start_z, self.size = x, x + y, x + y + t, x + y + t + z
        most = self.fixed + np.column_stack(
            [
                np.bincount(suppliers.of_line, uses_most, minlength=count)
                for uses_most in self._most(menu.cost.shape[0], measures).T
            ]
        )
        trucks = np.ceil((most / suppliers.truck).max(axis=1)) + 1
        self.most_trucks = trucks
        self.cost = np.zeros(self.size)
        self.cost[:x] = menu.cost[self.line, self.column]
        self.cost[x : x + y] = suppliers.fixed_cost[self.ruled]
        self.lower, self.upper = np.zeros(self.size), np.ones(self.size)
        # a line that stays and orders keeps its supplier's order
        stays = np.bincount(suppliers.of_line, held, minlength=count) > 0
        self.lower[x : x + y] = stays[self.ruled]
        self.upper[self.start_t : self.start_z] = trucks[self.trucked]
        self.integral = np.ones(self.size)

    def _most(self, n: int, measures: int) -> Array:
        most = np.zeros((n, measures))
        np.maximum.at(most, self.line, self.taken)
        return most

    def constraints(self) -> list[optimize.LinearConstraint]:
        """Rows of the program."""
        rows = [self._one_each(), self._only_with_an_order()]
        rows += [self._capacity(), self._minimum(), *self._trucks()]
        return [optimize.LinearConstraint(matrix, low, high) for matrix, low, high in rows if matrix.shape[0]]

    def _matrix(self, parts: Sequence[_Entries], rows: int) -> sparse.csr_array:
        row, col, value = (np.concatenate(each) for each in zip(*parts, strict=True))
        return sparse.csr_array((value, (row, col)), shape=(rows, self.size))

    def _one_each(self) -> tuple[sparse.csr_array, Array | float, Array | float]:
        lines, place = np.unique(self.line, return_inverse=True)
        return self._matrix([(place, np.arange(len(place)), np.ones(len(place)))], len(lines)), 1.0, 1.0

    def _only_with_an_order(self) -> tuple[sparse.csr_array, Array | float, Array | float]:
        """A line orders only where its supplier gets an order."""
        number = np.full(len(self.suppliers.fixed_cost), -1)
        number[self.ruled] = np.arange(len(self.ruled))
        supplier = number[self.suppliers.of_line[self.line]]
        bound = np.flatnonzero(self.ordered & (supplier >= 0))
        lines, place = np.unique(self.line[bound], return_inverse=True)
        of_line = number[self.suppliers.of_line[lines]]
        parts = [
            (place, bound, np.ones(len(bound))),
            (np.arange(len(lines)), self.start_y + of_line, -np.ones(len(lines))),
        ]
        return self._matrix(parts, len(lines)), -np.inf, 0.0

    def _capacity(self) -> tuple[sparse.csr_array, Array | float, Array | float]:
        measures = np.flatnonzero(np.isfinite(self.capacities))
        taken = self.taken[:, measures]
        row, col = np.nonzero(taken.T)
        left = self.capacities[measures] - self.fixed.sum(axis=0)[measures]
        return self._matrix([(row, col, taken.T[row, col])], len(measures)), -np.inf, left

    def _minimum(self) -> tuple[sparse.csr_array, Array | float, Array | float]:
        """Load − minimum · y ≥ 0."""
        asked = np.argwhere(self.suppliers.minimum[self.ruled] > 0)
        place, measure = asked[:, 0], asked[:, 1]
        supplier = self.ruled[place]
        parts = [self._loads(supplier, measure)]
        parts.append((np.arange(len(asked)), self.start_y + place, -self.suppliers.minimum[supplier, measure]))
        return self._matrix(parts, len(asked)), -self.fixed[supplier, measure], np.inf

    def _loads(self, supplier: Places, measure: Places) -> _Entries:
        """Entries of x in rows that hold the load of a supplier in a measure."""
        row, col = np.nonzero(self.suppliers.of_line[self.line][None, :] == supplier[:, None])
        return row, col, self.taken[col, measure[row]]

    def _trucks(self) -> list[tuple[sparse.csr_array, Array | float, Array | float]]:
        """Load ≤ truck · t; load ≥ truck · (t − 1 + fill) where z says so; one z a supplier."""
        supplier, measure = self.filled[:, 0], self.filled[:, 1]
        count = len(self.filled)
        place = np.searchsorted(self.trucked, supplier)
        holds, held = self.suppliers.truck[supplier, measure], self.fixed[supplier, measure]
        loads, rows = self._loads(supplier, measure), np.arange(count)
        within = self._matrix([loads, (rows, self.start_t + place, -holds)], count)
        slack = holds * self.most_trucks[supplier]
        parts = [loads, (rows, self.start_t + place, -holds), (rows, self.start_z + rows, -slack)]
        filled = self._matrix(parts, count)
        chosen = self._matrix([(place, self.start_z + rows, np.ones(count))], len(self.trucked))
        least = holds * (self.suppliers.fill - 1) - slack - held
        return [(within, -np.inf, -held), (filled, least, np.inf), (chosen, 1.0, 1.0)]
