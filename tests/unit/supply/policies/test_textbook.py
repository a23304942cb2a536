"""The textbook suite: published answers, row by row.

Examples and problems are those of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition (2019), unless said.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import poisson

from pipelines.supply.policies import disruptions, lot_sizing, newsvendor, reorder_point
from pipelines.supply.policies.echelons import Series, clark_scarf, newsvendor_levels
from pipelines.supply.policies.finite_horizon import Season, finite_horizon
from pipelines.supply.policies.guaranteed_service import Network, guaranteed_service
from pipelines.supply.policies.order_up_to import Periodic, power_approximation, zheng_federgruen
from pipelines.supply.policies.parameters import Policy, ReorderPolicy

FREE = math.inf
CONTINUOUS = reorder_point.Continuous(8, 0.225, 7.5, 1300, 150, 1 / 12)
SERIES = Series(np.array([2.0, 2.0, 3.0]), np.array([2.0, 1.0, 1.0]), 37.12, 5, 1)


def discount(policy: lot_sizing.DiscountPolicy) -> list[float]:
    return [policy.quantity, policy.region, policy.cost]


def pair(policy: Policy) -> list[float]:
    return [policy.level, policy.cost]


def reorder(policy: ReorderPolicy) -> list[float]:
    return [policy.reorder_point, policy.quantity, policy.cost]


def periodic(fixed_cost: float, holding_cost: float, backorder_cost: float, mean: float) -> list[float]:
    demand = poisson.pmf(np.arange(10 + int(mean + 12 * math.sqrt(mean))), mean)
    best = zheng_federgruen(Periodic(fixed_cost, holding_cost, backorder_cost, demand))
    return [best.reorder_point, best.order_up_to, best.cost]


def approximated() -> list[float]:
    policy = power_approximation(2.5, 0.18, 0.7, 50, 8)
    return [policy.reorder_point, policy.order_up_to]


def season(fixed_cost: float) -> list[float]:
    best = finite_horizon(Season(10, fixed_cost, 1, 25, 1, 18, 3, 0.98, 1, 25))
    return [*best.reorder_points, *best.order_up_to, best.cost]


def backorders() -> list[float]:
    best = lot_sizing.economic_order_quantity_with_backorders(8, 0.225, 5, 1300)
    return [best.quantity, best.backordered, best.cost]


def wagner_whitin(fixed_cost: float, holding_cost: float, *demand: float) -> list[float]:
    best = lot_sizing.wagner_whitin(fixed_cost, holding_cost, np.array(demand))
    return [*best.quantities, best.cost]


def joint() -> list[float]:
    best = lot_sizing.joint_replenishment(
        600, np.array([120.0, 840.0, 300.0]), np.array([160.0, 20.0, 50.0]), np.ones(3)
    )
    return [best.interval, *best.multiples, best.cost]


def served(
    arcs: list[tuple[int, int]],
    times: list[int],
    holding: list[float],
    *,
    inbound: int,
    outbound: dict[int, float],
    deviation: float,
    z: float,
) -> list[float]:
    """Service times and cost of a network whose stages count from 1, supplied at stage 1 after `inbound` periods."""
    stages = range(1, len(times) + 1)
    best = guaranteed_service(
        Network(
            arcs=tuple((start - 1, end - 1) for start, end in arcs),
            processing_time=np.array(times),
            holding_cost=np.array(holding),
            inbound=np.array([inbound if stage == 1 else 0 for stage in stages]),
            outbound=np.array([outbound.get(stage, FREE) for stage in stages]),
            demand_deviation=np.array([deviation if stage in outbound else 0.0 for stage in stages]),
            z=z,
        )
    )
    return [*best.service_time, best.cost]


FIGURE_6_14 = [(1, 2), (2, 3), (3, 5), (4, 5), (5, 6), (6, 10), (7, 10), (8, 10), (9, 10)]
SUITE = {
    "1 EOQ, example 3.1": (lambda: pair(lot_sizing.economic_order_quantity(8, 0.225, 1300)), [304.0467800, 68.4105255]),
    "1 EOQ at 250": (lambda: pair(lot_sizing.economic_order_quantity(8, 0.225, 1300, quantity=250)), [250, 69.725]),
    "2 EOQ, problem 3.1": (
        lambda: pair(lot_sizing.economic_order_quantity(2250, 275, 182500)),
        [1728.1098450, 475230.2073732],
    ),
    "3 EOQ with backorders, example 3.8": (lambda: backorders(), [310.8125552, 0.0430622, 66.9213636]),
    "4 EPQ": (lambda: pair(lot_sizing.economic_production_quantity(8, 0.225, 1300, 2000)), [513.9328596, 40.4722127]),
    "5 all-units discount, example 3.6": (
        lambda: discount(lot_sizing.all_units_discount(8, 0.3, 1300, [0, 400, 800], [0.75, 0.72, 0.68])),
        [800, 2, 978.60],
    ),
    "6 incremental discount, example 3.7": (
        lambda: discount(lot_sizing.incremental_discount(8, 0.3, 1300, [0, 400, 800], [0.75, 0.72, 0.68])),
        [304.0467800, 0, 1043.4105255],
    ),
    "7 Wagner–Whitin, example 3.9": (lambda: wagner_whitin(500, 2, 90, 120, 80, 70), [210, 0, 150, 0, 1380]),
    "7 Wagner–Whitin, problem 3.27": (lambda: wagner_whitin(120, 0.8, 150, 100, 80, 200), [150, 180, 0, 200, 424]),
    "8 joint replenishment, Silver": (lambda: joint(), [3.1031645, 1, 3, 1, 837.8544026]),
    "9 normal, example 4.3": (lambda: pair(newsvendor.newsvendor_normal(0.18, 0.70, 50, 8)), [56.6039559, 1.9976052]),
    "9 normal at 40": (lambda: pair(newsvendor.newsvendor_normal(0.18, 0.70, 50, 8, level=40)), [40, 7.3561316]),
    "10 base stock, example 4.4": (
        lambda: pair(newsvendor.base_stock_normal(0.18, 0.70, 50, 8, lead_time=4)),
        [264.7668944, 4.4667810],
    ),
    "11 Poisson, example 4.7": (lambda: pair(newsvendor.newsvendor_poisson(1, 4, 6)), [8, 3.5701069]),
    "11 Poisson at 5": (lambda: pair(newsvendor.newsvendor_poisson(1, 4, 6, level=5)), [5, 6.5902960]),
    "12 lognormal, problem 4.8b": (
        lambda: pair(newsvendor.newsvendor_lognormal(1, 0.1765, 6, 0.3)),
        [295.6266448, 29.442544],
    ),
    "13 discrete, problem 4.7b": (
        lambda: pair(
            newsvendor.newsvendor_discrete(
                5e5, 1e6, np.arange(1.0, 9.0), np.array([0.25, 0.05, 0.10, 0.20, 0.15, 0.10, 0.10, 0.05])
            )
        ),
        [5, 1_225_000],
    ),
    "14 profit": (lambda: pair(newsvendor.newsvendor_profit(1, 0.3, 0.12, 50, 8)), [56.6039559, -33.0023948]),
    "15 (r, Q) at a point": (lambda: [CONTINUOUS.cost(126.8, 328.5)], [78.0711625]),
    "15 (r, Q) exact": (lambda: reorder(reorder_point.exact(CONTINUOUS))[:2], [126.86706, 328.44914]),
    "15 (r, Q) expected inventory level": (
        lambda: reorder(reorder_point.expected_inventory_level(CONTINUOUS)),
        [213.9704421, 318.5901811, 95.4511402],
    ),
    "15 (r, Q) EOQB": (lambda: reorder(reorder_point.eoq_with_backorders(CONTINUOUS))[:2], [128.6378144, 308.5737801]),
    "15 (r, Q) EOQ and safety stock": (
        lambda: reorder(reorder_point.eoq_with_safety_stock(CONTINUOUS))[:2],
        [190.3369966, 304.0467800],
    ),
    "15 (r, Q) loss function": (lambda: reorder(reorder_point.loss_function(CONTINUOUS))[:2], [126.86706, 328.44914]),
    "16 (r, Q) Poisson, example 5.8": (
        lambda: reorder(reorder_point.reorder_point_poisson(100, 20, 150, 1.5, 2)),
        [3, 5, 107.9235806],
    ),
    "16 (r, Q) Poisson, problem 5.2": (
        lambda: reorder(reorder_point.reorder_point_poisson(4, 4, 28, 12, 0.5)),
        [6, 7, 28.2413128],
    ),
    "17 (s, S), example 4.7": (lambda: periodic(5, 1, 4, 6), [4, 10, 8.0341116]),
    "17 (s, S), problem 4.31": (lambda: periodic(150, 40, 125, 4), [2, 7, 223.5748296]),
    "18 (s, S), Zheng & Federgruen 10": (lambda: periodic(64, 1, 9, 10), [6, 40, 35.0215553]),
    "18 (s, S), Zheng & Federgruen 25": (lambda: periodic(64, 1, 9, 25), [19, 56, 54.2621667]),
    "19 power approximation, example 4.8": (lambda: approximated(), [40.1946170, 74.2901701]),
    "20 finite horizon, problem 4.29": (lambda: season(0), [23] * 20 + [234.7962257]),
    "20 finite horizon, problem 4.30": (lambda: season(40), [17] * 9 + [18] + [42] * 8 + [41, 23] + [519.3557888]),
    "21 Shang & Song": (lambda: list(newsvendor_levels(SERIES)), [22.6340, 12.0274, 6.4909]),
    "22 service times in a row, example 6.3": (
        lambda: served([(1, 2), (2, 3)], [1, 0, 1], [2, 4, 7], inbound=1, outbound={3: 1}, deviation=1, z=1),
        [0, 0, 1, 2 * math.sqrt(2)],
    ),
    "22 service times in a row, problem 6.7": (
        lambda: served([(1, 2), (2, 3)], [1, 1, 2], [2, 3, 4], inbound=1, outbound={3: 0}, deviation=10, z=4),
        [2, 3, 0, 160 * math.sqrt(5)],
    ),
    "23 service times in a tree, example 6.5": (
        lambda: served(
            [(1, 3), (3, 2), (3, 4)], [2, 1, 1, 1], [1, 3, 2, 3], inbound=1, outbound={2: 0, 4: 1}, deviation=1, z=1
        ),
        [0, 0, 0, 1, 2 * math.sqrt(2) + math.sqrt(6) + 3],
    ),
    "23 service times in a tree, figure 6.14": (
        lambda: served(
            FIGURE_6_14,
            [2, 3, 2, 4, 2, 3, 6, 4, 3, 2],
            [0.01, 0.03, 0.04, 0.06, 0.12, 0.13, 0.20, 0.08, 0.04, 0.50],
            inbound=0,
            outbound={10: 2},
            deviation=10,
            z=1.6448536,
        ),
        [0, 3, 5, 4, 7, 0, 0, 0, 0, 2, 18.8240045],
    ),
    "24 EOQ with disruptions, example 9.1": (
        lambda: pair(disruptions.economic_order_quantity_with_disruptions(8, 0.225, 5, 1300, 1.5, 14)),
        [772.8110740, 173.9500026],
    ),
    "25 newsvendor with disruptions, example 9.3": (
        lambda: pair(disruptions.newsvendor_with_disruptions(0.25, 3, 2000, 0.04, 0.25)),
        [8000, 2737.0689303],
    ),
    "26 EOQ with yield, example 9.4": (
        lambda: pair(disruptions.economic_order_quantity_with_yield(18500, 0.06, 75000, -15000, 9000)),
        [230246.3704688, 12914.7822281],
    ),
}
SHOWN = {"3 EOQ with backorders, example 3.8": 2e-6, "21 Shang & Song": 1e-5}  # fewer digits are published


@pytest.mark.parametrize("case", SUITE)
def test_published_answer(case):
    answer, published = SUITE[case]
    assert answer() == pytest.approx(published, rel=SHOWN.get(case, 1e-6))


def test_21_clark_scarf_example_6_1():
    best = clark_scarf(SERIES)
    assert best.levels == pytest.approx([22.72, 12.03, 6.48], abs=0.03)
    assert best.cost == pytest.approx(47.665, rel=3e-4)
