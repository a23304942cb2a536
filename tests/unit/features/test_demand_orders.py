"""Order lines → demand, against a ledger kept by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl

from features.calendar import Grid
from features.orders import demand_from_orders

WEEKS = Grid.starting_monday("week")


def line(order: str, at: str, quantity: float, *, product: str = "tea", known: str | None = None, cancels: str = ""):
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return {
        "order_id": order,
        "line_no": 1,
        "ordered_at": moment,
        "product_id": product,
        "kind": "return" if cancels or order.startswith("R") else "sale",
        "quantity": float(quantity),
        "unit_price": 2.0,
        "cancels_order_id": cancels or None,
        "cancels_line_no": 1 if cancels else None,
        "known_at": datetime.fromisoformat(known).replace(tzinfo=UTC) if known else moment,
    }


def build(*lines: dict, timezone: str = "UTC", grid: Grid = WEEKS) -> tuple[pl.DataFrame, pl.DataFrame]:
    schema = {"cancels_order_id": pl.String, "cancels_line_no": pl.Int64}
    return demand_from_orders(pl.DataFrame(list(lines), schema_overrides=schema), ["product_id"], grid, timezone)


def cells(frame: pl.DataFrame) -> list[tuple]:
    return frame.select("product_id", "period", "quantity").rows()


# Monday 2024-01-01 to Sunday 2024-01-28: four whole weeks
OPENING, CLOSING = line("o", "2024-01-01T08:00", 1), line("c", "2024-01-28T20:00", 1)


def test_periods_without_sales_are_zero_from_the_first_sale_on():
    demand, revisions = build(OPENING, line("a", "2024-01-10T10:00", 5, product="mug"), CLOSING)
    assert cells(demand.filter(product_id="mug")) == [
        ("mug", date(2024, 1, 8), 5),
        ("mug", date(2024, 1, 15), 0),
        ("mug", date(2024, 1, 22), 0),
    ]
    assert revisions.is_empty()


def test_edge_periods_that_are_not_whole_are_left_out():
    demand, _ = build(
        line("o", "2024-01-02T08:00", 9), line("m", "2024-01-09T08:00", 1), line("c", "2024-01-27T20:00", 9)
    )
    assert cells(demand) == [("tea", date(2024, 1, 8), 1), ("tea", date(2024, 1, 15), 0)]


def test_a_cancellation_counts_from_the_period_in_which_it_is_known():
    sale = line("a", "2024-01-09T10:00", 10)
    same_week = line("Ra", "2024-01-12T10:00", 4, cancels="a")
    later = line("Rb", "2024-01-24T10:00", 3, cancels="a")
    demand, revisions = build(OPENING, sale, same_week, later, CLOSING)
    assert cells(demand) == [
        ("tea", date(2024, 1, 1), 1),
        ("tea", date(2024, 1, 8), 6),
        ("tea", date(2024, 1, 15), 0),
        ("tea", date(2024, 1, 22), 1),
    ]
    assert revisions.rows() == [("tea", date(2024, 1, 8), date(2024, 1, 22), -3)]


def test_an_unmatched_return_leaves_demand_alone():
    demand, revisions = build(OPENING, line("R1", "2024-01-09T10:00", 7), CLOSING)
    assert demand["quantity"].sum() == 2
    assert revisions.is_empty()


def test_a_late_line_is_a_revision_of_its_own_period():
    late = line("l", "2024-01-03T10:00", 8, known="2024-01-17T09:00")
    demand, revisions = build(OPENING, late, CLOSING)
    assert demand["quantity"].sum() == 2
    assert revisions.rows() == [("tea", date(2024, 1, 1), date(2024, 1, 15), 8)]


def test_a_product_is_listed_when_a_sale_of_it_was_first_known():
    late = line("l", "2024-01-03T10:00", 8, product="mug", known="2024-01-17T09:00")
    demand, revisions = build(OPENING, late, CLOSING)
    assert cells(demand.filter(product_id="mug")) == [("mug", date(2024, 1, 15), 0), ("mug", date(2024, 1, 22), 0)]
    assert revisions.rows() == [("mug", date(2024, 1, 1), date(2024, 1, 15), 8)]


def test_what_is_older_than_the_record_was_comes_as_revisions():
    # the record begins on a Wednesday; what was sold before came in three weeks later
    opening = line("o", "2024-01-10T08:00", 2)
    before = line("b", "2024-01-01T08:00", 5, known="2024-01-24T09:00")
    demand, revisions = build(opening, before, CLOSING)
    assert demand["period"].min() == date(2024, 1, 15)
    assert revisions.rows() == [
        ("tea", date(2024, 1, 1), date(2024, 1, 22), 5),
        ("tea", date(2024, 1, 8), date(2024, 1, 22), 2),
    ]
    assert build(opening, CLOSING)[1].is_empty(), "a week that is known only in part is left out"


def test_the_local_day_decides():
    # 23:30 UTC on Sunday is Monday in Berlin
    edge = line("e", "2024-01-07T23:30", 5)
    assert build(OPENING, edge, CLOSING)[0].filter(period=date(2024, 1, 1))["quantity"].item() == 6
    berlin, _ = build(OPENING, edge, CLOSING, timezone="Europe/Berlin")
    assert berlin.filter(period=date(2024, 1, 8))["quantity"].item() == 5


def test_price_is_what_buyers_paid_a_unit():
    dear = line("d", "2024-01-02T10:00", 3) | {"unit_price": 6.0}
    demand, _ = build(OPENING, dear, CLOSING)
    assert demand["price"].to_list() == [5.0, None, None, 2.0]  # (1·2 + 3·6) / 4


def test_months_and_days():
    months = Grid.starting_monday("month")
    demand, _ = build(line("o", "2024-01-01T08:00", 1), line("c", "2024-03-05T08:00", 1), grid=months)
    assert demand["period"].to_list() == [date(2024, 1, 1), date(2024, 2, 1)]
    days, _ = build(OPENING, CLOSING, grid=Grid.starting_monday("day"))
    assert days.height == 28


def test_no_lines_give_empty_tables():
    empty, revisions = build(OPENING)[0].clear(), build(OPENING)[1]
    assert empty.is_empty()
    assert revisions.is_empty()
