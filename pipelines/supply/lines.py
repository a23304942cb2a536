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


# One number for all lines; typed Any so that an array may take its place.
_UNSAID: Any = np.float64(np.nan)
_NEVER: Any = np.float64(np.inf)
_NONE: Any = np.float64(0)
_SURE: Any = np.float64(1)


@dataclass(frozen=True)
class Lines:
    """Lines to decide, as arrays of shape (n,) unless said. Times in periods since the forecast was issued.

    What has a default may be left out, or be one number (an array without dimensions, np.float64) for all lines.

    Attributes:
        on_hand: Units at the opening of the decision day.
        receipts: Units of each open order, shape (n, s).
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
    lead_observed: Array = _UNSAID
    confidence: Array = _SURE
    lots: Array = _NONE
    lot_expiry: Array = _NEVER
    shelf_life: Array = _NEVER
    unit_cost: Array = _NONE
    backorder_cost: Array = _NONE
    service_kind: Array = _UNSAID
    fixed_cost: Array = _NONE
    storage_maximum: Array = _NEVER
    ratio: Array = _UNSAID

    def __post_init__(self) -> None:
        n = len(self.on_hand)
        wide = {"lead_observed": 1, "confidence": self.receipts.shape[1], "lots": 1, "lot_expiry": 1}
        for name, value in ((f.name, getattr(self, f.name)) for f in fields(self)):
            if value.ndim == 0:
                whole = np.full((n, wide[name]) if name in wide else n, value)
                object.__setattr__(self, name, whole)

    def rows(self, chosen: npt.NDArray[np.intp]) -> Lines:
        """Some of the lines."""
        return Lines(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def completed(self, supply: Supply) -> Lines:
        """The lines with what they leave to the settings."""
        kind = np.where(np.isnan(self.service_kind), _KIND_OF[supply.objective], self.service_kind)
        ratio = np.where(np.isnan(self.ratio), supply.effective_ratio, self.ratio)
        return replace(self, service_kind=kind, ratio=ratio)

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
