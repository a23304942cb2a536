"""Edits judged by hand-computed figures."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from features.calendar import Grid
from pipelines.supply.edits import by, edited, judged

MONDAY = date(2024, 4, 15)
WEEKS = Grid("week", date(2024, 4, 1))


def line(name, *changes):
    """The ledger of one line: (state, quantity, who) one after the other."""
    return [
        {
            "order_line": name, "sku": name, "step": step, "as_of": MONDAY, "supplier_id": "S", "state": state,
            "quantity": quantity, "unit_cost": 1.0, "receive_on": MONDAY, "who": who, "why": f"{who} says so",
            "at": datetime(2024, 4, 15, step, tzinfo=UTC), "run": "r", "export_id": None, "file": None,
            "order_id": None,
        }
        for step, (state, quantity, who) in enumerate(changes, start=1)
    ]  # fmt: skip


LEDGER = pl.DataFrame(
    [
        *line("A", ("proposed", 10.0, "replenish"), ("edited", 99.0, "bob"), ("edited", 20.0, "ann"),
              ("approved", 20.0, "bob")),
        *line("B", ("proposed", 10.0, "replenish"), ("edited", 4.0, "bob"), ("approved", 4.0, "bob")),
        *line("C", ("proposed", 10.0, "replenish"), ("edited", 4.0, "bob"), ("rejected", 4.0, "bob")),
        *line("D", ("proposed", 10.0, "replenish"), ("approved", 10.0, "bob")),
    ]
)  # fmt: skip
SITUATIONS = pl.DataFrame({"sku": ["A", "B", "C"], "as_of": MONDAY, "supplier_id": "S", "on_hand": 1.0, "on_order": 2.0,
                           "protection_days": 10.5})  # fmt: skip
COSTS = pl.DataFrame(
    {"sku": ["A", "B", "C"], "as_of": MONDAY, "holding_cost": 0.5, "shortage_cost": 3.0, "review_days": 14}
)


def week(sku, *quantities):
    days = [date(2024, 4, 15), date(2024, 4, 22)]
    return pl.DataFrame({"sku": sku, "period": days[: len(quantities)], "quantity": list(quantities)})


def judge(demand, known_to=date(2024, 4, 28), absent_is_zero=False):
    made = edited(LEDGER.sample(fraction=1, shuffle=True, seed=1), ["sku"])
    return judged(made, SITUATIONS, COSTS, demand, keys=["sku"], grid=WEEKS, known_to=known_to,
                  absent_is_zero=absent_is_zero)  # fmt: skip


def test_only_the_last_edit_of_what_was_ordered_counts_and_a_rejection_is_one_to_zero():
    assert edited(LEDGER, ["sku"]).select("sku", "proposed_quantity", "edited_quantity", "who").rows() == [
        ("A", 10.0, 20.0, "ann"),
        ("B", 10.0, 4.0, "bob"),
        ("C", 10.0, 0.0, "bob"),
    ]


def test_a_rejection_is_worth_what_ordering_nothing_instead_of_the_proposal_saved():
    # Nobody asks for any of C: of 10 proposed and 3 there 13 are left at .5 × 2 periods, of the 3 alone 3.
    found = judge(pl.concat([week("C", 0.0, 0.0)])).row(0, named=True)
    assert (found["cost_proposed"], found["cost_edited"]) == (pytest.approx(13.0), pytest.approx(3.0))


def test_the_value_is_the_newsvendor_cost_of_the_proposal_less_that_of_the_edit():
    # The window is 11 days from Monday the 15th: a whole week and 4 days of 7 of the next. A: 14 + 4/7 × 14 = 22 units.
    # Proposed 10 with 3 there: 9 missing at 3 = 27; edited 20: 1 left at .5 × 2 periods = 1. B: 7 wanted: proposed 6
    # left = 6, edited exactly enough = 0.
    found = judge(pl.concat([week("A", 14.0, 14.0), week("B", 7.0, 0.0)]))
    assert found.select("demand", "cost_proposed", "cost_edited", "value_added").rows() == [
        (pytest.approx(22.0), pytest.approx(27.0), pytest.approx(1.0), pytest.approx(26.0)),
        (pytest.approx(7.0), pytest.approx(6.0), pytest.approx(0.0), pytest.approx(6.0)),
    ]
    told = by(found, "who")
    assert told.select("who", "edits", "helped", "value_added").rows() == [
        ("ann", 1, 1.0, pytest.approx(26.0)),
        ("bob", 1, 1.0, pytest.approx(6.0)),
    ]
    assert told["standard_error"].null_count() == 2


def test_a_window_that_is_not_over_or_not_known_is_not_judged():
    whole = pl.concat([week("A", 14.0, 14.0), week("B", 7.0)])
    assert judge(whole)["sku"].to_list() == ["A"], "an absent period of a ready table is unknown"
    assert judge(whole, absent_is_zero=True)["sku"].to_list() == ["A", "B", "C"], "of order lines it is zero"
    assert judge(whole, known_to=date(2024, 4, 24)).is_empty(), "its last day is the 25th"
    assert judge(whole, known_to=date(2024, 4, 25))["sku"].to_list() == ["A"]
