"""Budget and capacity over all lines: one price per scarce measure, the same for everybody.

At a price of λ a unit, each line orders what is cheapest with λ · use · quantity on top of its own cost, and the load
falls as λ rises: bisection finds the lowest price at which everything fits (Lagrangian relaxation; Everett 1963,
Amazon's shadow prices for shared capacity, arXiv 2410.02817). What is left over goes to the increments worth most that
still fit. The cost at the prices less what the capacities are worth at them bounds every feasible plan from below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from pipelines.supply.basket import baskets
from pipelines.supply.increments import Increments, Places, increments
from pipelines.supply.menu import Menu
from pipelines.supply.paths import Array
from pipelines.supply.suppliers import Suppliers

_CUTS = 60  # planes of the bound, at most
_HALVINGS = 50
_CLOSE, _FULL = 1e-6, 1e-5  # shares of a price, and of a capacity left over, at which bisection stops
_EXACT = 1e-9
_GAP = 1e-6  # of the bound, at which its prices are good enough


@dataclass(frozen=True)
class Priced:
    """A plan that fits, and the prices that led to it.

    Attributes:
        column: Column of the menu taken by each line, shape (n,).
        price: Shadow price of each measure, money per unit of it, shape (d,).
        bound: No plan costs less than this, money.
    """

    column: Places
    price: Array
    bound: float


def exceeded(uses: Array, quantity: Array, capacities: Array) -> npt.NDArray[np.bool_]:
    """Which capacities quantities exceed by more than a millionth, shape (d,).

    Args:
        uses: What one unit of each line takes of each measure, shape (n, d).
        quantity: Units, shape (n,).
        capacities: Shape (d,), infinite for no limit.
    """
    return np.asarray(uses.T @ quantity > capacities * (1 + 1e-6))


def priced(menu: Menu, uses: Array, capacities: Array, suppliers: Suppliers, *, exchanging: bool = True) -> Priced:
    """The cheapest plan that one price per measure leads to.

    Args:
        menu: Choices of all lines.
        uses: What one unit of each line takes of each measure, shape (n, d).
        capacities: Most of each measure that all orders may take, shape (d,); infinite for no limit.
        suppliers: Rules per supplier.
        exchanging: As for `baskets`, once the prices stand.
    """
    market = _Market(menu, uses, suppliers)
    scarce = [int(d) for d in np.flatnonzero(np.isfinite(capacities))]
    price, rows = np.zeros(uses.shape[1]), np.arange(len(menu.cost))
    column = market.column(price, exchanging=exchanging)
    if not exceeded(uses, menu.quantity[rows, column], capacities).any():
        return Priced(column, price, market.relaxed(price, capacities)[0])
    if len(scarce) > 1:
        price = _highest_bound(market, capacities, scarce)
    seen = [np.zeros_like(price), price.copy()]
    for measure in scarce:
        if market.load(price)[measure] > capacities[measure]:
            price[measure] = _bisected(market, price, capacities, measure)
    bound = max(market.relaxed(at, capacities)[0] for at in (*seen, price))
    column = market.column(price, exchanging=exchanging)
    for _ in range(_HALVINGS):
        over = exceeded(uses, menu.quantity[rows, column], capacities)
        if not over.any():
            break
        price[over] = np.maximum(price[over] * 1.2, market.highest[over] * 1e-3)
        column = market.column(price, exchanging=exchanging)
        bound = max(bound, market.relaxed(price, capacities)[0])
    else:
        column = np.zeros_like(column)  # nothing always fits
    return Priced(_filled(market, column, price, capacities), price, bound)


class _Market:
    """What lines order at a price per measure."""

    def __init__(self, menu: Menu, uses: Array, suppliers: Suppliers) -> None:
        self.menu, self.uses, self.suppliers = menu, uses, suppliers
        self.ruled = suppliers.ruled()[suppliers.of_line]
        self.steps: Increments = increments(menu)
        self.taken = self.steps.quantity[:, None] * uses[self.steps.line]  # shape (m, d)
        worth = np.divide(-self.steps.cost[:, None], self.taken, out=np.zeros_like(self.taken), where=self.taken > 0)
        self.highest = worth.max(axis=0, initial=0.0)  # at this price nobody orders what takes the measure
        self.plain = ~self.ruled[self.steps.line]
        self.some = np.flatnonzero(self.ruled)

    def wanted(self, price: Array) -> npt.NDArray[np.bool_]:
        """Which steps of lines without supplier rules pay at the price, shape (m,)."""
        return np.asarray((self.steps.cost + self.taken @ price < 0) & self.plain)

    def load(self, price: Array) -> Array:
        """What all orders take of each measure, shape (d,)."""
        load = self.taken[self.wanted(price)].sum(axis=0)
        if len(self.some):
            units = self.menu.quantity[self.some, self._baskets(price)]
            load = load + self.uses[self.some].T @ units
        return np.asarray(load)

    def column(self, price: Array, *, exchanging: bool) -> Places:
        """The choice of each line, shape (n,)."""
        column = np.zeros(len(self.menu.cost), dtype=np.int64)
        wanted = self.wanted(price)
        np.maximum.at(column, self.steps.line[wanted], self.steps.end[wanted])
        if len(self.some):
            column[self.some] = self._baskets(price, exchanging=exchanging)
        return column

    def relaxed(self, price: Array, capacities: Array) -> tuple[float, Array]:
        """A lower bound of the cost of all plans, and the load behind it (d,).

        Minima and trucks of suppliers are left out, capacities are priced.
        """
        cost, of_line = self.steps.cost + self.taken @ price, self.suppliers.of_line[self.steps.line]
        paying = cost < 0
        gained = np.bincount(of_line[paying], cost[paying], minlength=len(self.suppliers.fixed_cost))
        orders = gained + self.suppliers.fixed_cost < 0
        worth = (gained + self.suppliers.fixed_cost)[orders].sum()
        limited = price > 0
        value = self.menu.cost[:, 0].sum() + worth - price[limited] @ capacities[limited]
        return float(value), np.asarray(self.taken[paying & orders[of_line]].sum(axis=0))

    def _baskets(self, price: Array, *, exchanging: bool = False) -> Places:
        some = self.some
        toll = (self.uses[some] @ price)[:, None] * self.menu.quantity[some]
        part = Menu(self.menu.quantity[some], self.menu.cost[some] + toll)
        return baskets(part, self.uses[some], self.suppliers.of(some), exchanging=exchanging)


def _highest_bound(market: _Market, capacities: Array, scarce: list[int]) -> Array:
    """The prices of several measures that bound the cost highest, by cutting planes (Kelley 1960), shape (d,).

    The bound is concave in the prices, load − capacity its slope: each evaluation adds a plane above it, and the next
    prices are those at which the lowest plane is highest.
    """
    price, best, found = np.zeros(len(capacities)), -np.inf, np.zeros(len(capacities))
    slopes, values = [], []
    for _ in range(_CUTS):
        value, load = market.relaxed(price, capacities)
        if value > best:
            best, found = value, price.copy()
        slope = (load - capacities)[scarce]
        slopes.append([*-slope, 1.0])
        values.append(value - slope @ price[scarce])
        limits = [(0.0, float(market.highest[d])) for d in scarce] + [(None, None)]
        top = optimize.linprog([0.0] * len(scarce) + [-1.0], A_ub=slopes, b_ub=values, bounds=limits, method="highs")
        if top.x is None or top.x[-1] - best <= _GAP * abs(best):
            break
        price[scarce] = top.x[:-1]
    return found


def _bisected(market: _Market, price: Array, capacities: Array, measure: int) -> float:
    """The lowest price of one measure at which it suffices, the other prices given."""
    trial = price.copy()
    low = 0.0
    most = float(capacities[measure]) * (1 + _EXACT)
    trial[measure] = 0.0
    if market.load(trial)[measure] <= most:
        return 0.0
    high = float(market.highest[measure]) * (1 + _CLOSE)
    for _ in range(_HALVINGS):
        trial[measure] = (low + high) / 2
        load = market.load(trial)[measure]
        low, high = (trial[measure], high) if load > most else (low, trial[measure])
        if high - low <= _CLOSE * high or most * (1 - _FULL) <= load <= most:
            break
    return high


def _filled(market: _Market, column: Places, price: Array, capacities: Array) -> Places:
    """Use what is left of the capacities: steps that save, those worth most at the prices first, while they fit."""
    steps, menu, uses = market.steps, market.menu, market.uses
    column = column.copy()
    left = capacities - uses.T @ menu.quantity[np.arange(len(column)), column]
    toll = market.taken @ price
    worth = np.divide(steps.cost, toll, out=np.full_like(toll, -np.inf), where=toll > 0)
    more = (steps.start >= column[steps.line]) & (steps.cost < 0) & market.plain
    order = np.flatnonzero(more)[np.argsort(worth[more], kind="stable")]
    while True:
        order = order[(market.taken[order] <= left).all(axis=1)]
        # a line's later steps wait for its earlier ones, which are worth more: only their first is up for choice
        _, first = np.unique(steps.line[order], return_index=True)
        up = order[np.sort(first)]
        up = up[steps.start[up] == column[steps.line[up]]]
        if not len(up):
            return column
        within = (np.cumsum(market.taken[up], axis=0) <= left).all(axis=1)
        count = len(up) if within.all() else int(within.argmin())
        column[steps.line[up[:count]]] = steps.end[up[:count]]
        left = left - market.taken[up[:count]].sum(axis=0)
        order = order[~np.isin(order, up[:count])]
