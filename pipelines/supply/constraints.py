"""What a supplier's terms make of the quantity one would like to order.

Applied in one fixed order, each step on what the one before left: calendar, shelf life, maximum, minimum order
quantity, multiple, price break, storage. What every step made of the quantity is kept (`Constrained.passed`), and the
step that moved it farthest is named. With a cost to weigh, a minimum above the wish is bought or waited for and a
multiple is rounded up or down, whichever costs less; the cost is convex in the quantity, so the neighbours of the wish
on the supplier's grid are the only candidates. With a service target to meet, the quantity only goes up.

A quantity that satisfies every term passes all steps unchanged: constraining twice is constraining once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.supply.paths import Array

STEPS = ("calendar", "shelf_life", "maximum", "moq", "multiple", "price_break", "storage")
# "none" when the wish could be ordered as it was; "moq_wait" when the minimum is waited for.
NAMES = ("none", *STEPS, "moq_wait")
ROUNDINGS = ("best", "up", "down", "nearest")  # how a quantity comes to a multiple; Terms.rounding counts in these
BEST, UP, DOWN, NEAREST = range(4)
_EXACT = 1e-9
_HARDLY_EVER = 1e-9  # units a window

# One number for all lines; typed Any so that an array may take its place.
_NOW: Any = np.float64(0)
_NO_LIMIT: Any = np.float64(np.inf)
_BEST: Any = np.int64(BEST)


@dataclass(frozen=True)
class PriceBreaks:
    """All-units discounts: the price of every unit falls once the order reaches a quantity.

    Units beyond the need of the window are paid for by holding them until they sell; they save later purchases at the
    base price. (Snyder & Shen 2019, section 3.4, for one order and stock that runs down at the mean rate.)

    Attributes:
        quantity: Units from which each price holds, ascending, padded with infinity, shape (n, b).
        unit_cost: The price of a unit from there on, shape (n, b).
        base_cost: The price below the first break, shape (n,).
        holding_cost: Of one unit through one window between reviews, shape (n,).
        net_need: Mean demand up to the end of the window less stock and open orders, shape (n,).
        demand: Mean demand of a later window, shape (n,).
    """

    quantity: Array
    unit_cost: Array
    base_cost: Array
    holding_cost: Array
    net_need: Array
    demand: Array

    def saved(self, ordered: Array) -> Array:
        """Money saved against the base price by an order of `ordered` units, shape (n,)."""
        reached = (self.quantity <= ordered[:, None] + _EXACT).sum(axis=1)
        prices = np.column_stack([self.base_cost, self.unit_cost])
        price = np.take_along_axis(prices, reached[:, None], axis=1)[:, 0]
        return np.asarray((self.base_cost - price) * ordered)

    def left_over(self, ordered: Array) -> Array:
        """Units of an order that the window does not need, shape (n,)."""
        return np.maximum(ordered - self.net_need, 0.0)

    def carried(self, ordered: Array) -> Array:
        """Cost of holding what is left after the window until it sells; huge where nothing does, shape (n,).

        With x units left and a demand of d a window, x − d are left after one more, x − 2d after two …: the sum is
        x (x − d) ÷ 2d.
        """
        left, rate = self.left_over(ordered), np.maximum(self.demand, _HARDLY_EVER)
        return np.asarray(self.holding_cost * left * np.maximum(left - rate, 0.0) / (2 * rate))


@dataclass(frozen=True)
class Terms:
    """What the supplier and the shelf allow, line by line, shape (n,), units.

    What has a default may be left out, or be one number (np.float64) for all lines.

    Attributes:
        moq: Minimum order quantity; 0 for none.
        multiple: Orders come in multiples of this; 0 for any quantity.
        maximum: Most that can be ordered at once; infinite for no limit.
        days_to_order: Days until the supplier takes orders; 0 = today.
        cover: Most that sells before it expires; infinite where it keeps.
        rounding: How a quantity comes to a multiple: BEST (by cost), UP, DOWN or NEAREST.
        room: Units for which there is space beyond what is on hand and on order; infinite for no limit.
        breaks: Price breaks, where there are any.
    """

    moq: Array
    multiple: Array
    maximum: Array
    days_to_order: Array = _NOW
    cover: Array = _NO_LIMIT
    rounding: npt.NDArray[np.int64] = _BEST
    room: Array = _NO_LIMIT
    breaks: PriceBreaks | None = None

    def lowest(self) -> Array:
        """The smallest quantity above zero that can be ordered."""
        return np.where(self.multiple > 0, np.maximum(self.to_multiple(self.moq, np.ceil), self.multiple), self.moq)

    def highest(self) -> Array:
        """The largest quantity that can be ordered; 0 where nothing satisfies all terms."""
        return self.within(np.minimum(np.minimum(self.maximum, self.cover), self.room))

    def within(self, limit: Array) -> Array:
        """The largest quantity that can be ordered without exceeding a limit; 0 where even the smallest would."""
        most = self.to_multiple(limit, np.floor)
        return np.where((most > _EXACT) & (most + _EXACT >= self.lowest()), most, 0.0)

    def to_multiple(self, quantity: Array, to: Callable[[Array], Array]) -> Array:
        """A quantity on the grid of multiples; `to` is np.floor or np.ceil."""
        nudge = _EXACT if to is np.floor else -_EXACT
        step = np.where(self.multiple > 0, self.multiple, 1.0)
        return np.where(self.multiple > 0, to(quantity / step + nudge) * step, quantity)


@dataclass(frozen=True)
class Constrained:
    """The quantity to order and why it is not the one wished for.

    Attributes:
        quantity: Units, shape (n,): 0, or a quantity that satisfies every term.
        binding: What decided, one of `NAMES`, shape (n,).
        passed: What each of `STEPS` made of the quantity; not-a-number where a line has no such term, shape (n, 7).
    """

    quantity: Array
    binding: npt.NDArray[np.str_]
    passed: Array


def constrain(wish: Array, terms: Terms, cost: Callable[[Array], Array] | None) -> Constrained:
    """The quantity the terms allow.

    Args:
        wish: Units one would order without any terms, shape (n,).
        terms: The supplier's terms.
        cost: Cost of each line for a quantity a line, convex in it and lowest at the wish; without the price of the
            units. None: the wish is the least that meets a target, so a quantity below it is taken only where a
            limit or the rounding forces it.

    Example:
        >>> terms = Terms(np.array([20.0]), np.array([6.0]), np.array([np.inf]), room=np.array([40.0]))
        >>> done = constrain(np.array([7.0]), terms, None)
        >>> done.quantity, done.binding, done.passed
        (array([24.]), array(['moq'], dtype='<U11'), array([[nan, nan, nan, 24., 24., nan, 24.]]))
    """
    after = [np.where(wish > _EXACT, wish, 0.0)]
    after.append(np.where(terms.days_to_order > 0, 0.0, after[-1]))
    after.append(_limited(after[-1], terms, terms.cover))
    after.append(_limited(after[-1], terms, terms.maximum))
    after.append(_minimum(after[-1], terms, cost))
    after.append(_rounded(after[-1], terms, cost))
    after.append(_bought_up(after[-1], terms, cost))
    after.append(_limited(after[-1], terms, terms.room))
    moved = np.abs(np.diff(np.column_stack(after), axis=1))
    farthest = moved.argmax(axis=1)
    named = np.where(moved.max(axis=1) > 1e-6, farthest + 1, NAMES.index("none"))
    waits = (named == NAMES.index("moq")) & (after[STEPS.index("moq") + 1] < _EXACT)
    named = np.where(waits, NAMES.index("moq_wait"), named)
    passed = np.where(_stated(terms, len(wish)), np.column_stack(after[1:]), np.nan)
    return Constrained(quantity=after[-1], binding=np.array(NAMES)[named], passed=passed)


def _stated(terms: Terms, n: int) -> npt.NDArray[np.bool_]:
    """Which steps have a term to apply, in the order of `STEPS`, shape (n, 7)."""
    breaks = np.isfinite(terms.breaks.quantity).any(axis=1) if terms.breaks else np.False_
    stated = (
        terms.days_to_order > 0,
        np.isfinite(terms.cover),
        np.isfinite(terms.maximum),
        terms.moq > 0,
        terms.multiple > 0,
        breaks,
        np.isfinite(terms.room),
    )
    return np.column_stack([np.broadcast_to(each, n) for each in stated])


def _limited(units: Array, terms: Terms, limit: Array) -> Array:
    """At most what can be ordered within a limit; nothing where not even the smallest order stays within it."""
    return np.minimum(units, terms.within(limit))


def _minimum(units: Array, terms: Terms, cost: Callable[[Array], Array] | None) -> Array:
    """Buy the minimum, in whole packs, or wait: whichever costs less."""
    lowest = terms.lowest()
    short = (units > _EXACT) & (units < terms.moq - _EXACT)
    waits = np.False_ if cost is None else ~_cheaper(cost(np.where(short, lowest, units)), cost(np.zeros_like(units)))
    return np.where(short, np.where(waits, 0.0, lowest), units)


def _rounded(units: Array, terms: Terms, cost: Callable[[Array], Array] | None) -> Array:
    """Whole packs; never above what can be ordered, never below the minimum but for nothing."""
    wanted = units > _EXACT
    up = np.where(wanted, np.maximum(terms.to_multiple(units, np.ceil), terms.lowest()), 0.0)
    down = np.minimum(np.where(wanted, terms.to_multiple(units, np.floor), 0.0), up)
    down = np.where(down < terms.lowest() - _EXACT, 0.0, down)
    dearer = np.False_ if cost is None else ~_cheaper(cost(up), cost(down))
    lower = np.where(
        terms.rounding == BEST,
        dearer,
        (terms.rounding == DOWN) | (terms.rounding == NEAREST) & (units - down < up - units),
    )
    beyond = (up > terms.highest() + _EXACT) & (down > _EXACT)
    return np.where(np.abs(units - up) <= _EXACT * np.maximum(up, 1.0), up, np.where(lower | beyond, down, up))


def _bought_up(units: Array, terms: Terms, cost: Callable[[Array], Array] | None) -> Array:
    """The quantity of a price break where the discount pays for holding more: what costs least in all."""
    breaks = terms.breaks
    if breaks is None:
        return units

    def total(ordered: Array) -> Array:
        window = breaks.holding_cost * breaks.left_over(ordered) if cost is None else cost(ordered)
        return window + breaks.carried(ordered) - breaks.saved(ordered)

    lowest, highest = terms.lowest(), terms.highest()
    best, least = units, total(units)
    for start in breaks.quantity.T:
        at = np.maximum(terms.to_multiple(np.where(np.isfinite(start), start, 0.0), np.ceil), lowest)
        possible = np.isfinite(start) & (units > _EXACT) & (at > units) & (at <= highest + _EXACT)
        at = np.where(possible, at, best)
        costs = total(at)
        cheaper = possible & _cheaper(costs, least)
        best, least = np.where(cheaper, at, best), np.where(cheaper, costs, least)
    return best


def _cheaper(more: Array, less: Array) -> npt.NDArray[np.bool_]:
    """Whether the larger order is worth it: equal costs, to rounding, go to the smaller one."""
    return np.asarray(more < less - _EXACT * np.maximum(np.abs(less), 1.0))
