"""The real sample: figures published with the data sets, and every line accounted for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines.ingest import jobs
from pipelines.ingest.sources import find
from pipelines.lake import Lake, frame_digest
from pipelines.settings import Settings, load_settings, sample_config
from pipelines.summary import Summary

pytestmark = pytest.mark.sample

# Lines each rule sets aside, in the order the rules are tried.
EXCLUDED = {
    "overlap": 22_523,
    "exact_duplicate": 11_812,
    "bad_debt": 6,
    "postage": 3_788,
    "fee": 152,
    "manual": 1_462,
    "discount": 173,
    "sample": 101,
    "voucher": 101,
    "test": 17,
    "pads": 19,
    "write_off": 3_391,
    "no_price": 2_571,
}


@dataclass(frozen=True)
class Ingested:
    settings: Settings
    lake: Lake
    summary: Summary


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    settings = load_settings(sample_config(), data_dir=str(tmp_path_factory.mktemp("sample_ingest")))
    lake = Lake(settings.lake_url)
    return Ingested(settings, lake, jobs.ingest(settings, lake))


@pytest.fixture(scope="module")
def once(ingested: Ingested) -> pl.DataFrame:
    """Every line once, before any rule: the first file up to where the second begins, then the second."""
    first, second = (extract.read() for extract in find(ingested.settings.sources[0], ingested.settings))
    start = datetime(2010, 12, 1, 8, 26)
    return pl.concat([first.filter(pl.col("InvoiceDate") < start), second]).drop("_row")


def test_published_counts_before_rules(once: pl.DataFrame) -> None:
    assert once.height == 1_044_847
    assert once["InvoiceNo"].n_unique() == 53_628
    assert once["CustomerID"].drop_nulls().n_unique() == 5_942
    assert once["StockCode"].n_unique() == 5_305


def test_every_line_is_accounted_for(ingested: Ingested) -> None:
    figures = ingested.summary.figures
    assert figures["lines_in"] == 1_067_370 == 525_461 + 541_909
    assert figures["lines_in"] == sum(figures[name] for name in ("good", "returns", "excluded", "quarantined"))
    assert figures["good"] == 1_003_340
    assert figures["returns"] == 17_914
    assert figures["excluded"] == sum(EXCLUDED.values())
    assert figures["quarantined"] == 0
    assert ingested.lake.read("order_lines").height == figures["good"] + figures["returns"]


def test_every_rule_sets_aside_its_lines(ingested: Ingested) -> None:
    counted = ingested.lake.read("exclusions").group_by("rule").agg(pl.col("lines").sum())
    assert dict(counted.iter_rows()) == EXCLUDED
    shown = ingested.summary.tables["Excluded by rule"]
    assert dict(shown.select("rule", "lines").iter_rows()) == EXCLUDED
    assert shown["rule"].to_list() == list(EXCLUDED)


def test_the_rules_counted_another_way(ingested: Ingested, once: pl.DataFrame) -> None:
    """Sets and sums over the raw lines instead of the adapter's chain of rules."""
    distinct = once.unique()
    assert once.height - distinct.height == EXCLUDED["exact_duplicate"]
    product = pl.col("StockCode").str.contains(r"(?i)^(\d{5}|DCGS|SP\d)")
    rest = distinct.filter(~pl.col("InvoiceNo").str.starts_with("A") & product)
    assert EXCLUDED["write_off"] == rest.filter(UnitPrice=0).filter(pl.col("Quantity") < 0).height
    assert EXCLUDED["no_price"] == rest.filter(UnitPrice=0).filter(pl.col("Quantity") > 0).height
    priced = rest.filter(pl.col("UnitPrice") > 0)
    value = (pl.col("Quantity") * pl.col("UnitPrice")).sum()
    units = pl.col("Quantity").sum()
    sold, back = (priced.filter(pl.col("Quantity") > 0), priced.filter(pl.col("Quantity") < 0))
    lines = ingested.lake.read("order_lines")
    money = (pl.col("quantity") * pl.col("unit_price")).sum()
    for kind, raw, sign in (("sale", sold, 1), ("return", back, -1)):
        mine = lines.filter(kind=kind)
        assert mine.height == raw.height
        assert mine["quantity"].sum() == sign * raw.select(units).item()
        assert mine.select(money).item() == pytest.approx(sign * raw.select(value).item(), rel=1e-12)
        assert mine["customer_id"].null_count() == raw["CustomerID"].null_count()


