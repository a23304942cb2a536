"""Textbook answers: Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.supply.policies import (
    base_stock_normal,
    economic_order_quantity,
    newsvendor_discrete,
    newsvendor_normal,
    newsvendor_poisson,
)


def near(value: float) -> object:
    return pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    ("found", "level", "cost"),
    [
        pytest.param(economic_order_quantity(8, 0.225, 1300), 304.0467800, 68.4105255, id="EOQ, example 3.1"),
        pytest.param(economic_order_quantity(8, 0.225, 1300, quantity=250), 250, 69.725, id="EOQ at 250"),
        pytest.param(economic_order_quantity(2250, 275, 182500), 1728.1098450, 475230.2073732, id="EOQ, problem 3.1"),
        pytest.param(newsvendor_normal(0.18, 0.70, 50, 8), 56.6039559, 1.9976052, id="normal, example 4.3"),
        pytest.param(newsvendor_normal(0.18, 0.70, 50, 8, level=40), 40, 7.3561316, id="normal at 40"),
        pytest.param(base_stock_normal(0.18, 0.70, 50, 8, lead_time=4), 264.7668944, 4.4667810, id="example 4.4"),
        pytest.param(newsvendor_poisson(1, 4, 6), 8, 3.5701069, id="Poisson, example 4.7"),
        pytest.param(newsvendor_poisson(1, 4, 6, level=5), 5, 6.5902960, id="Poisson at 5"),
        pytest.param(
            newsvendor_discrete(
                5e5, 1e6, np.arange(1.0, 9.0), np.array([0.25, 0.05, 0.10, 0.20, 0.15, 0.10, 0.10, 0.05])
            ),
            5,
            1_225_000,
            id="discrete, problem 4.7b",
        ),
    ],
)
def test_textbook_case(found, level, cost):
    assert found.level == near(level)
    assert found.cost == near(cost)


@pytest.mark.parametrize("mean", [0.3, 2.0, 17.5])
def test_poisson_level_beats_its_neighbours(mean):
    best = newsvendor_poisson(1.0, 9.0, mean)
    for level in (best.level - 1, best.level + 1):
        if level >= 0:
            assert best.cost <= newsvendor_poisson(1.0, 9.0, mean, level=level).cost + 1e-12
