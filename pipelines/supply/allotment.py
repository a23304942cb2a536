"""Who gets how much: suppliers' minima and trucks, then budget and capacity over everything.

Prices and greedy baskets always give a plan that keeps all rules; an integer program then improves it, on all lines of
a small problem, on those whose choice is close in a large one. The better of the two is the allotment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.supply import exact
from pipelines.supply.increments import Places
from pipelines.supply.menu import Menu
from pipelines.supply.paths import Array
from pipelines.supply.portfolio import exceeded, priced
from pipelines.supply.suppliers import MEASURES, Suppliers, unruled

# What changed a line's own choice; "none" where it stands. A capacity's name is that of its measure.
NAMES = ("none", "budget", "units", "pallets", "volume", "weight", "supplier_minimum", "truck", "supplier_wait")
_POLISHED = 400  # lines of a large problem whose choice is looked at again
_TIGHT = 1e-7  # what the integer program may not use of a capacity: its own tolerance
_GAP = 1e-4  # a plan this close to the bound is good enough


@dataclass(frozen=True)
class Allotment:
    """A plan that keeps every rule.

    Attributes:
        column: Column of the menu taken by each line, shape (n,).
        binding: What changed the line's own choice, one of `NAMES`, shape (n,).
        shadow_prices: Per measure that is scarce: money saved by one unit more of it.
        used: Per measure with a capacity: what the plan takes of it.
        scarce: Measures that hold the plan back, dearest first by what their capacity is worth.
        cost: Of the plan, money.
        bound: No plan costs less than this, money.
    """

    column: Places
    binding: npt.NDArray[np.str_]
    shadow_prices: dict[str, float]
    used: dict[str, float]
    scarce: tuple[str, ...]
    cost: float
    bound: float

    @property
    def gap(self) -> float:
        """How much the plan may cost above the best one, as a share of the bound."""
        return max(self.cost - self.bound, 0.0) / max(abs(self.bound), 1e-9)


def allot(
    menu: Menu, uses: Array, capacities: dict[str, float] | None = None, suppliers: Suppliers | None = None
) -> Allotment:
    """Choose from every line's menu so that all costs least and every rule is kept.

    Args:
        menu: Choices of all lines; column 0 orders nothing.
        uses: What one unit of each line takes of each of `MEASURES`, shape (n, 5).
        capacities: Most of a measure that all orders may take, by its name (value = budget); left out: no limit.
        suppliers: Rules per supplier; None: none.

    Example:
        >>> menu = Menu(np.array([[0.0, 10], [0, 10]]), np.array([[9.0, 1], [5, 1]]))
        >>> uses = np.column_stack([np.ones(2), np.ones(2), np.zeros((2, 3))])
        >>> plan = allot(menu, uses, {"value": 12.0})
        >>> plan.column.tolist(), plan.binding.tolist(), plan.scarce
        ([1, 0], ['none', 'budget'], ('value',))
    """
    suppliers = suppliers or unruled(len(menu.cost))
    most = np.array([(capacities or {}).get(measure, np.inf) for measure in MEASURES])
    whole = len(menu.cost) <= exact.LINES
    plan = priced(menu, uses, most, suppliers, exchanging=not whole)
    column, bound = plan.column, plan.bound
    cost = _cost(menu, suppliers, column)
    if cost - bound > _GAP * abs(bound):
        free = None if whole else _close(menu, uses, plan.price)
        found = exact.choose(menu, uses, most * (1 - _TIGHT), suppliers, column, free)
        if found is not None:
            if whole and np.isfinite(found.bound):
                bound = max(bound, found.bound)
            cheaper = _cost(menu, suppliers, found.column) < cost
            if cheaper and _kept(menu, uses, most, suppliers, found.column):
                column, cost = found.column, _cost(menu, suppliers, found.column)
    used = uses.T @ _units(menu, column)
    scarce = np.flatnonzero(plan.price > 0)
    scarce = scarce[np.argsort(-(plan.price * np.where(np.isfinite(most), most, 0.0))[scarce], kind="stable")]
    return Allotment(
        column=column,
        binding=_binding(menu, uses, suppliers, column, plan.price),
        shadow_prices={MEASURES[d]: float(plan.price[d]) for d in scarce},
        used={MEASURES[d]: float(used[d]) for d in np.flatnonzero(np.isfinite(most))},
        scarce=tuple(MEASURES[d] for d in scarce),
        cost=cost,
        bound=min(bound, cost),
    )


def _units(menu: Menu, column: Places) -> Array:
    return menu.quantity[np.arange(len(column)), column]


def _cost(menu: Menu, suppliers: Suppliers, column: Places) -> float:
    """Of the lines and of the suppliers' orders."""
    orders = np.bincount(suppliers.of_line, _units(menu, column), minlength=len(suppliers.fixed_cost)) > 0
    return float(menu.cost[np.arange(len(column)), column].sum() + suppliers.fixed_cost[orders].sum())


def _kept(menu: Menu, uses: Array, most: Array, suppliers: Suppliers, column: Places) -> bool:
    units = _units(menu, column)
    rules = suppliers.met(suppliers.loads(uses, units)).all()
    return bool(rules and not exceeded(uses, units, most).any())


def _close(menu: Menu, uses: Array, price: Array) -> npt.NDArray[np.bool_]:
    """Lines whose two best choices at the prices differ least, shape (n,)."""
    worth = menu.cost + (uses @ price)[:, None] * menu.quantity
    repeated = np.diff(menu.quantity, axis=1, prepend=-np.inf) <= 0
    two = np.partition(np.where(repeated, np.inf, worth), 1, axis=1)[:, :2]
    margin = np.where(np.isfinite(two[:, 1]), two[:, 1] - two[:, 0], np.inf)
    free = np.zeros(len(margin), dtype=bool)
    free[np.argsort(margin, kind="stable")[:_POLISHED]] = True
    return free


def _binding(menu: Menu, uses: Array, suppliers: Suppliers, column: Places, price: Array) -> npt.NDArray[np.str_]:
    """What changed each line's own choice, shape (n,)."""
    own, units = menu.quantity[np.arange(len(column)), menu.cost.argmin(axis=1)], _units(menu, column)
    more, less = units > own, units < own
    ordered = np.bincount(suppliers.of_line, units, minlength=len(suppliers.fixed_cost)) > 0
    tolls = uses * price
    capacity = np.array(NAMES)[1 + tolls.argmax(axis=1)]
    by_truck, ruled = suppliers.by_truck()[suppliers.of_line], suppliers.ruled()[suppliers.of_line]
    supplier = np.where(by_truck, "truck", "supplier_minimum")
    waits = less & ruled & ~ordered[suppliers.of_line]
    conditions = [~(more | less), waits, less & (tolls.max(axis=1) > 0)]
    return np.select(conditions, ["none", "supplier_wait", capacity], supplier)
