"""Findings before training: each is tripped by a record that has just that fault."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipelines.customers.usability import assess, notes, of_contracts, of_orders
from pipelines.lake import Lake
from pipelines.settings import Customers, Settings, Source
from tests.made_contracts import made_contracts

DAY = pl.col("ordered_at").dt.date()
FAULTS = {
    "history": ("error", lambda lines: lines.filter(DAY.lt(date(2022, 4, 1)))),
    "customers": ("warning", lambda lines: lines.filter(pl.col("customer_id") < "c0050")),
    "repeat buyers": ("error", lambda lines: lines.unique("customer_id", keep="first", maintain_order=True)),
    "gaps": ("warning", lambda lines: lines.filter(~DAY.is_between(date(2022, 6, 1), date(2022, 6, 20)))),
    "guests": ("warning", lambda lines: lines.with_columns(
        customer_id=pl.when(pl.int_range(pl.len()) % 2 == 0).then("customer_id"))),
    "one large customer": ("advice", lambda lines: lines.with_columns(
        unit_price=pl.when(pl.col("customer_id") == lines["customer_id"][0]).then(1e5).otherwise("unit_price"))),
    "duplicates": ("advice", lambda lines: pl.concat([lines, lines.head(lines.height // 20)])),
}  # fmt: skip


@pytest.mark.parametrize("check", FAULTS)
def test_each_fault_is_found_and_a_sound_record_has_none(check: str, shop_lines: pl.DataFrame) -> None:
    level, spoil = FAULTS[check]
    columns = ["order_id", "product_id", "customer_id", "kind", "quantity", "unit_price", "ordered_at"]
    sound = of_orders(shop_lines.select(columns), Customers())
    assert {row[1] for row in sound} == {"ok"}
    found = {row[0]: row for row in of_orders(spoil(shop_lines.select(columns)), Customers())}
    assert found[check][1] == level
    assert found[check][3]


def test_contracts_are_looked_at_too() -> None:
    table = made_contracts(600)
    sound = {row[0]: row[1] for row in of_contracts(table, Customers())}
    assert set(sound.values()) == {"ok"}
    spoilt = table.with_columns(
        churned=pl.int_range(pl.len()) < 5, net=pl.when(pl.int_range(pl.len()) % 2 == 0).then("net")
    )
    found = {row[0]: row for row in of_contracts(spoilt, Customers())}
    assert found["outcomes"][1] == "error"
    assert "net" in found["missing values"][2]


def test_the_worst_comes_first_and_an_empty_lake_says_so(tmp_path: Path) -> None:
    sources = [Source(table="contracts", path="contracts.parquet")]
    terms = Customers(kind="contractual")
    settings = Settings(shop="telecom", data_dir=str(tmp_path), sources=sources, customers=terms)
    lake = Lake(settings.lake_url)
    assert assess(settings, lake)["level"].to_list() == ["error"]
    lake.append("contracts", made_contracts(30))
    levels = assess(settings, lake)["level"].to_list()
    assert levels == sorted(levels, key=["error", "warning", "advice", "ok"].index)
    assert any("30 customers" in note for note in notes(assess(settings, lake)))
