"""When an order decided today goes out, when it arrives, and when the one after it could: calendar and lead time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from pipelines.supply.calendar import Calendar, Days, calendar, day_number
from pipelines.supply.leads import SUPPORT, leads
from pipelines.supply.paths import Array

_LIKELY = np.array([0.5, 0.9])
_SLOW = np.array([0.975])  # about two standard deviations late; of fewer than forty observations the longest
_A_MONDAY = date(1970, 1, 5)
_EXACT = 1e-9


@dataclass(frozen=True)
class Schedule:
    """Dates of each line. Times in days from the opening of the decision day, days as numbers from 1970-01-01.

    Attributes:
        order_on: The day the order goes out, shape (n,).
        receive_on: The day it can be sold, as likely kept as not, and kept in nine cases of ten, shape (n, 2).
        lead: Mean time until it arrives, waiting for the order day included, shape (n,).
        lead_sd: Its standard deviation, shape (n,).
        lead_observed: Times until it arrives at evenly spread levels, rising, shape (n, m); not-a-number where mean and
            deviation say it all. None where they do for every line.
        review: Mean time from this arrival to that of the next order, shape (n,).
    """

    order_on: Days
    receive_on: Days
    lead: Array
    lead_sd: Array
    lead_observed: Array | None
    review: Array


def schedule(terms: pl.DataFrame, offers: pl.DataFrame, as_of: date, orders_placed_at: str) -> Schedule:
    """The schedule of each line.

    Args:
        terms: One row a line, from `terms.complete_terms`.
        offers: Table supply_terms with all its columns: what every item of a supplier tells of its lead times.
        as_of: The day of the decision, at its opening.
        orders_placed_at: Local time of day at which orders go out, `HH:MM`.
    """
    dates, lead = calendar(terms, orders_placed_at), leads(terms, offers)
    order_on, today = dates.order_on(as_of), day_number(as_of)
    arrival, review = _arrivals(dates, order_on, lead.mean[:, None])
    time, deviation, observed = arrival[:, 0] - today, lead.deviation.copy(), None
    some = np.flatnonzero(lead.observed | (dates.delivers_on_days & (lead.deviation > 0)))
    if len(some):
        arrival, review[some] = _arrivals(dates.rows(some), order_on[some], lead.rows(some).quantiles(SUPPORT))
        arrival -= today
        time[some], deviation[some] = arrival.mean(axis=1), arrival.std(axis=1)
        observed = np.full((len(time), len(SUPPORT)), np.nan)
        observed[some] = arrival
    likely = dates.arrival(order_on, lead.quantiles(_LIKELY))
    return Schedule(
        order_on=order_on,
        receive_on=np.ceil(likely - _EXACT).astype(np.int64),
        lead=time,
        lead_sd=deviation,
        lead_observed=observed,
        review=review,
    )


def longest_cover_days(terms: pl.DataFrame, offers: pl.DataFrame, orders_placed_at: str) -> Array:
    """Most days from a decision until the order after it could arrive, whatever the weekday, shape (n,).

    Waiting for order and delivery days counts; a lead time is taken as slow as it gets in one case of forty.

    Args:
        terms: One row a line or offer, from `terms.complete_terms` or `terms.complete_offers`.
        offers: As for `schedule`, and so is the rest.
        orders_placed_at: Local time of day at which orders go out, `HH:MM`.
    """
    dates, slow = calendar(terms, orders_placed_at), leads(terms, offers).quantiles(_SLOW)
    opened = [_A_MONDAY + timedelta(days=weekday) for weekday in range(7)]
    last = [dates.arrival(dates.next_order_on(dates.order_on(day)), slow)[:, 0] - day_number(day) for day in opened]
    return np.asarray(np.max(last, axis=0))


def _arrivals(dates: Calendar, order_on: Days, lead_days: Array) -> tuple[Array, Array]:
    """When orders arrive, shape (n, m), and the mean time until the next order could, shape (n,); days.

    Two orders that the same delivery brings are one: the next is the one after.
    """
    arrival = dates.arrival(order_on, lead_days)
    following = dates.arrival(dates.next_order_on(order_on), lead_days)
    together = np.flatnonzero((following <= arrival).any(axis=1))
    if len(together):
        later = dates.rows(together).delivery_after(arrival[together])
        following[together] = np.maximum(following[together], later)
    return arrival, (following - arrival).mean(axis=1)
