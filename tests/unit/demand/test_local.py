"""Local models against sums done by hand and against a plain loop over one series."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.demand.local import LOCALS, POOLED, moving_average, seasonal_naive
from pipelines.demand.shape import seasonal_level

U = np.nan
EVERY = LOCALS | {"seasonal_level": seasonal_level}


def array(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_seasonal_naive_repeats_the_last_season_and_looks_past_unknown():
    y = array([1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, U, 7, 8])
    np.testing.assert_allclose(seasonal_naive(y, 6, 4), [[5, 6, 7, 8, 5, 6], [5, 2, 7, 8, 5, 2]])


def test_seasonal_naive_without_a_season_on_record_uses_the_mean():
    np.testing.assert_allclose(seasonal_naive(array([2, 4]), 2, 52), [[3, 3]])


def test_moving_average_takes_known_periods_only():
    y = array([100, 1, 2, 3], [1, U, 2, 3])
    np.testing.assert_allclose(moving_average(y, 2, 12), [[2, 2], [2, 2]])


def test_seasonal_naive_looks_back_as_many_seasons_as_it_must():
    y = array([7, 8, U, U, U, U, U, 9])
    np.testing.assert_allclose(seasonal_naive(y, 3, 2), [[7, 9, 7]])


def test_no_forecast_is_negative_though_returns_may_be():
    for name, model in EVERY.items():
        forecast = model(array([3.0, -5, -5, -6, U, -7] * 10), 4, 12)
        assert (forecast >= 0).all(), name


@pytest.mark.parametrize("season", [7, 12, 52])
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("row", [[U, U, U], [0, 0, 0], [5, 5, 5], [U, U, 5], [5], [U], [5, *[U] * 200], [5] * 400])
def test_every_local_model_is_defined_on_odd_series(name: str, row: list[float], season: int):
    forecast = EVERY[name](array(row), 60, season)  # longer than a year of weeks
    assert forecast.shape == (1, 60)
    assert forecast.dtype == np.float32
    expected = 0 if np.nansum(row) == 0 else 5
    np.testing.assert_allclose(forecast, expected, rtol=1e-6)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("series", "periods"), [(0, 30), (3, 0)])
def test_every_local_model_takes_no_series_and_no_periods(name: str, series: int, periods: int):
    forecast = EVERY[name](np.zeros((series, periods), dtype=np.float32), 5, 52)
    np.testing.assert_array_equal(forecast, np.zeros((series, 5)))


def uneven(series: int, periods: int, seed: int = 1) -> np.ndarray:
    """Sparse and dense series with a season, growth, gaps, late starts and a few returns."""
    rng = np.random.default_rng(seed)
    wave = 1 + 0.5 * np.sin(np.arange(periods) * 2 * np.pi / 52)
    level = rng.gamma(0.5, 10, (series, 1)) * wave * np.linspace(1, rng.uniform(0.5, 3, series), periods).T
    y = rng.poisson(level).astype(np.float32)
    y[rng.random(y.shape) < 0.02] *= -1
    y[rng.random(y.shape) < 0.1] = U
    y[np.arange(periods) < rng.integers(0, periods, (series, 1)) * (rng.random((series, 1)) < 0.5)] = U
    return y


@pytest.mark.parametrize("season", [7, 12, 52])
@pytest.mark.parametrize("name", LOCALS)
def test_a_series_alone_is_forecast_as_in_a_batch(name: str, season: int):
    y = uneven(300, 170)
    batch = LOCALS[name](y, 13, season)
    for row in range(0, 300, 37):
        np.testing.assert_array_equal(LOCALS[name](y[row : row + 1], 13, season)[0], batch[row])
    np.testing.assert_array_equal(LOCALS[name](y[::-1], 13, season)[::-1], batch)


@pytest.mark.parametrize("season", [7, 52])
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("scale", [2.0**30, 2.0**-10])  # 1e9 and 1e-3, but exact in binary
def test_forecasts_grow_with_the_unit(name: str, scale: float, season: int):
    y = uneven(60, 170)
    forecast = EVERY[name](y * np.float32(scale), 13, season) / scale
    np.testing.assert_allclose(forecast, EVERY[name](y, 13, season), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_periods_before_the_first_known_one_change_nothing(name: str):
    y = uneven(30, 120)
    y[:, 0] = np.where(np.isnan(y[:, 0]), 1, y[:, 0])
    early = np.pad(y, ((0, 0), (104, 0)), constant_values=U)
    np.testing.assert_allclose(EVERY[name](early, 8, 52), EVERY[name](y, 8, 52), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLED)
def test_a_pooled_model_knows_nothing_of_other_groups(name: str):
    y, group = uneven(40, 170), np.repeat(np.arange(4), 10)
    changed = y.copy()
    changed[10:] *= 7
    before, after = (POOLED[name](values, 8, 52, group) for values in (y, changed))
    np.testing.assert_array_equal(before[:10], after[:10])
    assert (before[10:] != after[10:]).any()
