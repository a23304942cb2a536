"""Stock projected path by path to the moment an order placed now arrives, and from there to the next receipt.

An order placed now can change nothing before it arrives (the lead time) and is the last word until an order placed at
the next review arrives (lead + review): the protection interval. Costs are those of the window between the two
moments. Unmet demand before the arrival is lost or waits, and that decides how much stock the order finds: the
critical-ratio quantile of demand over the whole interval ignores it and orders too much where sales are lost
(Zipkin 2008, doi:10.1287/opre.1070.0471); the projected inventory level does not (van Jaarsveld & Arts 2024,
doi:10.1287/opre.2021.0032).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.supply.paths import Array, until
from pipelines.supply.window import Costs

_EXACT = 1e-9


@dataclass(frozen=True)
class Position:
    """What is there and what comes, line by line. Times in periods since the forecast was issued.

    Attributes:
        on_hand: Units at the opening of the decision day, shape (n,).
        receipts: Units of each open order, shape (n, s, 1), or (n, s, paths) where some may not come; zero where a
            line has fewer.
        due: When each arrives, shape (n, s).
        now: The decision day, shape (n, 1).
        arrival: When an order placed now arrives, shape (n, 1) or (n, paths).
        review: Periods until the next review, shape (n, 1).
        steps: Into how many equal steps the window is cut; stock is held at the end of each.
        lost: Whether unmet demand is lost; otherwise it waits.
    """

    on_hand: Array
    receipts: Array
    due: Array
    now: Array
    arrival: Array
    review: Array
    steps: int
    lost: bool

    @property
    def end(self) -> Array:
        """When the next order could arrive, shape of `arrival`."""
        return self.arrival + self.review

    def received_before(self, time: Array) -> Array:
        """Units received strictly before a moment, shape (n, 1) or (n, paths)."""
        received = np.zeros_like(self.on_hand[:, None])
        for slot in range(self.due.shape[1]):
            received = received + self.receipts[:, slot] * (self.due[:, slot, None] < time)
        return received

    def supply_before(self, time: Array) -> Array:
        """Units on hand or received strictly before a moment, shape (n, 1) or (n, paths)."""
        return np.asarray(self.on_hand[:, None] + self.received_before(time))


@dataclass(frozen=True)
class Projection:
    """How much an order must bring, path by path, so that nothing is missing.

    Attributes:
        need: Demand less supply in the window up to the end of each step, shape (n, steps, paths), units. Negative
            where stock is left.
        peak: The most that was missing at any moment of the window up to then, same shape.
        troughs: Where unmet demand waits: demand less supply just after the arrival and after each receipt inside the
            window, shape (n, m, paths); what is owed there is not missing anew.
        crests: The same just before each of these receipts, and at the end, shape (n, m, paths).
        demand: Demand over the protection interval, shape (n, paths), units.
        in_window: Expected demand in the window, shape (n,), units.
        lost: Whether unmet demand is lost; otherwise it waits.
    """

    need: Array
    peak: Array
    troughs: Array
    crests: Array
    demand: Array
    in_window: Array
    lost: bool

    def held(self, quantity: Array) -> Array:
        """Expected stock at the end of a step, mean over steps, for an order of `quantity` units, shape (n,)."""
        ordered = quantity[:, None, None]
        if self.lost:  # what was lost on the way is still on the shelf (reflection at zero)
            left = ordered - self.need + np.maximum(self.peak - ordered, 0.0)
        else:
            left = np.maximum(ordered - self.need, 0.0)
        return np.asarray(left.mean(axis=2).mean(axis=1))

    def missing(self, quantity: Array) -> Array:
        """Expected units of unmet demand, lost in the window or owed at its end, shape (n,)."""
        until_end = (self.peak if self.lost else self.need)[:, -1]
        return np.asarray(np.maximum(until_end - quantity[:, None], 0.0).mean(axis=1))

    def owed(self, quantity: Array) -> Array:
        """Expected units owed at the end of a step, mean over steps, shape (n,)."""
        if self.lost:
            return np.zeros_like(quantity)
        return np.asarray(np.maximum(self.need - quantity[:, None, None], 0.0).mean(axis=2).mean(axis=1))

    def wasted(self, quantity: Array) -> Array:
        """Nothing expires here; see `perishables`."""
        return np.zeros_like(quantity)

    def stock_out_risk(self, quantity: Array) -> Array:
        """Probability that anything is missing in the window for an order of `quantity` units, shape (n,)."""
        return np.asarray((self.peak[:, -1] > quantity[:, None] + _EXACT).mean(axis=1))

    def cheapest(self, costs: Costs) -> Array:
        """The smallest order at which one unit more no longer pays.

        The expected cost is convex in the quantity. A unit more is held at the end of each step in which nothing
        would have been missing, and saves a shortage where something would: it stops paying where
        (holding + waiting) · mean over steps of P(need ≤ q) + shortage · P(need at the end ≤ q) reaches
        shortage + waiting. With one step that is the newsvendor quantile of the net need (Snyder & Shen 2019,
        section 4.3).

        Returns:
            Units, shape (n,).
        """
        needed = self.peak if self.lost else self.need
        lines, steps, paths = needed.shape
        if steps == 1:
            return _quantile(needed[:, 0], costs.ratio)
        total = costs.holding + costs.waiting + costs.shortage
        timed, once = (
            part / np.where(total > 0, total, 1.0) for part in (costs.holding + costs.waiting, costs.shortage)
        )
        weights = np.repeat(timed[:, None] / (steps * paths), steps * paths, axis=1)
        weights[:, -paths:] += once[:, None] / paths
        needs = needed.reshape(lines, -1)
        order = np.argsort(needs, axis=1, kind="stable")
        reached = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1) >= costs.ratio[:, None] - _EXACT
        first = np.take_along_axis(order, reached.argmax(axis=1)[:, None], axis=1)
        chosen = np.take_along_axis(needs, first, axis=1)[:, 0]
        return np.where(costs.ratio > 0, np.maximum(chosen, 0.0), 0.0)

    def safest(self, service: Array) -> Array:
        """The smallest order with which nothing is missing in the window with probability `service`, shape (n,)."""
        return _quantile(self.peak[:, -1], service)

    def filling(self, target: Array) -> Array:
        """The smallest order with which a share `target` of the demand of the window is met from stock, shape (n,).

        Where sales are lost the expected shortage is the largest of the lines (sum of the k largest peaks − k · q) ÷
        paths over k, so the order is the largest of their crossings with what may be missing. What is owed falls
        between every trough and crest, and the crossing is found by halving.
        """
        paths = self.demand.shape[1]
        allowed = (1 - target) * self.in_window
        if self.lost:
            largest = -np.sort(-self.peak[:, -1], axis=1)
            crossings = (np.cumsum(largest, axis=1) - (paths * allowed)[:, None]) / np.arange(1, paths + 1)
            return np.asarray(np.maximum(crossings.max(axis=1), 0.0))
        low, high = np.zeros(len(allowed)), np.maximum(self.crests.max(axis=(1, 2)), 0.0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            enough = self._owed_anew(middle) <= allowed
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.where(self._owed_anew(np.zeros_like(high)) <= allowed, 0.0, high)

    def _owed_anew(self, quantity: Array) -> Array:
        ordered = quantity[:, None, None]
        anew = np.maximum(self.crests - ordered, 0.0) - np.maximum(self.troughs - ordered, 0.0)
        return np.asarray(anew.sum(axis=1).mean(axis=1))


_HALVINGS = 40


def _quantile(values: Array, level: Array) -> Array:
    """The smallest value that at least a share `level` of each row does not exceed, and not below zero."""
    paths = values.shape[1]
    place: npt.NDArray[np.int64] = np.clip(np.ceil(level * paths - _EXACT).astype(np.int64) - 1, 0, paths - 1)
    chosen = np.take_along_axis(np.sort(values, axis=1), place[:, None], axis=1)[:, 0]
    return np.where(level > 0, np.maximum(chosen, 0.0), 0.0)


def project(paths: Array, position: Position) -> Projection:
    """Project stock through the protection interval.

    Cumulative unmet demand by any moment is the largest excess of demand over supply so far, seen just before each
    receipt and at that moment (reflection of a path at zero), so no path has to be walked step by step.

    Args:
        paths: Cumulative demand since the forecast was issued, shape (n, K + 1, paths), units.
        position: What is there and what comes.
    """
    already = until(paths, position.now)
    arrival, dues = position.arrival, np.moveaxis(position.due, 1, 0)[:, :, None]
    at_arrival = until(paths, arrival) - already
    excess_at_receipts = [until(paths, due) - already - position.supply_before(due) for due in dues]
    before = np.zeros_like(already)
    if position.lost:
        before = np.maximum(at_arrival - position.supply_before(arrival), 0.0)
        for due, excess in zip(dues, excess_at_receipts, strict=True):
            before = np.where(due <= arrival, np.maximum(before, excess), before)
    need = np.empty((len(already), position.steps, already.shape[1]))
    peak = np.empty_like(need)
    for step in range(position.steps):
        end = arrival + position.review * ((step + 1) / position.steps)
        need[:, step] = until(paths, end) - already - position.supply_before(end) - before
        most = need[:, step] if step == 0 else np.maximum(peak[:, step - 1], need[:, step])
        for due, excess in zip(dues, excess_at_receipts, strict=True):
            inside = (arrival < due) & (due <= end)
            most = np.where(inside, np.maximum(most, excess - before), most)
        peak[:, step] = most
    troughs, crests = need[:, :0], need[:, :0]
    if not position.lost:
        troughs, crests = _between_receipts(need[:, -1], at_arrival, excess_at_receipts, position)
    demand = until(paths, position.end) - already
    return Projection(
        need=need,
        peak=peak,
        troughs=troughs,
        crests=crests,
        demand=demand,
        in_window=(demand - at_arrival).mean(axis=1),
        lost=position.lost,
    )


def _between_receipts(
    at_end: Array, at_arrival: Array, excesses: list[Array], position: Position
) -> tuple[Array, Array]:
    """Demand less supply just after the arrival and each receipt of the window, and just before these and the end."""
    arrival, end = position.arrival, position.end
    there = position.on_hand[:, None]
    for slot in range(position.due.shape[1]):
        there = there + position.receipts[:, slot] * (position.due[:, slot, None] <= arrival)
    troughs, crests = [at_arrival - there], [at_end]
    for slot, excess in enumerate(excesses):
        due = position.due[:, slot, None]
        inside = (arrival < due) & (due < end)
        together = (position.due[:, :slot] == due)[:, :, None] * position.receipts[:, :slot]
        before = excess - together.sum(axis=1)
        crests.append(np.where(inside, before, -np.inf))
        troughs.append(np.where(inside, before - position.receipts[:, slot], -np.inf))
    return np.stack(troughs, axis=1), np.stack(crests, axis=1)
