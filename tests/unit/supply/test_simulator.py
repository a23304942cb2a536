"""The simulator against one that walks a single item, event by event, lot by lot and order by order."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.supply.policies.rules import OrderUpTo
from pipelines.supply.scenario import Scenario
from pipelines.supply.simulator import simulate

PERIODS = 12


def walk_one(scenario: Scenario, item: int, level: int) -> dict[str, list[float]]:
    """Order up to a level with one item: lists of lots and of orders, no array."""
    lead = [int(x) for x in scenario.lead[item]] if scenario.lead.ndim == 2 else [int(scenario.lead[item])] * PERIODS
    life = math.inf if scenario.shelf_life is None else int(scenario.shelf_life[item])
    multiple, moq = float(scenario.multiple[item]), float(scenario.moq[item])
    if scenario.opening_lots is None:
        stock, backlog = max(float(scenario.on_hand[item]), 0.0), max(-float(scenario.on_hand[item]), 0.0)
        lots = [[life, stock]]  # periods left, units; oldest first
    else:
        backlog, lots = 0.0, [[k + 1, float(units)] for k, units in enumerate(scenario.opening_lots[item])]
    orders = []  # [arrives, arriving units, ordered units, known to be on its way]
    for period, units in enumerate([] if scenario.receipts is None else scenario.receipts[item]):
        orders.append([period, float(units), float(units)])
    seen = {name: [] for name in ("received", "unmet", "expired", "stock", "backlog", "ordered")}
    for period in range(PERIODS):
        arrived = sum(order[1] for order in orders if order[0] == period)
        orders = [order for order in orders if order[0] > period]
        served = min(backlog, arrived)  # who waits is served first
        backlog -= served
        lots.append([life, arrived - served])
        left = float(scenario.demand[item, period])
        unmet = left
        for lot in lots:
            sold = min(lot[1], left)
            lot[1] -= sold
            left -= sold
        unmet = left
        backlog += 0.0 if scenario.lost else left
        for lot in lots:
            lot[0] -= 1
        expired = sum(lot[1] for lot in lots if lot[0] <= 0)
        lots = [lot for lot in lots if lot[0] > 0]
        stock = sum(lot[1] for lot in lots)
        wish = max(level - (stock - backlog) - sum(order[2] for order in orders), 0.0)
        quantity = 0.0
        if period % int(scenario.review[item]) == 0 and wish > 0:
            quantity = max(wish, moq)
            if multiple:
                quantity = math.ceil(Fraction(quantity) / Fraction(multiple)) * multiple
            most = float(scenario.maximum[item])
            if quantity > most:
                quantity = most // multiple * multiple if multiple else most
                quantity = quantity if quantity >= moq else 0.0
        share = 1.0 if scenario.arriving is None else float(scenario.arriving[item, period])
        if quantity:
            orders.append([period + 1 + lead[period], quantity * share, quantity])
        for name, value in (
            ("received", arrived), ("unmet", unmet), ("expired", expired), ("stock", stock),
            ("backlog", backlog), ("ordered", quantity),
        ):  # fmt: skip
            seen[name].append(value)
    return seen


@st.composite
def scenarios(draw):
    items = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lost, ages = draw(st.booleans()), draw(st.booleans())
    lead = rng.integers(0, 4, (items, PERIODS) if draw(st.booleans()) else items)
    usual = lead if lead.ndim == 1 else np.full(items, lead.max())
    receipts = rng.integers(0, 6, (items, int(lead.max()) + 1)).astype(float)
    receipts[np.arange(receipts.shape[1]) > usual[:, None]] = 0
    life = rng.integers(1, 5, items) if ages else None
    lots = None
    if ages and draw(st.booleans()):
        lots = rng.integers(0, 5, (items, int(life.max()))).astype(float)
        lots[np.arange(lots.shape[1]) >= life[:, None]] = 0
    return Scenario(
        demand=rng.poisson(3, (items, PERIODS)).astype(float),
        lead=lead,
        on_hand=rng.integers(0 if lost else -5, 15, items).astype(float),
        holding_cost=1.0,
        shortage_cost=4.0,
        lost=lost,
        receipts=receipts if draw(st.booleans()) else None,
        moq=rng.integers(0, 10, items).astype(float) if draw(st.booleans()) else 0.0,
        multiple=rng.integers(0, 5, items).astype(float) if draw(st.booleans()) else 0.0,
        maximum=rng.integers(4, 20, items).astype(float) if draw(st.booleans()) else np.inf,
        review=rng.integers(1, 4, items) if draw(st.booleans()) else 1,
        arriving=rng.integers(0, 3, (items, PERIODS)) / 2 if draw(st.booleans()) else None,
        shelf_life=life,
        opening_lots=lots,
    )


@given(scenarios(), st.integers(0, 25))
@settings(max_examples=300, deadline=None)
def test_every_period_agrees_with_a_walk_lot_by_lot(scenario, level):
    history = simulate(scenario, OrderUpTo(np.full(scenario.items, float(level))), record=True).history
    for item in range(scenario.items):
        for name, expected in walk_one(scenario, item, level).items():
            assert getattr(history, name)[item].tolist() == expected, name


@given(scenarios(), st.integers(0, 25))
@settings(max_examples=100, deadline=None)
def test_no_unit_appears_or_vanishes(scenario, level):
    outcome = simulate(scenario, OrderUpTo(np.full(scenario.items, float(level))), record=True)
    history = outcome.history
    opening = scenario.on_hand if scenario.opening_lots is None else scenario.opening_lots.sum(axis=1)
    sold = scenario.demand.sum(axis=1) - (history.unmet.sum(axis=1) if scenario.lost else history.backlog[:, -1])
    left = opening + history.received.sum(axis=1) - history.expired.sum(axis=1) - sold
    assert left.tolist() == history.stock[:, -1].tolist()


@given(scenarios(), st.integers(0, 25), st.integers(0, PERIODS - 1))
@settings(max_examples=100, deadline=None)
def test_totals_are_the_sums_of_the_periods_that_count(scenario, level, warm_up):
    scenario = replace(scenario, warm_up=warm_up)
    outcome = simulate(scenario, OrderUpTo(np.full(scenario.items, float(level))), record=True)
    totals, history = outcome.totals, outcome.history
    for item in range(scenario.items):
        counted = {f.name: getattr(history, f.name)[item, warm_up:].tolist() for f in fields(history)}
        for name in ("unmet", "expired", "stock", "backlog", "ordered"):
            assert getattr(totals, name)[item] == sum(counted[name])
        assert totals.order_lines[item] == sum(quantity > 0 for quantity in counted["ordered"])
        assert totals.ordered_squares[item] == sum(quantity**2 for quantity in counted["ordered"])
        cycles = [[]]
        for number, (received, unmet) in enumerate(zip(counted["received"], counted["unmet"], strict=True)):
            if received > 0 and number > 0:
                cycles.append([])
            cycles[-1].append(unmet > 0)
        assert (totals.cycles[item], totals.short_cycles[item]) == (len(cycles), sum(map(any, cycles)))


def test_blocks_and_threads_change_nothing():
    rng = np.random.default_rng(3)
    items = 9000  # more than two blocks
    scenario = Scenario(
        demand=rng.poisson(2, (items, 6)).astype(np.float32),
        lead=rng.integers(0, 3, (items, 6)),
        on_hand=rng.integers(0, 9, items).astype(float),
        holding_cost=1.0,
        shortage_cost=9.0,
        multiple=3.0,
    )
    policy = OrderUpTo(rng.integers(2, 12, items).astype(np.float32))
    whole = simulate(scenario, lambda *state: policy(*state), record=True)  # a plain function is not divided
    parts = simulate(scenario, policy, record=True, threads=2)
    for name in ("totals", "history"):
        for f in fields(getattr(whole, name)):
            np.testing.assert_array_equal(getattr(getattr(whole, name), f.name), getattr(getattr(parts, name), f.name))


def test_what_is_drawn_for_later_cannot_be_seen():
    rng = np.random.default_rng(4)
    seen = []

    def spy(inventory, pipeline, period):
        seen.append((inventory.tolist(), pipeline.tolist()))
        return np.full(5, 4.0)

    demand, lead, arriving = rng.poisson(3, (5, PERIODS)) + 0.0, rng.integers(0, 4, (5, PERIODS)), rng.random((5, 12))
    for _ in range(2):
        simulate(Scenario(demand, lead, np.full(5, 9.0), 1.0, 9.0, arriving=arriving), spy)
        # after period 5 other demand; orders placed in period 5 take longer, and less of them comes
        demand[:, 6:], lead[:, 5:], arriving[:, 5:] = 0, 3 - lead[:, 5:], 1 - arriving[:, 5:]
    assert seen[:6] == seen[PERIODS : PERIODS + 6]
    assert seen[6:PERIODS] != seen[PERIODS + 6 :]


def test_a_budget_cuts_all_orders_alike():
    demand = np.array([[6.0], [2.0], [4.0]])
    scenario = Scenario(
        demand, np.zeros(3, int), np.zeros(3), 1.0, 9.0, unit_cost=np.array([1.0, 2.0, 5.0]), multiple=1.0,
        budget=np.array([15.0]),
    )  # fmt: skip
    ordered = simulate(scenario, OrderUpTo(demand[:, 0]), record=True).history.ordered[:, 0]
    assert ordered.tolist() == [3, 1, 2]  # 30 money wanted: half of each


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lead": np.array([-1])}, "none negative"),
        ({"lead": np.array([1.5])}, "whole periods"),
        ({"warm_up": 3}, "leaves nothing"),
        ({"on_hand": -1.0}, "nobody waits"),
        ({"receipts": np.array([[0.0, 0.0, 1.0]])}, "later than one placed now"),
        ({"opening_lots": np.array([[1.0]])}, "shelf life"),
        ({"opening_lots": np.array([[0.0, 1.0]]), "shelf_life": 1}, "more periods left"),
    ],
)
def test_impossible_worlds_are_refused(wrong, message):
    world = {"demand": np.ones((1, 3)), "lead": np.array([1]), "on_hand": 1.0, "holding_cost": 1, "shortage_cost": 9}
    with pytest.raises(ValueError, match=message):
        Scenario(**(world | wrong))
