"""The distribution behind quantiles: each function against the other, against laws that are known, and the mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.quantiles import demand_at, rank_of

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
EVEN = ((np.arange(20_000) + 0.5) / 20_000)[None, :]


@st.composite
def curves(draw):
    steps = draw(st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 7.0, 40.0]), min_size=7, max_size=7))
    quantiles = np.cumsum(steps)[None, :]
    return quantiles, quantiles.mean(axis=1) * draw(st.sampled_from([0.3, 0.8, 1.0, 1.3, 3.0]))


@given(curves())
@settings(max_examples=50, deadline=None)
def test_rank_of_inverts_demand_at(curve):
    quantiles, mean = curve
    ranks = np.linspace(0.001, 0.999, 250)[None, :]
    values = demand_at(ranks, LEVELS, quantiles, mean)
    assert (np.diff(values, axis=1) >= 0).all()
    assert (values >= 0).all()
    n = ranks.shape[1]
    found = rank_of(values[0], LEVELS, np.repeat(quantiles, n, axis=0), np.repeat(mean, n))
    # equal to the rank, or where an atom ends; where the curve is flattest, demand tells ranks apart by 0.01
    assert (found >= ranks[0] - 0.01).all()
    again = demand_at(np.clip(found, 0, 1 - 1e-12)[None, :], LEVELS, quantiles, mean)
    np.testing.assert_allclose(again, values, rtol=1e-6, atol=1e-6)


@given(curves())
@settings(max_examples=50, deadline=None)
def test_every_quantile_is_kept_whatever_the_mean(curve):
    quantiles, mean = curve
    np.testing.assert_allclose(demand_at(LEVELS[None, :], LEVELS, quantiles, mean), quantiles, atol=1e-9)


@pytest.mark.parametrize(
    "law",
    [stats.norm(100, 15), stats.gamma(0.5, scale=10), stats.gamma(0.2, scale=30), stats.lognorm(1.0, scale=20)],
    ids=["normal", "gamma", "silent gamma", "lognormal"],
)
def test_the_mean_comes_out(law):
    """Straight lines between the quantiles would give the gammas 4 to 5 % too much."""
    quantiles, mean = law.ppf(LEVELS)[None, :], np.array([law.mean()])
    drawn = demand_at(EVEN, LEVELS, quantiles, mean)[0]
    assert drawn.mean() == pytest.approx(law.mean(), rel=0.01)
    n = EVEN.shape[1]
    found = rank_of(law.ppf(EVEN[0]), LEVELS, np.repeat(quantiles, n, axis=0), np.repeat(mean, n))
    assert np.abs(found - EVEN[0]).max() < 0.06


def test_a_mean_no_such_quantiles_can_have_bends_no_further():
    quantiles = np.array([[0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 9.0]])
    low, lower = (demand_at(EVEN, LEVELS, quantiles, np.array([mean]))[0] for mean in (0.5, 0.001))
    np.testing.assert_array_equal(low, lower)
    assert np.diff(low).min() >= 0


def test_an_atom_at_zero_is_drawn_as_often_as_forecast():
    quantiles = np.array([[0.0, 0.0, 0.0, 0.0, 3.0, 8.0, 12.0]])
    drawn = demand_at(EVEN, LEVELS, quantiles, np.array([2.0]))[0]
    assert (drawn == 0).mean() == pytest.approx(0.5, abs=1e-3)
    assert rank_of(np.zeros(1), LEVELS, quantiles, np.array([2.0])) == 0.5
