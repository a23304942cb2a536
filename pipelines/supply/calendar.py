"""On which days orders go out and goods come in: the calendar of each line, for many lines at once.

An order goes out on the first order day of its supplier; past the day's cut-off it is seen on the next one. It arrives
its lead time later, on the first delivery day from then on. The next order can be placed on the first order day at
least a review interval later: what it brings, and when, ends the time this order must last for.

Days are counted from 1970-01-01, a Thursday.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from features.notation import minutes, weekdays
from pipelines.supply.paths import Array

Days = npt.NDArray[np.int64]
_THURSDAY = 3
_EXACT = 1e-9


@dataclass(frozen=True)
class Calendar:
    """When each line can be ordered and received.

    Attributes:
        order_days: Whether orders are taken on Monday … Sunday, shape (n, 7); all true where nothing is said.
        delivery_days: Whether goods come on Monday … Sunday, shape (n, 7).
        delivers_on_days: Whether delivery days are stated at all, shape (n,): goods come at day's opening only there.
        misses_today: Whether orders go out after the supplier's cut-off, shape (n,).
        review_days: Least days between two orders, shape (n,).
    """

    order_days: npt.NDArray[np.bool_]
    delivery_days: npt.NDArray[np.bool_]
    delivers_on_days: npt.NDArray[np.bool_]
    misses_today: npt.NDArray[np.bool_]
    review_days: Days

    def order_on(self, day: date) -> Days:
        """The day an order decided at the opening of `day` reaches the supplier, shape (n,)."""
        return on_or_after(day_number(day) + self.misses_today, self.order_days)

    def next_order_on(self, ordered_on: Days) -> Days:
        """The day of the order after that, shape (n,)."""
        return on_or_after(ordered_on + self.review_days, self.order_days)

    def arrival(self, ordered_on: Days, lead_days: Array) -> Array:
        """The moment goods can be sold, in days; for lead times of shape (n, m), shape (n, m).

        Where delivery days are stated a part of a day counts as a whole one; elsewhere the lead time is kept as it is.
        """
        after = ordered_on[:, None] + lead_days
        whole = np.ceil(after - _EXACT).astype(np.int64)
        delivered = on_or_after(whole, self.delivery_days).astype(np.float64)
        return np.where(self.delivers_on_days[:, None], delivered, after)


def calendar(terms: pl.DataFrame, orders_placed_at: str) -> Calendar:
    """The calendar of each line from its terms.

    Args:
        terms: `order_days`, `delivery_days`, `cut_off` and `review_days`, one row a line.
        orders_placed_at: Local time of day at which orders go out, `HH:MM`.
    """
    placed = pl.DataFrame({"at": [orders_placed_at]}).select(minutes("at")).item()
    late = terms.select((minutes("cut_off") < placed).fill_null(False)).to_series()
    return Calendar(
        order_days=_week(terms, "order_days"),
        delivery_days=_week(terms, "delivery_days"),
        delivers_on_days=terms["delivery_days"].is_not_null().to_numpy(),
        misses_today=late.to_numpy(),
        review_days=terms["review_days"].cast(pl.Int64).to_numpy(),
    )


def on_or_after(day: Days, week: npt.NDArray[np.bool_]) -> Days:
    """The first day from `day` on which a line's week is open.

    Args:
        day: Day numbers, shape (n,) or (n, m).
        week: Monday … Sunday, shape (n, 7); at least one of them open.

    Returns:
        Day numbers, shape of `day`.

    Example:
        >>> thursdays = np.array([[False, False, False, True, False, False, False]])
        >>> on_or_after(np.array([[0, 1, 7, 8]]), thursdays).tolist()
        [[0, 7, 7, 14]]
    """
    ahead = np.stack(
        [np.take_along_axis(week, (np.arange(7) + first)[None, :] % 7, axis=1).argmax(axis=1) for first in range(7)],
        axis=1,
    )
    weekday = (day + _THURSDAY) % 7
    wait = np.take_along_axis(ahead, weekday if day.ndim == 2 else weekday[:, None], axis=1)
    return np.asarray(day + (wait if day.ndim == 2 else wait[:, 0]))


def day_number(day: date) -> int:
    """Days from 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def _week(terms: pl.DataFrame, column: str) -> npt.NDArray[np.bool_]:
    """Monday … Sunday of each line, shape (n, 7); every day where nothing is said."""
    stated = terms.select(days=weekdays(column))
    flags = (pl.col("days").list.contains(day).fill_null(True).alias(str(day)) for day in range(7))
    return stated.select(flags).to_numpy()
