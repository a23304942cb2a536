"""The plan of counts against a queue walked by hand, and phantom stock that was planted."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.calendar import Grid
from features.panel import Panel
from pipelines.settings import StockReview
from pipelines.supply.counting import (
    forecast_in_advance,
    large_movements,
    last_counts,
    plan_counts,
    record_accuracy,
    record_risks,
    silence,
    turns,
)

FIRST, WEEKS = date(2023, 1, 2), 80
DAY = FIRST + timedelta(days=7 * WEEKS)
NOBODY = pl.DataFrame(schema={"product_id": pl.String, "period": pl.Date, "p_zero": pl.Float64})
NEVER = -np.inf


def known_of(quantity):
    grid = Grid("week", FIRST)
    weeks = [FIRST + timedelta(days=7 * week) for week in range(quantity.shape[1])]
    demand = pl.DataFrame(
        [
            (f"P{row:03d}", week, float(units))
            for row, own in enumerate(quantity)
            for week, units in zip(weeks, own, strict=True)
        ],
        schema=["product_id", "period", "quantity"],
        orient="row",
    )
    panel = Panel.build(demand, ["product_id"], grid)
    return panel.known(panel.last)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.floats(0.05, 7))
def test_turns_are_those_of_a_queue(due, pace):
    due = sorted(due)
    free, expected = 0.0, []
    for day in due:
        start = max(float(day), free)
        expected.append(start)
        free = start + 1 / pace
    found = turns(np.array(due, dtype=float), pace)
    assert np.all(np.abs(found - np.floor(np.array(expected) + 1e-9)) <= (np.abs(np.mod(expected, 1)) < 1e-6))
    assert np.all(found >= due)


def test_silence_multiplies_the_chances_of_no_sale():
    quantity = np.array([[0, 1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]], dtype=float)
    known = known_of(quantity)
    periods, chance = silence(known, NOBODY, np.full(3, NEVER))
    assert periods.tolist()[:2] == [2, 0]
    assert chance[0] == pytest.approx(((2 + 1) / (5 + 2)) ** 2)
    assert chance[1:].tolist() == [1.0, 1.0]  # what never sold is no surprise
    told = pl.DataFrame(
        {
            "product_id": ["P000"] * 2,
            "period": [FIRST + timedelta(days=35), FIRST + timedelta(days=42)],
            "p_zero": [0.1, 0.2],
        }
    )
    assert silence(known, told, np.full(3, NEVER))[1][0] == pytest.approx(0.02)
    coming = told.with_columns(pl.col("period") + timedelta(days=14), p_zero=pl.lit(0.9))
    assert silence(known, coming, np.full(3, NEVER))[1][0] == pytest.approx(0.81)
    counted = np.array([known.first + 5.0, NEVER, NEVER])
    assert silence(known, NOBODY, counted)[0][0] == 1


def test_only_forecasts_made_in_advance_count_and_of_those_the_newest():
    rows = [
        (date(2024, 1, 1), date(2024, 1, 8), 2.0, 0.1),
        (date(2024, 1, 8), date(2024, 1, 8), 2.0, 0.2),
        (date(2024, 1, 9), date(2024, 1, 8), 2.0, 0.9),
        (date(2024, 1, 8), date(2024, 1, 15), 2.0, None),
    ]
    frame = pl.DataFrame(rows, schema=["issued_on", "period", "mean", "p_zero"], orient="row")
    found = forecast_in_advance(frame.with_columns(product_id=pl.lit("P")), ["product_id"])
    assert found["p_zero"].to_list() == pytest.approx([0.2, np.exp(-2)])


def test_planted_phantoms_are_found_and_others_are_not():
    rng = np.random.default_rng(12)
    rate = rng.uniform(0.3, 4, 300)
    quantity = rng.poisson(rate[:, None], (300, WEEKS)).astype(float)
    quantity[:, 0] = 1
    planted = rng.random(300) < 0.1
    since = rng.integers(WEEKS - 20, WEEKS - 8, 300)
    quantity[planted[:, None] & (np.arange(WEEKS) >= since[:, None])] = 0
    known = known_of(quantity)
    periods, chance = silence(known, NOBODY, np.full(300, NEVER))
    lines = known.series.select("product_id").with_columns(
        as_of=pl.lit(DAY), on_hand=pl.lit(20.0), demand_mean=pl.Series(rate * 12), silent_periods=pl.Series(periods),
        silence_probability=pl.Series(chance), large_movements=pl.lit(0), last_counted_on=pl.lit(None, dtype=pl.Date),
    )  # fmt: skip
    suspected = record_risks(lines, StockReview())["phantom_probability"].to_numpy() >= 0.5
    assert suspected[planted].mean() >= 0.9
    assert suspected[~planted].mean() <= 0.02


def test_bayes_and_wear_make_the_risk():
    one = {"as_of": DAY, "on_hand": 20.0, "demand_mean": 9.0, "silent_periods": 3, "silence_probability": 0.01}
    cases = [
        one | {"large_movements": 0, "last_counted_on": DAY},
        one | {"large_movements": 4, "last_counted_on": DAY, "silent_periods": 0},
        one | {"large_movements": 0, "last_counted_on": None, "on_hand": 0.0},
        one | {"large_movements": 0, "last_counted_on": DAY, "demand_mean": 0.0},
        one | {"large_movements": 0, "last_counted_on": DAY, "on_hand": -1.0},
    ]
    found = record_risks(pl.DataFrame(cases), StockReview())
    posterior = 0.02 / (0.02 + 0.98 * 0.01)
    assert found["record_risk"].to_list() == pytest.approx([posterior, 0.1, 0.1, 0.0, 1.0])
    assert "20 on the books, but nothing sold for 3 periods" in found["reason"][0]
    assert "a chance of 1 in 100" in found["reason"][0]
    assert found["reason"][4] == "The record is below zero."


def test_large_movements_since_the_last_count():
    quantity = np.full((1, WEEKS), 2.0)
    quantity[0, [5, 60, 75]] = 30
    known = known_of(quantity)
    assert large_movements(known, np.array([NEVER])).tolist() == [2]  # of the last year
    assert large_movements(known, np.array([known.first + 60.0])).tolist() == [1]


def planned(count=(60, 90, 400), **more):
    rng = np.random.default_rng(3)
    lines = pl.concat(
        pl.DataFrame({"product_id": [f"{abc}{row:03d}" for row in range(size)], "abc": [abc] * size})
        for abc, size in zip("ABC", count, strict=True)
    ).with_columns(
        record_risk=pl.lit(0.1), stock_value=pl.Series(rng.uniform(1, 9, sum(count))),
        last_counted_on=pl.lit(None, dtype=pl.Date),
    )  # fmt: skip
    return lines.with_columns(**more)


def test_each_class_is_counted_evenly_on_work_days_in_its_turn():
    lines = planned()
    plan = plan_counts(lines, StockReview(plan_days=400), DAY, keys=["product_id"])
    assert plan.height == lines.height
    assert plan["product_id"].n_unique() == lines.height
    assert all(day.isoweekday() <= 5 for day in plan["count_on"])
    for abc, every in zip("ABC", (30, 91, 365), strict=True):
        days = plan.filter(pl.col("abc") == abc)["count_on"]
        assert (days.max() - DAY).days <= every + 3  # a weekend may come between
        assert days.value_counts()["count"].max() <= np.ceil(len(days) / (every * 5 / 7)) + 1


def test_holidays_are_kept_and_the_plan_ends_where_it_should():
    holiday = next(DAY + timedelta(days=step) for step in range(7) if (DAY + timedelta(days=step)).isoweekday() == 3)
    plan = plan_counts(planned(), StockReview(plan_days=14), DAY, keys=["product_id"], holidays=[holiday])
    assert holiday not in plan["count_on"].to_list()
    assert plan["count_on"].max() < DAY + timedelta(days=14)
    assert plan_counts(planned().clear(), StockReview(), DAY, keys=["product_id"]).columns == [
        *planned().columns,
        "count_on",
    ]


def test_what_is_likely_wrong_comes_first_and_what_was_counted_waits():
    lines = planned(
        record_risk=pl.when(pl.col("product_id") == "C399").then(0.9).otherwise(0.1),
        last_counted_on=pl.when(pl.col("abc") == "A").then(pl.lit(DAY - timedelta(days=2))),
    )
    plan = plan_counts(lines, StockReview(plan_days=60), DAY, keys=["product_id"])
    assert plan["product_id"][0] == "C399"
    assert plan.filter(pl.col("abc") == "A")["count_on"].min() >= DAY + timedelta(days=28)
    shuffled = plan_counts(
        lines.sample(fraction=1, shuffle=True, seed=1), StockReview(plan_days=60), DAY, keys=["product_id"]
    )
    assert shuffled.equals(plan)


def test_counts_of_the_day_and_later_are_not_known_yet():
    counts = pl.DataFrame(
        [("P", DAY - timedelta(days=9), 5.0, 6.0), ("P", DAY - timedelta(days=2), 7.0, 7.0), ("P", DAY, 9.0, 1.0)],
        schema=["product_id", "counted_on", "counted", "recorded"],
        orient="row",
    )
    assert last_counts(counts, DAY, ["product_id"])["last_counted_on"].to_list() == [DAY - timedelta(days=2)]


def test_record_accuracy_is_counts_within_tolerance_of_all():
    counts = pl.DataFrame(
        [
            ("A1", DAY - timedelta(days=9), 98.0, 100.0),
            ("A1", DAY - timedelta(days=8), 97.0, 100.0),
            ("C1", DAY - timedelta(days=7), 4.0, 1.0),
            ("C1", DAY - timedelta(days=500), 4.0, 4.0),
            ("C1", DAY - timedelta(days=6), 4.0, None),
        ],
        schema=["product_id", "counted_on", "counted", "recorded"],
        orient="row",
    )
    classes = pl.DataFrame({"product_id": ["A1"], "abc": ["A"]})
    assert record_accuracy(counts, classes, StockReview(), DAY).rows() == [
        ("A", 2, 1, 0.5, 5.0, 0.0),
        ("C", 1, 0, 0.0, 0.0, 3.0),
    ]
