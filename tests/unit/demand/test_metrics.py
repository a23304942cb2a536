"""Metrics against cases worked by hand, and against utilsforecast where it has them."""

from __future__ import annotations

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


def test_pinball_by_hand():
    # y = 10, q = 8 at 0.9: 2 · 0.9 · 2 = 3.6; q = 12 at 0.1: 2 · 0.9 · 2 = 3.6; scale 2
    assert metrics.pinball([10], [[12.0, 8.0]], [0.1, 0.9], [2.0]) == pytest.approx(1.8)


def test_median_pinball_is_wape():
    y, f = np.array([3.0, 0.0, 9.0]), np.array([1.0, 2.0, 10.0])
    assert metrics.wql(y, f[:, None], [0.5]) == pytest.approx(metrics.wape(y, f))


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
