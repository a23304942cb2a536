"""Smoothing against statsforecast, against plain loops over one series, and against sums done by hand.

Where parameters are given, forecasts agree to rounding. Where they are chosen, statsforecast searches a line and these
try a few values: forecasts differ by what neighbouring values differ, tolerances say how much.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from statsforecast.models import (
    ADIDA,
    IMAPA,
    TSB,
    AutoETS,
    SimpleExponentialSmoothing,
    SimpleExponentialSmoothingOptimized,
)

from pipelines.demand.smoothing import ALPHAS, adida, damped_trend, imapa, ses, tsb

U = np.nan


def retail(series: int = 60, periods: int = 120, seed: int = 0) -> np.ndarray:
    """Drifting levels, every period sold in or few of them."""
    rng = np.random.default_rng(seed)
    level = rng.gamma(0.8, 3, (series, 1)) * np.exp(np.cumsum(rng.normal(0, 0.05, (series, periods)), axis=1))
    often = rng.choice([0.15, 0.4, 1.0], (series, 1))
    y = rng.poisson(level / often) * (rng.random((series, periods)) < often)
    return y[(y > 0).sum(axis=1) > 3].astype(np.float32)


def theirs(model: object, y: np.ndarray, horizon: int) -> np.ndarray:
    return np.stack([model.forecast(y=row.astype(np.float64), h=horizon)["mean"] for row in y])


def squared_error(row: np.ndarray, alpha: float) -> float:
    level, total = row[0], 0.0
    for value in row[1:]:
        total += (value - level) ** 2
        level += alpha * (value - level)
    return total


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.8])
def test_ses_of_one_alpha_is_that_of_statsforecast(alpha: float):
    y = retail()
    np.testing.assert_allclose(ses(y, 3, 52, (alpha,)), theirs(SimpleExponentialSmoothing(alpha), y, 3), rtol=1e-5)


def test_ses_chooses_an_alpha_as_good_as_that_of_statsforecast():
    y = retail()
    found = [SimpleExponentialSmoothingOptimized().fit(row.astype(np.float64)).model_["alpha"] for row in y]
    each = np.hstack([ses(y, 1, 52, (alpha,)) for alpha in ALPHAS])
    chosen = np.asarray(ALPHAS)[np.abs(each - ses(y, 1, 52)).argmin(axis=1)]
    for row, ours, alpha in zip(y.astype(np.float64), chosen, found, strict=True):
        assert squared_error(row, ours) <= 1.005 * squared_error(row, alpha)


def test_an_unknown_period_teaches_ses_nothing():
    np.testing.assert_array_equal(
        ses(np.array([[U, 3, U, 9, 4, U]], np.float32), 2, 52), ses(np.array([[3, 9, 4]], np.float32), 2, 52)
    )


def test_damped_trend_agrees_with_a_loop_over_one_series():
    y = retail(12)
    y[np.random.default_rng(3).random(y.shape) < 0.1] = U
    alphas, betas, damping = (0.1, 0.4), (0.1, 0.3), (0.8, 0.95)
    choices = [(a, 0.0, 1.0) for a in alphas] + [(a, a * b, p) for a, b, p in product(alphas, betas, damping)]
    for row, forecast in zip(y, damped_trend(y, 5, 52, alphas, betas, damping), strict=True):
        best = np.inf
        for alpha, beta, phi in choices:
            level, trend, total = row[~np.isnan(row)][0], 0.0, 0.0
            for value in row[(~np.isnan(row)).argmax() :]:
                error = 0 if np.isnan(value) else value - level - phi * trend
                level, trend, total = level + phi * trend + alpha * error, phi * trend + beta * error, total + error**2
            if total < best:
                best = total
                expected = [level + trend * sum(phi**i for i in range(1, h + 1)) for h in range(1, 6)]
        np.testing.assert_allclose(forecast, np.maximum(expected, 0), rtol=1e-4, atol=1e-5)


def test_damped_trend_follows_a_trend_as_that_of_statsforecast_does():
    """Within 3 %: AutoETS also fits the first level and trend, ours start at the first value and at no trend."""
    rng = np.random.default_rng(5)
    y = (100 + np.arange(80) * rng.uniform(1, 5, (10, 1)) + rng.normal(0, 2, (10, 80))).astype(np.float32)
    expected = theirs(AutoETS(1, model="AAN", damped=True), y, 6)
    np.testing.assert_allclose(damped_trend(y, 6, 52), expected, rtol=0.03)
    assert (damped_trend(y, 6, 52) > ses(y, 6, 52)).all()


def test_adida_agrees_with_statsforecast():
    y = retail()
    ours, reference = adida(y, 3, 52), theirs(ADIDA(), y, 3)
    np.testing.assert_allclose(ours, reference, rtol=0.05)
    assert np.median(np.abs(ours / reference - 1)) < 0.002


def test_imapa_agrees_with_statsforecast():
    y = retail()
    ours, reference = imapa(y, 3, 52), theirs(IMAPA(), y, 3)
    np.testing.assert_allclose(ours, reference, rtol=0.03)
    assert np.median(np.abs(ours / reference - 1)) < 0.005


def test_adida_takes_the_mean_of_the_known_periods_of_a_bucket():
    y = np.array([[0, 4, 0, 4, U, 6, 0, 6]], dtype=np.float32)  # demand every second period: (2, 2, 6, 3)
    expected = [ses(np.array([[2, 2, 6, 3]], np.float32), 1, 52, (alpha,))[0, 0] for alpha in (0.1, 0.3)]
    assert min(expected) - 1e-6 <= adida(y, 1, 52)[0, 0] <= max(expected) + 1e-6


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


def test_tsb_agrees_with_statsforecast_once_the_start_is_forgotten():
    """Theirs starts at the first period's demand, ours at the first season's mean; 0.8^30 of that is left."""
    y = retail(periods=200)
    y = y[(y > 0).sum(axis=1) >= 40]
    assert len(y) > 10
    np.testing.assert_allclose(tsb(y, 3, 12), theirs(TSB(0.2, 0.1), y, 3), rtol=1e-3)


def test_tsb_forgets_a_dead_series():
    y = np.array([[0, 4] * 40, [0, 4] * 20 + [0, 0] * 20], dtype=np.float32)
    forecast = tsb(y, 1, 12)[:, 0]
    assert forecast[1] < 0.1 < forecast[0]
