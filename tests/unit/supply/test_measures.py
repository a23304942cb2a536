"""Measures against sums by hand, and against closed forms of the textbook."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipelines.supply.frontier import figure, frontier, stock_at_fill_rate
from pipelines.supply.measures import best_static, compare, cost, measure, regret
from pipelines.supply.policies.rules import OrderUpTo
from pipelines.supply.scenario import Scenario
from pipelines.supply.simulator import simulate


def newsvendor(level, demand, **given):
    """Backorders, no lead time: each period is a newsvendor's."""
    items = len(demand)
    scenario = Scenario(demand, np.zeros(items, int), np.full(items, float(level)), **given, lost=False)
    return scenario, simulate(scenario, OrderUpTo(np.full(items, float(level)))).totals


def test_measures_by_hand():
    # stock 5, up to 5: demand 3 2 7 0 → left 2 3 0 5, short 2 in period 2; orders 3 2 7 0, received 0 3 2 7
    scenario, totals = newsvendor(
        5, np.array([[3.0, 2.0, 7.0, 0.0]]), holding_cost=2.0, shortage_cost=9.0, order_cost=1.0
    )
    found = measure(scenario, totals, days_a_period=14)
    assert found.cost == (2 * 10 + 9 * 2 + 3) / 4
    assert found.fill_rate == 1 - 2 / 12
    assert found.cycle_service == 3 / 4  # cycles begin in periods 0, 1, 2 and 3
    assert found.average_stock == 10 / 4
    assert found.order_lines_a_week == 3 / 4 / 2
    assert found.bullwhip == 1.0  # what was asked for is ordered
    assert found.expired == 0


@pytest.mark.parametrize(("level", "expected"), [(8, 3.5701069), (5, 6.5902960)])
def test_newsvendor_poisson(level, expected):
    """Snyder & Shen, example 4.7: h = 1, p = 4, Poisson 6."""
    demand = np.random.default_rng(1).poisson(6, (500, 1000)).astype(float)
    spent = cost(*newsvendor(level, demand, holding_cost=1.0, shortage_cost=4.0))
    assert abs(spent.mean() - expected) < 4 * spent.std() / np.sqrt(500)


def test_base_stock_with_lead_time():
    """Snyder & Shen, example 4.4: h = .18, p = .7, N(50, 8), four periods of lead time."""
    demand = np.random.default_rng(2).normal(50, 8, (500, 1000))
    scenario = Scenario(
        demand, np.full(500, 4), np.full(500, 64.7668944), 0.18, 0.70, lost=False, receipts=np.full((500, 5), 50.0),
        warm_up=10,
    )  # fmt: skip
    spent = cost(scenario, simulate(scenario, OrderUpTo(np.full(500, 264.7668944))).totals)
    assert abs(spent.mean() - 4.4667810) < 4 * spent.std() / np.sqrt(500)


def test_newsvendor_with_disruptions():
    """Snyder & Shen, example 9.3: supply fails with probability .04 and recovers with .25; an order fails with it."""
    rng = np.random.default_rng(3)
    items, periods = 1000, 1000
    up = np.empty((items, periods + 1))
    up[:, 0] = rng.random(items) < 0.25 / 0.29
    for period in range(periods):
        up[:, period + 1] = np.where(up[:, period] > 0, rng.random(items) >= 0.04, rng.random(items) < 0.25)
    down = np.arange(1, 200)
    share = np.concatenate([[0.25], 0.04 * 0.25 * 0.75 ** (down - 1)]) / 0.29  # of periods, down for so many
    missing = 2000.0 * np.arange(1, 201)
    for level in (4000.0, 6000.0, 8000.0, 10000.0):
        scenario = Scenario(
            np.full((items, periods), 2000.0), np.zeros(items, int), np.full(items, level), 0.25, 3.0, lost=False,
            arriving=up[:, 1:], warm_up=20,
        )  # fmt: skip
        spent = cost(scenario, simulate(scenario, OrderUpTo(np.full(items, level))).totals)
        exact = share @ (0.25 * np.maximum(level - missing, 0) + 3.0 * np.maximum(missing - level, 0))
        assert abs(spent.mean() - exact) < 4 * spent.std() / np.sqrt(items)
        if level == 8000.0:
            assert exact == pytest.approx(2737.0689303)


def test_best_static_level_is_the_best_of_all():
    rng = np.random.default_rng(4)
    items = 30
    scenario = Scenario(
        rng.poisson(rng.uniform(0.3, 20, (items, 1)), (items, 60)).astype(float), rng.integers(0, 4, items),
        np.full(items, 10.0), 1.0, rng.uniform(1, 20, items), warm_up=8,
    )  # fmt: skip
    every = np.array(
        [cost(scenario, simulate(scenario, OrderUpTo(np.full(items, float(s)))).totals) for s in range(200)]
    )
    found = cost(scenario, simulate(scenario, OrderUpTo(best_static(scenario))).totals)
    np.testing.assert_allclose(found, every.min(axis=0))
    worse = simulate(scenario, OrderUpTo(np.full(items, 25.0))).totals
    np.testing.assert_allclose(regret(scenario, worse), every[25] - every.min(axis=0))


def test_comparison_is_paired():
    rng = np.random.default_rng(5)
    base = rng.gamma(2, 50, 40)
    other = base - rng.normal(3, 1, 40)
    table = compare({"base": base, "other": other}, "base").filter(policy="other").row(0, named=True)
    paired = stats.ttest_rel(base, other)
    assert table["saving"] / table["saving_se"] == pytest.approx(paired.statistic)
    assert table["saving_share"] == pytest.approx(1 - other.mean() / base.mean())


def test_frontier_rises_with_stock_and_is_drawn():
    rng = np.random.default_rng(6)
    demand = rng.poisson(4, (200, 80)).astype(float)
    scenario = Scenario(demand, np.full(200, 2), np.full(200, 12.0), 1.0, 9.0, warm_up=10)
    settings = [8.0, 12.0, 16.0, 20.0]
    points = frontier(scenario, {"order_up_to": lambda s: OrderUpTo(np.full(200, s))}, settings, days_a_period=7)
    assert points["fill_rate"].is_sorted()
    assert points["average_stock"].is_sorted()
    between = stock_at_fill_rate(points, points["fill_rate"][1:3].mean())
    assert points["average_stock"][1] < between["order_up_to"] < points["average_stock"][2]
    assert stock_at_fill_rate(points, 0.1) == {}
    line = figure(points).axes[0].lines[0]
    assert line.get_xdata().tolist() == points["average_stock"].to_list()
    assert isinstance(points, pl.DataFrame)
