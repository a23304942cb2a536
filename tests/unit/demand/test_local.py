"""Local models against sums done by hand and against a plain loop over one series."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.demand.local import LOCALS, moving_average, seasonal_naive, tsb

U = np.nan


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


def test_tsb_agrees_with_a_loop_over_one_series():
    rng = np.random.default_rng(0)
    y = (rng.random(60) < 0.3) * rng.integers(1, 9, 60).astype(float)
    first = y[:12]
    size, share = first[first > 0].mean(), (first > 0).mean()
    for demand in y:
        if demand > 0:
            size += 0.2 * (demand - size)
        share += 0.1 * ((demand > 0) - share)
    np.testing.assert_allclose(tsb(y[None].astype(np.float32), 3, 12), np.full((1, 3), size * share), rtol=1e-5)


def test_tsb_forgets_a_dead_series():
    alive, dead = [0, 4] * 20, [0, 4] * 20
    y = array(alive + [0, 4] * 20, dead + [0, 0] * 20)
    forecast = tsb(y, 1, 12)[:, 0]
    assert forecast[1] < 0.1 < forecast[0]


@pytest.mark.parametrize("name", LOCALS)
@pytest.mark.parametrize("row", [[U, U, U], [0, 0, 0], [5, 5, 5], [U, U, 5]])
def test_every_local_model_is_defined_on_odd_series(name: str, row: list[float]):
    forecast = LOCALS[name](array(row), 4, 12)
    assert forecast.shape == (1, 4)
    expected = 0 if np.nansum(row) == 0 else 5
    np.testing.assert_allclose(forecast, expected)


@pytest.mark.parametrize("name", LOCALS)
def test_a_series_alone_is_forecast_as_in_a_batch(name: str):
    rng = np.random.default_rng(1)
    y = rng.poisson(1.5, (20, 70)).astype(np.float32)
    y[rng.random(y.shape) < 0.1] = U
    batch = LOCALS[name](y, 8, 52)
    for row in range(20):
        np.testing.assert_array_equal(LOCALS[name](y[row : row + 1], 8, 52)[0], batch[row])
