"""The lines to decide, as arrays: what is there, what comes, and the terms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.settings import Supply
from pipelines.supply.paths import Array

COST, CYCLE, FILL_RATE = range(3)  # what a line is to reach: least cost, cycle service, fill rate
_KIND_OF = {"cost": COST, "service": CYCLE, "fill_rate": FILL_RATE}


_OTHERWISE = {
    "lead_observed": np.nan,
    "confidence": 1.0,
    "lots": 0.0,
    "lot_expiry": np.inf,
    "shelf_life": np.inf,
    "unit_cost": 0.0,
    "backorder_cost": 0.0,
    "service_kind": np.nan,
    "fixed_cost": 0.0,
    "storage_maximum": np.inf,
    "ratio": np.nan,
    "break_quantity": np.inf,
    "break_cost": 0.0,
    "rounding": 0.0,
}

Given = Any  # an array, one number for all lines, or None for the default; an array once the lines are made


@dataclass(frozen=True)
class Lines:
    """Lines to decide, as arrays of shape (n,) unless said. Times in periods since the forecast was issued.

    What has a default may be left out or None, or be one number for all lines.

    Attributes:
        on_hand: Units at the opening of the decision day.
        receipts: Units of each open order, shape (n, s); below zero where units leave for sure.
        due: When each arrives, shape (n, s).
        now: The decision day.
        lead: Mean lead time, periods.
        lead_sd: Its standard deviation, periods.
        review: Periods between reviews.
        holding_cost: Per unit and period.
        shortage_cost: Per unit of unmet demand.
        service_target: Probability that nothing is missing between two receipts, or share of demand met from stock.
        moq: Minimum order quantity.
        multiple: Order multiple.
        maximum: Largest order.
        lead_observed: Lead times seen, periods, ascending, shape (n, m), padded with not-a-number; lines without any
            take mean and deviation.
        confidence: Probability that each open order comes at all, shape (n, s).
        lots: Units of each lot on hand, shape (n, l); with them `on_hand` is their sum.
        lot_expiry: When each lot expires, shape (n, l).
        shelf_life: Periods that fresh units keep from their arrival; infinite where they keep.
        unit_cost: Of one unit, paid again for each that expires.
        backorder_cost: Per unit owed and period, where unmet demand waits.
        service_kind: COST, CYCLE or FILL_RATE; not-a-number: as the settings say.
        fixed_cost: Of one order line.
        storage_maximum: Most units on hand and on order.
        ratio: Effective ratio: scales the critical ratio; not-a-number: as the settings say.
        break_quantity: Quantities from which a unit costs less, ascending, padded with infinity, shape (n, b).
        break_cost: What it costs then, shape (n, b).
        rounding: To the multiple: 0 whatever costs least, 1 up, 2 down, 3 to the nearest.
    """

    on_hand: Array
    receipts: Array
    due: Array
    now: Array
    lead: Array
    lead_sd: Array
    review: Array
    holding_cost: Array
    shortage_cost: Array
    service_target: Array
    moq: Array
    multiple: Array
    maximum: Array
    lead_observed: Given = None
    confidence: Given = None
    lots: Given = None
    lot_expiry: Given = None
    shelf_life: Given = None
    unit_cost: Given = None
    backorder_cost: Given = None
    service_kind: Given = None
    fixed_cost: Given = None
    storage_maximum: Given = None
    ratio: Given = None
    break_quantity: Given = None
    break_cost: Given = None
    rounding: Given = None

    def __post_init__(self) -> None:
        n, slots = self.receipts.shape
        wide = {
            "lead_observed": 1,
            "confidence": slots,
            "lots": 1,
            "lot_expiry": 1,
            "break_quantity": 1,
            "break_cost": 1,
        }
        for name, otherwise in _OTHERWISE.items():
            given = getattr(self, name)
            value = np.asarray(otherwise if given is None else given, dtype=np.float64)
            if value.ndim == 0:
                value = np.full((n, wide[name]) if name in wide else n, value)
            object.__setattr__(self, name, value)

    def rows(self, chosen: npt.NDArray[np.intp]) -> Lines:
        """Some of the lines."""
        return Lines(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def completed(self, supply: Supply) -> Lines:
        """The lines with what they leave to the settings."""
        effective = 1.0 if supply.effective_ratio == "auto" else supply.effective_ratio
        kind = np.where(np.isnan(self.service_kind), _KIND_OF[supply.objective], self.service_kind)
        return replace(self, service_kind=kind, ratio=np.where(np.isnan(self.ratio), effective, self.ratio))

    def steps(self) -> npt.NDArray[np.int64]:
        """Steps of about one period in a review interval, shape (n,)."""
        return np.maximum(np.rint(self.review), 1).astype(np.int64)

    def lead_varies(self) -> npt.NDArray[np.bool_]:
        """Which lines have a lead time that is not the same each time, shape (n,)."""
        return np.asarray((self.lead_sd > 0) | np.isfinite(self.lead_observed).any(axis=1))

    def lead_moments(self) -> tuple[Array, Array]:
        """Mean and variance of each lead time, of those observed where there are some, shape (n,), periods."""
        seen = np.isfinite(self.lead_observed)
        count = np.maximum(seen.sum(axis=1), 1)
        mean = np.where(seen, self.lead_observed, 0.0).sum(axis=1) / count
        variance = np.where(seen, (self.lead_observed - mean[:, None]) ** 2, 0.0).sum(axis=1) / count
        stated = ~seen.any(axis=1)
        return np.where(stated, self.lead, mean), np.where(stated, self.lead_sd**2, variance)

    def due_by_arrival(self) -> Array:
        """Expected units that come, less those that leave, by the mean arrival of an order placed now, shape (n,)."""
        lead, _ = self.lead_moments()
        return np.asarray((self.receipts * self.confidence * (self.due <= (self.now + lead)[:, None])).sum(axis=1))

    def may_fail(self) -> npt.NDArray[np.bool_]:
        """Which lines have an open order that may not come, shape (n,)."""
        return np.asarray(((self.confidence < 1) & (self.receipts > 0)).any(axis=1))

    def perishable(self) -> npt.NDArray[np.bool_]:
        """Which lines hold or order units that expire, shape (n,)."""
        return np.asarray(np.isfinite(self.shelf_life) | ((self.lots > 0) & np.isfinite(self.lot_expiry)).any(axis=1))

    def blocks(self, *more: npt.NDArray[np.intp] | None, at_once: int) -> Iterator[npt.NDArray[np.intp]]:
        """Row numbers of lines that can be worked on together, at most `at_once` of them.

        Args:
            more: What else must be equal within a block, whole numbers, each shape (n,).
            at_once: Most lines of a block.
        """
        kinds = [self.steps(), self.lead_varies(), self.may_fail(), self.perishable(), self.service_kind]
        whole = np.zeros(len(self.on_hand), dtype=np.int64)
        for kind in (*kinds, *(each for each in more if each is not None)):
            values, place = np.unique(kind, return_inverse=True)
            whole = whole * len(values) + place
        order = np.argsort(whole, kind="stable")
        starts = np.flatnonzero(np.diff(whole[order], prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            yield from (order[at : min(at + at_once, stop)] for at in range(start, stop, at_once))
