"""Tuning against exact optima of lost-sales systems, judged on other draws than those it was tuned on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipelines.supply.measures import compare, cost
from pipelines.supply.paths import draws
from pipelines.supply.projected import ProjectedInventory
from pipelines.supply.scenario import Scenario
from pipelines.supply.simulator import simulate
from pipelines.supply.tuning import Stationary, critical_ratio, effective_ratio, tune

LEVELS = np.array([0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])


def lines(mean, lead, shortage, *, holding=1.0, segment=0, review=1.0):
    mean = np.atleast_1d(np.asarray(mean, float))

    def each(value):
        return np.broadcast_to(np.asarray(value, float), mean.shape).copy()

    return Stationary(
        levels=LEVELS,
        quantiles=stats.poisson.ppf(LEVELS[None, :], mean[:, None]),
        mean=mean,
        lead=each(lead),
        review=each(review),
        holding_cost=each(holding),
        shortage_cost=each(shortage),
        multiple=each(1),
        segment=np.broadcast_to(np.asarray(segment), mean.shape).astype(np.int64),
    )


def poisson_cost(lead, shortage, ratio, seed, items=400, periods=320):
    """Cost of the rule at a ratio with Poisson 5, each walk by itself."""
    demand = np.random.default_rng(seed).poisson(5, (items, periods)).astype(np.float32)
    scenario = Scenario(
        demand, np.full(items, lead), np.full(items, 8.0), 1.0, shortage, receipts=np.full((items, lead + 1), 5.0),
        warm_up=20,
    )  # fmt: skip
    paths = stats.poisson.ppf(draws(256, lead + 1, 7)[2:, None], 5).astype(np.float32)
    policy = ProjectedInventory(paths, np.full(items, ratio, np.float32), 1, True, np.ones(items, np.float32))
    return cost(scenario, simulate(scenario, policy).totals)


# handbook of lost sales: exact optima by value iteration (Zipkin 2008's model), Poisson 5, holding 1
@pytest.mark.parametrize(("lead", "shortage", "optimum"), [(1, 9, 5.438), (2, 4, 4.395)])
def test_tuned_rule_is_near_the_exact_optimum(lead, shortage, optimum):
    known = lines(5.0, lead, float(shortage))
    ratio = (critical_ratio(known) * tune(known, lost=True, seed=1).multiplier).item()
    found = poisson_cost(lead, float(shortage), ratio, seed=2)
    error = found.std() / np.sqrt(len(found))
    assert error < 0.004 * optimum
    assert found.mean() - 2 * error < optimum * 1.02
    assert found.mean() + 4 * error > optimum  # nothing is better than the best


def test_tuning_saves_on_draws_it_has_not_seen():
    known = lines(5.0, 2, 4.0)
    tuned = (critical_ratio(known) * tune(known, lost=True, seed=1).multiplier).item()
    costs = {"critical": poisson_cost(2, 4.0, 0.8, seed=3), "tuned": poisson_cost(2, 4.0, tuned, seed=3)}
    table = compare(costs, "critical").filter(policy="tuned")
    assert table["saving"].item() > 4 * table["saving_se"].item()


def test_backorders_leave_the_critical_ratio_where_it_is():
    """With backorders the rule is the newsvendor over the protection interval, and that is exact."""
    odds = tune(lines([4.0, 9.0, 15.0], 2, 9.0), lost=False, seed=1).odds[0]
    assert 0.75 < odds < 1.35  # the valley is flat: whole units


def test_order_and_number_of_lines_do_not_matter():
    rng = np.random.default_rng(1)
    mean, segment = rng.gamma(2, 3, 40), rng.integers(0, 3, 40)
    known = lines(mean, 1, rng.choice([4.0, 9.0], 40), segment=segment)
    found = tune(known, lost=True, seed=5)
    turned = rng.permutation(40)
    again = tune(known.rows(turned), lost=True, seed=5, threads=2)
    assert again.odds == found.odds
    np.testing.assert_array_equal(again.multiplier, found.multiplier[turned])
    np.testing.assert_allclose(
        found.multiplier * critical_ratio(known),
        effective_ratio(critical_ratio(known), np.array([found.odds[s] for s in segment])),
    )


def test_a_segment_with_nothing_to_weigh_keeps_its_ratio():
    known = lines([5.0, 5.0, 5.0], 1, [4.0, 0.0, 9.0], holding=[1.0, 1.0, 0.0], segment=[0, 1, 2])
    silent = replace(known, mean=np.array([0.0, 5.0, 5.0]), quantiles=known.quantiles * [[0.0], [1.0], [1.0]])
    assert tune(silent, lost=True, seed=1).multiplier.tolist() == [1.0, 1.0, 1.0]