def test_giant_orders_are_netted_by_their_cancellations(ingested: Ingested) -> None:
    lines = ingested.lake.read("order_lines")
    for cancellation, sale, units in (("C581484", "581483", 80_995.0), ("C541433", "541431", 74_215.0)):
        back = lines.filter(order_id=cancellation).row(0, named=True)
        assert (back["cancels_order_id"], back["quantity"]) == (sale, units)


def test_matched_returns_keep_to_their_sale(ingested: Ingested) -> None:
    lines = ingested.lake.read("order_lines")
    back = lines.filter(pl.col("cancels_order_id").is_not_null())
    assert back.height == ingested.summary.figures["returns_matched_to_a_sale"] > 0.85 * 17_914
    pairs = back.join(
        lines, left_on=["cancels_order_id", "cancels_line_no"], right_on=["order_id", "line_no"], suffix="_sold"
    )
    assert pairs.height == back.height
    same = pl.all_horizontal(pl.col(name) == pl.col(f"{name}_sold") for name in ("customer_id", "product_id"))
    assert pairs.filter(~same | (pl.col("ordered_at_sold") > pl.col("ordered_at"))).is_empty()
    taken = pairs.group_by("cancels_order_id", "cancels_line_no").agg(
        pl.col("quantity").sum(), pl.col("quantity_sold").first()
    )
    assert taken.filter(pl.col("quantity") > pl.col("quantity_sold")).is_empty()


def test_attributes_come_along(ingested: Ingested) -> None:
    lines, products, customers = (ingested.lake.read(table) for table in ("order_lines", "products", "customers"))
    assert set(products["product_id"]) == set(lines["product_id"])
    assert set(customers["customer_id"]) == set(lines["customer_id"].drop_nulls())
    assert products.filter(product_id="85123A")["description"].item() == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert products["description"].null_count() == 0


def test_again_is_nothing(ingested: Ingested) -> None:
    versions = ingested.lake.versions(["order_lines", "products", "customers", "batches", "exclusions"])
    again = jobs.ingest(ingested.settings, ingested.lake)
    assert not again.changed
    assert again.figures == {"lines_in": 0, "new_rows": 0}
    assert set(again.read.values()) == {"already ingested"}
    assert ingested.lake.versions(versions) == versions


def test_one_file_after_the_other_gives_the_same_lines(ingested: Ingested, tmp_path: Path) -> None:
    """Around the days that both files hold, where they differ in the order of lines."""
    source = ingested.settings.sources[0]
    weeks = pl.col("InvoiceDate").is_between(datetime(2010, 11, 15), datetime(2010, 12, 18))
    paths = [str(tmp_path / f"{number}.parquet") for number in (1, 2)]
    for extract, path in zip(find(source, ingested.settings), paths, strict=True):
        extract.read().drop("_row").filter(weeks).write_parquet(path)

    def after(*steps: list[str]) -> pl.DataFrame:
        lake = Lake(tmp_path / f"lake{len(steps)}")
        for step in steps:
            sources = [source.model_copy(update={"path": step})]
            jobs.ingest(ingested.settings.model_copy(update={"sources": sources}), lake)
        return lake.read("order_lines")

    together = after(paths)
    apart = after(paths[:1], paths[1:]).select(together.columns)
    assert together.height > 50_000
    assert frame_digest(apart) == frame_digest(together)
