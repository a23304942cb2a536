"""Each rule of the adapter on lines made for it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.errors import ConfigError, SourceError
from pipelines.ingest import jobs, online_retail
from pipelines.lake import Lake
from pipelines.settings import Settings, Source

AT = datetime(2010, 7, 1, 12)
LINE = {
    "InvoiceNo": "500001",
    "StockCode": "85123A",
    "Description": "HEART",
    "Quantity": 2,
    "InvoiceDate": AT,
    "UnitPrice": 2.55,
    "CustomerID": 17850,
    "Country": "France",
}
# One line for each row of the adapter's table, in its order, with what becomes of it.
CASES: list[tuple[dict, str]] = [
    ({}, "sale"),
    ({"StockCode": "85123a", "InvoiceNo": "500002", "CustomerID": None}, "sale"),
    ({"StockCode": "DCGSSBOY", "InvoiceNo": "500003"}, "sale"),
    ({"StockCode": "SP1002", "InvoiceNo": "500004"}, "sale"),
    ({}, "exact_duplicate"),
    ({"InvoiceNo": "A500005", "StockCode": "B", "UnitPrice": -11062.06}, "bad_debt"),
    ({"StockCode": "POST"}, "postage"),
    ({"StockCode": "DOT", "UnitPrice": 0.0}, "postage"),
    ({"StockCode": "C2"}, "postage"),
    ({"StockCode": "C3"}, "postage"),
    ({"StockCode": "BANK CHARGES"}, "fee"),
    ({"StockCode": "AMAZONFEE", "InvoiceNo": "C500006", "Quantity": -1}, "fee"),
    ({"StockCode": "CRUK"}, "fee"),
    ({"StockCode": "M"}, "manual"),
    ({"StockCode": "m", "Quantity": 1}, "manual"),
    ({"StockCode": "B"}, "manual"),
    ({"StockCode": "ADJUST2"}, "manual"),
    ({"StockCode": "D"}, "discount"),
    ({"StockCode": "S"}, "sample"),
    ({"StockCode": "gift_0001_20"}, "voucher"),
    ({"StockCode": "GIFT"}, "voucher"),
    ({"StockCode": "TEST001"}, "test"),
    ({"StockCode": "PADS"}, "pads"),
    ({"Quantity": -5, "UnitPrice": 0.0}, "write_off"),
    ({"UnitPrice": 0.0}, "no_price"),
    ({"InvoiceNo": "C500007", "Quantity": -2}, "return"),
    ({"StockCode": "XYZ"}, "StockCode 'XYZ' is neither a product nor a known other code"),
    ({"UnitPrice": -1.0}, "unit_price -1 is below 0"),
    ({"Quantity": -1}, "quantity -1 is not above 0 (a return is a line of kind 'return')"),
]


@pytest.fixture
def taken(tmp_path: Path) -> Lake:
    rows = [LINE | change for change, _ in CASES]
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(tmp_path / "lines.parquet")
    source = Source(table="order_lines", path=str(tmp_path / "lines.parquet"), adapter="online_retail")
    settings = Settings(
        shop="s", data_dir=str(tmp_path), timezone="Europe/London", sources=[source], ingest={"max_bad_share": 0.5}
    )
    lake = Lake(settings.lake_url)
    jobs.ingest(settings, lake)
    return lake


def test_every_case_ends_as_the_table_says(taken: Lake) -> None:
    ends = [end for _, end in CASES]
    excluded = {rule: ends.count(rule) for rule in online_retail.RULES if rule in ends}
    assert dict(taken.read("exclusions").select("rule", "lines").iter_rows()) == excluded
    assert set(excluded) == set(online_retail.RULES) - {"overlap"}
    lines = taken.read("order_lines")
    assert lines.filter(kind="sale").height == ends.count("sale")
    assert lines.filter(kind="return").height == ends.count("return")
    waiting = dict(taken.read("quarantine").select("source_row", "rules").iter_rows())
    assert waiting == {row: end for row, end in enumerate(ends, 1) if " " in end}


def test_facts_of_the_lines(taken: Lake) -> None:
    lines = {row["order_id"]: row for row in taken.read("order_lines").iter_rows(named=True)}
    assert lines["500001"]["ordered_at"].hour == 11  # British summer time
    assert lines["500002"]["product_id"] == "85123A"
    assert lines["500002"]["customer_id"] is None
    back = lines["C500007"]
    sale = lines["500001"]
    assert (back["quantity"], back["cancels_order_id"], back["cancels_line_no"]) == (2.0, "500001", sale["line_no"])
    assert taken.read("customers").select("customer_id", "country").rows() == [("17850", "France")]


def test_line_numbers_do_not_depend_on_the_order_of_lines() -> None:
    rows = pl.DataFrame([LINE | change for change, _ in CASES], infer_schema_length=None).cast(
        {"CustomerID": pl.String, "Quantity": pl.Float64}
    )
    numbers = []
    for shuffled in (rows, rows.reverse(), rows.sample(fraction=1, shuffle=True, seed=1)):
        adapted = online_retail.adapt(shuffled.with_row_index("_row", offset=1).with_columns(_file=pl.lit(0)))
        own = adapted.sort("order_id", "line_no").drop("_row", "rule")
        assert own.filter(order_id="500001")["line_no"].to_list() == list(
            range(1, own.filter(order_id="500001").height + 1)
        )
        numbers.append(own)
    assert numbers[0].equals(numbers[1])
    assert numbers[0].equals(numbers[2])


def test_the_rules_stand_in_the_docstring_in_their_order() -> None:
    table = [row.split("|")[1].strip() for row in str(online_retail.__doc__).splitlines() if row.startswith("| ")]
    assert table[1:] == [*online_retail.RULES, "cancellation", "sale"]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"adapter": "online_retial"}, ConfigError, "did you mean 'online_retail'"),
        ({"adapter": "shopify"}, ConfigError, "known: online_retail"),
        ({"table": "demand"}, ConfigError, "makes order_lines, not demand"),
        ({"columns": {"InvoiceNo": "Rechnung"}}, SourceError, "needs the column 'Rechnung'"),
    ],
)
def test_a_wrong_adapter_is_said_clearly(tmp_path: Path, change: dict, error: type[Exception], says: str) -> None:
    pl.DataFrame([LINE]).write_parquet(tmp_path / "lines.parquet")
    source = Source(
        **{"table": "order_lines", "path": str(tmp_path / "lines.parquet"), "adapter": "online_retail"} | change
    )
    with pytest.raises(error) as caught:
        jobs.check(Settings(shop="s", data_dir=str(tmp_path), sources=[source]))
    assert says in str(caught.value)
