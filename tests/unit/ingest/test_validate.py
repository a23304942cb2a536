"""Every rule sets aside the row that breaks it and no other, and says why in words a planner reads."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from features.calendar import Grid
from pipelines.ingest.validate import judge

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
GOOD_LINE = {
    "order_id": "o",
    "line_no": 1,
    "ordered_at": datetime(2024, 1, 1, tzinfo=UTC),
    "customer_id": "c",
    "product_id": "p",
    "location_id": "all",
    "kind": "sale",
    "quantity": 1.0,
    "unit_price": 2.0,
    "known_at": datetime(2024, 1, 1, tzinfo=UTC),
}


def numbered(rows: list[dict], **types: pl.DataType) -> pl.DataFrame:
    return pl.DataFrame(rows, schema_overrides=types).with_row_index("_row", offset=1).cast({"_row": pl.Int64})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"order_id": None}, "order_id is missing"),
        ({"order_id": ""}, "order_id is missing"),
        ({"ordered_at": None}, "ordered_at is missing"),
        ({"quantity": -3.0}, "quantity -3 is not above 0 (a return is a line of kind 'return')"),
        ({"quantity": 0.0}, "quantity 0 is not above 0 (a return is a line of kind 'return')"),
        ({"quantity": float("inf")}, "quantity inf is above 1,000,000,000"),
        ({"quantity": 1e300}, "quantity 1e+300 is above 1,000,000,000"),
        ({"unit_price": 2e9}, "unit_price 2000000000 is above 1,000,000,000"),
        ({"ordered_at": datetime(1900, 1, 1, tzinfo=UTC)}, "ordered_at 1900-01-01 00:00 UTC is before 1970-01-02"),
        ({"unit_price": -0.5}, "unit_price -0.5 is below 0"),
        ({"kind": "gift"}, "kind 'gift' is neither sale nor return"),
        ({"ordered_at": NOW + timedelta(days=2)}, "ordered_at 2024-06-03 12:00 UTC lies in the future"),
        ({"delivered_on": date(2023, 12, 1)}, "delivered_on 2023-12-01 is before ordered_at 2024-01-01 00:00 UTC"),
    ],
)
def test_order_line_rules(change: dict, reason: str) -> None:
    rows = [
        GOOD_LINE | {"delivered_on": date(2024, 2, 1)},
        GOOD_LINE | {"order_id": "bad", "delivered_on": None} | change,
    ]
    verdict = judge("order_lines", numbered(rows), ("product_id",), NOW)
    assert verdict.good["_row"].to_list() == [1]
    assert set(verdict.reasons.rows()) == {(2, reason)}


def test_tomorrow_is_not_yet_the_future() -> None:
    rows = [GOOD_LINE | {"ordered_at": NOW + timedelta(hours=23)}]
    assert judge("order_lines", numbered(rows), ("product_id",), NOW).reasons.is_empty()


def test_one_key_with_two_sets_of_values_sets_both_aside() -> None:
    rows = [GOOD_LINE, GOOD_LINE | {"quantity": 2.0}, GOOD_LINE | {"line_no": 2}]
    verdict = judge("order_lines", numbered(rows), ("product_id",), NOW)
    assert verdict.good["_row"].to_list() == [3]
    assert verdict.reasons["_row"].sort().to_list() == [1, 2]
    assert "order_id o, line_no 1 stands more than once" in verdict.reasons["reason"][0]


def test_all_reasons_of_a_row_are_told() -> None:
    rows = [GOOD_LINE | {"quantity": -1.0, "kind": "x", "unit_price": -1.0}]
    assert judge("order_lines", numbered(rows), ("product_id",), NOW).reasons.height == 3


def test_demand_off_the_grid_below_zero_and_ahead_of_time() -> None:
    fridays = [
        date(2024, 5, 10),
        date(2024, 5, 17),
        date(2024, 5, 18),
        date(2024, 5, 24),
        date(2024, 6, 7),
        date(2024, 6, 14),
    ]
    quantities = [1.0, -1.0, 1.0, None, 5.0, None]
    rows = [{"store": 1, "period": p, "quantity": q} for p, q in zip(fridays, quantities, strict=True)]
    verdict = judge("demand", numbered(rows), ("store",), NOW, Grid("week", date(2024, 5, 3)))
    assert verdict.good["_row"].to_list() == [1, 4, 6]
    assert dict(verdict.reasons.rows()) == {
        2: "quantity -1 is below 0",
        3: "period 2024-05-18 is not on the grid of the others (Fridays)",
        5: "period 2024-06-07 lies in the future",
    }


def test_any_column_may_be_a_series_key() -> None:
    rows = [{"store": 1, "shelf": "a", "period": date(2024, 1, 1), "quantity": 1.0, "note": "dropped"}]
    verdict = judge("demand", numbered(rows), ("store", "shelf"), NOW)
    assert {"store", "shelf"} <= set(verdict.good.columns)
    assert "note" not in verdict.good.columns
    missing = judge("demand", numbered([rows[0] | {"store": None}], store=pl.Int64()), ("store", "shelf"), NOW)
    assert missing.reasons.rows() == [(1, "store is missing")]


def test_an_open_table_keeps_its_own_columns() -> None:
    rows = [
        {
            "customer_id": "c",
            "churned": None,
            "plan": "gold",
            "ended_on": date(2024, 1, 1),
            "started_on": date(2024, 2, 1),
        }
    ]
    verdict = judge("contracts", numbered(rows, churned=pl.Boolean()), ("product_id",), NOW)
    assert verdict.reasons["reason"].to_list() == ["ended_on 2024-01-01 is before started_on 2024-02-01"]
    good = judge("contracts", numbered([rows[0] | {"ended_on": None}]), ("product_id",), NOW).good
    assert good["plan"].to_list() == ["gold"]
