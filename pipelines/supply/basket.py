"""One order for one supplier: nothing, or at least the minimum and in filled trucks, at the least cost.

Greedy first: from what each line would choose alone, take the increments that cost least per unit of the measure that
lacks (or give back those that are worth least), until the load lies within its window; then exchange choices one by one
and in pairs while that saves. Each whole number of trucks near the free load is a window of its own; the cheapest, or
nothing at all, is the basket. Greedy by marginal worth found the optimum of truck loads in 90 % of the cycles of
INVALS (arXiv 2310.04305).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.supply.increments import Increments, Places, increments
from pipelines.supply.menu import Menu
from pipelines.supply.paths import Array
from pipelines.supply.suppliers import Suppliers

_EXACT = 1e-7
_EXCHANGES = 200  # at most
_SINGLY, _IN_PAIRS = 4_000, 256  # moves that are tried alone and in pairs


@dataclass(frozen=True)
class Window:
    """Between what the load of a basket must lie, per measure, shape (d,)."""

    low: Array
    high: Array

    def __contains__(self, load: Array) -> bool:
        return bool(self.holds(load[None, :])[0])

    def missed(self, loads: Array) -> Array:
        """By how much loads miss it, as a share of its bounds, 0 within; shape (k,) for loads of shape (k, d)."""
        bound = np.maximum(np.where(np.isfinite(self.high), self.high, self.low), _EXACT)
        outside = np.maximum(self.low - loads, 0.0) + np.maximum(loads - self.high, 0.0)
        share = (outside / bound).sum(axis=1)
        return np.asarray(np.where(self.holds(loads), 0.0, share))

    def holds(self, loads: Array) -> npt.NDArray[np.bool_]:
        """Which loads lie within, shape (k,) for loads of shape (k, d)."""
        slack = _EXACT * np.maximum(np.abs(self.low), 1.0)
        below = loads <= self.high + _EXACT * np.minimum(np.maximum(self.high, 1.0), 1e12)
        return np.asarray(((loads >= self.low - slack) & below).all(axis=1))


@dataclass
class Moved:
    """A choice on its way into a window: columns (n,), their load (d,), and the cost of the last unit moved (d,)."""

    column: Places
    load: Array
    price: Array


def baskets(menu: Menu, uses: Array, suppliers: Suppliers, *, exchanging: bool = True) -> Places:
    """Choose for every line; lines of suppliers without rules choose alone.

    Args:
        menu: Choices of all lines.
        uses: What one unit of each line takes of each measure, shape (n, d).
        suppliers: Rules per supplier.
        exchanging: Whether to exchange choices after the greedy moves: better, and slower.

    Returns:
        Column of the menu taken by each line, shape (n,); every supplier's rules are met.
    """
    column: Places = menu.cost.argmin(axis=1).astype(np.int64)
    rows = np.arange(len(column))
    loads = suppliers.loads(uses, menu.quantity[rows, column])
    content = suppliers.met(loads) & (suppliers.fixed_cost <= 0)
    asking = np.flatnonzero(suppliers.ruled() & ~content)
    order = np.argsort(suppliers.of_line, kind="stable")
    starts = np.searchsorted(suppliers.of_line[order], [asking, asking + 1])
    for supplier, start, stop in zip(asking, *starts, strict=True):
        lines = order[start:stop]
        part = Menu(menu.quantity[lines], menu.cost[lines])
        column[lines] = basket(part, uses[lines], suppliers.one(supplier), exchanging=exchanging)
    return column


def basket(menu: Menu, uses: Array, supplier: Suppliers, *, exchanging: bool = True) -> Places:
    """Choose for the lines of one supplier.

    Args:
        menu: Choices of its lines.
        uses: What one unit of each takes of each measure, shape (n, d).
        supplier: Its rules (`Suppliers.one`).
        exchanging: As for `baskets`.

    Returns:
        Column of the menu taken by each line, shape (n,).
    """
    rows = np.arange(len(menu.cost))
    best, least = np.zeros(len(rows), dtype=np.int64), float(menu.cost[:, 0].sum())
    steps = increments(menu)
    free = menu.cost.argmin(axis=1)
    for window in _windows(uses, menu, free, supplier):
        moved = _moved(menu, uses, steps, free, window)
        column = _exchanged(menu, uses, moved, window) if exchanging else moved.column
        if uses.T @ menu.quantity[rows, column] not in window:
            continue
        cost = float(menu.cost[rows, column].sum() + supplier.fixed_cost[0])
        if cost < least - _EXACT * max(abs(least), 1.0) and menu.quantity[rows, column].any():
            best, least = column, cost
    return best


def _windows(uses: Array, menu: Menu, free: Places, supplier: Suppliers) -> Iterator[Window]:
    """The windows of load near the free choice: one without trucks, else one for each number of trucks near it."""
    minimum, truck = supplier.minimum[0], supplier.truck[0]
    if not np.isfinite(truck).any():
        yield Window(minimum, np.full(len(minimum), np.inf))
        return
    load = uses.T @ menu.quantity[np.arange(len(free)), free]
    # the free choice lifted to the minimum in proportion says how many trucks a minimum asks for
    lift = max(float(np.divide(minimum, load, out=np.zeros_like(load), where=load > 0).max()), 1.0)
    near = {
        int(np.floor(at)) + more for at in ((load / truck).max(), (load * lift / truck).max()) for more in (0, 1, 2)
    }
    for trucks in sorted(near - {0}):
        for measure in np.flatnonzero(np.isfinite(truck)):
            low = minimum.astype(np.float64)
            low[measure] = max(low[measure], (trucks - 1 + supplier.fill) * truck[measure])
            yield Window(low, trucks * truck)


def _moved(menu: Menu, uses: Array, steps: Increments, free: Places, window: Window) -> Moved:
    """The free choice moved along the hulls into the window, at the least cost per unit of what lacks or exceeds."""
    rows = np.arange(len(free))
    moved = Moved(free.copy(), uses.T @ menu.quantity[rows, free], np.zeros(uses.shape[1]))
    for measure in np.flatnonzero(moved.load > window.high):
        _lowered(moved, uses, steps, int(measure), window)
    for measure in np.flatnonzero(moved.load < window.low):
        _raised(moved, uses, steps, int(measure), window)
    moved.load = uses.T @ menu.quantity[rows, moved.column]
    return moved


def _lowered(moved: Moved, uses: Array, steps: Increments, measure: int, window: Window) -> None:
    """Give back increments, the least worth first, until a measure is within its window."""
    order, per_use = steps.by_worth(uses[:, measure])
    taken = steps.end[order] <= moved.column[steps.line[order]]
    order, per_use = order[taken][::-1], per_use[taken][::-1]
    units = steps.quantity[order, None] * uses[steps.line[order]]
    count = int(np.searchsorted(np.cumsum(units[:, measure]), moved.load[measure] - window.high[measure] - _EXACT)) + 1
    np.minimum.at(moved.column, steps.line[order[:count]], steps.start[order[:count]])
    moved.load = moved.load - units[:count].sum(axis=0)
    moved.price[measure] = per_use[:count][-1]


def _raised(moved: Moved, uses: Array, steps: Increments, measure: int, window: Window) -> None:
    """Take more increments, the cheapest per unit first, until a measure is within its window.

    An increment that would overload another measure ends its line's turn; the others go on.
    """
    order, per_use = steps.by_worth(uses[:, measure])
    open_ = (steps.start[order] >= moved.column[steps.line[order]]) & (uses[steps.line[order], measure] > 0)
    order, per_use = order[open_], per_use[open_]
    while len(order) and moved.load[measure] < window.low[measure]:
        line = steps.line[order]
        loads = moved.load + np.cumsum(steps.quantity[order, None] * uses[line], axis=0)
        over = (loads > window.high + _EXACT).any(axis=1)
        enough = loads[:, measure] >= window.low[measure] - _EXACT
        stop = int(over.argmax()) if over.any() else len(order)
        count = min(int(enough.argmax()) + 1 if enough.any() else len(order), stop)
        if count:
            np.maximum.at(moved.column, line[:count], steps.end[order[:count]])
            moved.load, moved.price[measure] = loads[count - 1], per_use[count - 1]
        goes_on = np.ones(len(order), dtype=bool)
        goes_on[:count] = False
        if count == stop and stop < len(order):
            goes_on &= line != line[stop]
        order, per_use = order[goes_on], per_use[goes_on]


def _exchanged(menu: Menu, uses: Array, moved: Moved, window: Window) -> Places:
    """Other choices of one line, or of two, while that saves and the load stays in the window.

    Tried are the choices that cost least beside what their load is worth at the prices of the greedy moves.
    """
    rows = np.arange(len(moved.column))
    worth = menu.cost - (uses @ moved.price)[:, None] * menu.quantity
    reduced = worth - worth[rows, moved.column][:, None]
    reduced[rows, moved.column] = 0.0  # back again, once a line has moved
    close = np.argsort(reduced, axis=None, kind="stable")
    close = close[menu.quantity.ravel()[close] != np.repeat(menu.quantity[rows, moved.column], reduced.shape[1])[close]]
    line, choice = np.unravel_index(close[:_SINGLY], reduced.shape)
    column, load = moved.column.copy(), moved.load
    # to be outside the window costs more than any choice could save
    outside = 2.0 * float(np.ptp(menu.cost, axis=1).sum()) / _EXACT
    for _ in range(_EXCHANGES):
        saved = menu.cost[line, choice] - menu.cost[line, column[line]]
        loads = uses[line] * (menu.quantity[line, choice] - menu.quantity[line, column[line]])[:, None]
        missed = float(window.missed(load[None, :])[0])
        single = saved + outside * (window.missed(load + loads) - missed)
        some = slice(_IN_PAIRS)
        pair, first, second = _best_pair(line[some], saved[some], loads[some], load, window, outside, missed)
        place = [int(single.argmin())] if single.min() <= pair else [first, second]
        if min(float(single.min()), pair) > -_EXACT * max(float(np.abs(saved).max()), 1e-300):
            break
        column[line[place]] = choice[place]
        load = uses.T @ menu.quantity[rows, column]
    return column


def _best_pair(
    line: Places, saved: Array, loads: Array, load: Array, window: Window, outside: float, missed: float
) -> tuple[float, int, int]:
    """The pair of moves of two lines that saves most within the window, as (cost, first, second)."""
    pairs = line[:, None] < line[None, :]
    if missed == 0:
        pairs &= saved[:, None] + saved[None, :] < 0
    first, second = np.nonzero(pairs)
    if not len(first):
        return np.inf, 0, 0
    both = saved[first] + saved[second] + outside * (window.missed(load + loads[first] + loads[second]) - missed)
    best = int(both.argmin())
    return float(both[best]), int(first[best]), int(second[best])
