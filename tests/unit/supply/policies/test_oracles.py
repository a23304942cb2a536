"""Textbook policies against slow ways to the same answer: enumeration, Markov chains, other closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from pipelines.supply.policies import disruptions, lot_sizing, newsvendor, reorder_point
from pipelines.supply.policies.echelons import Series, clark_scarf, newsvendor_levels
from pipelines.supply.policies.finite_horizon import Season, finite_horizon
from pipelines.supply.policies.guaranteed_service import Network, guaranteed_service
from pipelines.supply.policies.order_up_to import Periodic, power_approximation, zheng_federgruen

money = st.floats(0.1, 100)
many = settings(max_examples=30, deadline=None)


@many
@given(money, money, st.lists(st.integers(0, 50), min_size=1, max_size=7))
def test_wagner_whitin_beats_every_set_of_order_periods(fixed, holding, demand):
    best = math.inf
    for ordered in itertools.product([False, True], repeat=len(demand)):
        last, cost = None, fixed * sum(ordered)
        for t, units in enumerate(demand):
            last = t if ordered[t] else last
            cost += 0 if units == 0 else math.inf if last is None else holding * (t - last) * units
        best = min(best, cost)
    found = lot_sizing.wagner_whitin(fixed, holding, np.array(demand, float))
    assert found.cost == pytest.approx(best)
    assert found.quantities.sum() == sum(demand)
    assert (np.cumsum(found.quantities) >= np.cumsum(demand)).all()


@many
@given(money, st.floats(0.05, 1), st.floats(10, 5000), st.lists(st.floats(0.5, 0.99), min_size=1, max_size=3))
def test_discounts_beat_a_fine_grid(fixed, rate, demand, drops):
    breaks = [0.0, *(np.arange(1, len(drops) + 1) * 100.0)]
    prices = [10.0, *(10.0 * np.cumprod(drops))]
    lots = np.arange(1, 2001.0)
    place = np.searchsorted(breaks, lots, side="right") - 1
    paid = np.array(
        [sum(price * units for price, units in zip(prices, slices(lot, breaks), strict=True)) for lot in lots]
    )
    all_units = np.array(prices)[place]
    for average, found in (
        (all_units, lot_sizing.all_units_discount(fixed, rate, demand, breaks, prices)),
        (paid / lots, lot_sizing.incremental_discount(fixed, rate, demand, breaks, prices)),
    ):
        grid = average * demand + fixed * demand / lots + rate * average * lots / 2
        assert found.cost <= grid.min() * (1 + 1e-9)


def slices(lot: float, breaks: list[float]) -> list[float]:
    """Units of a lot bought in each region of prices."""
    edges = [*breaks, math.inf]
    return [max(min(lot, high) - low, 0) for low, high in itertools.pairwise(edges)]


def test_joint_replenishment_beats_other_multiples():
    rng = np.random.default_rng(5)
    for _ in range(10):
        own, holding, rate = rng.uniform(10, 500, 3), rng.uniform(1, 100, 3), rng.uniform(0.5, 3, 3)
        found = lot_sizing.joint_replenishment(400, own, holding, rate)
        assert found.cost == pytest.approx(
            (400 + (own / found.multiples).sum()) / found.interval
            + found.interval * (found.multiples * holding * rate).sum() / 2
        )
        best = min(
            math.sqrt(2 * (400 + (own / m).sum()) * (m * holding * rate).sum())
            for m in map(np.array, itertools.product(range(1, 9), repeat=3))
        )
        assert found.cost <= best * 1.02  # a heuristic, but a good one


@many
@given(money, money, money, st.floats(0.5, 12))
def test_reorder_point_poisson_beats_its_neighbourhood(fixed, holding, backorder, mean):
    found = reorder_point.reorder_point_poisson(fixed, holding, backorder, mean, 1.0)
    demand, chance = np.arange(120), poisson.pmf(np.arange(120), mean)

    def cost(point: int, quantity: int) -> float:
        left = np.arange(point + 1, point + quantity + 1)[:, None] - demand
        rates = (holding * np.maximum(left, 0) + backorder * np.maximum(-left, 0)) @ chance
        return (fixed * mean + rates.sum()) / quantity

    point, quantity = int(found.reorder_point), int(found.quantity)
    assert found.cost == pytest.approx(cost(point, quantity), rel=1e-6)
    near = [cost(r, q) for r in range(point - 4, point + 5) for q in range(max(1, quantity - 4), quantity + 5)]
    assert found.cost <= min(near) * (1 + 1e-9)


@pytest.mark.parametrize(("fixed", "backorder", "mean"), [(5, 4, 6), (20, 9, 3), (0.5, 2, 1.5)])
def test_order_up_to_beats_every_pair_by_its_markov_chain(fixed, backorder, mean):
    demand = poisson.pmf(np.arange(40), mean)
    item = Periodic(fixed, 1, backorder, demand)
    found = zheng_federgruen(item)
    best = min(chain_cost(item, s, up) for s in range(-4, 12) for up in range(s + 1, 26))
    assert found.cost == pytest.approx(best, rel=1e-8)


def chain_cost(item: Periodic, point: int, order_up_to: int) -> float:
    """Cost per period of (s, S) from the stationary distribution of the position after ordering."""
    states = np.arange(point + 1, order_up_to + 1)
    step = np.zeros((len(states), len(states)))
    fixed = np.zeros(len(states))
    for row, position in enumerate(states):
        for units, chance in enumerate(item.demand):
            after = position - units
            step[row, len(states) - 1 if after <= point else after - point - 1] += chance
            fixed[row] += item.fixed_cost * chance * (after <= point)
    system = np.vstack([step.T - np.eye(len(states)), np.ones(len(states))])
    share = np.linalg.lstsq(system, np.append(np.zeros(len(states)), 1.0), rcond=None)[0]
    return float(share @ (fixed + item.period_cost(states)))


def test_order_up_to_with_a_lead_time_costs_what_a_walk_costs():
    """Two periods under way, backorders: the policy walked through random demand."""
    one = poisson.pmf(np.arange(40), 6)
    item = Periodic(30, 1, 9, one, protected=np.convolve(np.convolve(one, one), one))
    best = zheng_federgruen(item)
    rng = np.random.default_rng(6)
    stock, coming, costs = np.full(4000, best.order_up_to), np.zeros((4000, 3)), []
    for _ in range(150):
        position = stock + coming.sum(axis=1)
        ordered = np.where(position <= best.reorder_point, best.order_up_to - position, 0)
        coming = np.column_stack([coming[:, 1:], ordered])  # the first column is two periods old: it arrives
        stock = stock + coming[:, 0] - rng.poisson(6, 4000)
        coming[:, 0] = 0
        costs.append((30 * (ordered > 0) + np.maximum(stock, 0) + 9 * np.maximum(-stock, 0)).mean())
    assert np.mean(costs[30:]) == pytest.approx(best.cost, rel=5e-3)


@pytest.mark.parametrize(
    ("fixed", "backorder", "mean", "lead_time"), [(30, 9, 20, 0), (64, 4, 15, 2), (100, 19, 30, 1)]
)
def test_power_approximation_is_nearly_as_cheap_as_the_optimum(fixed, backorder, mean, lead_time):
    one = poisson.pmf(np.arange(90), mean)
    protected = one
    for _ in range(lead_time):
        protected = np.convolve(protected, one)
    item = Periodic(fixed, 1, backorder, one, protected=protected)
    near = power_approximation(fixed, 1, backorder, mean, math.sqrt(mean), lead_time=lead_time)
    assert zheng_federgruen(item).cost <= item.cost(round(near.reorder_point), round(near.order_up_to))
    assert item.cost(round(near.reorder_point), round(near.order_up_to)) <= 1.03 * zheng_federgruen(item).cost


def test_exact_continuous_policy_beats_the_approximations():
    rng = np.random.default_rng(2)
    for _ in range(10):
        fixed, holding, ratio, lead = (
            rng.uniform(1, 200),
            rng.uniform(0.1, 2),
            rng.uniform(2, 50),
            rng.uniform(0.02, 0.5),
        )
        item = reorder_point.Continuous(fixed, holding, holding * ratio, 1000, 120, lead)
        best = reorder_point.exact(item)
        for other in (
            reorder_point.eoq_with_backorders(item),
            reorder_point.eoq_with_safety_stock(item),
            reorder_point.loss_function(item),
        ):
            assert best.cost <= other.cost * (1 + 1e-9)
        around = [
            item.cost(best.reorder_point + dr, best.quantity + dq) for dr in (-1e-2, 0, 1e-2) for dq in (-1e-2, 0, 1e-2)
        ]
        assert best.cost <= min(around) * (1 + 1e-12)


def test_expected_inventory_level_refuses_backorders_that_cost_next_to_nothing():
    with pytest.raises(ValueError, match="cheaper to let everybody wait"):
        reorder_point.expected_inventory_level(reorder_point.Continuous(8, 0.225, 0.01, 1300, 150, 1 / 12))


def test_cost_of_a_reorder_point_is_an_average_of_newsvendors():
    """The position is uniform between r and r + Q."""
    item = reorder_point.Continuous(8, 0.225, 7.5, 1300, 150, 1 / 12)
    steps = 126.8 + (np.arange(2000) + 0.5) * 328.5 / 2000
    rates = [newsvendor.newsvendor_normal(0.225, 7.5, item.mean, item.deviation, level=y).cost for y in steps]
    assert item.cost(126.8, 328.5) == pytest.approx(np.mean(rates) + 8 * 1300 / 328.5, rel=1e-5)


def test_one_stage_is_a_newsvendor():
    one = Series(np.array([3.0]), np.array([4.0]), 20, 10, 2)
    alone = newsvendor.newsvendor_normal(3, 20, 40, 4)
    assert clark_scarf(one).levels == pytest.approx([alone.level], abs=0.05)
    assert clark_scarf(one).cost == pytest.approx(alone.cost, rel=1e-4)
    assert newsvendor_levels(one) == pytest.approx([alone.level])


def test_two_stages_cost_what_a_walk_of_them_costs():
    """Levels of the optimum walked through random demand; other levels cost more on the same demand."""
    series = Series(np.array([1.0, 1.0]), np.array([1.0, 1.0]), 10, 20, 4)
    best = clark_scarf(series)
    demand = np.random.default_rng(1).normal(20, 4, 200_000)

    def walked(upper: float, lower: float) -> float:
        """The lower stage gets what it wants or what the upper one had a lead time ago, whichever is less."""
        position = np.minimum(lower, upper - demand[:-1])
        left = position - demand[1:]
        return float((upper - demand[:-1] + left + (10 + 2) * np.maximum(-left, 0)).mean())

    assert walked(*best.levels) == pytest.approx(best.cost, rel=5e-3)
    for change in ((-3, 0), (3, 0), (0, -3), (0, 3)):
        assert walked(*(best.levels + change)) > walked(*best.levels)


def test_one_period_season_is_a_newsvendor():
    season = finite_horizon(Season(1, 0, 1, 4, 0, 50, 8, 1, 0, 0), start=0)
    alone = newsvendor.newsvendor_normal(1, 4, 50, 8)
    assert season.order_up_to.tolist() == [round(alone.level)]
    assert season.cost == pytest.approx(alone.cost, rel=1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_service_times_beat_every_other_assignment(seed):
    """Random trees of four stages, all service times enumerated."""
    rng = np.random.default_rng(seed)
    arcs = []
    for stage in range(1, 4):
        other = int(rng.integers(stage))
        arcs.append((other, stage) if rng.random() < 0.5 else (stage, other))
    sells = [stage not in [i for i, _ in arcs] for stage in range(4)]
    network = Network(
        arcs=tuple(arcs),
        processing_time=rng.integers(0, 3, 4),
        holding_cost=rng.uniform(1, 5, 4),
        inbound=rng.integers(0, 2, 4),
        outbound=np.where(sells, rng.integers(0, 2, 4), np.inf),
        demand_deviation=np.where(sells, rng.uniform(1, 4, 4), 0.0),
        z=1.5,
    )
    passing = [sum(network.demand_deviation[j] ** 2 for j in reached(arcs, i)) ** 0.5 for i in range(4)]
    best = math.inf
    for wait in itertools.product(range(10), repeat=4):
        entry = [max([network.inbound[j], *(wait[i] for i, k in arcs if k == j)]) for j in range(4)]
        net = np.array(entry) + network.processing_time - wait
        if (net >= 0).all() and (wait <= network.outbound).all():
            best = min(best, 1.5 * float(network.holding_cost @ (passing * np.sqrt(net))))
    assert guaranteed_service(network).cost == pytest.approx(best)


def reached(arcs: list[tuple[int, int]], stage: int) -> set[int]:
    return {stage}.union(*(reached(arcs, j) for i, j in arcs if i == stage))


def test_service_times_need_a_tree():
    each, free = np.ones(3), np.full(3, np.inf)
    for arcs in (((0, 1), (1, 2), (2, 0)), ((0, 1), (1, 0)), ((0, 1),)):
        with pytest.raises(ValueError, match="not one tree"):
            Network(arcs, np.ones(3, int), each, np.zeros(3, int), free, each, 1.0)


@many
@given(money, money, st.floats(0.01, 0.5), st.floats(0.1, 0.9))
def test_newsvendor_with_disruptions_beats_other_levels(holding, backorder, fails, recovers):
    found = disruptions.newsvendor_with_disruptions(holding, backorder, 100, fails, recovers)
    late = np.arange(1, 2000)
    chance = np.append(
        1 - fails / (fails + recovers), fails * recovers / (fails + recovers) * (1 - recovers) ** (late - 1.0)
    )
    wanted = 100 * np.arange(1, 2001)

    def cost(level: float) -> float:
        return float(chance @ (holding * np.maximum(level - wanted, 0) + backorder * np.maximum(wanted - level, 0)))

    assert found.cost == pytest.approx(cost(found.level), rel=1e-6)
    assert found.cost <= min(cost(100 * n) for n in range(1, 60)) * (1 + 1e-9)


def test_disrupted_eoq_walked_through_random_outages():
    """Cycles of the best quantity: stock runs out after Q ÷ demand; a supplier down then is back after a while."""
    best = disruptions.economic_order_quantity_with_disruptions(8, 0.225, 5, 1300, 1.5, 14)
    rng = np.random.default_rng(4)

    def walked(quantity: float) -> float:
        stocked, cycles = quantity / 1300, 200_000
        down = np.zeros(cycles, bool)
        clock = rng.exponential(1 / 1.5, cycles)
        while (clock < stocked).any():
            turning = clock < stocked
            down ^= turning
            clock += np.where(turning, rng.exponential(np.where(down, 1 / 14, 1 / 1.5)), 0)
        waited = np.where(down, clock - stocked, 0)
        return float((8 + 0.225 * quantity * stocked / 2 + 5 * 1300 * waited).sum() / (stocked + waited).sum())

    assert walked(best.level) == pytest.approx(best.cost, rel=0.02)


def test_profit_is_revenue_less_what_was_bought():
    """Walked through demand drawn beforehand."""
    best = newsvendor.newsvendor_profit(1, 0.3, 0.12, 50, 8)
    demand = np.random.default_rng(9).normal(50, 8, 400_000)
    sold = np.minimum(demand, best.level)
    assert np.mean(sold - 0.3 * best.level + 0.12 * (best.level - sold)) == pytest.approx(-best.cost, rel=2e-3)


@pytest.mark.parametrize("mean", [0.3, 2.0, 17.5])
def test_poisson_level_beats_its_neighbours(mean):
    best = newsvendor.newsvendor_poisson(1.0, 9.0, mean)
    for level in (best.level - 1, best.level + 1):
        if level >= 0:
            assert best.cost <= newsvendor.newsvendor_poisson(1.0, 9.0, mean, level=level).cost + 1e-12
