"""Snapshots and labels against figures worked out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from features.customers import FEATURES, describe, gaps, known_by, labels, ledger, snapshot


def lines(*rows: tuple[str, str, datetime, str, float, float, str] | tuple[object, ...]) -> pl.DataFrame:
    """Order lines from (customer, order, time, kind, quantity, price, product[, known_at])."""
    return pl.DataFrame(
        [
            {
                "customer_id": row[0],
                "order_id": row[1],
                "ordered_at": row[2],
                "kind": row[3],
                "quantity": row[4],
                "unit_price": row[5],
                "product_id": row[6],
                "known_at": row[7] if len(row) > 7 else row[2],
            }
            for row in rows
        ],
        schema_overrides={"ordered_at": pl.Datetime("us", "UTC"), "known_at": pl.Datetime("us", "UTC")},
    )


def at(month: int, day: int, hour: int = 12) -> datetime:
    return datetime(2024, month, day, hour, tzinfo=UTC)


ORDERS = lines(
    ("ann", "1", at(1, 1), "sale", 2.0, 5.0, "cup"),
    ("ann", "1", at(1, 1), "sale", 1.0, 3.0, "pot"),
    ("ann", "2", at(1, 15, 8), "sale", 1.0, 20.0, "cup"),
    ("ann", "3", at(1, 15, 16), "sale", 1.0, 7.0, "pan"),
    ("ann", "R1", at(1, 20), "return", 1.0, 5.0, "cup"),
    ("ann", "4", at(2, 12), "sale", 1.0, 10.0, "lid"),
    ("bob", "5", at(1, 29), "sale", 3.0, 1.0, "cup"),
    ("cat", "R2", at(1, 10), "return", 1.0, 9.0, "pot"),
    ("dan", "6", at(3, 1), "sale", 1.0, 4.0, "pot"),
    (None, "7", at(1, 5), "sale", 1.0, 99.0, "pot"),
)


def test_a_customer_is_described_as_worked_out_by_hand() -> None:
    rows = snapshot(ORDERS, date(2024, 2, 26))

    assert rows["customer_id"].to_list() == ["ann", "bob"]
    ann = rows.row(0, named=True)
    assert (ann["frequency"], ann["recency"], ann["T"]) == (2, 42 / 7, 56 / 7)
    assert (ann["days_since_last_order"], ann["orders"], ann["products"]) == (14, 4, 4)
    assert ann["spend"] == 13 + 27 - 5 + 10
    assert (ann["orders_4w"], ann["orders_8w"], ann["spend_4w"]) == (1, 3, 10.0)
    assert (ann["gap_mean_days"], ann["gap_median_days"]) == (21.0, 21.0)
    assert ann["gap_sd_days"] == pytest.approx(7 * 2**0.5)
    assert ann["since_to_gap"] == pytest.approx(14 / 21)
    assert ann["return_share"] == pytest.approx(5 / 50)
    assert ann["mean_order_value"] == 12.5
    bob = rows.row(1, named=True)
    assert (bob["frequency"], bob["recency"], bob["T"]) == (0, 0.0, 4.0)
    assert bob["gap_mean_days"] is None


def test_returns_count_on_their_own_day_only() -> None:
    before, after = (snapshot(ORDERS, date(2024, 1, day)).filter(customer_id="ann")["spend"].item() for day in (19, 20))
    assert (before, after) == (40.0, 35.0)


def test_days_are_local_days() -> None:
    late = lines(("ann", "1", at(7, 1, 23), "sale", 1.0, 1.0, "cup"))
    assert snapshot(late, date(2024, 7, 1), timezone="UTC").height == 1
    assert snapshot(late, date(2024, 7, 1), timezone="Europe/London").height == 0


def test_a_late_row_is_known_from_its_ingestion() -> None:
    late = lines(
        ("ann", "1", at(1, 1), "sale", 1.0, 1.0, "cup"),
        ("ann", "2", at(1, 5), "sale", 1.0, 1.0, "cup", at(2, 1)),
    )
    assert snapshot(late, date(2024, 1, 31))["orders"].to_list() == [1]
    assert snapshot(late, date(2024, 2, 1))["orders"].to_list() == [2]
    assert snapshot(late, date(2024, 2, 1))["gap_mean_days"].to_list() == [4.0]


def test_an_order_whose_lines_come_in_two_loads_counts_once() -> None:
    twice = lines(
        ("ann", "1", at(1, 1), "sale", 1.0, 1.0, "cup"),
        ("ann", "1", at(1, 1), "sale", 1.0, 1.0, "pot", at(2, 1)),
    )
    row = snapshot(twice, date(2024, 2, 2)).row(0, named=True)
    assert (row["orders"], row["frequency"], row["products"], row["lines_per_order"]) == (1, 0, 2, 2.0)


def test_labels_are_what_happened_in_the_window() -> None:
    came = labels(ledger(ORDERS), date(2024, 1, 15), 28)
    assert came.rows() == [("ann", False, 1, 5.0, 28)]
    assert labels(ledger(ORDERS), date(2024, 1, 15), 27)["churned"].to_list() == [True]


def test_labels_of_an_open_window_are_refused() -> None:
    book = ledger(ORDERS)
    labels(book, date(2024, 2, 1), 29)
    with pytest.raises(ValueError, match="after the last whole day"):
        labels(book, date(2024, 2, 2), 29)
    with pytest.raises(ValueError, match="after the last whole day"):
        labels(known_by(book, date(2024, 2, 12)), date(2024, 2, 1), 29)


def test_gaps_are_those_between_purchase_days() -> None:
    assert sorted(gaps(ledger(ORDERS), date(2024, 3, 31))) == [14, 28]


def test_features_are_numbers_only() -> None:
    rows = describe(ledger(ORDERS), date(2024, 3, 31))
    assert rows.columns == ["customer_id", *FEATURES]
    assert all(rows.schema[name].is_numeric() for name in FEATURES)
