"""Projections against a slow walk of every path in plain Python: lots in a list, one event after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipelines.settings import Supply
from pipelines.supply.decision import costs_of, from_paths
from pipelines.supply.paths import comes, draws, lead_times
from tests.unit.supply.test_decision import ahead_of, lines_of

WIDTH, HORIZON, SEED = 16, 8, 3
DRAWN = draws(WIDTH, HORIZON, SEED)


def walk(cumulated, line, quantity, *, arrival, there, lost):
    """One path of one line: mean held and owed at step ends, missing, wasted, ever short, missing anew."""
    now, review, life = line["now"], line["review"], line["shelf_life"]
    end, steps = arrival + review, max(round(review), 1)
    step_ends = [arrival + review * (step + 1) / steps for step in range(steps)]
    over = max(end, arrival + life) if np.isfinite(life) else end
    dated = list(zip(line["lots"], line["lot_expiry"], strict=True))
    undated = line["on_hand"] - sum(units for units, _ in dated)
    lots = sorted([min(expiry, now + life), units] for units, expiry in [*dated, (undated, np.inf)])
    coming = [(due, units) for due, units, comes_ in zip(line["due"], line["receipts"], there, strict=True) if comes_]
    coming = sorted([*coming, (arrival, quantity)])
    expiries = [expiry for expiry, _ in lots] + [due + life for due, _ in coming]
    moments = {now, arrival, end, over, *step_ends, *expiries, *(due for due, _ in coming)}
    owed = missing = wasted = anew = 0.0
    held, owing, short = [], [], False

    def demand_by(time):
        whole = min(int(time), HORIZON - 1)
        value = cumulated[whole] + (cumulated[whole + 1] - cumulated[whole]) * (min(time, HORIZON) - whole)
        return value * max(time / HORIZON, 1)

    def take(wanted):
        for lot in lots:
            used = min(lot[1], wanted)
            lot[1] -= used
            wanted -= used
        return wanted

    before = now
    for moment in sorted(time for time in moments if now <= time <= over):
        for due, units in coming:  # received at the moment before, or overdue
            if (before <= due < moment) or (before == now and due < now):
                lots.append([due + life, units])
        lots.sort(key=lambda lot: lot[0])
        coming = [(due, units) for due, units in coming if due >= moment]
        owed = take(owed)
        unmet = take(demand_by(moment) - demand_by(before))
        inside = arrival <= before and before < moment <= end
        if inside:
            anew += unmet
            short = short or owed + unmet > 1e-9
        owed = 0.0 if lost else owed + unmet
        for lot in lots:
            if lot[0] <= moment:
                wasted += lot[1] * (moment > arrival)
                lot[1] = 0.0
        if moment in step_ends:
            held.append(sum(units for _, units in lots))
            owing.append(owed)
        if moment == end:
            missing = anew if lost else owed
        before = moment
    return np.mean(held), np.mean(owing), missing, wasted, short, anew


def made_lines(n, *, perishable, lost, seed):
    rng = np.random.default_rng(seed)
    terms = {
        "now": 0.0, "lead": rng.choice([0.5, 1.0, 2.0], n), "review": 2.0, "holding_cost": 0.2, "shortage_cost": 2.0,
        "receipts": rng.uniform(0, 15, (n, 3)),
        "due": np.sort(rng.choice([0.0, 0.5, 1.0, 1.75, 2.5, 6.0], (n, 3)), axis=1),
        "unit_cost": 1.0, "backorder_cost": 0.0 if lost else 0.5,
    }  # fmt: skip
    made = lines_of(rng.uniform(10, 40, n), **terms)
    more = {
        "confidence": rng.choice([1.0, 0.6, 0.0], (n, 3)),
        "lead_observed": np.where(rng.random((n, 1)) < 0.5, np.sort(rng.uniform(0.25, 3, (n, 4)), axis=1), np.nan),
    }
    if perishable:
        more |= {
            "lots": made.on_hand[:, None] * [[0.3, 0.4]],
            "lot_expiry": rng.choice([0.5, 1.0, 2.0, 9.0], (n, 2)),
            "shelf_life": rng.choice([0.75, 1.5, 3.0, np.inf], n),
        }
    return replace(made, **more)


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("perishable", [True, False])
def test_projections_are_what_a_walk_of_every_path_finds(perishable, lost):
    n = 12
    supply = Supply(unmet_demand="lost" if lost else "backorder")
    lines = made_lines(n, perishable=perishable, lost=lost, seed=7).completed(supply)
    ahead = ahead_of(lambda k: stats.gamma(1.5 * k, scale=6), lines=n, horizon=HORIZON)
    paths = ahead.paths(DRAWN, HORIZON)
    arrivals = lines.now[:, None] + lead_times(DRAWN[0], lines.lead, lines.lead_sd, lines.lead_observed)
    there = comes(lines.confidence, WIDTH, SEED)
    quantity = np.random.default_rng(1).uniform(0, 30, n)
    for rows in lines.blocks(at_once=n):
        view = from_paths(lines.rows(rows), ahead.rows(rows), DRAWN, lost=lost, seed=SEED)
        names = ("held", "owed", "missing", "wasted", "stock_out_risk")
        found = np.array([getattr(view.prospect, name)(quantity[rows]) for name in names]).T
        for place, row in enumerate(rows):
            line = {name: getattr(lines, name)[row] for name in vars(lines)}
            walked = [
                walk(
                    paths[row, :, path], line, quantity[row],
                    arrival=arrivals[row, path], there=there[row, :, path], lost=lost,
                )
                for path in range(WIDTH)
            ]  # fmt: skip
            np.testing.assert_allclose(
                found[place], np.mean(walked, axis=0)[:5], rtol=1e-6, atol=1e-6, err_msg=str(line)
            )


@pytest.mark.parametrize("lost", [True, False])
def test_perishables_are_ordered_at_the_least_cost_waste_counted(lost):
    n = 12
    supply = Supply(unmet_demand="lost" if lost else "backorder")
    lines = replace(made_lines(n, perishable=True, lost=lost, seed=9), shelf_life=np.full(n, 1.25)).completed(supply)
    ahead = ahead_of(lambda k: stats.gamma(1.5 * k, scale=6), lines=n, horizon=HORIZON)
    for rows in lines.blocks(at_once=n):
        some, there = lines.rows(rows), ahead.rows(rows)
        costs, prospect = costs_of(some, supply), from_paths(some, there, DRAWN, lost=lost, seed=SEED).prospect
        wish = prospect.cheapest(costs)
        for other in (wish * share + more for share in (0.0, 0.5, 0.8, 0.95, 1, 1.05, 1.2, 1.5) for more in (0, 1)):
            assert (costs.of(prospect, wish) <= costs.of(prospect, other) * 1.001 + 1e-6).all()
        keeps = replace(some, shelf_life=None, lots=None, lot_expiry=None)
        careless = from_paths(keeps, there, DRAWN, lost=lost, seed=SEED).prospect.cheapest(costs)
        assert costs.of(prospect, wish).sum() < costs.of(prospect, careless).sum()


@pytest.mark.parametrize("objective", ["service", "fill_rate"])
def test_perishables_meet_their_target_with_no_more_than_it_takes(objective):
    n = 12
    supply = Supply(objective=objective)
    lines = replace(made_lines(n, perishable=True, lost=True, seed=9), shelf_life=np.full(n, 5.0)).completed(supply)
    ahead = ahead_of(lambda k: stats.gamma(1.5 * k, scale=6), lines=n, horizon=HORIZON)
    for rows in lines.blocks(at_once=n):
        view = from_paths(lines.rows(rows), ahead.rows(rows), DRAWN, lost=True, seed=SEED)
        target = np.full(len(rows), 0.8)
        if objective == "service":
            order = view.prospect.safest(target)
            shares = [view.prospect.stock_out_risk(order * much) for much in (1, 0.97)]
        else:
            order = view.prospect.filling(target)
            shares = [view.prospect.missing(order * much) / view.in_window for much in (1, 0.97)]
        ordered = order > 0
        assert ordered.any() or len(rows) < 3
        assert (shares[0] <= 0.2 + 1e-6).all()
        assert (shares[1][ordered] >= 0.2 - 1e-6).all()
