"""A fill-rate target, simulated over many periods of demand whose forecast is right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipelines.settings import Supply
from pipelines.supply.decision import decide
from tests.unit.supply.test_decision import FINE, ahead_of, lines_of


def simulated_fill_rate(law, supply, target, *, lead, periods=40, items=100, warm_up=8):
    """Share of demand met from stock: items walked period by period, decided anew in each."""
    rng = np.random.default_rng(4)
    ahead = ahead_of(law, lines=items, levels=FINE)
    stock, pipeline = np.full(items, 5.0 * law(1).mean()), np.zeros((items, lead))
    met = wanted = 0.0
    for period in range(periods):
        stock, pipeline[:, 0] = stock + pipeline[:, 0], 0.0  # receive …
        lines = lines_of(
            stock, lead=lead, service_target=target,
            receipts=pipeline[:, 1:], due=np.tile(np.arange(1.0, lead), (items, 1)),
        )  # fmt: skip
        ordered = decide(lines, ahead, supply, seed=1)["quantity"].to_numpy()  # … review …
        demand = law(1).rvs(items, random_state=rng)  # … sell
        if period >= warm_up:
            met += np.clip(stock, 0, demand).sum()
            wanted += demand.sum()
        stock = stock - demand if supply.unmet_demand == "backorder" else np.maximum(stock - demand, 0)
        pipeline = np.column_stack([pipeline[:, 1:], ordered])
    return met / wanted


@pytest.mark.parametrize("method", ["paths", "quantiles"])
@pytest.mark.parametrize("unmet_demand", ["lost", "backorder"])
@pytest.mark.parametrize(
    ("law", "lead", "target"),
    [
        (lambda k: stats.poisson(20 * k), 2, 0.95),
        (lambda k: stats.nbinom(4 * k, 4 / (4 + 30)), 1, 0.9),
        (lambda k: stats.nbinom(4 * k, 4 / (4 + 30)), 2, 0.98),
    ],
)
def test_the_target_is_met_within_a_point(law, lead, target, unmet_demand, method):
    supply = Supply(objective="fill_rate", unmet_demand=unmet_demand, method=method)
    assert simulated_fill_rate(law, supply, target, lead=lead) == pytest.approx(target, abs=0.01)
