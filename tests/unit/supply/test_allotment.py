from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from pipelines.supply import exact
from pipelines.supply.allocation import anchored, asked, together
from pipelines.supply.allotment import allot
from pipelines.supply.basket import baskets
from pipelines.supply.increments import increments
from pipelines.supply.menu import Menu
from pipelines.supply.suppliers import MEASURES, Suppliers, unruled
from tests.made_baskets import best, normal_menu, problem


def units(menu, column):
    return menu.quantity[np.arange(len(column)), column]


@pytest.mark.parametrize("block", range(10))
def test_no_plan_costs_more_than_one_per_cent_above_the_best(block):
    """200 problems against a program of another make."""
    for seed in range(20 * block, 20 * block + 20):
        made = problem(seed, lines=(3, 9))
        menu = made.menu()
        plan = allot(menu, made.uses, made.capacities, made.suppliers)
        quantity, least = units(menu, plan.column), best(made)
        assert made.broken(quantity) == [], seed
        assert made.cost(quantity) == pytest.approx(plan.cost), seed
        assert least * (1 - 2e-4) - 1e-6 <= plan.cost <= 1.01 * least + 1e-9, seed
        assert plan.bound <= least * (1 + 2e-4) + 1e-9, seed


@given(st.integers(1_000, 10**9))
@settings(max_examples=40, deadline=None)
def test_prices_and_greedy_baskets_alone_break_no_rule(seed):
    made = problem(seed, lines=(3, 30))
    menu = made.menu()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "choose", lambda *_: None)
        plan = allot(menu, made.uses, made.capacities, made.suppliers)
    quantity = units(menu, plan.column)
    assert made.broken(quantity) == []
    assert plan.cost == pytest.approx(made.cost(quantity))
    assert plan.bound <= plan.cost
    for name, price in plan.shadow_prices.items():
        assert price > 0
        assert plan.used[name] <= made.capacities[name] * (1 + 1e-6)


