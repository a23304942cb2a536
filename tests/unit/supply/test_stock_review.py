"""Runways, the review and advice against walks of single paths in plain Python."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.settings import StockReview
from pipelines.supply.advice import ADVICE, OpenOrders, advice_table, advise, gains
from pipelines.supply.line_arrays import Lines
from pipelines.supply.runway import NEVER, Runway
from pipelines.supply.stock_review import Horizon, review, review_table

DAY = date(2024, 4, 15)
TEN = Horizon(10.0, 10)


def runway_of(seed, lost=True, lines=6, paths=12, periods=12, receipts=2):
    rng = np.random.default_rng(seed)
    demand = rng.poisson(3, (lines, periods, paths)).astype(float)
    return Runway(
        paths=np.concatenate([np.zeros((lines, 1, paths)), demand.cumsum(axis=1)], axis=1),
        now=np.zeros((lines, 1)),
        on_hand=rng.integers(0, 15, lines).astype(float),
        receipts=rng.integers(1, 9, (lines, receipts)).astype(float),
        due=rng.integers(1, 10, (lines, receipts)).astype(float),
        lost=lost,
    )


def walk(runway, line, path, until, fine=2):
    """Stock, units missing and unit-periods held of one path, walked in small steps."""
    stock, missing, held = float(runway.on_hand[line]), 0.0, []
    for step in range(round(until * fine)):
        start, end = step / fine, (step + 1) / fine
        for units, due in zip(runway.receipts[line], runway.due[line], strict=True):
            if start <= due < end:
                stock += units
        cumulative = [
            np.interp(at, np.arange(runway.paths.shape[1]), runway.paths[line, :, path]) for at in (start, end)
        ]
        stock -= cumulative[1] - cumulative[0]
        if runway.lost:
            missing += max(-stock, 0.0)
            stock = max(stock, 0.0)
        else:
            missing = max(missing, -stock)
        held.append(max(stock, 0.0))
    return held[-1], missing


@pytest.mark.parametrize("lost", [True, False])
def test_missing_and_held_are_what_a_walk_finds(lost):
    runway = runway_of(4, lost)
    for until in (1.0, 4.0, 9.0):
        time = np.full((6, 1), until)
        missing = runway.missing(time)
        held = runway.held(time, missing)
        walks = np.array([[walk(runway, line, path, until) for path in range(12)] for line in range(0, 6, 2)])
        assert missing[::2] == pytest.approx(walks[:, :, 1], abs=1e-6)
        assert held[::2] == pytest.approx(walks[:, :, 0].mean(axis=1), abs=1e-6)


def test_moving_an_order_is_rewriting_its_date():
    runway = runway_of(7)
    time, units = np.full((6, 1), 8.0), runway.receipts[:, 0]
    rewritten = Runway(
        runway.paths,
        runway.now,
        runway.on_hand,
        runway.receipts,
        np.column_stack([units * 0 + 6, runway.due[:, 1]]),
        True,
    )
    moved = runway.moved(units, runway.due[:, 0], np.full(6, 6.0))
    assert moved.missing(time) == pytest.approx(rewritten.missing(time))


def lines_like(runway, **more):
    n = len(runway.on_hand)
    one = dict.fromkeys(
        ("now", "lead_sd", "review", "holding_cost", "shortage_cost", "service_target", "moq", "multiple", "maximum"),
        np.ones(n),
    )
    return Lines(on_hand=runway.on_hand, receipts=runway.receipts, due=runway.due, lead=np.full(n, 2.0), **one, **more)


def test_review_follows_its_definitions():
    runway = runway_of(9)
    found = review(runway, lines_like(runway), TEN)
    for line in range(6):
        demand = sorted(runway.paths[line, 10])
        assert found["demand_mean"][line] == pytest.approx(sum(demand) / 12)
        p95 = demand[10] + 0.45 * (demand[11] - demand[10])  # the quantile of 12 values lies at 10.45
        arriving = zip(runway.due[line], runway.receipts[line], strict=True)
        coming = sum(units for due, units in arriving if due < runway.now[line, 0] + 10 and units > 0)
        assert found["excess"][line] == pytest.approx(max(runway.on_hand[line] + coming - p95, 0))
        out = sum(walk(runway, line, path, 2.0)[1] > 1e-6 for path in range(12)) / 12
        assert found["stock_out_risk"][line] == pytest.approx(out)
        after = found["stock_out_after"][line]
        if np.isfinite(after):
            assert runway.stock_out_risk(np.full((6, 1), np.ceil(after)))[line] >= 0.5
            assert runway.stock_out_risk(np.full((6, 1), np.floor(after - 1e-9)))[line] <= 0.5


def test_what_expires_unsold_is_what_a_shelf_loses():
    runway = runway_of(2, receipts=0)
    lots, expiry = np.array([[4.0, 6.0]] * 6), np.array([[1.0, 3.0]] * 6)
    runway = Runway(runway.paths, runway.now, lots.sum(axis=1), runway.receipts, runway.due, True)
    found = review(runway, lines_like(runway, lots=lots, lot_expiry=expiry), TEN)["expiring"]
    for line in range(6):
        lost = []
        for path in range(12):
            first = max(4.0 - runway.paths[line, 1, path], 0.0)
            sold_of_second = max(runway.paths[line, 1, path] - 4.0, 0.0)
            later = runway.paths[line, 3, path] - runway.paths[line, 1, path]
            lost.append(first + max(6.0 - sold_of_second - later, 0.0))
        assert found[line] == pytest.approx(np.mean(lost))


def reviewed(**given):
    lines = pl.DataFrame(
        {
            "product_id": ["P"], "as_of": [DAY], "on_hand": [100.0], "unit_cost": [2.0], "lead_days": [13.2],
            "abc": ["A"], "days_since_demand": [10], "illustrative": [False],
        }
        | {name: [value] for name, value in given.items() if name in ("on_hand", "days_since_demand")}
    )  # fmt: skip
    figures = pl.DataFrame(
        {
            "demand_mean": [90.0], "demand_p90": [120.0], "demand_p95": [130.0], "excess": [0.0], "expiring": [0.0],
            "on_order": [0.0], "stock_out_risk": [0.1], "stock_out_after": [float("inf")],
        }
        | {name: [value] for name, value in given.items() if name not in ("on_hand", "days_since_demand")}
    )  # fmt: skip
    return review_table(lines, figures, StockReview(), keys=["product_id"], days_a_period=7.0).row(0, named=True)


def test_cover_and_dates_in_words_of_a_planner():
    row = reviewed(stock_out_after=2.0)
    assert row["days_of_supply"] == pytest.approx(100)  # 100 units at one a day
    assert row["cover_at_risk_days"] == pytest.approx(75)
    assert row["stock_out_on"] == DAY + timedelta(days=14)
    assert row["next_receipt_on"] == DAY + timedelta(days=14)
    assert row["cover_until"] == DAY + timedelta(days=90)
    assert reviewed()["stock_out_on"] is None


@pytest.mark.parametrize(
    ("given", "finding", "dead"),
    [
        ({}, "in_order", 0.0),
        ({"stock_out_risk": 0.6}, "stock_out", 0.0),
        ({"excess": 5.0}, "excess", 0.0),
        ({"demand_mean": 0.1, "days_since_demand": 200, "excess": 99.0}, "obsolete", 200.0),
        ({"demand_mean": 0.1, "days_since_demand": 100, "excess": 99.0}, "excess", 0.0),
        ({"demand_mean": 3.0, "days_since_demand": 200, "excess": 90.0}, "excess", 0.0),
        ({"demand_mean": 0.1, "days_since_demand": None, "excess": 99.0}, "excess", 0.0),
    ],
)
def test_findings(given, finding, dead):
    row = reviewed(**given)
    assert row["finding"] == finding
    assert row["dead_value"] == dead


def constant(rate, on_hand, units, due, *, lines=1):
    """Demand of the same rate on every path."""
    paths = np.repeat((rate * np.arange(13.0))[None, :, None], 4, axis=2)
    full = np.full((lines, 1), 1.0)
    return Runway(np.repeat(paths, lines, axis=0), full * 0, full[:, 0] * on_hand, full * units, full * due, True)


def orders(runway, *, arrival=12.0, hurried=0.5, holding=0.01, shortage=5.0, hurry=0.1):
    one = np.ones(len(runway.on_hand))
    return OpenOrders(
        units=runway.receipts[:, 0], due=runway.due[:, 0], arrival=one * arrival, hurried=one * hurried,
        holding_cost=one * holding, shortage_cost=one * shortage, hurry_cost=one * hurry,
    )  # fmt: skip


def test_an_order_later_than_the_stock_out_is_hurried_and_the_gain_is_counted_out():
    runway = constant(rate=2, on_hand=4, units=20, due=6)  # out at 2, eight units lost by 6
    found = gains(runway, orders(runway), TEN)
    assert found.fewer_missing == pytest.approx([8.0])
    assert found.expedite == pytest.approx([8 * 5 - 0.1 * 20 - 0.01 * 20 * 5.5])
    assert ADVICE[advise(found, 1.0)[0][0]] == "expedite"


def test_a_new_order_that_comes_sooner_leaves_less_to_gain():
    runway = constant(rate=2, on_hand=4, units=20, due=6)
    found = gains(runway, orders(runway, arrival=3.0), TEN)
    assert found.fewer_missing == pytest.approx([2.0])


def test_an_order_that_is_needed_only_later_is_held_back_to_that_day():
    runway = constant(rate=2, on_hand=14, units=20, due=1)  # what is there lasts until 7
    found = gains(runway, orders(runway, holding=0.2), TEN)
    assert found.later.tolist() == [7.0]
    assert found.defer == pytest.approx([0.2 * 20 * 6])
    assert ADVICE[advise(found, 1.0)[0][0]] == "defer"


def test_an_order_that_only_adds_excess_is_called_off():
    runway = constant(rate=1, on_hand=50, units=20, due=1)
    found = gains(runway, orders(runway, holding=0.2), TEN)
    assert ADVICE[advise(found, 1.0)[0][0]] == "cancel"
    assert found.defer == pytest.approx([0.2 * 20 * 9])


def test_an_order_that_comes_in_time_is_left_alone():
    runway = constant(rate=2, on_hand=4, units=20, due=2)
    assert advise(gains(runway, orders(runway), TEN), 1.0)[0].tolist() == [-1]


def test_the_best_day_is_the_best_of_all_by_full_walks():
    runway = runway_of(11, receipts=1, lines=5)
    runway = Runway(runway.paths, runway.now, runway.on_hand + 8, runway.receipts, np.ones((5, 1)), True)
    asked = orders(runway, holding=0.4, shortage=2.0)
    found = gains(runway, asked, TEN)
    for line in range(5):
        without = runway.moved(runway.receipts[:, 0], runway.due[:, 0], np.full(5, NEVER))
        best = 0.0
        for day in range(2, 11):
            spared = sum(
                np.mean([walk(runway, line, p, at)[0] - walk(without, line, p, at)[0] for p in range(12)])
                for at in range(2, day + 1)
            )
            missed = np.mean([walk(without, line, p, day)[1] - walk(runway, line, p, day)[1] for p in range(12)])
            best = max(best, 0.4 * spared - 2.0 * missed)
        assert found.defer[line] == pytest.approx(best, abs=1e-6)


def test_reasons_name_dates_and_money():
    said = {"product_id": "P", "supplier_id": "S", "quantity": 20.0, "value": 40.5, "stock_out_on": DAY, "gain": 12.0}
    told = advice_table(
        pl.DataFrame(
            [
                said | {"due_on": DAY + timedelta(days=9), "advice": kind, "move_to": moved, "fewer_missing": 8.04}
                for kind, moved in (
                    ("expedite", DAY),
                    ("defer", DAY + timedelta(days=30)),
                    ("cancel", None),
                    (None, None),
                )
            ]
        ).with_columns(cover_until=pl.lit(DAY + timedelta(days=90)), days_of_supply=pl.lit(120.4)),
        keys=["product_id"],
        currency="GBP",
    )
    reasons = dict(told.select("advice", "reason").iter_rows())
    assert reasons["expedite"] == (
        "Stock is likely to run out on 2024-04-15, the order is due only on 2024-04-24: hurrying saves 8.0 units of "
        "unmet demand, GBP 12.00 after its cost."
    )
    assert reasons["defer"] == (
        "What is on hand lasts about 120 days; the order is not needed before 2024-05-15: waiting saves GBP 12.00 of "
        "holding."
    )
    assert reasons["cancel"] == (
        "What is on hand lasts about 120 days; the order would be excess to 2024-07-14: without it GBP 12.00 of "
        "holding is saved and GBP 40.50 is not tied up."
    )
    assert told.height == 3
