"""The decision against independent answers: the newsvendor, simulation unit by unit, an exact Markov chain."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipelines.settings import Supply
from pipelines.supply.decision import decide
from pipelines.supply.line_arrays import Lines
from pipelines.supply.outlook import Outlook
from pipelines.supply.policies import base_stock_normal, newsvendor_normal

LEVELS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
FINE = np.round(np.arange(1, 200) / 200, 3)


def ahead_of(distribution, lines=1, horizon=6, levels=LEVELS):
    """An outlook whose periods are independent; `distribution(k)` is that of k of them together."""
    sums = np.array([distribution(k).ppf(levels) for k in range(1, horizon + 1)])
    means = np.array([float(distribution(k).mean()) for k in range(1, horizon + 1)])
    return Outlook(
        levels=levels,
        sums=np.repeat(sums[None], lines, axis=0),
        sums_mean=np.repeat(means[None], lines, axis=0),
        periods=np.broadcast_to(sums[0], (lines, *sums.shape)).copy(),
        periods_mean=np.full((lines, horizon), means[0]),
    )


def lines_of(on_hand, **terms):
    on_hand = np.atleast_1d(np.asarray(on_hand, dtype=float))
    n = len(on_hand)
    given = {
        "now": 0, "lead": 0, "lead_sd": 0, "review": 1, "holding_cost": 1, "shortage_cost": 4,
        "service_target": 0.95, "moq": 0, "multiple": 0, "maximum": np.inf,
    } | terms  # fmt: skip
    receipts = np.asarray(given.pop("receipts", np.zeros((n, 0))), dtype=float)
    due = np.asarray(given.pop("due", np.zeros((n, 0))), dtype=float)
    arrays = {name: np.broadcast_to(np.asarray(value, dtype=float), n).copy() for name, value in given.items()}
    return Lines(on_hand=on_hand, receipts=receipts, due=due, **arrays)


def row(frame: pl.DataFrame) -> dict[str, float]:
    return frame.row(0, named=True)


def normal(mean, deviation):
    return lambda k: stats.norm(mean * k, deviation * np.sqrt(k))


@pytest.mark.parametrize("holding, shortage", [(0.18, 0.70), (1.0, 1.0), (1.0, 9.0), (1.0, 19.0)])  # noqa: PT006
def test_without_lead_time_it_is_the_newsvendor(holding, shortage):
    found = row(
        decide(
            lines_of(0, holding_cost=holding, shortage_cost=shortage),
            ahead_of(normal(50, 8), levels=FINE),
            Supply(),
            seed=1,
        )
    )
    exact = newsvendor_normal(holding, shortage, 50, 8)
    assert found["quantity"] == pytest.approx(exact.level, abs=0.03 * 8)
    assert found["expected_cost"] == pytest.approx(exact.cost, rel=0.03)
    assert found["expected_cost_at_zero"] == pytest.approx(shortage * 50, rel=0.01)


def test_stock_that_is_there_is_not_ordered_again():
    empty, half, full = decide(lines_of([0, 20, 90]), ahead_of(normal(50, 8), lines=3), Supply(), seed=1)["quantity"]
    assert half == pytest.approx(empty - 20)
    assert full == 0


def test_with_backorders_and_a_lead_time_it_is_the_base_stock_level():
    terms = {"lead": 4, "holding_cost": 0.18, "shortage_cost": 0.70}
    ahead = ahead_of(normal(50, 8), levels=FINE)
    found = row(decide(lines_of(30, **terms), ahead, Supply(unmet_demand="backorder"), seed=1))
    exact = base_stock_normal(0.18, 0.70, 50, 8, lead_time=4)
    assert found["order_up_to"] == pytest.approx(exact.level, rel=0.01)
    assert found["expected_cost"] == pytest.approx(exact.cost, rel=0.04)


def test_service_target_is_met_and_not_overshot():
    ahead = ahead_of(normal(50, 8), levels=FINE)
    supply = Supply(unmet_demand="backorder", objective="service")
    found = row(decide(lines_of(0, lead=1, service_target=0.9), ahead, supply, seed=1))
    assert found["order_up_to"] == pytest.approx(stats.norm(100, 8 * np.sqrt(2)).ppf(0.9), rel=0.01)
    assert 0.08 < found["stock_out_risk"] <= 0.1


@pytest.mark.parametrize("objective", ["service", "fill_rate"])
def test_a_service_target_is_met_whatever_an_order_costs(objective):
    ahead = ahead_of(normal(50, 8), levels=FINE)
    supply = Supply(unmet_demand="lost", objective=objective)
    found = row(decide(lines_of(0, service_target=0.9, fixed_cost=1000, shortage_cost=0), ahead, supply, seed=1))
    assert found["binding_constraint"] == "none"
    assert found["quantity"] > 40


def test_varying_lead_time_widens_the_interval_as_the_textbook_says():
    """Mean and variance of demand over a random interval: E[L]·σ² + μ²·Var L (Snyder & Shen, section 4.3.4.3)."""
    supply = Supply(unmet_demand="backorder", objective="service")
    ahead = ahead_of(normal(50, 8), levels=FINE, horizon=12)
    found = row(decide(lines_of(0, lead=4, lead_sd=0.5, service_target=0.8), ahead, supply, seed=1))
    deviation = np.sqrt(5 * 8**2 + 50**2 * 0.5**2)
    assert found["demand_mean"] == pytest.approx(250, rel=0.01)
    assert found["order_up_to"] == pytest.approx(250 + deviation * stats.norm.ppf(0.8), rel=0.015)


def simulate(rng, quantity, *, on_hand, receipts, lead, review, holding, shortage, lost, draw, paths=40_000):
    """Walk stock period by period: receive, sell, lose or owe, pay. Slow, and shares nothing with the decision."""
    demand = draw(rng, (paths, lead + review))
    stock, cost = np.full(paths, float(on_hand)), np.zeros(paths)
    short = np.zeros(paths, dtype=bool)
    for period in range(lead + review):
        stock = stock + receipts.get(period, 0) + (quantity if period == lead else 0)
        missing = np.maximum(demand[:, period] - np.maximum(stock, 0), 0)
        stock = stock - demand[:, period]
        if lost:
            stock = np.maximum(stock, 0)
        if period >= lead:
            cost += holding * np.maximum(stock, 0) + (shortage * missing if lost else 0)
            short |= missing > 0
    if not lost:
        cost += shortage * np.maximum(-stock, 0)
    return cost.mean(), short.mean()


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize(
    ("on_hand", "receipts", "lead", "review"),
    [(12, {}, 2, 1), (3, {1: 6}, 2, 1), (0, {1: 5, 3: 4}, 2, 3), (8, {0: 2, 4: 9}, 3, 2), (25, {2: 10}, 1, 4)],
)
def test_expected_cost_is_what_a_simulation_pays(lost, on_hand, receipts, lead, review):
    shape, scale = 2.0, 2.5
    ahead = ahead_of(lambda k: stats.gamma(shape * k, scale=scale), levels=FINE, horizon=7)
    given = lines_of(
        on_hand,
        lead=lead,
        review=review,
        holding_cost=0.2,
        shortage_cost=2.0,
        receipts=np.array([list(receipts.values())]).reshape(1, -1),
        due=np.array([list(receipts)]).reshape(1, -1),
    )
    found = row(decide(given, ahead, Supply(unmet_demand="lost" if lost else "backorder"), seed=3))

    def pays(quantity):
        return simulate(
            np.random.default_rng(5), quantity, on_hand=on_hand, receipts=receipts, lead=lead, review=review,
            holding=0.2, shortage=2.0, lost=lost, draw=lambda rng, size: rng.gamma(shape, scale, size),
        )  # fmt: skip

    cost, risk = pays(found["quantity"])
    cost_at_zero, risk_at_zero = pays(0)
    assert found["expected_cost"] == pytest.approx(cost, rel=0.05, abs=0.05)
    assert found["expected_cost_at_zero"] == pytest.approx(cost_at_zero, rel=0.05, abs=0.05)
    if lost:  # owed units hide how short the next period is; the risk there is that of the whole window
        assert found["stock_out_risk"] == pytest.approx(risk, abs=0.03)
        assert found["stock_out_risk_before"] == pytest.approx(risk_at_zero, abs=0.03)
    best = min(pays(quantity)[0] for quantity in np.arange(0, 60, 0.5))
    assert cost <= best * 1.01 + 0.02


def long_run_cost(quantity_of, lead, shortage, mean=5.0, top=22):
    """Cost per period of an ordering rule under lost sales, Poisson demand and unit holding cost: exact chain.

    States are (stock at the opening with today's receipt, orders due in 1 … lead − 1 periods).
    """
    demand = np.arange(60)
    chance = stats.poisson(mean).pmf(demand)
    states = np.stack(np.meshgrid(*[np.arange(top)] * lead, indexing="ij"), axis=-1).reshape(-1, lead)
    ordered = np.minimum(np.rint(quantity_of(states)).astype(int), top - 1)
    transition = np.zeros((len(states), len(states)))
    cost = np.zeros(len(states))
    for d, p in zip(demand, chance, strict=True):
        left = np.maximum(states[:, 0] - d, 0)
        coming = np.column_stack([states[:, 1:], ordered])
        following = coming.copy()
        following[:, 0] = np.minimum(left + coming[:, 0], top - 1)
        place = np.ravel_multi_index(tuple(following.T), (top,) * lead)
        np.add.at(transition, (np.arange(len(states)), place), p)
        cost += p * (left + shortage * np.maximum(d - states[:, 0], 0))
    share = np.full(len(states), 1 / len(states))
    for _ in range(400):
        share = share @ transition
    return float(share @ cost)


@pytest.mark.parametrize(
    ("lead", "shortage", "optimum", "order_up_to"), [(1, 4, 4.041, 4.390), (2, 4, 4.395, 4.945), (2, 9, 6.094, 6.552)]
)
@pytest.mark.parametrize(("effective_ratio", "gap"), [(1.0, 0.03), (0.93, 0.025)])
def test_lost_sales_near_the_exact_optimum(lead, shortage, optimum, order_up_to, effective_ratio, gap):
    """Zipkin 2008 (doi:10.1287/opre.1070.0471): optimal costs per period, and of order-up-to at the critical ratio."""

    def quantity_of(states):
        n = len(states)
        lines = lines_of(
            states[:, 0], lead=lead, shortage_cost=shortage, multiple=1,
            receipts=states[:, 1:], due=np.tile(np.arange(1, lead), (n, 1)),
        )  # fmt: skip
        ahead = ahead_of(lambda k: stats.poisson(5 * k), lines=n)
        return decide(lines, ahead, Supply(effective_ratio=effective_ratio), seed=1)["quantity"].to_numpy()

    cost = long_run_cost(quantity_of, lead, shortage)
    assert optimum * 0.999 <= cost <= optimum * (1 + gap)
    assert cost < order_up_to


def test_the_same_lines_in_any_order_and_on_any_threads():
    rng = np.random.default_rng(0)
    n = 1500
    given = lines_of(rng.integers(0, 40, n), lead=rng.choice([1.0, 2.5], n), review=rng.choice([1, 3], n), multiple=1)
    ahead = ahead_of(normal(10, 4), lines=n)
    once = decide(given, ahead, Supply(), seed=1)
    order = rng.permutation(n)
    again = decide(given.rows(order), ahead.rows(order), Supply(), seed=1, threads=2)
    assert once[order.tolist()].equals(again)


def long_run_cost_of_ordering(quantity_of, mean, fixed, shortage, low=-60, top=160):
    """Cost per period with backorders, no lead time, Poisson demand, unit holding cost: exact chain on stock levels."""
    levels = np.arange(low, top)
    demand = np.arange(low, top) - low
    chance = stats.poisson(mean).pmf(demand)
    ordered = np.rint(quantity_of(levels)).astype(int)
    after = np.minimum(levels + ordered, top - 1)
    following = np.zeros((len(levels), len(levels)))
    cost = fixed * (ordered > 0)
    for d, p in zip(demand, chance, strict=True):
        np.add.at(following, (np.arange(len(levels)), np.maximum(after - d, low) - low), p)
        cost = cost + p * (np.maximum(after - d, 0) + shortage * np.maximum(d - after, 0))
    share = np.full(len(levels), 1 / len(levels))
    for _ in range(600):
        share = share @ following
    return float(share @ cost)


@pytest.mark.parametrize(("mean", "optimum"), [(10, 35.0215553), (25, 54.2621667)])
def test_a_fixed_cost_is_paid_for_orders_that_last(mean, optimum):
    """Zheng & Federgruen 1991 (doi:10.1287/opre.39.4.654): optimal (s, S) for h = 1, p = 9, K = 64, Poisson demand."""

    def quantity_of(levels):
        lines = lines_of(levels, shortage_cost=9, fixed_cost=64, multiple=1)
        ahead = ahead_of(lambda k: stats.poisson(mean * k), lines=len(levels), levels=FINE)
        return decide(lines, ahead, Supply(unmet_demand="backorder"), seed=1)["quantity"].to_numpy()

    assert optimum * 0.999 <= long_run_cost_of_ordering(quantity_of, mean, 64, 9) <= optimum * 1.05
