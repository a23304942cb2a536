"""The exact optimum under lost sales against published digits, and against plain enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from pipelines.supply.policies.lost_sales import LostSales, optimal_orders

DEMAND = poisson.pmf(np.arange(31), 5)


@pytest.mark.parametrize(
    ("lead_time", "published", "shown"),
    [
        pytest.param(1, [4.041, 5.438, 6.676, 7.836], 3, id="27 lead time 1"),
        pytest.param(2, [4.395, 6.094, 7.664, 9.106], 3, id="27 lead time 2"),
        pytest.param(3, [4.599, 6.531, 8.363, 10.04], 2, id="27 lead time 3"),
        pytest.param(4, [4.73, 6.84, 8.89, 10.79], 2, id="27 lead time 4"),
    ],
)
def test_poisson_5_costs_what_was_published(lead_time, published, shown):
    found = [optimal_orders(LostSales(1, cost, DEMAND, lead_time)).cost for cost in (4, 9, 19, 39)]
    assert [round(cost, shown) for cost in found] == [round(cost, shown) for cost in published]


@pytest.mark.parametrize("lead_time", [1, 2])
def test_larger_orders_change_nothing(lead_time):
    item = LostSales(1, 39, DEMAND, lead_time)
    assert optimal_orders(item, largest_order=20).cost == pytest.approx(optimal_orders(item).cost, abs=1e-4)


def test_no_stationary_policy_is_cheaper():
    """Every policy of a tiny item, each costed by its own stationary distribution."""
    item = LostSales(1.0, 3.0, np.array([0.5, 0.5]), 2)
    best = optimal_orders(item, tolerance=1e-9, largest_order=1)
    stock, coming = best.orders.shape
    states = [(held, late) for held in range(stock) for late in range(coming)]
    cheapest = np.inf
    for choice in np.ndindex(*[2] * len(states)):
        step, cost = np.zeros((len(states), len(states))), np.zeros(len(states))
        for place, (held, late) in enumerate(states):
            for asked in (0, 1):
                left = max(held - asked, 0)
                step[place, states.index((min(left + late, stock - 1), choice[place]))] += 0.5
                cost[place] += 0.5 * (left + 3 * max(asked - held, 0))
        long_run = np.linalg.matrix_power((step + np.eye(len(states))) / 2, 4096)  # lazy: no cycles
        cheapest = min(cheapest, (long_run @ cost).min())
    assert best.cost == pytest.approx(cheapest, abs=1e-6)


def test_orders_by_what_is_on_its_way():
    best = optimal_orders(LostSales(1, 9, DEMAND, 2))
    inventory, pipeline = np.array([0.0, 4.0, 500.0]), np.array([[3.0, 5.0], [5.0, 5.0], [0.0, 0.0]])
    ordered = best(inventory, pipeline, 0)
    assert ordered.tolist() == [best.orders[3, 5], best.orders[9, 5], 0]
    assert ordered[0] > ordered[1]


def test_simulated_cost_is_the_stated_cost():
    """Walk the policy through random demand: receive, sell, lose, order."""
    best = optimal_orders(LostSales(1, 4, DEMAND, 2))
    rng = np.random.default_rng(7)
    held, coming, costs = np.full(2000, 10.0), np.full((2000, 3), 5.0), []
    for period in range(150):
        held += coming[:, 0]
        asked = rng.poisson(5, 2000)
        costs.append((np.maximum(held - asked, 0) + 4 * np.maximum(asked - held, 0)).mean())
        held = np.maximum(held - asked, 0)
        coming = np.column_stack([coming[:, 1:], best(held, coming[:, 1:], period)])
    assert np.mean(costs[50:]) == pytest.approx(best.cost, rel=0.005)


def test_refuses_no_lead_time():
    with pytest.raises(ValueError, match="nothing is on its way"):
        LostSales(1, 9, DEMAND, 0)
