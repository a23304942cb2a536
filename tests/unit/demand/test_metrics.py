"""Metrics against cases worked by hand, and against utilsforecast where it has them."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
import utilsforecast.losses as oracle

from pipelines.demand import metrics

LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def history() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    sizes = rng.negative_binomial(2, 0.2, (6, 40)).astype(float)
    return pl.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(6)], 40),
            "ds": np.tile(np.arange(40), 6),
            "y": sizes.ravel(),
        }
    )


@pytest.fixture(scope="module")
def forecasts() -> pl.DataFrame:
    rng = np.random.default_rng(4)
    mean = rng.gamma(2.0, 4.0, 48)
    return pl.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(6)], 8),
            "ds": np.tile(np.arange(40, 48), 6),
            "y": rng.poisson(mean).astype(float),
            "model": mean,
            "p10": mean * 0.4,
            "p50": mean * 0.9,
            "p90": mean * 1.9,
        }
    )


def test_wape_and_bias_by_hand():
    assert metrics.wape([10, 10], [15, 5]) == 0.5
    assert metrics.bias([10, 10], [15, 5]) == 0
    assert metrics.wape([1, 3, np.nan], [2, 1, 100]) == pytest.approx(3 / 4)
    assert metrics.bias([1, 3, np.nan], [2, 1, 100]) == pytest.approx(-1 / 4)


def test_undefined_is_none_not_a_number():
    assert metrics.wape([0, 0], [1, 0]) is None
    assert metrics.bias([], []) is None
    assert metrics.wql([0, 0], [[1.0], [1.0]], [0.5]) is None
    assert metrics.rmsse([1, 2], [1, 2], [0, np.nan], [0, 1]) is None
    assert metrics.pinball([1], [[1.0]], [0.5], [0]) is None
    assert metrics.vn1([0, 0], [1, 0]) is None
    assert metrics.mase([1, 2], [1, 2], [0, 0], [0, 1]) is None
    assert metrics.mean_rmsse([np.nan], [1], [1], [0]) is None
    assert metrics.crps([np.nan], [[1.0]], [0.5]) is None


def test_pinball_by_hand():
    # y = 10, q = 8 at 0.9: 2 · 0.9 · 2 = 3.6; q = 12 at 0.1: 2 · 0.9 · 2 = 3.6; scale 2
    assert metrics.pinball([10], [[12.0, 8.0]], [0.1, 0.9], [2.0]) == pytest.approx(1.8)


def test_median_pinball_is_wape():
    y, f = np.array([3.0, 0.0, 9.0]), np.array([1.0, 2.0, 10.0])
    assert metrics.wql(y, f[:, None], [0.5]) == pytest.approx(metrics.wape(y, f))


def test_the_vn1_score_is_the_error_and_the_bias():
    assert metrics.vn1([10, 10], [15, 5]) == 0.5, "misses that cancel count once"
    assert metrics.vn1([10, 10, np.nan], [15, 15, 99]) == 1.0, "misses one way count twice"


def test_squared_and_absolute_scaled_errors_agree_with_utilsforecast(history: pl.DataFrame, forecasts: pl.DataFrame):
    scale = history.group_by("unique_id", maintain_order=True).agg(
        step=(pl.col("y").diff() ** 2).mean().sqrt(), season=(pl.col("y") - pl.col("y").shift(4)).abs().mean()
    )
    frame = forecasts.join(scale, on="unique_id", how="left").sample(fraction=1, shuffle=True, seed=1)
    group = frame["unique_id"].rank("dense").to_numpy()
    theirs = oracle.mase(forecasts, ["model"], seasonality=4, train_df=history)["model"].mean()
    assert metrics.mase(frame["y"], frame["model"], frame["season"], group) == pytest.approx(theirs)
    roots = oracle.rmsse(forecasts, ["model"], seasonality=1, train_df=history)["model"]
    assert metrics.mean_rmsse(frame["y"], frame["model"], frame["step"], group) == pytest.approx(roots.mean())
    money = np.array([5.0, 1.0, 0.0, 2.0, 2.0, 9.0])
    mine = metrics.wrmsse(frame["y"], frame["model"], frame["step"], money[group - 1], group)
    assert mine == pytest.approx(float((roots.to_numpy() * money).sum() / money.sum()))


def test_wrmsse_leaves_out_what_has_no_scale_and_is_undefined_without_weight():
    # the second group never changed before: nothing can be said of it; √((2² + 0) / 2) / 2 remains
    assert metrics.wrmsse([4, 6, 1], [2, 6, 4], [2, 2, 0], [3, 3, 9], [0, 0, 1]) == pytest.approx(0.5**0.5)
    assert metrics.wrmsse([4, 6], [2, 6], [2, 2], [0, 0], [0, 0]) is None


def test_crps_of_many_quantiles_is_that_of_the_normal_distribution():
    levels = [round(0.005 * step, 3) for step in range(1, 200)]
    mean, deviation, y = 20.0, 4.0, np.array([12.0, 20.0, 23.0, 31.0])
    normal, unit = NormalDist(mean, deviation), NormalDist()
    fan = np.tile([normal.inv_cdf(level) for level in levels], (4, 1))
    z = (y - mean) / deviation
    density, below = (np.array([of(value) for value in z]) for of in (unit.pdf, unit.cdf))
    exact = deviation * (z * (2 * below - 1) + 2 * density - 1 / np.sqrt(np.pi))  # Gneiting & Raftery (2007), eq. 21
    assert metrics.crps(y, fan, levels) == pytest.approx(exact.mean(), rel=0.01)


def test_crps_of_evenly_spread_levels_agrees_with_utilsforecast(forecasts: pl.DataFrame):
    levels = (1 / 6, 1 / 2, 5 / 6)  # each stands for a third of [0, 1]
    whole = forecasts.with_columns(unique_id=pl.lit("all"))
    theirs = oracle.scaled_crps(whole, {"model": ["p10", "p50", "p90"]}, np.array(levels))["model"].item()
    mine = metrics.crps(forecasts["y"], forecasts.select("p10", "p50", "p90").to_numpy(), levels)
    assert mine / forecasts["y"].mean() == pytest.approx(theirs)


def test_coverage_agrees_with_utilsforecast_and_needs_both_ends(forecasts: pl.DataFrame):
    whole = forecasts.rename({"p10": "m-lo-80", "p90": "m-hi-80"}).with_columns(unique_id=pl.lit("all"))
    theirs = oracle.coverage(whole, ["m"], 80)["m"].item()
    assert 0 < theirs < 1
    assert metrics.coverage(forecasts["y"], forecasts["p10"], forecasts["p90"]) == pytest.approx(theirs)
    assert metrics.intervals([0.025, 0.05, 0.1, 0.5, 0.9, 0.975]) == [(80, 2, 4), (95, 0, 5)]
    assert metrics.coverage([np.nan], [0], [1]) is None


def test_rmsse_agrees_with_utilsforecast(history: pl.DataFrame, forecasts: pl.DataFrame):
    by_series = oracle.rmsse(forecasts, ["model"], seasonality=1, train_df=history)["model"].to_numpy()
    scale = history.group_by("unique_id", maintain_order=True).agg(s=(pl.col("y").diff() ** 2).mean().sqrt())
    frame = forecasts.join(scale, on="unique_id", how="left")
    group = frame["unique_id"].rank("dense").to_numpy()
    mine = metrics.rmsse(frame["y"], frame["model"], frame["s"], group)
    assert mine == pytest.approx(float(np.sqrt((by_series**2).mean())))


def test_scaled_pinball_agrees_with_utilsforecast(history: pl.DataFrame, forecasts: pl.DataFrame):
    columns = {"model": ["p10", "p50", "p90"]}
    by_series = oracle.scaled_mqloss(forecasts, columns, np.array(LEVELS), seasonality=4, train_df=history)
    scale = history.group_by("unique_id", maintain_order=True).agg(s=(pl.col("y") - pl.col("y").shift(4)).abs().mean())
    frame = forecasts.join(scale, on="unique_id", how="left")
    mine = metrics.pinball(frame["y"], frame.select(columns["model"]).to_numpy(), LEVELS, frame["s"])
    assert mine == pytest.approx(2 * by_series["model"].mean())


def test_calibration_of_a_right_and_a_wrong_quantile():
    y = np.arange(1, 101, dtype=float)
    (_, _, right), (_, _, wrong) = metrics.calibration(
        y, np.column_stack([np.full(100, 50.0), np.full(100, 70.0)]), [0.5, 0.5]
    )
    assert right == 0
    assert wrong == pytest.approx(0.19)  # 69 of 100 lie below 70


def test_calibration_counts_ties_at_zero():
    y = np.array([0.0] * 80 + [5.0] * 20)
    assert metrics.calibration(y, np.zeros((100, 1)), [0.5])[0] == (0.0, 0.8, 0.0)
    assert metrics.calibration(y, np.full((100, 1), 0.3), [0.5])[0][2] == 0, "0.3 of a whole unit is none"
    assert metrics.calibration(y, np.zeros((100, 1)), [0.95])[0][2] == pytest.approx(0.15)
