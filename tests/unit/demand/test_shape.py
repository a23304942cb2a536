"""Level × shape and the pooled seasonal level: exact patterns, short histories, spikes, groups, gaps."""

from __future__ import annotations

import numpy as np
import pytest

from features.season import RHYTHMS, contributions, pooled
from pipelines.demand.local import seasonal_naive
from pipelines.demand.shape import level_shape, seasonal_level, week_shape, year_shape

U = np.nan
WEEK = np.array([0.5, 0.5, 0.8, 1.0, 1.2, 2.0, 1.0])
WEEKS = np.arange(52)
YEAR = 1 + 0.6 * np.sin(WEEKS * 2 * np.pi / 52)


def array(values: np.ndarray) -> np.ndarray:
    return np.atleast_2d(values).astype(np.float32)


def noisy(shape: np.ndarray, cycles: int, series: int, level: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Poisson demand around a repeated shape, and what is expected of the cycle that follows."""
    rng = np.random.default_rng(seed)
    expected = rng.gamma(4, level / 4, (series, 1)) * shape
    return rng.poisson(np.tile(expected, cycles)).astype(np.float32), expected


def wape(actual: np.ndarray, forecast: np.ndarray) -> float:
    return float(np.abs(actual - forecast).sum() / actual.sum())


def test_an_exact_week_is_repeated():
    y = array(np.tile(10 * WEEK, 12))
    np.testing.assert_allclose(level_shape(y, 10, 7)[0], np.tile(10 * WEEK, 2)[:10], rtol=1e-5)


def test_an_exact_year_is_repeated_up_to_the_trust_three_years_earn():
    y = array(np.tile(100 * YEAR, 3))
    np.testing.assert_allclose(level_shape(y, 13, 52)[0], 100 * YEAR[:13], rtol=0.03)


def test_a_year_of_months_is_found_too():
    shape = 1 + 0.5 * np.cos(np.arange(12) * np.pi / 6)
    np.testing.assert_allclose(level_shape(array(np.tile(40 * shape, 4)), 12, 12)[0], 40 * shape, rtol=0.05)


def test_days_carry_the_shape_of_the_week_and_of_the_year():
    y = array(np.tile((100 * YEAR[:, None] * WEEK).ravel(), 3))
    expected = (100 * YEAR[:6, None] * WEEK).ravel()
    np.testing.assert_allclose(level_shape(y, 42, 7)[0], expected, rtol=0.05)


def test_after_a_year_and_a_half_days_know_most_of_the_shape_of_the_year():
    y = array(np.tile((100 * YEAR[:, None] * WEEK).ravel(), 2)[: 78 * 7])
    expected = (100 * YEAR[26:32, None] * WEEK).ravel()
    flat = level_shape(y[:, -300:], 42, 7)[0]
    assert wape(expected, level_shape(y, 42, 7)[0]) < 0.5 * wape(expected, flat)


def test_the_level_moves_and_the_shape_stays():
    y = array(np.concatenate([np.tile(10 * WEEK, 20), np.tile(30 * WEEK, 10)]))
    np.testing.assert_allclose(level_shape(y, 7, 7)[0], 30 * WEEK, rtol=0.1)


def test_less_than_two_cycles_leave_a_flat_line():
    np.testing.assert_allclose(np.ptp(level_shape(array(10 * WEEK), 7, 7)), 0, atol=1e-5)
    assert np.ptp(level_shape(array(100 * YEAR), 13, 52)) < 1e-4


def test_less_than_two_cycles_take_the_shape_of_the_group():
    y = np.tile(np.arange(1, 6)[:, None] * 10 * WEEK, 12)
    y[4, :-7] = U
    forecast = level_shape(array(y), 7, 7, np.zeros(5, dtype=np.int64))
    np.testing.assert_allclose(forecast[4], 50 * WEEK, rtol=0.02)


def test_a_new_series_takes_the_year_of_its_group():
    y, expected = noisy(YEAR, 3, 40, 80)
    y[0, :-10] = U
    group = np.zeros(40, dtype=np.int64)
    errors = [wape(expected[0, :13], level_shape(y, 13, 52, given)[0]) for given in (None, group)]
    assert errors[1] < 0.5 * errors[0]


def test_noise_without_a_shape_is_forecast_flat():
    y, _ = noisy(np.ones(7), 26, 200, 5)
    spread = np.std(level_shape(y, 7, 7), axis=1) / level_shape(y, 7, 7).mean(axis=1)
    naive = np.std(seasonal_naive(y, 7, 7), axis=1) / y.mean(axis=1)
    assert np.median(spread) < 0.15 * np.median(naive)


def test_a_noisy_shape_is_forecast_better_than_by_repeating_the_last_season():
    for shape, cycles, season in ((WEEK, 30, 7), (YEAR, 3, 52)):
        y, expected = noisy(shape, cycles, 60, 12)
        horizon = min(13, len(shape))
        assert wape(expected[:, :horizon], level_shape(y, horizon, season)) < 0.7 * wape(
            expected[:, :horizon], seasonal_naive(y, horizon, season)
        )


def test_one_spike_makes_no_season():
    y = np.tile(10 * WEEK, 26)
    y[-24] *= 50
    without = level_shape(array(np.tile(10 * WEEK, 26)), 7, 7)
    shape = week_shape(array(y), np.ones(1), np.zeros(1, dtype=np.int64))
    np.testing.assert_allclose(shape[0] / shape[0].mean(), WEEK / WEEK.mean(), rtol=0.05)
    assert np.abs(np.argsort(level_shape(array(y), 7, 7)) - np.argsort(without)).max() == 0


def test_closed_days_are_unknown_and_leave_the_other_days_as_they_are():
    y = np.tile(10 * WEEK, 26)
    y[6::7] = U
    np.testing.assert_allclose(level_shape(array(y), 7, 7)[0, :6], 10 * WEEK[:6], rtol=1e-4)


@pytest.mark.parametrize("hole", [slice(20, 40), slice(100, 130), slice(140, 156)])
def test_a_long_gap_leaves_level_and_shape(hole: slice):
    y = np.tile(100 * YEAR, 3)
    y[hole] = U
    np.testing.assert_allclose(level_shape(array(y), 13, 52)[0], 100 * YEAR[:13], rtol=0.15)


def test_a_steady_trend_is_carried_on_by_the_ridge():
    """Beyond the smoothed level, which lags a trend by (1 − α) / α periods and knows nothing of the horizon."""
    t = np.arange(40 * 7)
    y = array((100 + t) * np.tile(WEEK, 40))
    expected = ((100 + 280 + np.arange(28)) * np.tile(WEEK, 4)).sum()
    assert abs(level_shape(y, 28, 7).sum() / expected - 1) < 0.03


def test_past_shapes_do_not_know_the_period_they_describe():
    """Judged by the other years: a jump in one period moves what other years expect there, not its own."""
    level = np.tile(YEAR, 3)[None] + np.random.default_rng(0).normal(0, 0.02, (1, 156))
    changed = level.copy()
    changed[0, 60] *= 2
    own = np.zeros(1, dtype=np.int64)
    before, after = year_shape(level, 52, own)[1], year_shape(changed, 52, own)[1]
    assert abs(after[0, 60] / before[0, 60] - 1) < 0.05
    assert after[0, 112] / before[0, 112] > 1.2


def test_the_seasonal_level_is_the_pooled_index_times_the_level():
    y, _ = noisy(YEAR, 3, 30, 20)
    rhythm = RHYTHMS["week"]
    scale = y[:, -52:].mean(axis=1, keepdims=True)
    level = y[:, -8:].mean(axis=1) / scale[:, 0]
    brought = dict(contributions((y / scale).astype(np.float32), 13, rhythm))
    values = dict(pooled(brought, {"all": np.zeros(30, dtype=np.int64)}, level, np.arange(30)))
    np.testing.assert_allclose(seasonal_level(y, 13, 52), values["season_all_level"] * scale, rtol=1e-4)


@pytest.mark.parametrize(("season", "shape"), [(7, WEEK), (12, 1 + 0.5 * np.cos(np.arange(12))), (52, YEAR)])
def test_the_seasonal_level_of_exact_years(season: int, shape: np.ndarray):
    y = np.tile(np.arange(1, 5)[:, None] * shape, 1100 // len(shape))
    y[3, :-20] = U
    horizon = min(20, len(shape))
    around = 0.2 if season != 7 else 0.01  # weeks of a year are averaged with their neighbours
    np.testing.assert_allclose(
        seasonal_level(array(y), horizon, season), np.arange(1, 5)[:, None] * shape[:horizon], rtol=around
    )


def test_the_seasonal_level_without_a_year_is_the_recent_level():
    y = array([[4.0, 4, 4, 4], [0, 0, 0, 0], [U, U, U, U]])
    np.testing.assert_array_equal(seasonal_level(y, 2, 52), [[4, 4], [0, 0], [0, 0]])


@pytest.mark.parametrize("model", [level_shape, seasonal_level])
@pytest.mark.parametrize("season", [7, 52])
def test_values_before_those_looked_at_change_nothing(model: object, season: int):
    years = 3 * (364 if season == 7 else 52)
    y, _ = noisy(np.tile(YEAR, years // 52), 1, 5, 20)
    older = np.concatenate([np.full((5, 70), 1e6), y], axis=1)
    np.testing.assert_array_equal(model(array(older), 13, season), model(array(y), 13, season))
