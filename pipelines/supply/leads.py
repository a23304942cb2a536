"""How long an order takes: the record of a line where there is one, drawn toward that of its supplier.

A few receipts of one item say little; all receipts of its supplier say more, though not of this item. The quantiles of
the two are averaged (Vincent's average: Ratcliff 1979, doi:10.1037/0033-2909.86.3.446) with weights n and 5, so that
five receipts of its own weigh as much as the supplier. Without any record the stated mean and deviation hold (gamma).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.notation import numbers
from pipelines.supply.paths import Array, lead_times

SUPPORT = (np.arange(32) + 0.5) / 32
_SUPPLIER_WEIGHT = 5.0
_EXACT = 1e-9


@dataclass(frozen=True)
class Record:
    """Observed lead times of many groups, one after the other.

    Attributes:
        days: All of them, sorted within each group, shape (observations,).
        start: Where each group begins, shape (g,).
        count: How many each has, shape (g,).
    """

    days: Array
    start: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]

    def rows(self, chosen: npt.NDArray[np.intp]) -> Record:
        """The record of some groups."""
        return Record(self.days, self.start[chosen], self.count[chosen])

    def quantiles(self, levels: Array) -> Array:
        """The smallest observation that a share of each level does not exceed, shape (g, levels); 0 where none is."""
        place = np.clip(np.ceil(levels[None, :] * self.count[:, None] - _EXACT).astype(np.int64) - 1, 0, None)
        some = self.count[:, None] > 0
        return np.where(some, self.days[np.where(some, self.start[:, None] + place, 0)] if len(self.days) else 0.0, 0.0)


@dataclass(frozen=True)
class Leads:
    """Lead times of many lines, days.

    Attributes:
        own: The record of each line.
        supplier: The record of each line's supplier, all its items together.
        mean: Stated mean, shape (n,).
        deviation: Stated standard deviation, shape (n,).
        stated: Whether the terms state a mean, shape (n,): else the supplier's record is better than a default.
    """

    own: Record
    supplier: Record
    mean: Array
    deviation: Array
    stated: npt.NDArray[np.bool_]

    @property
    def observed(self) -> npt.NDArray[np.bool_]:
        """Which lines a record speaks of, shape (n,)."""
        return (self.own.count > 0) | (~self.stated & (self.supplier.count > 0))

    def rows(self, chosen: npt.NDArray[np.intp]) -> Leads:
        """The lead times of some lines."""
        return Leads(
            own=self.own.rows(chosen),
            supplier=self.supplier.rows(chosen),
            mean=self.mean[chosen],
            deviation=self.deviation[chosen],
            stated=self.stated[chosen],
        )

    def quantiles(self, levels: Array) -> Array:
        """Quantiles of each line's lead time, days, shape (n, levels)."""
        seen = np.flatnonzero(self.observed)
        assumed = np.flatnonzero(~self.observed & (self.deviation > 0))
        quantiles = np.repeat(self.mean[:, None], len(levels), axis=1)
        own, supplier = self.own.rows(seen), self.supplier.rows(seen)
        weight = (own.count / (own.count + _SUPPLIER_WEIGHT))[:, None]
        quantiles[seen] = weight * own.quantiles(levels) + (1 - weight) * supplier.quantiles(levels)
        quantiles[assumed] = lead_times(levels, self.mean[assumed], self.deviation[assumed])
        return quantiles


def leads(terms: pl.DataFrame, offers: pl.DataFrame) -> Leads:
    """Lead times of each line.

    Args:
        terms: One row a line, from `terms.complete_terms`.
        offers: Table supply_terms: every row of a supplier tells of it.
    """
    lines = terms.select("supplier_id", days=numbers("lead_times_days")).with_row_index("group")
    told = offers.select("supplier_id", days=numbers("lead_times_days")).explode("days").drop_nulls()
    names = terms["supplier_id"].unique().sort()
    numbered = pl.DataFrame({"supplier_id": names}).with_row_index("group")
    by_supplier = _record(told.join(numbered, on="supplier_id").select("group", "days"), len(names))
    place = terms.select("supplier_id").join(numbered, on="supplier_id", maintain_order="left")["group"].to_numpy()
    return Leads(
        own=_record(lines.select("group", "days").explode("days").drop_nulls(), terms.height),
        supplier=Record(by_supplier.days, by_supplier.start[place], by_supplier.count[place]),
        mean=terms["lead_time_days"].to_numpy(),
        deviation=terms["lead_time_sd_days"].to_numpy(),
        stated=terms["lead_time_stated"].to_numpy(),
    )


def _record(observed: pl.DataFrame, groups: int) -> Record:
    """The record from one row an observation: `group` from 0, `days`."""
    observed = observed.sort("group", "days")
    count = np.bincount(observed["group"].to_numpy(), minlength=groups)
    return Record(days=observed["days"].to_numpy(), start=np.cumsum(count) - count, count=count)
