"""What a budget buys, against a linear programme that may contact parts of a customer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from pipelines.customers.budget import select


def best(profit: np.ndarray, cost: np.ndarray, budget: float, capacity: int) -> float:
    """The most that parts of rows could earn: no choice of whole rows earns more."""
    rules = np.vstack([cost, np.ones_like(cost)])
    found = linprog(-profit, A_ub=rules, b_ub=[budget, capacity], bounds=(0, 1), method="highs")
    return float(-found.fun)


@pytest.mark.parametrize(
    ("budget", "capacity"),
    [(3000.0, 10_000), (1e9, 900), (2500.0, 900), (4000.0, 900)],
    ids=["budget", "capacity", "budget before capacity", "both"],
)
def test_it_earns_all_but_a_thousandth_of_what_a_linear_programme_does(budget, capacity):
    rng = np.random.default_rng(4)
    profit, cost = rng.lognormal(2, 1.2, 4000) - 2, rng.uniform(1, 8, 4000)
    chosen = select(profit, cost, budget=budget, capacity=capacity)
    assert cost[chosen].sum() <= budget
    assert chosen.sum() <= capacity
    assert profit[chosen].sum() >= 0.999 * best(profit, cost, budget, capacity)


def test_customers_alike_fill_the_budget():
    """All the same: a price of money that drops one drops all, yet the budget is spent."""
    chosen = select(np.full(50, 7.0), np.full(50, 2.0), budget=21, capacity=None)
    assert chosen.sum() == 10


money = st.floats(0, 50).map(lambda amount: round(amount, 2))


@given(
    rows=st.lists(st.tuples(st.floats(-20, 80), money, st.booleans()), max_size=40),
    budget=st.none() | st.floats(0.01, 300),
    capacity=st.none() | st.integers(1, 20),
)
def test_neither_budget_nor_capacity_is_ever_exceeded(rows, budget, capacity):
    profit, cost, spends = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    spends = spends.astype(bool)
    chosen = select(profit, cost, spends=spends, budget=budget, capacity=capacity)
    paid = chosen & spends
    assert budget is None or cost[paid].sum() <= budget + 1e-9
    assert capacity is None or paid.sum() <= capacity
    assert (profit[chosen] > 0).all()
    if budget is None and capacity is None:
        assert (chosen == (profit > 0)).all()
