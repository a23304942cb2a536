"""What must hold of every order line, whatever the shop."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.settings import Supply
from pipelines.supply.constraints import Terms, constrain
from pipelines.supply.decision import decide
from pipelines.supply.line_arrays import Lines
from pipelines.supply.outlook import Outlook
from pipelines.supply.paths import draws, one_factor_ranks, sample_paths, shared_part, spread

LEVELS = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
HORIZON = 5
units = st.floats(0, 200, allow_nan=False).map(lambda value: round(value, 1))


@st.composite
def outlooks(draw):
    """Rising quantiles of periods and of sums, some of them zero for long; no more consistent than a model's are."""
    steps = draw(st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0, 10.0]), min_size=5, max_size=5))
    growth = draw(st.floats(0.3, 1.2))
    period = np.cumsum(steps)
    sums = np.array([period * (k + 1) ** growth for k in range(HORIZON)])
    return Outlook(
        levels=LEVELS,
        sums=sums[None],
        sums_mean=sums.mean(axis=1)[None],
        periods=np.repeat(period[None, None], HORIZON, axis=1),
        periods_mean=np.full((1, HORIZON), period.mean()),
    )


@st.composite
def lines(draw):
    count = draw(st.integers(0, 2))
    return {
        "on_hand": draw(units),
        "receipts": draw(st.lists(units, min_size=count, max_size=count)),
        "due": draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.5, 4.0, 9.0]), min_size=count, max_size=count)),
        "now": draw(st.sampled_from([0.0, 0.5])),
        "lead": draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])),
        "lead_sd": draw(st.sampled_from([0.0, 0.5])),
        "review": draw(st.sampled_from([0.25, 1.0, 2.0, 3.0])),
        "holding_cost": draw(st.sampled_from([0.0, 0.2, 1.0])),
        "shortage_cost": draw(st.sampled_from([0.0, 0.5, 1.0, 9.0])),
        "service_target": draw(st.sampled_from([0.5, 0.9, 0.99])),
        "moq": draw(st.sampled_from([0.0, 0.0, 5.0, 40.0])),
        "multiple": draw(st.sampled_from([0.0, 1.0, 6.0, 2.5])),
        "maximum": draw(st.sampled_from([np.inf, np.inf, 50.0, 7.0])),
        "confidence": draw(st.lists(st.sampled_from([1.0, 0.7, 0.0]), min_size=count, max_size=count)),
        "lead_observed": draw(st.sampled_from([[np.nan] * 3, [np.nan] * 3, [0.5, 1.0, 3.0], [1.0, 1.5, np.nan]])),
        "backorder_cost": draw(st.sampled_from([0.0, 0.0, 0.3, 2.0])),
    }


shops = st.builds(
    Supply,
    unmet_demand=st.sampled_from(["lost", "backorder"]),
    objective=st.sampled_from(["cost", "service", "fill_rate"]),
    method=st.sampled_from(["paths", "paths", "quantiles"]),
)


def order(line, ahead, supply):
    arrays = {name: np.array([value], dtype=float) for name, value in line.items()}
    return decide(Lines(**arrays), ahead, supply, seed=1).row(0, named=True)


@given(lines(), outlooks(), shops)
@settings(max_examples=80, deadline=None)
def test_an_order_can_be_placed_and_is_worth_it(line, ahead, supply):
    found = order(line, ahead, supply)
    quantity = found["quantity"]
    assert quantity >= 0
    assert quantity <= line["maximum"] + 1e-9
    assert quantity == 0 or quantity >= line["moq"] - 1e-9
    if line["multiple"]:
        packs = quantity / line["multiple"]
        assert abs(packs - round(packs)) < 1e-6
    assert 0 <= found["stock_out_risk"] <= found["stock_out_risk_before"] <= 1
    assert (found["binding_constraint"] == "none") == (abs(quantity - found["unconstrained_quantity"]) <= 1e-6)
    if supply.objective == "cost":
        slack = 1e-6 * (1 + found["expected_cost_at_zero"])
        if supply.method == "paths" or line["holding_cost"]:  # where holding is free, the tail of a quantile has no end
            assert found["expected_cost_unconstrained"] <= found["expected_cost"] + slack
        assert found["expected_cost"] <= found["expected_cost_at_zero"] + slack
    elif found["binding_constraint"] != "maximum" and supply.objective == "service" and supply.method == "paths":
        assert found["stock_out_risk"] <= 1 - line["service_target"] + 1e-9