@given(st.integers(0, 10**9))
@settings(max_examples=30, deadline=None)
def test_the_order_of_lines_does_not_matter(seed):
    made = problem(seed, lines=(3, 8))
    menu, back = made.menu(), np.random.default_rng(seed).permutation(len(made.wish))
    plan = allot(menu, made.uses, made.capacities, made.suppliers)
    shuffled = Menu(menu.quantity[back], menu.cost[back])
    again = allot(shuffled, made.uses[back], made.capacities, made.suppliers.of(back))
    assert again.cost == pytest.approx(plan.cost, rel=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_a_large_budget_problem_is_within_its_proven_gap(seed):
    rng = np.random.default_rng(seed)
    n, width = 5_000, 9
    pack, wish = rng.integers(1, 12, n), rng.gamma(1.0, 40.0, n)
    quantity = np.arange(width) * pack[:, None] * 1.0
    over = quantity - wish[:, None]
    menu = Menu(quantity, np.maximum(0.2 * over, -rng.uniform(0.5, 4, n)[:, None] * over))
    uses = np.column_stack([rng.uniform(1, 20, n), np.ones(n), np.zeros(n), rng.uniform(0.01, 0.1, n), np.zeros(n)])
    free = uses.T @ units(menu, menu.cost.argmin(axis=1))
    plan = allot(menu, uses, {"value": 0.5 * free[0], "volume": 0.55 * free[3]})
    load = uses.T @ units(menu, plan.column)
    assert load[0] <= 0.5 * free[0] * (1 + 1e-6)
    assert load[3] <= 0.55 * free[3] * (1 + 1e-6)
    assert plan.gap < 1e-3
    assert set(plan.binding) <= {"none", "budget", "volume"}


@pytest.mark.parametrize("seed", range(4))
def test_large_baskets_of_greedy_increments_are_near_the_relaxed_optimum(seed):
    """Against the linear relaxation, which no plan can beat: min Σ cost with Σ use · units ≥ minimum."""
    rng = np.random.default_rng(seed)
    n = 3_000
    pack, wish = rng.integers(1, 12, n), rng.gamma(1.0, 40.0, n)
    quantity = np.arange(9) * pack[:, None] * 1.0
    over = quantity - wish[:, None]
    menu = Menu(quantity, np.maximum(0.2 * over, -rng.uniform(0.5, 4, n)[:, None] * over))
    uses = np.column_stack([rng.uniform(1, 20, n), np.ones(n), np.zeros((n, 3))])
    minimum = 1.2 * (uses.T @ units(menu, menu.cost.argmin(axis=1)))
    rule = Suppliers(np.zeros(n, int), np.array([[minimum[0], 0, 0, 0, 0]]), np.full((1, 5), np.inf), np.zeros(1))
    column = baskets(menu, uses, rule)
    assert uses[:, 0] @ units(menu, column) >= minimum[0] * (1 - 1e-9)
    cost = menu.cost[np.arange(n), column].sum()
    prices = np.linspace(0, 1, 400)  # of one unit of value beyond what lines take by themselves
    bounds = [(menu.cost - p * uses[:, :1] * quantity).min(axis=1).sum() + p * minimum[0] for p in prices]
    assert cost <= 1.001 * max(bounds)


def test_what_changed_a_line_is_named():
    menu = Menu(np.tile([0.0, 10, 20], (3, 1)), np.array([[9.0, 1, 4], [9, 1, 4], [0, 3, 9]]))
    uses = np.column_stack([np.ones(3), np.ones(3), np.full(3, 0.1), np.zeros((3, 2))])
    no_truck = np.full((1, 5), np.inf)

    def named(minimum=0.0, truck=np.inf, capacities=None, fixed=0.0):
        rules = Suppliers(np.zeros(3, int), np.array([[minimum, 0, 0, 0, 0]]), no_truck.copy(), np.array([fixed]))
        rules.truck[0, 2] = truck
        plan = allot(menu, uses, capacities, rules)
        return plan.column.tolist(), plan.binding.tolist()

    assert named() == ([1, 1, 0], ["none"] * 3)
    assert named(minimum=30) in (
        ([2, 1, 0], ["supplier_minimum", "none", "none"]),
        ([1, 2, 0], ["none", "supplier_minimum", "none"]),
        ([1, 1, 1], ["none", "none", "supplier_minimum"]),
    )
    assert named(minimum=1e6) == ([0, 0, 0], ["supplier_wait", "supplier_wait", "none"])
    assert named(fixed=1e3) == ([0, 0, 0], ["supplier_wait", "supplier_wait", "none"])
    assert sorted(named(truck=3)[1]) == ["none", "none", "truck"]
    assert named(capacities={"value": 0.0}) == ([0, 0, 0], ["budget", "budget", "none"])


def test_increments_walk_the_lower_hull():
    """Against every pair of points: a column is on the hull where no chord passes below it."""
    rng = np.random.default_rng(3)
    quantity = np.cumsum(rng.integers(0, 4, (300, 8)), axis=1) * 1.0
    quantity -= quantity[:, :1]
    cost = rng.normal(size=quantity.shape).cumsum(axis=1)
    cost = np.where(np.diff(quantity, axis=1, prepend=-1) > 0, cost, np.nan)
    for j in range(1, 8):  # what repeats a quantity costs the same
        cost[:, j] = np.where(np.isnan(cost[:, j]), cost[:, j - 1], cost[:, j])
    steps = increments(Menu(quantity, cost))
    for i in range(300):
        ends = set(steps.end[steps.line == i])
        for j in np.flatnonzero(np.diff(quantity[i], prepend=-1) > 0)[1:]:
            left = [k for k in range(8) if quantity[i, k] < quantity[i, j]]
            right = [k for k in range(8) if quantity[i, k] > quantity[i, j]]
            chords = [
                cost[i, a]
                + (cost[i, b] - cost[i, a]) * (quantity[i, j] - quantity[i, a]) / (quantity[i, b] - quantity[i, a])
                for a in left
                for b in right
            ]
            if all(cost[i, j] < chord - 1e-9 for chord in chords):
                assert j in ends
            elif any(cost[i, j] > chord + 1e-9 for chord in chords):
                assert j not in ends


def lines_of(n=3):
    return pl.DataFrame(
        {
            "supplier_id": ["A", "B", "A"],
            "quantity": [12.0, 8.0, 0.0],
            "binding_constraint": ["moq", "none", "none"],
            "unconstrained_quantity": [10.0, 8.0, 0.0],
            "unit_cost": [2.0, 1.0, 3.0],
            "pallet_units": [40.0, None, 10.0],
            "on_hand": [0.0, 2.0, 30.0],
            "on_order": [0.0, 0.0, 0.0],
            "demand_mean": [9.0, 9.0, 9.0],
            "demand_p90": [14.0, 12.0, 16.0],
            "window_holding_cost": [0.2, 0.2, 0.1],
            "shortage_cost": [1.0, 2.0, 3.0],
            "moq": [12.0, 0.0, 0.0],
            "multiple": [4.0, 1.0, 5.0],
            "maximum": [np.inf, 20.0, 50.0],
        }
    )


SUPPLIERS = pl.DataFrame({"supplier_id": ["A", "C"], "minimum_value": [None, 5.0], "truck_pallets": [None, 20.0]})


def test_decisions_stand_where_nothing_holds_lines_together():
    lines = lines_of()
    found, plan = together(lines, normal_menu(lines), SUPPLIERS, {})
    assert found.equals(lines.select("quantity", "binding_constraint"))
    assert plan.gap == pytest.approx(0, abs=1e-9)
    assert not asked(SUPPLIERS.filter(pl.col("supplier_id") == "A"), {})
    assert asked(SUPPLIERS, {})
    assert asked(SUPPLIERS.clear(), {"value": 1.0})


def test_a_budget_and_a_minimum_change_decisions_to_quantities_that_can_be_ordered():
    lines = lines_of()
    found, plan = together(lines, normal_menu(lines), SUPPLIERS, {"value": 25.0})
    assert (found["quantity"] * lines["unit_cost"]).sum() <= 25.0
    assert plan.scarce == ("value",)
    more, _ = together(lines, normal_menu(lines), SUPPLIERS.with_columns(minimum_value=pl.lit(40.0)), {})
    assert (more["quantity"] * lines["unit_cost"])[[0, 2]].sum() >= 40 or more["quantity"][0] == 0
    for quantity in (found["quantity"], more["quantity"]):
        assert ((quantity == 0) | ((quantity >= lines["moq"]) & (quantity <= lines["maximum"]))).all()
        assert (quantity % lines["multiple"] == 0).all()


def test_a_truck_in_a_measure_nobody_knows_of_the_lines_holds_no_order_back():
    lines = lines_of()
    volume = pl.DataFrame({"supplier_id": ["A", "C"], "truck_volume": [50.0, 50.0]})
    found, _ = together(lines, normal_menu(lines), volume, {})
    assert found.equals(lines.select("quantity", "binding_constraint"))


def test_a_normal_menu_costs_what_integration_says():
    lines = lines_of()
    menu = normal_menu(lines)
    for i, line in enumerate(lines.iter_rows(named=True)):
        demand = stats.norm(line["demand_mean"], (line["demand_p90"] - line["demand_mean"]) / stats.norm.ppf(0.9))
        for j in (0, 3):
            stock = line["on_hand"] + line["on_order"] + menu.quantity[i, j]

            def cost(d, line=line, stock=stock, demand=demand):
                return demand.pdf(d) * (
                    line["window_holding_cost"] * max(stock - d, 0) + line["shortage_cost"] * max(d - stock, 0)
                )

            expected = integrate.quad(cost, -60, 80, points=[stock], limit=200)[0]
            assert menu.cost[i, j] == pytest.approx(expected, rel=1e-6)


@given(st.floats(0, 40).map(lambda units: round(units, 3)), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_an_anchored_menu_is_cheapest_at_the_decision(wanted, seed):
    rng = np.random.default_rng(seed)
    quantity = np.concatenate([[0.0], np.sort(rng.uniform(1, 40, 6))])[None, :]
    menu = anchored(Menu(quantity, rng.uniform(0, 9, (1, 7))), np.array([wanted]))
    assert (np.diff(menu.quantity) >= 0).all()
    assert menu.quantity[0, menu.cost.argmin()] == wanted


def test_without_rules_everybody_has_their_own_choice():
    made = problem(1)
    menu = made.menu()
    plan = allot(menu, made.uses, {}, unruled(len(made.wish)))
    assert (plan.column == menu.cost.argmin(axis=1)).all()
    assert (plan.shadow_prices, plan.scarce) == ({}, ())
    assert plan.gap == pytest.approx(0, abs=1e-12)
    assert len(MEASURES) == made.uses.shape[1]
