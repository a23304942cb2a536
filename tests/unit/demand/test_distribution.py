"""Distributions: interpolation against the normal law, conforming against coverage it must restore."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from pipelines.demand.distribution import ENOUGH, Errors, conform, interpolate, probability_of_zero
from pipelines.demand.metrics import calibration

AT = (0.1, 0.25, 0.5, 0.75, 0.9)
LEVELS = [0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95]


def test_interpolation_is_exact_for_a_normal_law():
    anchors = stats.norm(100, 15).ppf(AT)[None]
    np.testing.assert_allclose(interpolate(anchors, AT, LEVELS), stats.norm(100, 15).ppf(LEVELS)[None])


def test_interpolation_never_falls_and_never_goes_below_zero():
    anchors = np.sort(np.random.default_rng(0).gamma(0.3, 4, (500, 5)), axis=1)
    fan = interpolate(anchors, AT, LEVELS)
    assert (np.diff(fan, axis=1) >= 0).all()
    assert (fan >= 0).all()


def test_conforming_restores_the_level_a_model_misses():
    rng = np.random.default_rng(5)
    scale = rng.uniform(1, 50, 8_000)
    y = scale * rng.gamma(4, 1, 8_000)
    wrong = np.outer(scale, stats.gamma(4).ppf(LEVELS) * 0.6)  # every quantile far too low
    cell = np.zeros(8_000, dtype=np.int64)
    learned = Errors.fit((y[:4_000, None] - wrong[:4_000]) / scale[:4_000, None], cell[:4_000], LEVELS)
    repaired = conform(wrong[4_000:], scale[4_000:], cell[4_000:], learned)
    assert max(gap for *_, gap in calibration(y[4_000:], wrong[4_000:], LEVELS)) > 0.2
    assert max(gap for *_, gap in calibration(y[4_000:], repaired, LEVELS)) < 0.03


def test_a_cell_with_few_errors_borrows_from_all():
    errors = np.concatenate([np.zeros((ENOUGH, 1)), np.full((ENOUGH - 1, 1), 9.0)])
    cell = np.repeat([0, 1], [ENOUGH, ENOUGH - 1])
    learned = Errors.fit(errors, cell, [0.5])
    assert learned.of(np.array([0, 1, 7])).ravel().tolist() == [0, 0, 0]
    assert set(learned.by_cell) == {0}


def test_unknown_demand_teaches_nothing():
    errors = np.array([[1.0], [np.nan], [3.0]])
    assert Errors.fit(errors, np.zeros(3, dtype=np.int64), [0.9]).pooled == [3.0]
    assert Errors.fit(errors[1:2], np.zeros(1, dtype=np.int64), [0.9]).pooled == [0.0]


def test_errors_survive_json():
    learned = Errors.fit(np.random.default_rng(0).normal(size=(500, 2)), np.repeat([3, 4], 250), [0.2, 0.8])
    assert Errors.from_dict(learned.as_dict()) == learned


@pytest.mark.parametrize(
    ("fan", "expected"),
    [([1.0, 2.0, 3.0], 0.0), ([0.0, 0.0, 0.2], 0.9), ([0.0, 1.0, 2.0], 0.3)],
)
def test_probability_of_zero_is_read_from_the_fan(fan: list[float], expected: float):
    # whole units: demand below half a unit is none; half way between 0 (at 0.1) and 1 (at 0.5) is 0.3
    assert probability_of_zero(np.array([fan]), [0.1, 0.5, 0.9], 1.0)[0] == pytest.approx(expected)


def test_a_cell_that_knows_too_little_asks_its_kind_before_all():
    """Regular series in a shop with a few wild ones: their tails are those of regular series."""
    rng = np.random.default_rng(0)
    calm, wild = rng.normal(size=100), 50 * rng.normal(size=100)
    errors, cell = np.concatenate([calm, wild])[:, None], np.repeat([6, 12], 100)  # kinds 1 and 2
    learned = Errors.fit(errors, cell, [0.95], merged=6)
    assert learned.by_cell == {}
    assert learned.of(np.array([7]))[0, 0] == pytest.approx(np.quantile(calm, 0.95, method="inverted_cdf"))
    assert learned.of(np.array([0]))[0, 0] > 10 * learned.of(np.array([7]))[0, 0], "an unknown kind asks all"
    assert Errors.from_dict(json.loads(json.dumps(learned.as_dict()))) == learned
