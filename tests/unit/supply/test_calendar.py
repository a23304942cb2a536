"""Days on which orders go out and goods come in, against a walk through the calendar day by day."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.supply.calendar import EVERY_DAY, calendar, day_number, on_or_after
from pipelines.supply.schedule import schedule
from pipelines.supply.terms import valid_terms

NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TUESDAY = date(2024, 4, 16)
weeks = st.lists(st.sampled_from(range(7)), min_size=1, unique=True)


def walked(day, allowed):
    """The first day from `day` on whose weekday is allowed, by looking at one after the other."""
    while day.weekday() not in allowed:
        day += timedelta(days=1)
    return day


@given(day=st.dates(date(1960, 1, 1), date(2090, 1, 1)), allowed=weeks)
def test_the_first_open_day_is_the_one_a_walk_finds(day, allowed):
    week = np.array([sum(2**weekday for weekday in allowed)])
    assert on_or_after(np.array([day_number(day)]), week).tolist() == [day_number(walked(day, allowed))]
    both = on_or_after(np.array([[day_number(day), day_number(day) + 3]]), week)
    assert both[0, 1] == day_number(walked(day + timedelta(days=3), allowed))


def terms(**given):
    """One line, as `complete_terms` leaves it; the calendar open unless said."""
    said = {"supplier_id": "S", "order_days": None, "delivery_days": None, "cut_off": None, "lead_times_days": None}
    said |= {"review_days": 7, "lead_time_days": 14.0, "lead_time_sd_days": 0.0, "lead_time_stated": True} | given
    text = dict.fromkeys(("order_days", "delivery_days", "cut_off", "lead_times_days"), pl.String)
    return pl.DataFrame({name: [value] for name, value in said.items()}, schema_overrides=text)


def planned(placed="09:00", as_of=TUESDAY, **given):
    line = terms(**given)
    return schedule(line, valid_terms(line, None), as_of, placed)


def days(numbers):
    return [date(1970, 1, 1) + timedelta(days=int(number)) for number in np.ravel(numbers)]


@given(orders=weeks, deliveries=weeks, lead=st.integers(0, 30), review=st.integers(1, 20), late=st.booleans())
def test_an_order_is_walked_from_desk_to_shelf(orders, deliveries, lead, review, late):
    made = planned(
        order_days=";".join(NAMES[day] for day in orders),
        delivery_days=";".join(NAMES[day] for day in deliveries),
        lead_time_days=float(lead),
        review_days=review,
        cut_off="08:59" if late else "09:00",
    )
    ordered = walked(TUESDAY + timedelta(days=int(late)), orders)
    arrives = walked(ordered + timedelta(days=lead), deliveries)
    again = walked(ordered + timedelta(days=review), orders)
    then = walked(again + timedelta(days=lead), deliveries)
    if then == arrives:  # one delivery brings both: what counts is the next one
        then = walked(arrives + timedelta(days=1), deliveries)
    assert days(made.order_on) == [ordered]
    assert days(made.receive_on) == [arrives, arrives]
    assert made.lead.tolist() == [(arrives - TUESDAY).days]
    assert made.review.tolist() == [(then - arrives).days]
    assert made.lead_observed is None


def test_without_a_calendar_times_stay_what_they_are():
    made = planned(lead_time_days=2.5, review_days=3)
    assert (made.lead.tolist(), made.review.tolist()) == ([2.5], [3.0])
    assert days(made.order_on) == [TUESDAY]
    assert days(made.receive_on) == [TUESDAY + timedelta(days=3)] * 2


def test_lead_times_that_vary_arrive_on_delivery_days_only():
    made = planned(delivery_days="fri", lead_time_sd_days=5.0)
    arrivals = {day.weekday() for day in days(made.lead_observed + day_number(TUESDAY))}
    assert arrivals == {4}
    assert made.lead[0] == pytest.approx(made.lead_observed.mean())
    assert made.lead_sd[0] == pytest.approx(made.lead_observed.std())
    assert made.review[0] == pytest.approx(7.0)
    assert days(made.receive_on)[0] < days(made.receive_on)[1]


def test_a_cut_off_counts_only_on_a_day_on_which_orders_are_taken():
    assert days(planned(order_days="thu", cut_off="06:00").order_on) == [date(2024, 4, 18)]
    assert days(planned(order_days="tue;thu", cut_off="06:00").order_on) == [date(2024, 4, 18)]
    assert days(planned(order_days="tue;thu", cut_off="06:00", placed="06:00").order_on) == [TUESDAY]


def test_nothing_said_is_every_day():
    made = calendar(terms(), "09:00")
    assert made.order_days.tolist() == made.delivery_days.tolist() == [EVERY_DAY]
    assert not made.misses_today.any()
