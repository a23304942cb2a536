"""Stock that expires, walked along every path: the oldest units are sold first, what outlives its shelf life is waste.

Sold oldest first, units leave in the order in which they came, so one number a path says all about ages: how many units
have left, sold or spoiled, since the decision. A lot that expires takes that number up to all that came with it or
before it. What becomes of the units ordered now depends on demand and on older units alone, never on later orders, so
their waste is followed to the end of their life, beyond the window (Nahmias 1982, doi:10.1287/opre.30.4.680).

Stock whose date is not known, or is later than that of a unit arriving now, is taken to be as fresh as one. What
customers have ordered leaves when it is due, like demand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.supply.paths import Array, until
from pipelines.supply.projection import Position
from pipelines.supply.window import Costs

Flags = npt.NDArray[np.bool_]

_EXACT = 1e-9
_POINTS, _ROUNDS = 9, 5  # each round looks at so many quantities and goes on around the best
_HALVINGS = 20


@dataclass(frozen=True)
class Shelf:
    """Ages of stock.

    Attributes:
        lots: Units of each lot on hand, shape (n, l).
        lot_expiry: When each expires, periods since the forecast was issued, shape (n, l).
        shelf_life: Periods that fresh units keep from their arrival, shape (n,).
    """

    lots: Array
    lot_expiry: Array
    shelf_life: Array


@dataclass(frozen=True)
class Walk:
    """What one order a line leads to, each shape (n, paths): as in `window.Prospect`, before means over paths.

    `anew` is the demand of the window not met at once, `short` the most that was missing at a time.
    """

    held: Array
    missing: Array
    owed: Array
    wasted: Array
    anew: Array
    short: Array


@dataclass(frozen=True)
class Events:
    """Everything that happens between the decision and the end, in order of time, each shape (n, events, paths).

    Attributes:
        demand: Units asked for since the event before.
        supply: Units on hand or received before, the order aside.
        gone: Units that came with or before what has expired by now and is older than the order.
        gone_with: The same, the order's own units aside, where the order or what is younger has expired.
        begun: Whether the order arrived before.
        inside: Whether that was so at the event before, and the window has not ended before.
        step_ends: Whether a step of the window ends now.
    """

    demand: Array
    supply: Array
    gone: Array
    gone_with: Array
    begun: Flags
    inside: Flags
    step_ends: Flags


class Ageing:
    """Stock in the window for any quantity; the methods are those of `window.Prospect`."""

    def __init__(self, events: Events, position: Position, in_window: Array) -> None:
        self._events, self._lost, self._steps, self._in_window = events, position.lost, position.steps, in_window
        self._walked: tuple[bytes, Walk] | None = None

    def walk(self, quantity: Array) -> Walk:
        """Walk every path with an order of `quantity` units, shape (n,)."""
        asked = quantity.tobytes()
        if self._walked is None or self._walked[0] != asked:
            self._walked = asked, _walk(self._events, quantity[:, None], lost=self._lost, steps=self._steps)
        return self._walked[1]

    def held(self, quantity: Array) -> Array:
        """Expected stock at the end of a step, mean over steps, shape (n,)."""
        return np.asarray(self.walk(quantity).held.mean(axis=1))

    def missing(self, quantity: Array) -> Array:
        """Expected units of unmet demand, lost in the window or owed at its end, shape (n,)."""
        return np.asarray(self.walk(quantity).missing.mean(axis=1))

    def owed(self, quantity: Array) -> Array:
        """Expected units owed at the end of a step, mean over steps, shape (n,)."""
        return np.asarray(self.walk(quantity).owed.mean(axis=1))

    def wasted(self, quantity: Array) -> Array:
        """Expected units that expire from the arrival until the order and the window are over, shape (n,)."""
        return np.asarray(self.walk(quantity).wasted.mean(axis=1))

    def stock_out_risk(self, quantity: Array) -> Array:
        """Probability that anything is missing in the window, shape (n,)."""
        return np.asarray((self.walk(quantity).short > _EXACT).mean(axis=1))

    def cheapest(self, costs: Costs) -> Array:
        """The smallest order of least cost, among ever closer ones around the best, shape (n,)."""
        low, high = np.zeros(len(self._in_window)), self._most()
        for _ in range(_ROUNDS):
            points = low + (high - low) * np.linspace(0, 1, _POINTS)[:, None]
            cost = np.array([costs.of(self, point) for point in points])
            best = (cost <= cost.min(axis=0) * (1 + _EXACT)).argmax(axis=0)[None]
            low, chosen, high = (
                np.take_along_axis(points, np.clip(best + side, 0, _POINTS - 1), axis=0)[0] for side in (-1, 0, 1)
            )
        return np.where(costs.ratio > 0, chosen, 0.0)

    def safest(self, service: Array) -> Array:
        """The smallest order with which nothing is missing with probability `service`, shape (n,)."""
        return self._smallest(lambda quantity: self.stock_out_risk(quantity) <= 1 - service + _EXACT)

    def filling(self, target: Array) -> Array:
        """The smallest order with which a share `target` of the demand of the window is met from stock, shape (n,)."""
        allowed = (1 - target) * self._in_window
        return self._smallest(lambda quantity: np.asarray(self.walk(quantity).anew.mean(axis=1) <= allowed + _EXACT))

    def _most(self) -> Array:
        """More than is missing without an order no order can bring, shape (n,)."""
        without = self.walk(np.zeros(len(self._in_window)))
        return np.asarray(np.maximum(without.missing, without.anew).max(axis=1))

    def _smallest(self, enough: Callable[[Array], Flags]) -> Array:
        low, high = np.zeros(len(self._in_window)), self._most()
        none = enough(low)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            reached = enough(middle)
            low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        return np.where(none, 0.0, high)


def _walk(events: Events, ordered: Array, *, lost: bool, steps: int) -> Walk:
    shape = events.demand[:, 0].shape
    left, waiting = np.zeros(shape), np.zeros(shape)
    held, missing, owed, wasted, anew, short = (np.zeros(shape) for _ in range(6))
    for event in range(events.demand.shape[1]):
        supply = events.supply[:, event] + ordered * events.begun[:, event]
        there = np.maximum(supply - left, 0.0)
        still = np.maximum(waiting - there, 0.0)  # what was owed is served first
        wanted = waiting + events.demand[:, event]
        unmet = np.maximum(wanted - there, 0.0)
        left = left + wanted - unmet
        anew += (unmet - still) * events.inside[:, event]
        short = np.maximum(short, unmet * events.inside[:, event])
        spoiled = np.maximum(np.maximum(events.gone[:, event], events.gone_with[:, event] + ordered) - left, 0.0)
        left = left + spoiled
        wasted += spoiled * events.begun[:, event]
        if not lost:
            waiting = unmet
            owed += waiting * events.step_ends[:, event] / steps
            missing = np.where(events.inside[:, event], waiting, missing)
        held += np.maximum(supply - left, 0.0) * events.step_ends[:, event] / steps
    return Walk(held, anew if lost else missing, owed, wasted, anew, short)


def age(paths: Array, position: Position, shelf: Shelf, in_window: Array) -> Ageing:
    """Project perishable stock through the protection interval and the life of what is ordered.

    Args:
        paths: Cumulative demand since the forecast was issued, shape (n, K + 1, paths), units.
        position: What is there and what comes.
        shelf: Ages of the stock.
        in_window: Expected demand of the window, shape (n,), units.
    """
    return Ageing(_events(paths, position, shelf), position, in_window)


@dataclass(frozen=True)
class _Lots:
    """All lots there are and come, but for the order, in the order in which they expire and are sold.

    Attributes:
        units: Shape (n, lots, 1), or (n, lots, paths) where some may not come.
        arrives: When, before any moment for those on hand, shape (n, lots).
        expiry: When each expires, shape (n, lots).
        level: Units up to and with each, shape of `units`.
    """

    units: Array
    arrives: Array
    expiry: Array
    level: Array

    @classmethod
    def of(cls, position: Position, shelf: Shelf) -> _Lots:
        fresh = position.now + shelf.shelf_life[:, None]
        undated = np.maximum(position.on_hand - shelf.lots.sum(axis=1), 0.0)[:, None]
        on_hand = np.concatenate([shelf.lots, undated], axis=1)
        dated = np.concatenate([np.minimum(shelf.lot_expiry, fresh), fresh], axis=1)
        coming = np.maximum(position.receipts, 0.0)
        units = np.concatenate(
            [np.broadcast_to(on_hand[:, :, None], (*on_hand.shape, coming.shape[2])), coming], axis=1
        )
        arrives = np.concatenate([np.full(on_hand.shape, -np.inf), position.due], axis=1)
        expiry = np.concatenate([dated, position.due + shelf.shelf_life[:, None]], axis=1)
        order = np.argsort(expiry, axis=1, kind="stable")
        units = np.take_along_axis(units, order[:, :, None], axis=1)
        arrives, expiry = (np.take_along_axis(each, order, axis=1) for each in (arrives, expiry))
        return cls(units, arrives, expiry, np.cumsum(units, axis=1))

    def received(self, time: Array, *, at_it: bool = False) -> Array:
        """Units there before a moment, or by it, shape (n, paths)."""
        total = np.zeros(time.shape)
        for lot in range(self.arrives.shape[1]):
            arrives = self.arrives[:, lot, None]
            total = total + self.units[:, lot] * (arrives <= time if at_it else arrives < time)
        return total

    def expired(self, time: Array, arrival: Array) -> tuple[Array, Array]:
        """The level of the last lot expired by a moment: of those older than the order, and of the younger ones."""
        older, younger = np.full(time.shape, -np.inf), np.full(time.shape, -np.inf)
        for lot in range(self.arrives.shape[1]):
            level = np.where(self.expiry[:, lot, None] <= time, self.level[:, lot], -np.inf)
            before = self.arrives[:, lot, None] <= arrival
            older = np.maximum(older, np.where(before, level, -np.inf))
            younger = np.maximum(younger, np.where(before, -np.inf, level))
        return older, younger


def _events(paths: Array, position: Position, shelf: Shelf) -> Events:
    shape = (len(paths), paths.shape[2])
    now, arrival, end = (np.broadcast_to(time, shape) for time in (position.now, position.arrival, position.end))
    lots = _Lots.of(position, shelf)
    spoils = arrival + shelf.shelf_life[:, None]
    times, step_ends = _times(now, arrival, end, spoils, position, lots)
    own = lots.received(arrival, at_it=True)
    older, younger, supply, asked = [], [], [], [np.zeros(shape)]
    already = until(paths, position.now)
    for time in np.moveaxis(times, 1, 0):
        asked.append(until(paths, time) - already + _leaving(position, time))
        supply.append(lots.received(time))
        gone, gone_with = lots.expired(time, arrival)
        older.append(gone)
        younger.append(np.maximum(gone_with, np.where(spoils <= time, own, -np.inf)))
    before = np.concatenate([now[:, None], times[:, :-1]], axis=1)
    begun = arrival[:, None] < times
    return Events(
        demand=np.maximum(np.diff(np.stack(asked, axis=1), axis=1), 0.0),
        supply=np.stack(supply, axis=1),
        gone=np.stack(older, axis=1),
        gone_with=np.stack(younger, axis=1),
        begun=begun,
        inside=begun & (arrival[:, None] <= before) & (times <= end[:, None]),
        step_ends=step_ends,
    )


def _times(
    now: Array, arrival: Array, end: Array, spoils: Array, position: Position, lots: _Lots
) -> tuple[Array, Flags]:
    """Moments at which something happens, ascending, shape (n, events, paths), and which of them end a step."""
    last = np.maximum(end, np.where(np.isfinite(spoils), spoils, end))
    ends = [arrival + position.review * ((step + 1) / position.steps) for step in range(position.steps)]
    known = np.concatenate([position.due, lots.expiry], axis=1)[:, :, None]
    drawn = np.stack([np.broadcast_to(time, arrival.shape) for time in (*ends, arrival, spoils)], axis=1)
    times = np.concatenate([np.broadcast_to(known, (*known.shape[:2], arrival.shape[1])), drawn], axis=1)
    times = np.clip(times, now[:, None], last[:, None])
    order = np.argsort(times, axis=1, kind="stable")
    step_ends = (order >= known.shape[1]) & (order < known.shape[1] + position.steps)
    return np.take_along_axis(times, order, axis=1), step_ends


def _leaving(position: Position, time: Array) -> Array:
    """Units that customers have ordered and that left before a moment, shape (n, paths)."""
    total = np.zeros(time.shape)
    for slot in range(position.due.shape[1]):
        total = total + np.maximum(-position.receipts[:, slot], 0.0) * (position.due[:, slot, None] < time)
    return total
