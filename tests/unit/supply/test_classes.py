"""Classes against slow readings of their definitions, and what hysteresis promises."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.calendar import Grid
from features.panel import Panel
from features.patterns import demand_class, pattern
from pipelines.settings import Classes
from pipelines.supply.classes import classify, settle, usage_shares, without_season

CUTS, SLACK = np.array([0.5, 1.0]), np.array([0.05, 0.1])
VALUE = st.floats(0, 2, allow_nan=False)
CODE = st.integers(-1, 2)


def panel_of(quantity, first=date(2022, 1, 3)):
    rows, weeks = quantity.shape
    grid = Grid("week", first)
    periods = pl.Series([grid.name(grid.number(first) + week) for week in range(weeks)])
    names = [f"P{row:03d}" for row in range(rows)]
    demand = pl.DataFrame(
        {
            "product_id": np.repeat(names, weeks),
            "period": pl.concat([periods] * rows),
            "quantity": quantity.astype(float).ravel(),
        }
    )
    panel = Panel.build(demand, ["product_id"], grid)
    return panel.known(panel.last)


def costs(known, cost=1.0):
    return known.series.select("product_id", unit_cost=pl.lit(cost))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_usage_shares_are_what_adding_up_says(values):
    order = sorted(range(len(values)), key=lambda row: -values[row])
    before, total = 0.0, math.fsum(values)
    found = usage_shares(np.array(values))
    for row in order:
        expected = before / total if total > 0 and values[row] > 0 else 1.0
        assert math.isclose(found[row], expected, abs_tol=1e-9)
        before += values[row]


@given(VALUE, CODE, CODE)
def test_a_class_changes_only_clearly_or_twice(value, before, measured_before):
    found = settle(np.array([value]), CUTS, SLACK, np.array([before]), np.array([measured_before]))
    measured = 0 if value < 0.5 else 1 if value < 1.0 else 2
    assert found.measured[0] == measured
    clear = before == -1 or not any(
        abs(value - cut) <= slack and before in (place, place + 1) and measured in (place, place + 1)
        for place, (cut, slack) in enumerate(zip(CUTS, SLACK, strict=True))
    )
    stays = before != measured and not clear and measured != measured_before
    assert found.held[0] == (before if stays else measured)


def test_noise_about_a_cut_flips_no_class_and_without_hysteresis_it_would():
    rng = np.random.default_rng(3)
    held = measured = np.zeros(200, dtype=np.int64)
    flips = flips_without = 0
    for _ in range(24):
        found = settle(rng.uniform(0.46, 0.54, 200), CUTS, SLACK, held, measured)
        flips += int((found.held != held).sum())
        flips_without += int((found.measured != measured).sum())
        held, measured = found.held, found.measured
    assert flips < 0.6 * flips_without


def test_a_season_that_came_before_is_no_variation_and_noise_stays():
    rng = np.random.default_rng(5)
    weeks = 104
    month = np.array([date.fromordinal(date(2022, 1, 6).toordinal() + 7 * week).month for week in range(weeks)])
    season = np.array([0.5, 0.5, 0.7, 0.8, 1, 1, 1, 1, 1.1, 1.3, 1.8, 1.6])[month - 1]
    steady = 20 * season[None, :] * np.ones((40, 1))
    noisy = steady * rng.gamma(4, 1 / 4, (40, weeks))
    plain = rng.gamma(4, 1 / 4, (40, weeks))

    def variation(history):
        left = without_season(history.astype(np.float32), month, 52)
        return float(np.median(left.std(axis=1) / left.mean(axis=1)))

    assert steady[0, 52:].std() / steady[0, 52:].mean() > 0.35
    assert variation(steady) < 0.02
    assert abs(variation(noisy) - 0.5) < 0.08  # gamma of shape 4: 1 / √4
    assert abs(variation(plain) - 0.5) < 0.08


def test_the_index_of_a_month_is_the_mean_of_the_shop_and_of_the_year_before():
    rng = np.random.default_rng(6)
    history = rng.gamma(3, 2, (5, 24))
    history[4, :5] = np.nan  # too young for a season of its own
    month = np.tile(np.arange(1, 13), 2)
    found = without_season(history.astype(np.float32), month, 12)
    years = [history[:, :12], history[:, 12:]]
    scaled = [year / np.nanmean(year, axis=1, keepdims=True) for year in years]
    for row in range(5):
        for column in range(12):
            shop = np.mean([np.nanmean(year[:, column]) for year in scaled])
            index = shop if row == 4 else (shop + scaled[0][row, column]) / 2
            assert math.isclose(found[row, column], history[row, 12 + column] / max(index, 0.25), rel_tol=1e-4)


def test_patterns_are_what_counting_says():
    rng = np.random.default_rng(8)
    history = rng.poisson(rng.uniform(0.1, 3, 60)[:, None], (60, 52)) * rng.integers(1, 4, (60, 52))
    interval, variation = pattern(history.astype(np.float32))
    for row, own in enumerate(history):
        sizes = [float(units) for units in own if units > 0]
        if not sizes:
            assert math.isnan(interval[row])
            continue
        mean = sum(sizes) / len(sizes)
        squared = sum((size - mean) ** 2 for size in sizes) / len(sizes) / mean**2
        assert math.isclose(interval[row], 52 / len(sizes), rel_tol=1e-5)
        assert math.isclose(variation[row], squared, rel_tol=1e-4, abs_tol=1e-6)
        often, varied = 52 / len(sizes) < 1.32, squared >= 0.49
        names = {
            (True, False): "smooth",
            (True, True): "erratic",
            (False, False): "intermittent",
            (False, True): "lumpy",
        }
        assert demand_class(history[row : row + 1].astype(np.float32)) == [names[often, varied]]


def test_classes_of_a_shop_and_those_of_an_earlier_month():
    quantity = np.ones((4, 60))
    quantity[:, :] = np.array([79.0, 15.0, 5.0, 1.0])[:, None]
    known = panel_of(quantity)
    first = classify(known, costs(known), Classes())
    assert first["abc"].to_list() == ["A", "A", "B", "C"]  # 0, .79, .94 and .99 are held by those worth more
    assert first["xyz"].to_list() == ["X"] * 4
    assert first["demand_class"].to_list() == ["smooth"] * 4
    was = first.with_columns(abc=pl.Series(["A", "B", "C", "A"]), abc_measured=pl.Series(["A", "B", "C", "A"]))
    second = classify(known, costs(known), Classes(), was)
    assert second["abc"].to_list() == ["A", "B", "B", "C"]  # .79 is near .8 and stays B; .94 is clearly below .95
    assert second["previous_abc"].to_list() == ["A", "B", "C", "A"]
    third = classify(known, costs(known), Classes(), second)
    assert third["abc"].to_list() == ["A", "A", "B", "C"]  # measured A for the second time


def test_demand_classes_keep_each_half_of_their_name():
    quantity = np.zeros((1, 52))
    quantity[0, ::4] = 5.0
    known = panel_of(quantity)
    now = classify(known, costs(known), Classes())
    assert now["demand_class"].to_list() == ["intermittent"]
    was = now.with_columns(demand_class=pl.lit("lumpy"), demand_class_measured=pl.lit("lumpy"))
    assert classify(known, costs(known), Classes(), was)["demand_class"].to_list() == ["intermittent"]


def test_nothing_later_than_the_moment_and_no_order_of_rows_matters():
    rng = np.random.default_rng(1)
    quantity = rng.poisson(2, (12, 80)).astype(float)
    scrambled = quantity.copy()
    scrambled[:, 70:] = rng.poisson(50, (12, 10))
    grid = Grid("week", date(2022, 1, 3))
    last = grid.number(date(2022, 1, 3)) + 69

    def classes(values, rows):
        demand = pl.DataFrame(
            [
                (f"P{row:03d}", grid.name(last - 69 + week), float(values[row, week]))
                for row in rows
                for week in range(80)
            ],
            schema=["product_id", "period", "quantity"],
            orient="row",
        )
        known = Panel.build(demand, ["product_id"], grid, last=last).known(last)
        return classify(known, costs(known), Classes())

    assert classes(quantity, range(12)).equals(classes(scrambled, reversed(range(12))))
