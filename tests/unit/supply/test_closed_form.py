"""Decisions from quantiles alone: against loss functions of textbooks, sample paths and the exact optimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from features.quantiles import Curve
from pipelines.settings import Supply
from pipelines.supply.decision import decide
from pipelines.supply.policies import base_stock_normal
from tests.unit.supply.test_decision import FINE, ahead_of, lines_of, long_run_cost, normal, row

QUANTILES = {"method": "quantiles"}


def test_expected_excess_is_the_loss_function():
    for law in (stats.norm(50, 8), stats.gamma(2, scale=10), stats.expon(scale=7)):
        curve = Curve.through(FINE, law.ppf(FINE)[None].repeat(5, axis=0), np.full(5, law.mean()))
        levels = law.ppf([0.001, 0.3, 0.5, 0.9, 0.999])
        exact = [integrate.quad(law.sf, level, np.inf)[0] for level in levels]
        np.testing.assert_allclose(curve.excess(levels), exact, rtol=0.01, atol=0.002 * law.std())


def test_expected_excess_of_nothing_and_of_atoms():
    levels = np.array([0.25, 0.5, 0.75, 0.999])
    quantiles = np.array([[0.0, 0, 0, 0], [4.0, 4, 4, 4], [0.0, 0, 4, 4]])
    curve = Curve.through(levels, quantiles, np.array([0.0, 4.0, 1.5]))
    assert curve.excess(np.zeros(3)).tolist() == pytest.approx([0.0, 4.0, 1.5])
    assert curve.excess(np.full(3, -1.0)).tolist() == pytest.approx([1.0, 5.0, 2.5])
    assert curve.excess(np.full(3, 2.0)).tolist() == pytest.approx([0.0, 2.0, 0.125 + 0.5])  # ½ · ⅛ · 2, and ¼ · 2
    assert curve.excess(np.full(3, 99.0)).tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)


def test_with_backorders_it_is_the_base_stock_level():
    lines = lines_of(30, lead=4, holding_cost=0.18, shortage_cost=0.70)
    supply = Supply(unmet_demand="backorder", **QUANTILES)
    found = row(decide(lines, ahead_of(normal(50, 8), levels=FINE), supply, seed=1))
    exact = base_stock_normal(0.18, 0.70, 50, 8, lead_time=4)
    assert found["order_up_to"] == pytest.approx(exact.level, rel=0.002)
    assert found["expected_cost"] == pytest.approx(exact.cost, rel=0.02)


@pytest.mark.parametrize("review", [1, 3])
@pytest.mark.parametrize("unmet_demand", ["lost", "backorder"])
def test_what_it_orders_costs_little_more_on_paths_than_the_best(unmet_demand, review):
    """Paths see what the closed form smooths over: on them its order is judged."""
    n = 60
    rng = np.random.default_rng(2)
    given = lines_of(
        rng.uniform(0, 50, n), lead=rng.choice([0.5, 1, 2, 2.5], n), lead_sd=rng.choice([0, 0.4], n), review=review,
        shortage_cost=rng.choice([1.0, 4, 9], n),
        receipts=rng.uniform(0, 12, (n, 1)), due=rng.choice([0.0, 1, 2], (n, 1)),
    )  # fmt: skip
    ahead = ahead_of(lambda k: stats.gamma(1.2 * k, scale=8), lines=n)
    by_paths = decide(given, ahead, Supply(unmet_demand=unmet_demand), seed=1)
    closed = decide(given, ahead, Supply(unmet_demand=unmet_demand, **QUANTILES), seed=1)
    fixed = replace(given, moq=closed["quantity"].to_numpy(), maximum=closed["quantity"].to_numpy())
    judged = decide(fixed, ahead, Supply(unmet_demand=unmet_demand, objective="service"), seed=1)
    ordered = closed["quantity"].to_numpy() > 0
    cost = judged["expected_cost"].to_numpy()[ordered]
    best = by_paths["expected_cost_unconstrained"].to_numpy()[ordered]
    assert ordered.mean() > 0.5
    assert cost.sum() <= best.sum() * 1.02
    assert (cost <= best * 1.15 + 1).all()
    np.testing.assert_allclose(
        closed["expected_cost_at_zero"].sum(), by_paths["expected_cost_at_zero"].sum(), rtol=0.07
    )
    said = closed["expected_cost"].to_numpy()[ordered].sum()  # lost sales: the shape of the need is not that of demand
    assert said == pytest.approx(cost.sum(), rel=0.15 if unmet_demand == "lost" else 0.05)
    assert (closed["stock_out_risk_before"] - by_paths["stock_out_risk_before"]).abs().mean() < 0.05
    assert closed["on_order"].sum() == pytest.approx(by_paths["on_order"].sum(), rel=0.05)
    for name, gap in (("demand_mean", 0.03), ("demand_p90", 0.06)):
        np.testing.assert_allclose(closed[name], by_paths[name], rtol=gap, atol=0.1)


@pytest.mark.parametrize(
    ("lead", "shortage", "optimum", "gap"), [(1, 4, 4.041, 0.03), (2, 4, 4.395, 0.025), (2, 9, 6.094, 0.045)]
)
def test_lost_sales_near_the_exact_optimum(lead, shortage, optimum, gap):
    """Zipkin 2008 (doi:10.1287/opre.1070.0471): order-up-to at the critical ratio costs 7.5 to 12.5 % more."""

    def quantity_of(states):
        lines = lines_of(
            states[:, 0], lead=lead, shortage_cost=shortage, multiple=1,
            receipts=states[:, 1:], due=np.tile(np.arange(1, lead), (len(states), 1)),
        )  # fmt: skip
        ahead = ahead_of(lambda k: stats.poisson(5 * k), lines=len(states))
        return decide(lines, replace(ahead, periods=None, periods_mean=None), Supply(), seed=1)["quantity"].to_numpy()

    assert optimum * 0.999 <= long_run_cost(quantity_of, lead, shortage) <= optimum * (1 + gap)


def test_a_decision_within_an_issue_sees_the_demand_that_is_left():
    lines = lines_of([0.0, 0.0], now=[0, 1], lead=1)
    ahead = ahead_of(normal(50, 8), lines=2, levels=FINE)
    whole, later = decide(lines, ahead, Supply(unmet_demand="backorder", **QUANTILES), seed=1)["demand_mean"]
    assert whole == pytest.approx(later)


def test_the_same_lines_in_any_order_and_on_any_threads():
    rng = np.random.default_rng(0)
    n = 300
    given = lines_of(rng.integers(0, 40, n), lead=rng.choice([1.0, 2.5], n), review=rng.choice([1, 3], n), multiple=1)
    ahead = ahead_of(normal(10, 4), lines=n)
    supply = Supply(**QUANTILES)
    once = decide(given, ahead, supply, seed=1)
    order = rng.permutation(n)
    assert once[order.tolist()].equals(decide(given.rows(order), ahead.rows(order), supply, seed=1, threads=2))
    one = np.array([17])
    assert once[17].equals(decide(given.rows(one), ahead.rows(one), supply, seed=1))
