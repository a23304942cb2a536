"""Slices, levels, value added and standard errors, against the same worked out slowly."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.panel import Panel
from pipelines.demand import figures, metrics
from pipelines.demand.evaluation import evaluate
from pipelines.demand.facts import facts_at, group_facts_at
from tests.made_panel import panel_of, scrambled, tables
from tests.unit.demand.made_backtest import QUANTILES, made_backtest

GROUP = np.array([0, 1, 2] * 4, dtype=np.int32)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return panel_of("week", tables("week"))


@pytest.fixture(scope="module")
def long(panel: Panel) -> pl.DataFrame:
    return made_backtest(panel)


@pytest.fixture(scope="module")
def found(panel: Panel, long: pl.DataFrame) -> pl.DataFrame:
    levels = {"location_id": GROUP, "total": np.zeros(12, dtype=np.int32)}
    return evaluate(long, QUANTILES, panel, levels)


def value(found: pl.DataFrame, metric: str, slice_: str = "all", cut: object = "mean", model: str = "demand") -> float:
    return found.filter(model=model, slice=slice_, metric=metric, cut=str(cut))["value"].item()


def test_a_figure_comes_with_its_mean_and_standard_error_over_cutoffs(long: pl.DataFrame, found: pl.DataFrame):
    cuts = []
    for cutoff in sorted(long["cutoff"].unique()):
        own = long.filter(pl.col("actual").is_not_nan(), model="demand", cutoff=cutoff)
        cuts.append((own["p50"] - own["actual"]).abs().sum() / own["actual"].sum())
        assert value(found, "wape", cut=cutoff) == pytest.approx(cuts[-1])
    assert value(found, "wape") == pytest.approx(sum(cuts) / 2)
    assert value(found, "wape", cut="standard_error") == pytest.approx(abs(cuts[0] - cuts[1]) / 2), "s / √2 of two"


def test_money_is_lost_at_what_units_cost(panel: Panel, long: pl.DataFrame, found: pl.DataFrame):
    """Each error at the mean price of its series over the year up to the cutoff, worked out from the panel by hand."""
    losses = []
    for cutoff in sorted(long["cutoff"].unique()):
        own = long.filter(pl.col("actual").is_not_nan(), model="demand", cutoff=cutoff)
        until = cutoff - panel.first + 1
        year = panel.observed["price"][:, max(0, until - 52) : until].astype(float)
        price = np.array([np.nanmean(year[series]) if (year[series] > 0).any() else 0.0 for series in own["series"]])
        error = (own["p50"] - own["actual"]).abs().to_numpy()
        losses.append((error * price).sum() / (own["actual"].to_numpy() * price).sum())
        assert value(found, "wape_of_money", cut=cutoff) == pytest.approx(losses[-1], rel=1e-5)
    assert value(found, "wape_of_money") == pytest.approx(sum(losses) / 2, rel=1e-5)
    assert value(found, "wape_of_money") != pytest.approx(value(found, "wape"), rel=1e-3)


def test_one_cutoff_has_no_standard_error(panel: Panel, long: pl.DataFrame):
    last = long.filter(cutoff=long["cutoff"].max())
    assert value(evaluate(last, QUANTILES, panel), "wape", cut="standard_error") is None


def test_value_added_is_paired_by_cutoff(long: pl.DataFrame, found: pl.DataFrame):
    for metric in ("wape", "rmsse", "wql"):
        gains = [
            value(found, metric, cut=cutoff, model="seasonal_naive") - value(found, metric, cut=cutoff)
            for cutoff in sorted(long["cutoff"].unique())
        ]
        assert value(found, f"{metric}_added") == pytest.approx(sum(gains) / 2)
        assert value(found, f"{metric}_added", cut="standard_error") == pytest.approx(abs(gains[0] - gains[1]) / 2)
    assert value(found, "wape_added") > 0
    assert found.filter(pl.col("metric").str.ends_with("_added"), model="seasonal_naive").is_empty()


def test_slices_hold_their_own_cells(long: pl.DataFrame, found: pl.DataFrame):
    cutoff = long["cutoff"].max()
    own = long.filter(pl.col("actual").is_not_nan(), model="demand", cutoff=cutoff)
    for name, cells in {
        "horizon=3": own.filter(horizon=3),
        **{kind: own.filter(pl.col("class") == kind) for kind in own["class"].unique()},
    }.items():
        inside = (cells["actual"] >= cells["p10"]) & (cells["actual"] <= cells["p90"])
        assert value(found, "coverage_80", name, cutoff) == pytest.approx(inside.mean())
        assert value(found, "wape_of_mean", name, cutoff) == metrics.wape(cells["actual"], cells["mean"])
    assert {"coverage_50", "width_50", "width_80"} <= set(found["metric"])
    assert "coverage_90" not in set(found["metric"]), "p05 and p95 were not asked for"


def test_long_horizons_are_cut_into_thirds(panel: Panel):
    found = evaluate(made_backtest(panel, horizon=13, cutoffs=1), QUANTILES, panel)
    parts = [name for name in found["slice"].unique(maintain_order=True) if name.startswith("horizon")]
    assert parts == ["horizon=1-5", "horizon=6-9", "horizon=10-13"]


def test_a_level_is_judged_by_its_sums(panel: Panel, long: pl.DataFrame, found: pl.DataFrame):
    cutoff = long["cutoff"].max()
    own = long.filter(pl.col("actual").is_not_nan(), model="demand", cutoff=cutoff)
    known = panel.known(cutoff)
    roots, weights = [], []
    for group in range(3):
        rows = [row for row, series in enumerate(known.position) if GROUP[series] == group]
        history = np.array([np.nansum(c) if (~np.isnan(c)).any() else np.nan for c in known.quantity[rows].T])
        history = history[np.flatnonzero(history > 0)[0] :]
        cells = own.filter(pl.col("series").is_in(known.position[rows].tolist()))
        sums = cells.group_by("horizon").agg(pl.col("actual", "mean").sum())
        scale = np.sqrt(np.nanmean(np.diff(history) ** 2))
        roots.append(np.sqrt(((sums["actual"] - sums["mean"]) ** 2).mean()) / scale)
        price = np.nan_to_num(np.nanmean(known.observed["price"][rows][:, -52:], axis=1))
        weights.append((np.nansum(known.quantity[rows][:, -52:], axis=1) * price).sum())
    level = value(found, "wrmsse", "level=location_id", cutoff)
    assert level == pytest.approx(np.average(roots, weights=weights), rel=1e-5)
    assert value(found, "mean_rmsse", "level=location_id", cutoff) == pytest.approx(np.mean(roots), rel=1e-5)
    bottom = metrics.wrmsse(*(own[name] for name in ("actual", "mean", "scale_step", "weight", "series")))
    total = value(found, "wrmsse", "level=total", cutoff)
    assert value(found, "wrmsse", cut=cutoff) == pytest.approx((bottom + level + total) / 3), "the mean of the levels"
    assert value(found, "bias_share", "level=total", cutoff) == pytest.approx(value(found, "bias_share", cut=cutoff))
    assert "wql" not in set(found.filter(slice="level=total")["metric"]), "quantiles do not add up"


def test_undefined_stays_undefined(panel: Panel, long: pl.DataFrame):
    nothing = evaluate(long.with_columns(actual=pl.lit(0.0)), QUANTILES, panel)
    assert value(nothing, "wape") is None
    assert value(nothing, "wape_added") is None
    assert value(nothing, "crps") > 0


def test_facts_depend_on_nothing_after_the_cutoff(panel: Panel):
    cutoff = panel.last - 9
    other = panel_of("week", scrambled("week", tables("week"), cutoff))
    names = other.series["store"].to_list()
    group = np.array([GROUP[panel.series["store"].to_list().index(name)] if len(name) == 3 else 9 for name in names])
    honest, wild = facts_at(panel, cutoff), facts_at(other, cutoff)
    assert_frame_equal(honest.drop("series"), wild.drop("series"), check_exact=True)
    assert_frame_equal(
        group_facts_at(panel, cutoff, GROUP), group_facts_at(other, cutoff, group.astype(np.int32)), check_exact=True
    )


def test_units_are_what_series_are_worth_where_no_price_is_known(panel: Panel):
    parts = tables("week")
    bare = panel_of("week", parts | {"demand": parts["demand"].drop("price")})
    known = bare.known(bare.last)
    sold = [np.nansum(row[-52:]) for row in known.quantity]
    np.testing.assert_allclose(facts_at(bare, bare.last)["weight"], sold, rtol=1e-6)


def test_figures_show_what_was_measured(panel: Panel, long: pl.DataFrame, found: pl.DataFrame):
    drawn = figures.of_backtest(long, found, panel, QUANTILES)
    assert list(drawn) == ["wape.png", "wape_by_horizon.png", "value_added.png", "calibration.png", "fans.png"]
    (axes,) = drawn["wape_by_horizon.png"].axes
    (line, _, (bars,)) = axes.containers[0]
    for step, mean, segment in zip(range(1, 5), line.get_ydata(), bars.get_segments(), strict=True):
        assert mean == pytest.approx(value(found, "wape", f"horizon={step}"))
        error = value(found, "wape", f"horizon={step}", "standard_error")
        assert (segment[1][1] - segment[0][1]) / 2 == pytest.approx(error)
    heights = [bar.get_height() for bar in drawn["value_added.png"].axes[0].containers[1].patches]
    assert heights[0] == pytest.approx(value(found, "wape_added"))


def test_figures_of_a_shop_without_demand_are_empty_not_an_error(panel: Panel, long: pl.DataFrame):
    nothing = long.with_columns(actual=pl.lit(0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = figures.of_backtest(nothing, evaluate(nothing, QUANTILES, panel), panel, QUANTILES)
        for figure in drawn.values():
            figure.draw_without_rendering()
