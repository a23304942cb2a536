"""Paired comparisons, against the same bootstrap done sample by sample on whole frames."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.panel import Panel
from pipelines.demand import metrics
from pipelines.demand.comparison import COMPARABLE, Comparison, compare
from pipelines.demand.evaluation import evaluate
from tests.made_panel import panel_of, tables
from tests.unit.demand.made_backtest import QUANTILES, made_backtest


@pytest.fixture(scope="module")
def panel() -> Panel:
    return panel_of("week", tables("week"))


@pytest.fixture(scope="module")
def long(panel: Panel) -> pl.DataFrame:
    return made_backtest(panel)


def loss(metric: str, cells: pl.DataFrame) -> float:
    """One model's loss at one cutoff, by the metric's own function."""
    y, mean, group = cells["actual"], cells["mean"], cells["group"]
    fan = cells.select("p10", "p25", "p50", "p75", "p90").to_numpy()
    return {
        "wape": lambda: metrics.wape(y, cells["p50"]),
        "wape_of_mean": lambda: metrics.wape(y, mean),
        "bias_share": lambda: abs(metrics.bias(y, mean)),
        "vn1": lambda: metrics.vn1(y, mean),
        "mase": lambda: metrics.mase(y, mean, cells["scale_season"], group),
        "rmsse": lambda: metrics.rmsse(y, mean, cells["scale_step"], group),
        "scaled_pinball": lambda: metrics.pinball(y, fan, QUANTILES, cells["scale_season"]),
        "wql": lambda: metrics.wql(y, fan, QUANTILES),
    }[metric]()


@pytest.mark.parametrize("metric", COMPARABLE)
def test_the_interval_is_that_of_resampled_series(long: pl.DataFrame, metric: str):
    """Copies of drawn series become series of their own; the draws are repeated from the seed."""
    found = compare(long, "demand", "tsb", metric, 7, quantiles=QUANTILES, samples=30)
    known = long.filter(pl.col("actual").is_not_nan())
    series = sorted(known["series"].unique())
    draws = np.random.default_rng(7).integers(0, len(series), (30, len(series)))
    means = []
    for draw in [np.arange(len(series)), *draws]:
        chosen = pl.DataFrame({"series": np.array(series)[draw], "group": np.arange(len(draw))})
        cells = known.join(chosen.with_columns(pl.col("series").cast(known.schema["series"])), on="series")
        parts = [cells.filter(cutoff=cutoff) for cutoff in sorted(known["cutoff"].unique())]
        gaps = [loss(metric, cut.filter(model="demand")) - loss(metric, cut.filter(model="tsb")) for cut in parts]
        means.append(np.mean(gaps))
    assert found.difference == pytest.approx(means[0])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means[1:], [0.025, 0.975])))


@pytest.mark.parametrize("metric", ["wape", "vn1", "mase", "rmsse", "scaled_pinball", "wql"])
def test_the_difference_is_that_of_the_evaluation(panel: Panel, long: pl.DataFrame, metric: str):
    found = compare(long, "demand", "tsb", metric, 1, quantiles=QUANTILES)
    rows = (
        evaluate(long, QUANTILES, panel).filter(slice="all", metric=metric).pivot("model", index="cut", values="value")
    )
    gaps = {row["cut"]: row["demand"] - row["tsb"] for row in rows.iter_rows(named=True)}
    assert found.difference == pytest.approx(gaps["mean"])
    assert found.by_cutoff == {int(cut): pytest.approx(gaps[cut]) for cut in gaps if cut.isdigit()}


def test_the_same_seed_gives_the_same_bytes_in_any_order_of_rows(long: pl.DataFrame):
    shuffled = long.sample(fraction=1, shuffle=True, seed=2)
    one, other = (compare(frame, "demand", "tsb", "wql", 3, quantiles=QUANTILES) for frame in (long, shuffled))
    assert one == other
    assert one != compare(long, "demand", "tsb", "wql", 4, quantiles=QUANTILES)


def test_only_cells_that_both_forecast_count(long: pl.DataFrame):
    known_to_both = (pl.col("model") != "demand") | (pl.col("series") != 3)
    less = long.filter(pl.col("series") != 3)
    one, other = (
        compare(frame, "demand", "tsb", "wape", 3, quantiles=QUANTILES) for frame in (long.filter(known_to_both), less)
    )
    assert one == other


def test_better_is_said_only_of_what_is_clear(long: pl.DataFrame):
    assert compare(long, "demand", "tsb", "wape", 1, quantiles=QUANTILES).verdict == "better"
    assert compare(long, "tsb", "demand", "wape", 1, quantiles=QUANTILES).verdict == "worse"
    twin = pl.concat([long.filter(model="demand"), long.filter(model="demand").with_columns(model=pl.lit("twin"))])
    same = compare(twin, "demand", "twin", "wape", 1, quantiles=QUANTILES)
    assert (same.difference, same.low, same.high, same.verdict) == (0, 0, 0, "not clear")
    luck = Comparison("wape", "a", "b", -0.1, -0.2, -0.05, {1: -0.5, 2: 0.1, 3: 0.1})
    assert luck.verdict == "not clear", "one cutoff alone does not decide"


def test_what_is_undefined_is_said_to_be(long: pl.DataFrame):
    first = long["cutoff"].min()
    silent = long.with_columns(actual=pl.when(pl.col("cutoff") == first).then(0.0).otherwise("actual"))
    found = compare(silent, "demand", "tsb", "wape", 1, quantiles=QUANTILES)
    assert found.by_cutoff[first] is None
    assert found.difference == found.by_cutoff[long["cutoff"].max()]
    for actual in (0.0, float("nan")):
        nothing = compare(long.with_columns(actual=pl.lit(actual)), "demand", "tsb", "wape", 1, quantiles=QUANTILES)
        assert (nothing.difference, nothing.low, nothing.verdict) == (None, None, "not clear")


def test_what_is_not_there_cannot_be_compared(long: pl.DataFrame):
    with pytest.raises(ValueError, match="no model 'none'"):
        compare(long, "demand", "none", "wape", 1, quantiles=QUANTILES)
    with pytest.raises(ValueError, match="'coverage_80' cannot be compared"):
        compare(long, "demand", "tsb", "coverage_80", 1, quantiles=QUANTILES)
