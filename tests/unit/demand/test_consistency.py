"""Mean and quantiles held against each other: on laws whose mean is known, and on forecasts made wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.demand.consistency import VOLUMES, ImpliedMean, Window, centred, volume_class

LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9]
ROWS = 30_000
LAWS = {
    "normal": stats.norm(5, 1),
    "gamma": stats.gamma(0.5, scale=2),
    "silent gamma": stats.gamma(0.15, scale=8),
    "poisson": stats.poisson(0.4),
    "lognormal": stats.lognorm(1.0),
}


def forecasts(law, seed: int, factor: float = 1.0) -> Window:
    """Quantiles and means of rows that all follow one law, each on a scale of its own; quantiles times a factor."""
    rng = np.random.default_rng(seed)
    scale = rng.lognormal(0, 0.5, ROWS)
    demand = np.maximum(law.rvs(ROWS, random_state=rng), 0) * scale
    mean = law.mean() * scale
    return Window(factor * law.ppf(LEVELS)[None, :] * scale[:, None], demand, mean, mean, 1e-3 * scale)


def gaps_of(implied: ImpliedMean, window: Window, factor: float = 1.0) -> np.ndarray:
    found = implied.gaps(factor * window.mean, window.quantiles, window.unit)
    assert list(found) == list(VOLUMES)
    return np.array(list(found.values()))


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_true_quantiles_imply_the_true_mean(law):
    implied = ImpliedMean.learn([forecasts(law, 1)], LEVELS)
    today = forecasts(law, 2)
    gaps = gaps_of(implied, today)
    assert np.abs(gaps).max() < 0.05
    np.testing.assert_allclose(gaps_of(implied, today, 1.25), (1 + gaps) / 1.25 - 1)


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_what_is_learned_does_not_excuse_wrong_quantiles(factor: float):
    """Past demand under wrong quantiles tells of shape; that the quantiles are wrong shows all the same."""
    wrong = forecasts(LAWS["normal"], 1, factor)
    for gap in gaps_of(ImpliedMean.learn([wrong], LEVELS), wrong):
        assert (gap > 0.1) if factor > 1 else (gap < -0.1)


def test_quantiles_of_whole_units_need_not_be_whole():
    """Between 0.6 and 1.4 all say the same of a demand of one."""
    whole = forecasts(LAWS["poisson"], 1)
    mean = np.full(ROWS, 0.4)
    demand = np.random.default_rng(5).poisson(0.4, ROWS).astype(float)
    rough = np.array([0.0, 0.0, 0.3, 0.8, 1.2])[None, :] * np.ones((ROWS, 1))
    window = whole._replace(quantiles=rough, demand=demand, mean=mean, unit=mean, step=np.ones(ROWS))
    assert np.abs(gaps_of(ImpliedMean.learn([window], LEVELS), window)).max() < 0.05


def test_few_rows_and_unknown_demand_teach_nothing_wrong():
    window = forecasts(LAWS["gamma"], 1)
    known = ImpliedMean.learn([window], LEVELS)
    assert ImpliedMean.learn([window, window._replace(demand=np.full(ROWS, np.nan))], LEVELS) == known
    few = ImpliedMean.learn([Window(*(each[:300] for each in window))], LEVELS)
    assert few.survival[1] == few.survival[2], "classes of less than two hundred rows share what all rows say"
    assert ImpliedMean.learn([], LEVELS).gaps(np.zeros(2), np.zeros((2, 5)), np.ones(2)) == {}
    assert ImpliedMean(**known.as_dict()) == known


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=40))
def test_larger_rows_are_of_no_smaller_class(values: list[float]):
    mean = np.array(values)
    number = volume_class(mean)
    assert set(number) <= {0, 1, 2}
    assert (np.diff(number[np.argsort(mean, kind="stable")]) >= 0).all()


def test_volume_classes_hold_a_third_of_the_units_each():
    mean = np.random.default_rng(3).lognormal(0, 1, ROWS)
    units = np.bincount(volume_class(mean), mean)
    np.testing.assert_allclose(units, units.sum() / 3, rtol=0.01)


def test_centred_demand_is_what_was_expected_of_each_class():
    rng = np.random.default_rng(4)
    means = [rng.lognormal(2, 1, 900) for _ in range(3)]
    missed = np.array([1.4, 1.0, 0.8])
    actual = [mean * missed[volume_class(mean)] * rng.gamma(4, 0.25, 900) for mean in means]
    actual[0][:50] = np.nan
    drawn = centred(means, actual)
    assert np.array_equal(np.isnan(drawn[0]), np.isnan(actual[0]))
    for number in range(3):
        rows = [(volume_class(mean) == number) & ~np.isnan(y) for mean, y in zip(means, actual, strict=True)]
        expected = sum(mean[own].sum() for mean, own in zip(means, rows, strict=True))
        assert sum(y[own].sum() for y, own in zip(drawn, rows, strict=True)) == pytest.approx(expected)
    within = drawn[0][~np.isnan(drawn[0])] / means[0][~np.isnan(drawn[0])]
    assert within.std() == pytest.approx(0.5, rel=0.15), "only the average is drawn in; the spread stays"


def test_centring_knows_its_limits():
    one = np.array([1.0, 2.0, 3.0])
    assert centred([one], [3 * one])[0] is not one
    np.testing.assert_array_equal(centred([one], [3 * one])[0], 3 * one)
    np.testing.assert_array_equal(centred([one, one], [8 * one, 8 * one])[0], 4 * one)
    np.testing.assert_array_equal(centred([one, one], [0 * one, 0 * one])[0], 0 * one)
