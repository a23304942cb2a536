"""Replays of the past: against a slow walk of one line, without a look ahead, and judged in pairs."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipelines.settings import Supply
from pipelines.supply import backtest
from pipelines.supply.outlook import Outlook
from pipelines.supply.simulator import simulate

BEFORE, PERIODS, HORIZON, LEAD_WEEKS = 30, 16, 5, 2
HOLDING_COST, SHORTAGE_COST = 0.2, 1.0
LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
SUPPLY = Supply()


def forecast(mean):
    """Poisson demand of as many lines as there are means, the same in every period."""
    periods_mean = np.tile(mean[:, None], HORIZON)
    sums_mean = periods_mean.cumsum(axis=1)
    quantiles = [stats.poisson.ppf(LEVELS, means[..., None]) for means in (periods_mean, sums_mean)]
    return Outlook(LEVELS, quantiles[1], sums_mean, quantiles[0], periods_mean)


def made_past(items, seed=1):
    rng = np.random.default_rng(seed)
    mean = rng.uniform(3, 12, items)
    demand = rng.poisson(mean[:, None], (items, BEFORE + PERIODS)).astype(np.float64)
    demand[0, [4, BEFORE + 5]] = np.nan
    terms = {
        "lead_time_days": 7.0 * LEAD_WEEKS,
        "review_days": 7.0,
        "holding_cost": HOLDING_COST,
        "shortage_cost": SHORTAGE_COST,
        "service_target": 0.95,
        "moq": 0.0,
        "multiple": 1.0,
        "maximum": math.inf,
    }
    return backtest.Past(
        demand=demand,
        outlooks=[forecast(mean * rng.uniform(0.8, 1.2, items)) for _ in range(PERIODS)],
        terms=pl.DataFrame({name: [value] * items for name, value in terms.items()}),
        days_a_period=7.0,
        lost=True,
    )


@pytest.fixture
def past():
    return made_past(8)


def order_for(past, name):
    return backtest.path_rule(past, SUPPLY, seed=0) if name == "paths" else backtest.known_policy(past, name)


def orders_of(past, name):
    return simulate(past.scenario(), order_for(past, name), record=True).history.ordered


def safety_stock(mean, deviation, position):
    interval = LEAD_WEEKS + 1
    z = statistics.NormalDist().inv_cdf(SHORTAGE_COST / (SHORTAGE_COST + HOLDING_COST))
    return mean * interval + z * deviation * math.sqrt(interval) - position


def min_max(mean, deviation, position):
    to_minimum = safety_stock(mean, deviation, position)
    return to_minimum + mean if to_minimum > 0 else 0


def demand_driven(mean, deviation, position):
    usage = mean * (LEAD_WEEKS + 1)
    top_of_yellow = usage * (1.5 + 0.5 * min(deviation / mean, 1))
    return top_of_yellow + max(usage / 2, mean) - position if position < top_of_yellow else 0


def slowly(past, line, rule):
    """Orders of one line and its cost a period, told one unit of time after the other."""
    history = past.demand[line].tolist()
    expected = [round(ahead.sums_mean[line, 0]) for ahead in past.outlooks]
    stock = round(past.outlooks[0].sums_mean[line, LEAD_WEEKS])
    arriving, orders, costs = [0] * LEAD_WEEKS, [], []
    for period in range(PERIODS):
        came = history[BEFORE + period]
        asked = expected[period] if math.isnan(came) else came
        if period > LEAD_WEEKS:
            stock += arriving.pop(0)
        sold = min(stock, asked)
        stock -= sold
        costs.append(HOLDING_COST * stock + SHORTAGE_COST * (asked - sold))
        on_its_way = sum(arriving[-LEAD_WEEKS:])
        known = [each for each in history[: BEFORE + period + 1] if not math.isnan(each)]
        wish = rule(statistics.fmean(known), statistics.stdev(known), stock + on_its_way)
        orders.append(max(math.ceil(wish - 1e-9), 0) if period < PERIODS - 1 else 0)
        arriving = [*arriving, orders[-1]] if period else [orders[-1]]
    return orders, statistics.fmean(costs[LEAD_WEEKS + 1 :])


@pytest.mark.parametrize("rule", [safety_stock, min_max, demand_driven])
def test_a_replay_is_a_slow_walk_of_each_line(past, rule):
    ordered, walked = orders_of(past, rule.__name__), backtest.walk(past, rule.__name__, SUPPLY, seed=0)
    for line in range(len(past.terms)):
        orders, cost = slowly(past, line, rule)
        assert ordered[line].tolist() == orders
        assert walked.cost[line] == pytest.approx(cost)


@pytest.mark.parametrize("name", backtest.NAMES)
def test_no_order_knows_what_comes_later(past, name):
    seen = 7  # periods whose demand stays as it was; the forecast issued at the end of the last of them, too
    rng = np.random.default_rng(2)
    demand = past.demand.copy()
    demand[:, BEFORE + seen :] = rng.poisson(40, (len(demand), PERIODS - seen))
    other = [*past.outlooks[: seen + 1], *(forecast(np.full(len(demand), 40.0)) for _ in range(seen + 1, PERIODS))]
    before, after = orders_of(past, name), orders_of(replace(past, demand=demand, outlooks=other), name)
    np.testing.assert_array_equal(after[:, :seen], before[:, :seen])
    assert before[:, :seen].any()
    assert (after[:, seen:-1] != before[:, seen:-1]).any()


def test_paths_neither_hold_nor_miss_a_unit_where_forecasts_are_certain():
    past = made_past(3)
    mean = np.array([4.0, 7.0, 11.0])
    steady = np.tile(mean[:, None], BEFORE + PERIODS)
    means = np.tile(mean[:, None], HORIZON)
    certain = Outlook(
        LEVELS,
        *(
            values
            for one in (means.cumsum(axis=1), means)
            for values in (np.repeat(one[..., None], len(LEVELS), 2), one)
        ),
    )
    walked = backtest.walk(replace(past, demand=steady, outlooks=[certain] * PERIODS), "paths", SUPPLY, seed=0)
    np.testing.assert_allclose(walked.cost, 0, atol=1e-9)
    np.testing.assert_array_equal(walked.totals.demand, mean * (PERIODS - LEAD_WEEKS - 1))


def test_policies_are_compared_in_pairs(past):
    walks = {name: backtest.walk(past, name, SUPPLY, seed=0) for name in ("safety_stock", "min_max", "reorder_level")}
    judged = backtest.judge(past, walks)
    assert judged["policy"].to_list() == list(walks)
    first = walks["safety_stock"].cost
    assert judged.row(0, named=True)["extra_cost"] == judged.row(0, named=True)["standard_error"] == 0
    for row in judged.iter_rows(named=True):
        assert row["extra_cost"] == pytest.approx(row["cost"] - first.sum())
    for row in judged[1:].iter_rows(named=True):
        paired = stats.ttest_rel(walks[row["policy"]].cost, first).statistic
        assert row["extra_cost"] / row["standard_error"] == pytest.approx(paired)


def test_regret_is_cost_above_the_best_level_of_each_line(past):
    def best(line):
        def up_to(level):
            return slowly(past, line, lambda mean, deviation, position: level - position)[1]

        return min(up_to(level) for level in range(80))

    name = "seasonal_cover"
    row = backtest.judge(past, {name: backtest.walk(past, name, SUPPLY, seed=0)}).row(0, named=True)
    hindsight = sum(best(line) for line in range(len(past.terms)))
    assert row["regret"] == pytest.approx(row["cost"] - hindsight)
