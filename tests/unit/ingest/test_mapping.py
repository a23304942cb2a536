"""Canonical names and stated defaults."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from pipelines.errors import SourceError
from pipelines.ingest.mapping import complete_order_lines, rename, types_of
from pipelines.settings import Source

AT = datetime(2024, 1, 1, 10, tzinfo=UTC)


def raw(**columns: object) -> pl.DataFrame:
    return pl.DataFrame(columns).with_row_index("_row", offset=1).cast({"_row": pl.Int64})


def test_named_columns_are_renamed_and_the_others_keep_their_names() -> None:
    source = Source(table="order_lines", path="x", columns={"ordered_at": "date", "quantity": "cds"})
    frame = rename(raw(date=[AT], cds=[1], amount=[2.0], colour=["red"]), source, ("product_id",), "x")
    assert frame.columns == ["_row", "ordered_at", "quantity", "amount"]


def test_one_column_may_serve_two_names() -> None:
    source = Source(table="order_lines", path="x", columns={"ordered_at": "day", "delivered_on": "day"})
    frame = rename(raw(day=[AT], quantity=[1], unit_price=[1]), source, ("product_id",), "x")
    assert {"ordered_at", "delivered_on"} <= set(frame.columns)


@pytest.mark.parametrize(
    ("source", "columns", "says"),
    [
        ({"table": "order_lines", "columns": {"ordered_at": "Datum"}}, ["Date", "quantity"], "did you mean 'Date'"),
        ({"table": "order_lines"}, ["ordered_at", "qty", "amount"], "quantity"),
        ({"table": "order_lines"}, ["ordered_at", "quantity", "store"], "unit_price' (or amount, the line total)"),
        ({"table": "demand"}, ["period", "store"], "quantity"),
        ({"table": "demand"}, ["period", "quantity"], "store"),
        ({"table": "covariates", "known_ahead": ["promo"]}, ["period", "promotion"], "did you mean 'promotion'"),
        ({"table": "stock"}, ["store", "on_hand"], "as_of"),
        ({"table": "open_supply"}, ["supplier_id", "due_on", "quantity"], "store"),
        ({"table": "customers"}, ["customer"], "did you mean 'customer'"),
    ],
)
def test_a_missing_column_is_named_with_the_nearest(source: dict, columns: list[str], says: str) -> None:
    with pytest.raises(SourceError) as caught:
        rename(raw(**{name: [1] for name in columns}), Source(path="x", **source), ("store",), "orders.parquet")
    assert says in str(caught.value)
    assert "orders.parquet" in str(caught.value)


def test_covariates_keep_what_the_configuration_names() -> None:
    source = Source(table="covariates", path="x", known_ahead=["promo"], observed=["price"])
    frame = rename(raw(period=[1], promo=[1], price=[1], note=["x"]), source, ("store",), "x")
    assert frame.columns == ["_row", "period", "promo", "price"]


def test_availability_may_be_said_in_words() -> None:
    source = Source(table="demand", format="csv", path="x", columns={"available": "in_stock"})
    frame = rename(raw(store=["1"], period=["2024-01-01"], quantity=["1"], in_stock=["True"]), source, ("store",), "x")
    assert frame["available"].to_list() == ["1"]


def test_types_of_own_columns() -> None:
    source = Source(table="series", format="csv", path="x")
    frame = raw(store=["1", "2"], region_id=["3", "4"], size=["1", "2.5"], opened=["yes", "no"], code=["07", "8"])
    types = types_of(frame, source, ("store",), {"size": pl.Int64()})
    assert types == {
        "store": pl.Int64(),
        "region_id": pl.String(),
        "size": pl.Int64(),  # as it already is in the lake
        "opened": pl.Boolean(),
        "code": pl.String(),
    }


def test_defaults_of_order_lines() -> None:
    lines = complete_order_lines(
        pl.DataFrame(
            {
                "ordered_at": [AT, AT, AT],
                "customer_id": ["a", "b", "a"],
                "quantity": [2.0, 1.0, 0.0],
                "amount": [5.0, 1.0, 1.0],
            }
        )
    )
    assert lines["order_id"].to_list() == ["a 2024-01-01T10:00:00Z", "b 2024-01-01T10:00:00Z", "a 2024-01-01T10:00:00Z"]
    assert lines["line_no"].to_list() == [1, 1, 2]
    assert lines["unit_price"].to_list() == [2.5, 1.0, None]
    assert set(lines["product_id"]) == set(lines["location_id"]) == {"all"}


def test_a_return_may_be_written_below_zero_but_a_sale_may_not() -> None:
    lines = complete_order_lines(
        pl.DataFrame(
            {
                "order_id": "o",
                "ordered_at": AT,
                "customer_id": "a",
                "kind": ["Return", "sale"],
                "quantity": [-2.0, -2.0],
                "amount": [-6.0, -6.0],
            }
        )
    )
    assert lines.select("kind", "quantity", "unit_price").rows() == [("return", 2.0, 3.0), ("sale", -2.0, 3.0)]


def test_without_a_customer_the_order_is_named_by_its_time() -> None:
    lines = complete_order_lines(pl.DataFrame({"ordered_at": [AT], "quantity": [1.0], "unit_price": [1.0]}))
    assert lines["order_id"].item() == "2024-01-01T10:00:00Z"
    assert lines["customer_id"].item() is None
