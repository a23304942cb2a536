"""On which days orders go out and goods come in: the calendar of each line, for many lines at once.

An order goes out on the first order day of its supplier; past the day's cut-off it is seen on the next one. It arrives
its lead time later, on the first delivery day from then on. The next order can be placed on the first order day at
least a review interval later: what it brings, and when, ends the time this order must last for.

Days are counted from 1970-01-01, a Thursday.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from features.notation import minutes, weekdays
from pipelines.supply.paths import Array

Days = npt.NDArray[np.int64]
EVERY_DAY = 0b1111111  # a week is a number: bit 0 Monday, … bit 6 Sunday
_THURSDAY = 3
_EXACT = 1e-9


def _waits() -> Days:
    """Days to wait for an open one, by week and weekday, shape (128 · 7,)."""
    weeks, weekdays, ahead = np.ix_(np.arange(128), np.arange(7), np.arange(7))
    is_open = (weeks >> ((weekdays + ahead) % 7)) & 1
    return np.asarray(is_open.argmax(axis=2).astype(np.int64).ravel())


_WAITS = _waits()


@dataclass(frozen=True)
class Calendar:
    """When each line can be ordered and received.

    Attributes:
        order_days: The week in which orders are taken, shape (n,); `EVERY_DAY` where nothing is said.
        delivery_days: The week in which goods come, shape (n,).
        delivers_on_days: Whether delivery days are stated at all, shape (n,): goods come at day's opening only there.
        misses_today: Whether orders go out after the supplier's cut-off, shape (n,).
        review_days: Least days between two orders, shape (n,).
    """

    order_days: Days
    delivery_days: Days
    delivers_on_days: npt.NDArray[np.bool_]
    misses_today: npt.NDArray[np.bool_]
    review_days: Days

    def rows(self, chosen: npt.NDArray[np.intp]) -> Calendar:
        """The calendar of some lines."""
        return Calendar(*(getattr(self, each.name)[chosen] for each in fields(self)))

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
        arrival = ordered_on[:, None] + lead_days
        some = np.flatnonzero(self.delivers_on_days)
        if len(some):
            whole = np.ceil(arrival[some] - _EXACT).astype(np.int64)
            arrival[some] = on_or_after(whole, self.delivery_days[some])
        return arrival

    def delivery_after(self, arrival: Array) -> Array:
        """The first delivery on a later day, days, shape of `arrival` (n, m)."""
        return on_or_after(np.floor(arrival).astype(np.int64) + 1, self.delivery_days).astype(np.float64)


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


def on_or_after(day: Days, week: Days) -> Days:
    """The first day from `day` on which a line's week is open.

    Args:
        day: Day numbers, shape (n,) or (n, m).
        week: Open weekdays as bits, bit 0 Monday, shape (n,).

    Returns:
        Day numbers, shape of `day`.

    Example:
        >>> thursdays = np.array([0b0001000])
        >>> on_or_after(np.array([[0, 1, 7, 8]]), thursdays).tolist()
        [[0, 7, 7, 14]]
    """
    open_on = week if day.ndim == 1 else week[:, None]
    return np.asarray(day + _WAITS[open_on * 7 + (day + _THURSDAY) % 7])


def day_number(day: date) -> int:
    """Days from 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def _week(terms: pl.DataFrame, column: str) -> Days:
    """The week of each line as bits, shape (n,). Lines share few weeks, so each is read once."""
    said = terms.select(column).drop_nulls().unique(maintain_order=True)
    bits = said.select(weekdays(column).list.unique().list.eval(pl.lit(2).pow(pl.element())).list.sum()).to_series()
    return terms[column].replace_strict(said[column], bits, default=EVERY_DAY, return_dtype=pl.Int64).to_numpy()
