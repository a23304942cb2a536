"""The shop's own time: what a season does to waiting, and how it is learned and trusted."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from features.customers import labels, ledger
from pipelines.customers.anchor import choose
from pipelines.customers.clock import WEEKS, YEAR_DAYS, Clock
from pipelines.customers.expectation import Expectation, newcomers
from pipelines.customers.moments import Past

FIRST = date(2021, 1, 4)


def book(intensity: np.ndarray, customers: int, seed: int, start_by: float | None = None) -> pl.DataFrame:
    """A ledger of customers who never leave and buy at rates of their own, faster on busy days (thinned Poisson)."""
    rng = np.random.default_rng(seed)
    days = len(intensity)
    frames = []
    for customer in range(customers):
        begin = int(rng.uniform(0, days if start_by is None else start_by))
        bought = rng.random(days) < rng.gamma(1.0, 0.02) * intensity
        bought[:begin], bought[begin] = False, True
        frames.append(pl.DataFrame({"customer_id": f"c{customer:04}", "offset": np.flatnonzero(bought)}))
    at = (pl.lit(FIRST) + pl.duration(days="offset")).cast(pl.Datetime("us", "UTC"))
    return ledger(
        pl.concat(frames).select(
            "customer_id",
            order_id=pl.concat_str("customer_id", pl.col("offset").cast(pl.String), separator="/"),
            product_id=pl.lit("all"),
            kind=pl.lit("sale"),
            quantity=pl.lit(1.0),
            unit_price=pl.lit(10.0),
            ordered_at=at,
            known_at=at,
        )
    )


def seasonal(days: int) -> np.ndarray:
    """Twice as busy in the last quarter of each year as at other times."""
    within = np.arange(days) % YEAR_DAYS
    return np.where(within >= 39 * 7, 2.0, 1.0) / 1.25


def test_time_passes_as_the_daily_pace_adds_up() -> None:
    rng = np.random.default_rng(3)
    pace = rng.uniform(0.3, 2.0, WEEKS)
    clock = Clock(FIRST, tuple(pace / pace.mean()))
    daily = np.repeat(clock.pace, 7)

    def oracle(day: date, start: int, end: int) -> float:
        numbers = [(day - FIRST).days + each for each in range(start + 1, end + 1)]
        return float(sum(daily[(number - 1) % YEAR_DAYS] for number in numbers))

    for day in (FIRST, FIRST - timedelta(days=40), FIRST + timedelta(days=500)):
        for start, end in ((0, 1), (-91, 0), (0, 364), (-900, 700)):
            assert clock.between(day, start, end) == pytest.approx(oracle(day, start, end))
        waits = np.array([0.0, 3.0, 90.0, 1000.0])
        assert clock.between(day, 0, clock.calendar_days(day, waits)) == pytest.approx(waits)
    assert np.isnan(clock.calendar_days(FIRST, np.array([np.nan])))


def test_a_first_year_is_steady() -> None:
    assert Clock.of(book(seasonal(363), 50, 1), FIRST + timedelta(days=362)).pace == ()
    assert Clock(FIRST).between(FIRST, -10, 81) == 91


def test_the_season_is_found_and_growth_is_not_taken_for_it() -> None:
    days = 3 * YEAR_DAYS
    learned = Clock.of(book(seasonal(days), 900, 2), FIRST + timedelta(days=days - 1))
    pace = np.array(learned.pace)
    assert pace.mean() == pytest.approx(1)
    assert pace[42:49].mean() / pace[5:35].mean() == pytest.approx(2, rel=0.1)
    dying = book(np.exp(-np.arange(days) / 200), 600, 8, start_by=60)
    assert Clock.of(dying, FIRST + timedelta(days=days - 1)).pace == ()
    growing = Clock.of(book(np.ones(days), 1_500, 3), FIRST + timedelta(days=days - 1))
    assert np.ptp(growing.pace) < 0.4  # 0.74 where growth is left in


def test_what_is_known_later_does_not_set_the_clock() -> None:
    lines = book(seasonal(3 * YEAR_DAYS), 100, 4)
    cut = FIRST + timedelta(days=2 * YEAR_DAYS)
    later = lines.with_columns(orders=pl.when(pl.col("known_on") > cut).then(9).otherwise("orders"))
    assert Clock.of(lines, cut) == Clock.of(later, cut)
    assert Clock.of_order_worth(lines, cut) == Clock.of_order_worth(later.filter(pl.col("day") <= cut), cut)


def test_a_seasonal_shop_is_anchored_by_its_season() -> None:
    """In the window of the busy quarter as many come back as the season makes, far more than in a steady year."""
    days = 3 * YEAR_DAYS
    lines = book(seasonal(days), 1_500, 5)
    cut = FIRST + timedelta(days=2 * YEAR_DAYS + 39 * 7 - 1)
    past = Past(lines, cut, horizon_days=91, period_days=7)
    anchor, told = choose(past)
    came = labels(lines, cut, 91)["churned"].mean()
    assert anchor.kind == "seasonal"
    assert anchor.errors["seasonal"] < 0.5 * anchor.errors["btyd"]
    assert anchor.level == pytest.approx(came, abs=0.03)
    assert abs(past.moment(cut).no_order.mean() - came) > 0.06
    assert told.clock.pace


def test_a_crowd_at_the_start_does_not_teach_when_customers_begin() -> None:
    lines = book(np.ones(700), 400, 6)
    there_before = book(np.ones(700), 300, 7, start_by=10).with_columns(customer_id="x" + pl.col("customer_id"))
    as_of = FIRST + timedelta(days=699)

    def rows(frame: pl.DataFrame) -> pl.DataFrame:
        return Past(frame, as_of, horizon_days=91, period_days=7).moment(as_of).rows

    both = pl.concat([lines, there_before]).sort("customer_id", "day")
    left = newcomers(rows(both), 7)["customer_id"]
    assert not left.str.starts_with("x").any()
    assert left.len() > 380
    assert newcomers(rows(there_before), 7).height == 300  # one cohort: nobody else to learn from
    assert newcomers(rows(lines), 7).height == 400
    assert Expectation.fit(rows(both), Clock(FIRST), as_of, 7, "mbg").btyd.log_likelihood < 0