@given(lines(), outlooks(), shops, st.floats(0.5, 100))
@settings(max_examples=50, deadline=None)
def test_more_stock_never_orders_more(line, ahead, supply, more):
    richer = line | {"on_hand": line["on_hand"] + more}
    assert order(richer, ahead, supply)["quantity"] <= order(line, ahead, supply)["quantity"] + 1e-6


@given(lines(), outlooks(), st.sampled_from(["lost", "backorder"]), st.floats(0.5, 20))
@settings(max_examples=50, deadline=None)
def test_dearer_shortages_never_order_less(line, ahead, unmet_demand, more):
    supply = Supply(unmet_demand=unmet_demand)
    dearer = line | {"shortage_cost": line["shortage_cost"] + more}
    assert order(dearer, ahead, supply)["quantity"] >= order(line, ahead, supply)["quantity"] - 1e-6


ages = st.fixed_dictionaries(
    {
        "lots": st.lists(st.sampled_from([0.0, 3.0, 8.0]), min_size=2, max_size=2),
        "lot_expiry": st.lists(st.sampled_from([0.5, 2.0, np.inf]), min_size=2, max_size=2),
        "shelf_life": st.sampled_from([np.inf, 1.0, 4.0]),
        "service_kind": st.sampled_from([0.0, 1.0, 2.0]),
        "fixed_cost": st.sampled_from([0.0, 3.0]),
        "storage_maximum": st.sampled_from([np.inf, 30.0]),
        "ratio": st.sampled_from([1.0, 0.9]),
    }
)


@given(st.lists(st.tuples(lines(), ages), min_size=2, max_size=8), outlooks(), shops, st.randoms())
@settings(max_examples=40, deadline=None)
def test_a_line_is_decided_alike_alone_and_among_others(some, ahead, supply, random):
    """To the byte, whatever the others are: perishable, doubtful, with other targets."""
    arrays = padded([line | age for line, age in some])
    chosen = np.zeros(len(some), dtype=np.intp)
    together = decide(Lines(**arrays), ahead.rows(chosen), supply, seed=1)
    row = random.randrange(len(some))
    line, age = some[row]
    assert decide(Lines(**padded([line | age])), ahead, supply, seed=1).equals(together[row])


def padded(some):
    """Lines with as many open orders each, as arrays."""
    slots = max(len(line["receipts"]) for line in some)
    fill = {"receipts": 0.0, "due": 1e9, "confidence": 1.0}
    return {
        name: np.array(
            [line[name] + [fill[name]] * (slots - len(line[name])) if name in fill else line[name] for line in some]
        )
        for name in some[0]
    }


@given(outlooks())
@settings(max_examples=50, deadline=None)
def test_paths_never_fall_and_keep_the_quantiles_of_the_last_sum(ahead):
    drawn = draws(512, HORIZON, seed=3)
    shared = shared_part(spread(LEVELS, ahead.sums, ahead.sums_mean), spread(LEVELS, ahead.periods, ahead.periods_mean))
    ranks = one_factor_ranks(drawn[1:], shared)
    paths = sample_paths(ranks, LEVELS, ahead.periods, ahead.periods_mean, ahead.sums, ahead.sums_mean)[0]
    assert (np.diff(paths, axis=0) >= 0).all()
    found = np.quantile(paths[1], LEVELS)
    np.testing.assert_allclose(found, ahead.sums[0, 0], atol=0.05 * (1 + ahead.sums[0, 0].max()))


@given(units, st.sampled_from([0.0, 3.0, 20.0]), st.sampled_from([1.0, 4.0, 6.0]), st.sampled_from([np.inf, 30.0, 5.0]))
def test_terms_are_met_at_the_least_cost(wish, moq, multiple, maximum):
    """Against every quantity the supplier would accept, for a cost that is convex and lowest at the wish."""

    def cost(quantity):
        return np.where(quantity > wish, 0.3 * (quantity - wish), 1.0 * (wish - quantity))

    terms = Terms(np.array([moq]), np.array([multiple]), np.array([maximum]))
    found = constrain(np.array([wish]), terms, cost).quantity[0]
    grid = np.arange(0, 400) * multiple
    accepted = grid[(grid == 0) | ((grid >= moq) & (grid <= maximum))]
    assert found in accepted
    assert cost(found) <= cost(accepted).min() + 1e-6
