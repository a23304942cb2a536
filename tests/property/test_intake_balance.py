"""Whatever stands in a csv: every line ends in exactly one place, and nothing a rule forbids gets through."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.intake import Door, take
from pipelines.ingest.sources import Extract
from pipelines.settings import Settings, Source

NOW = datetime(2024, 6, 1, tzinfo=UTC)
ORDERS = Source(table="order_lines", format="csv", path="x.csv")
DEMAND = Source(table="demand", format="csv", path="x.csv")

noise = st.one_of(
    st.none(), st.text(max_size=8), st.sampled_from(["nan", "inf", "-1", "1e400", "0x1", "１", "yes", " "])
)
number = st.one_of(st.integers(-3, 9).map(str), st.floats(-2, 9).map(str), noise)
time = st.one_of(
    st.sampled_from(["2024-01-01", "2024-01-01 10:00", "2024-03-31 01:30", "2030-01-01", "2024-02-30", "0000-00-00"]),
    st.dates().map(str),
    noise,
)
name = st.one_of(st.sampled_from(["a", "b", "7"]), noise)


def door(source: Source, series: list[str]) -> Door:
    return Door(
        Settings(shop="s", data_dir="x", timezone="Europe/London", sources=[source], demand={"series": series}), NOW
    )


def raw(rows: list[tuple], *columns: str) -> pl.DataFrame:
    text = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return text.with_row_index("_row", offset=1).cast({"_row": pl.Int64})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(name, time, name, st.sampled_from(["sale", "return", None]), number, number), max_size=15))
def test_order_lines_balance(rows: list[tuple]) -> None:
    frame = raw(rows, "order_id", "ordered_at", "customer_id", "kind", "quantity", "unit_price")
    [intake] = take(ORDERS, [(Extract(ORDERS, "x", "d", path=Path("x")), frame)], door(ORDERS, ["product_id"])).intakes
    aside = intake.quarantined["_row"].to_list() + intake.excluded["_row"].to_list()
    assert len(set(aside)) == len(aside)
    assert intake.lines_in == len(rows) == intake.good.height + len(aside)
    assert all(intake.quarantined["rules"].str.len_chars() > 0)
    assert intake.good.filter((pl.col("quantity") <= 0) | (pl.col("unit_price") < 0)).is_empty()
    assert intake.good.filter(pl.col("ordered_at") > datetime(2024, 6, 2, tzinfo=UTC)).is_empty()
    assert intake.good.select("order_id", "line_no").is_unique().all()
    for row, text in intake.quarantined.select("_row", "raw").iter_rows():
        assert (json.loads(text)["quantity"] or "").strip() == (rows[row - 1][4] or "").strip()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(name, time, number), max_size=15))
def test_demand_balances(rows: list[tuple]) -> None:
    frame = raw(rows, "store", "period", "quantity")
    [intake] = take(DEMAND, [(Extract(DEMAND, "x", "d", path=Path("x")), frame)], door(DEMAND, ["store"])).intakes
    aside = intake.quarantined["_row"].to_list() + intake.excluded["_row"].to_list()
    assert len(set(aside)) == len(aside)
    assert intake.lines_in == intake.good.height + len(aside)
    assert intake.good.filter(pl.col("quantity") < 0).is_empty()
    assert intake.good.select("store", "period").is_unique().all()
    assert intake.good["period"].dt.weekday().n_unique() <= 1
