"""Properties of the supplier's terms: met whatever they are, and at rest once met."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.supply.constraints import BEST, DOWN, NEAREST, STEPS, UP, PriceBreaks, Terms, constrain

limit = st.one_of(st.just(np.inf), st.floats(0, 300))


@st.composite
def cases(draw):
    return {
        "wish": draw(st.one_of(st.just(0.0), st.floats(0, 200), st.integers(0, 200).map(float))),
        "moq": draw(st.sampled_from([0.0, 1.0, 5.0, 24.0, 70.0])),
        "multiple": draw(st.sampled_from([0.0, 0.1, 1.0, 6.0, 25.0])),
        "maximum": draw(limit),
        "days_to_order": draw(st.sampled_from([0.0, 0.0, 0.0, 2.0])),
        "cover": draw(limit),
        "rounding": draw(st.sampled_from([BEST, UP, DOWN, NEAREST])),
        "room": draw(limit),
        "breaks": draw(st.lists(st.integers(1, 250), max_size=3, unique=True).map(sorted)),
        "holding": draw(st.floats(0.01, 2)),
        "shortage": draw(st.floats(0.01, 5)),
        "demand": draw(st.sampled_from([0.0, 3.0, 40.0])),
        "by_cost": draw(st.booleans()),
    }


def built(one):
    def many(name):
        return np.array([one[name]])

    n = len(one["breaks"])
    breaks = PriceBreaks(
        quantity=np.array([one["breaks"]], dtype=float).reshape(1, n),
        unit_cost=np.array([[0.9 - 0.1 * k for k in range(n)]]),
        base_cost=np.ones(1),
        holding_cost=many("holding"),
        net_need=many("wish"),
        demand=many("demand"),
    )
    terms = Terms(
        *(many(name) for name in ("moq", "multiple", "maximum", "days_to_order", "cover", "rounding", "room")), breaks
    )

    def cost(quantity):
        over = quantity - one["wish"]
        return np.where(over > 0, one["holding"] * over, -one["shortage"] * over)

    return terms, cost if one["by_cost"] else None


# A limit of next to nothing leaves nothing to order, not an order of next to nothing.
A_SPECK = {"moq": 0.0, "multiple": 0.0, "maximum": np.inf, "days_to_order": 0.0, "cover": np.inf, "rounding": BEST}
A_SPECK |= {"wish": 1.0, "room": 1e-131, "breaks": [], "holding": 1.0, "shortage": 1.0, "demand": 0.0, "by_cost": False}


@given(cases())
@example(A_SPECK)
@settings(max_examples=400, deadline=None)
def test_no_term_is_ever_broken_and_a_constrained_quantity_stays(one):
    terms, cost = built(one)
    found = constrain(np.array([one["wish"]]), terms, cost)
    quantity = found.quantity[0]
    assert quantity >= 0
    if quantity > 0:
        assert quantity >= one["moq"] - 1e-6
        assert quantity <= min(one["maximum"], one["cover"], one["room"]) + 1e-6
        assert one["days_to_order"] == 0
        assert one["wish"] > 0
        if one["multiple"]:
            assert quantity / one["multiple"] == pytest.approx(round(quantity / one["multiple"]), abs=1e-6)
    again = constrain(found.quantity, terms, cost)
    assert again.quantity[0] == quantity
    assert again.binding[0] == "none"
    stated = ~np.isnan(found.passed[0])
    if stated.any():
        assert found.passed[0, stated][-1] == quantity, "the last step that applies ends at the quantity"


@given(cases())
@settings(max_examples=200, deadline=None)
def test_the_name_is_that_of_the_step_that_moved_the_quantity_farthest(one):
    terms, cost = built(one)
    found = constrain(np.array([one["wish"]]), terms, cost)
    seen, moves = one["wish"], {}
    for name, units in zip(STEPS, found.passed[0], strict=True):
        if not np.isnan(units):
            moves[name] = abs(units - seen)
            seen = units
    name = found.binding[0].removesuffix("_wait")
    if name == "none":
        assert max(moves.values(), default=0) <= 1e-6
    else:
        assert moves[name] == max(moves.values())


@given(cases(), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_a_price_break_is_taken_just_where_it_costs_less_in_all(one, seed):
    """Against the sum of the bill and of the stock at the end of each window, walked window by window."""
    rng = np.random.default_rng(seed)
    start, price, holding = rng.integers(20, 200), 1 - rng.uniform(0.01, 0.5), rng.uniform(0.001, 0.1)
    need, demand = float(rng.integers(1, 20)), float(rng.integers(1, 30))
    # the stock left over runs down in whole windows
    start = int(need + demand * max(round((start - need) / demand), 1))
    one_line = (np.array([[float(start)]]), np.array([[price]]), np.ones(1))
    breaks = PriceBreaks(*one_line, np.array([holding]), np.array([need]), np.array([demand]))
    terms = Terms(np.zeros(1), np.ones(1), np.array([np.inf]), breaks=breaks)
    found = constrain(np.array([need]), terms, lambda q: holding * np.maximum(q - need, 0)).quantity[0]

    def bill(units, unit_cost):
        left, cost = units - need, 0.0
        while left > 0:
            cost += holding * left
            left -= demand
        return cost + (unit_cost - 1) * units  # a unit more today is one less to buy at the base price

    best = min([(bill(need, 1.0), need), (bill(start, price), start)])
    if abs(bill(need, 1.0) - bill(start, price)) > 1e-6:
        assert found == best[1]
