"""Menus: feasible quantities around the wish, at the cost the decision itself tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.settings import Supply
from pipelines.supply.constraints import Terms
from pipelines.supply.decision import decide
from pipelines.supply.menu import menu, quantities
from tests.unit.supply.test_decision import ahead_of, lines_of


@given(
    st.floats(0, 300),
    st.sampled_from([0.0, 5.0, 40.0]),
    st.sampled_from([0.0, 1.0, 6.0, 2.5]),
    st.sampled_from([np.inf, 100.0, 7.0, 3.0]),
    st.integers(4, 20),
)
def test_every_quantity_is_feasible_and_ascends_from_nothing(wish, moq, multiple, maximum, choices):
    terms = Terms(np.array([moq]), np.array([multiple]), np.array([maximum]))
    told = quantities(terms, np.array([wish]), choices)[0]
    assert told.shape == (choices,)
    assert told[0] == 0
    rising = np.diff(told) > 0
    assert not rising[np.argmin(rising) :].any() or rising.all(), "padded at the end only"
    placed = told[told > 0]
    assert (placed >= moq - 1e-9).all()
    assert (placed <= maximum + 1e-9).all()
    if multiple:
        assert np.abs(placed / multiple - np.rint(placed / multiple)).max(initial=0) < 1e-9
        feasible = multiple * np.arange(1, 400)
        feasible = feasible[(feasible >= moq - 1e-9) & (feasible <= maximum + 1e-9)]
        assert len(placed) > 0 or not len(feasible)
        nearest = feasible[feasible <= wish]
        assert not len(nearest) or wish % multiple > 1e-9 or wish > feasible[-1] or wish in told


@pytest.mark.parametrize("method", ["paths", "quantiles"])
def test_costs_are_those_of_the_decision(method):
    n = 40
    rng = np.random.default_rng(0)
    lines = lines_of(
        rng.integers(0, 30, n), lead=rng.choice([1.0, 2.0], n), multiple=rng.choice([1.0, 6.0], n),
        fixed_cost=0.25, unit_cost=2.0,
    )  # fmt: skip
    lines = replace(lines, break_quantity=np.tile([20.0, 50.0], (n, 1)), break_cost=np.tile([1.9, 1.5], (n, 1)))
    ahead, supply = ahead_of(lambda k: stats.gamma(2 * k, scale=5), lines=n), Supply(method=method)
    decided = decide(replace(lines, fixed_cost=0.0), ahead, supply, seed=1)
    wish = decided["quantity"].to_numpy()
    told = menu(lines, ahead, supply, wish, seed=1)
    np.testing.assert_allclose(told.cost[:, 0], decided["expected_cost_at_zero"].to_numpy(), rtol=1e-9)
    place = (told.quantity == wish[:, None]).argmax(axis=1)
    assert (told.quantity[np.arange(n), place] == wish).all()
    saved = np.select([wish >= 50, wish >= 20], [0.5 * wish, 0.1 * wish], 0.0)
    expected = decided["expected_cost"].to_numpy() + 0.25 * (wish > 0) - saved
    np.testing.assert_allclose(told.cost[np.arange(n), place], expected, rtol=0.02, atol=0.05)
    again = menu(lines, ahead, supply, wish, seed=1, threads=2)
    assert (again.cost == told.cost).all()
