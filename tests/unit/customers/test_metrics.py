"""Metrics against scikit-learn and against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, brier_score_loss, roc_auc_score

from pipelines.customers import metrics
from pipelines.customers.calibration import MonotoneCurve, level_shift

RNG = np.random.default_rng(5)
SCORE = RNG.integers(0, 20, 500) / 20
HAPPENED = (RNG.random(500) < SCORE).astype(float)


def test_against_scikit_learn() -> None:
    assert metrics.auc(HAPPENED, SCORE) == pytest.approx(roc_auc_score(HAPPENED, SCORE))
    assert metrics.brier(HAPPENED, SCORE) == pytest.approx(brier_score_loss(HAPPENED, SCORE))
    first, second = RNG.integers(0, 4, 300), RNG.integers(0, 3, 300)
    assert metrics.adjusted_rand(first, second) == pytest.approx(adjusted_rand_score(first, second))


def test_calibration_error_is_the_mean_distance_of_equal_bins() -> None:
    said = np.array([0.1] * 10 + [0.6] * 10)
    came = np.array([1.0] * 3 + [0.0] * 7 + [1.0] * 5 + [0.0] * 5)
    assert metrics.calibration_error(came, said, bins=2) == pytest.approx((0.2 + 0.1) / 2)


def test_lift_is_the_rate_of_the_top_over_the_rate_of_all() -> None:
    came = np.array([1.0] * 10 + [0.0] * 90)
    assert metrics.lift(came, -np.arange(100.0)) == pytest.approx(10)
    assert metrics.lift(came, np.arange(100.0)) == 0


def test_gini_is_one_for_the_perfect_order_and_minus_one_for_its_reverse() -> None:
    actual = np.arange(50.0)
    assert metrics.gini(actual, actual) == pytest.approx(1)
    assert metrics.gini(actual, -actual) == pytest.approx(-1)


def test_all_or_none_has_no_auc() -> None:
    assert np.isnan(metrics.auc(np.zeros(3), np.arange(3.0)))


def test_a_level_is_reached_whatever_the_scores() -> None:
    odds = np.array([-30.0, 0.0, 0.5, 30.0])
    for level in (0.26, 0.5, 0.74):
        assert (1 / (1 + np.exp(-(odds + level_shift(odds, level))))).mean() == pytest.approx(level, abs=1e-9)


def test_a_monotone_curve_never_falls() -> None:
    curve = MonotoneCurve.fit(SCORE, HAPPENED)
    assert (np.diff(curve.predict(np.linspace(-1, 2, 200))) >= 0).all()
    assert curve.predict(SCORE).mean() == pytest.approx(HAPPENED.mean())
