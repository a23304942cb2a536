"""Impossible terms go to quarantine, each with its rule and what to do; the good rows beside them go on."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from features.supply_tables import POLICIES
from features.tables import TABLES
from pipelines.ingest.casting import cast
from pipelines.ingest.jobs import ingest
from pipelines.ingest.mapping import rename, types_of
from pipelines.ingest.validate import judge
from pipelines.lake import Lake
from pipelines.migrations import MIGRATIONS
from pipelines.settings import Settings, Source

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
SERIES = ("product_id",)
GOOD = {
    "product_id": "a",
    "supplier_id": "s",
    "lead_time_days": "14",
    "lead_times_days": "12; 14;21",
    "review_days": "7",
    "order_days": "mon;Thursday",
    "delivery_days": "fri",
    "cut_off": "9:30",
    "moq": "24",
    "multiple": "12",
    "maximum": "480",
    "rounding": "up",
    "order_unit": "6",
    "pallet_units": "240",
    "unit_cost": "1.00",
    "price_breaks": "100:0.95;500:0.90",
    "service_target": "0.975",
    "service_kind": "fill_rate",
    "policy": POLICIES[0],
    "storage_maximum": "1000",
    "valid_from": "2024-01-01",
    "valid_to": "2024-01-01",
}


def taken(table, rows):
    """Rows through the door as if from a csv file."""
    source = Source(table=table, format="csv", path="x")
    raw = pl.DataFrame(rows).with_row_index("_row", offset=1).cast({"_row": pl.Int64})
    renamed = rename(raw, source, SERIES, "x")
    typed, refused = cast(renamed, types_of(renamed, source, SERIES, {}), "UTC")
    verdict = judge(table, typed.join(refused, on="_row", how="anti"), SERIES, NOW)
    return verdict.good, pl.concat([refused, verdict.reasons])


def test_terms_that_say_everything_are_good():
    good, reasons = taken("supply_terms", [GOOD])
    assert reasons.is_empty()
    assert good["lead_times_days"].item() == "12; 14;21"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"service_target": "97.5"}, "service_target 97.5 is not below 1 (a share: 97.5 % is 0.975)"),
        ({"service_target": "1.2"}, "service_target 1.2 is not below 1"),
        ({"lead_time_days": "-3"}, "lead_time_days -3 is below 0"),
        ({"lead_times_days": "12;-1"}, "lead_times_days '12;-1' is not a list of days from 0 up: write 12;14;21"),
        ({"lead_times_days": "12;soon"}, "write 12;14;21"),
        ({"lead_times_days": "12;inf"}, "write 12;14;21"),
        ({"moq": "481"}, "moq 481 is above maximum 480"),
        ({"moq": "400", "storage_maximum": "399"}, "moq 400 is above storage_maximum 399"),
        ({"multiple": "600"}, "multiple 600 is above maximum 480"),
        ({"moq": "20", "maximum": "20"}, "moq 20 in whole packs is above maximum 20"),
        ({"moq": "20", "multiple": "", "maximum": "21"}, "moq 20 in whole packs is above maximum 21"),
        ({"moq": "20", "storage_maximum": "20"}, "moq 20 in whole packs is above storage_maximum 20"),
        ({"multiple": "10"}, "multiple 10 is not a whole number of order units of 6"),
        ({"pallet_units": "250"}, "pallet_units 250 is not a whole number of order units of 6"),
        ({"order_days": "mon;thr"}, "order_days 'mon;thr' are not days of the week: write mon;thu"),
        ({"delivery_days": "mon,thu"}, "delivery_days 'mon,thu' are not days of the week"),
        ({"cut_off": "24:00"}, "cut_off '24:00' is not a time of day: write 14:00"),
        ({"price_breaks": "500:0.90;100:0.95"}, "do not go up in quantity: sort them"),
        ({"price_breaks": "100:0.90;500:0.95"}, "cost more where more is bought"),
        ({"price_breaks": "100:1.05"}, "cost more where more is bought (unit_cost 1)"),
        ({"price_breaks": "100=0.95"}, "are not quantity:unit cost: write 100:0.95;500:0.90"),
        ({"rounding": "sideways"}, "rounding 'sideways' is none of best, up, down, nearest"),
        ({"service_kind": "otif"}, "service_kind 'otif' is none of cost, cycle, fill_rate"),
        ({"policy": "magic"}, "policy 'magic' is none of paths"),
        ({"valid_from": "2024-02-01"}, "valid_to 2024-01-01 is before valid_from 2024-02-01"),
        ({"order_unit": "0"}, "order_unit 0 is not above 0"),
    ],
)
def test_impossible_terms_go_to_quarantine_and_say_why(broken, says):
    good, reasons = taken("supply_terms", [GOOD | broken | {"product_id": "b"}, GOOD])
    assert good["product_id"].to_list() == ["a"], "the good row goes on"
    assert says in " ".join(reasons["reason"])
    assert reasons["_row"].unique().to_list() == [1]


@pytest.mark.parametrize(
    ("table", "row", "says"),
    [
        ("open_supply", {"supplier_id": "s", "confidence": "80"}, "confidence 80 is above 1 (a share: 80 % is 0.8)"),
        ("open_supply", {"supplier_id": "s", "confidence": "-0.1"}, "confidence -0.1 is below 0"),
        ("open_demand", {"quantity": "-1"}, "quantity -1 is below 0"),
        ("stock_lots", {"quantity": "-1"}, "quantity -1 is below 0"),
        ("stock_lots", {"as_of": "2025-01-01"}, "as_of 2025-01-01 lies in the future"),
    ],
)
def test_impossible_flows_go_to_quarantine(table, row, says):
    given = {"product_id": "a", "due_on": "2024-06-10", "expires_on": "2024-06-10", "quantity": "3"} | row
    good, reasons = taken(table, [given])
    assert good.is_empty()
    assert reasons["reason"].to_list() == [says]


def test_a_lot_that_has_expired_is_kept():
    lot = {"product_id": "a", "expires_on": "2020-01-01", "quantity": "3", "as_of": "2024-06-01"}
    assert taken("stock_lots", [lot])[0]["expires_on"].item() == date(2020, 1, 1)


def test_lists_of_a_parquet_file_are_kept_as_text():
    source = Source(table="supply_terms", path="x", columns={"lead_times_days": "observed"})
    frame = pl.DataFrame(
        {"_row": [1, 2, 3], "product_id": "a", "supplier_id": "s", "observed": [[12.0, 14.5], [], None]}
        | {"order_days": [["mon", "thu"], ["fri"], None]}
    )
    renamed = rename(frame, source, SERIES, "x")
    assert renamed["lead_times_days"].to_list() == ["12.0;14.5", None, None]
    assert renamed["order_days"].to_list() == ["mon;thu", "fri", None]


@pytest.mark.parametrize("table", ["stock", "open_supply", "supply_terms", "replenishment"])
def test_tables_of_the_layout_before_get_room_for_what_is_new(table):
    (step,) = MIGRATIONS[table]
    new = set(step(pl.LazyFrame({"key": ["a"]})).collect_schema()) - {"key"}
    schema = TABLES[table].schema
    old = schema.create_empty().drop(new)
    assert new
    migrated = step(step(old.lazy())).collect()
    assert set(migrated.columns) == set(schema.column_names())
    schema.validate(migrated.select(schema.column_names()))


def shop_of(folder, files):
    """A shop with one csv a table, in the order given."""
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return Settings(
        shop="made_up",
        data_dir=str(folder / "data"),
        sources=[{"table": name, "format": "csv", "path": str(folder / f"{name}.csv")} for name in files],
        ingest={"max_bad_share": 1.0},
    )


STOCK = "product_id,as_of,on_hand,unit\nA,2024-04-01,5,piece\nB,2024-04-01,5,piece\nC,2024-04-01,5,\n"
TERMS = "product_id,supplier_id,moq,unit\nA,s,1,box\nB,s,1,piece\nC,s,1,box\n"


def test_units_that_differ_between_tables_are_set_aside_whatever_the_order_of_the_sources(tmp_path):
    for number, names in enumerate((("stock", "supply_terms"), ("supply_terms", "stock"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = shop_of(folder, {name: {"stock": STOCK, "supply_terms": TERMS}[name] for name in names})
        lake = Lake(settings.lake_url)
        ingest(settings, lake)
        assert lake.read("stock")["product_id"].to_list() == ["A", "B", "C"]
        assert lake.read("supply_terms")["product_id"].to_list() == ["B", "C"]
        (waiting,) = lake.read("quarantine").rows(named=True)
        assert "unit 'box' is not that of stock ('piece')" in waiting["rules"]
        assert waiting["source_row"] == 1


def test_a_shop_that_changes_the_unit_of_all_its_tables_may_do_so(tmp_path):
    settings = shop_of(tmp_path, {"stock": STOCK, "supply_terms": TERMS.replace("box", "piece")})
    lake = Lake(settings.lake_url)
    ingest(settings, lake)
    for name, text in {"stock": STOCK, "supply_terms": TERMS.replace("box", "piece")}.items():
        (tmp_path / f"{name}.csv").write_text(text.replace("piece", "kg"))
    ingest(settings, lake)
    assert lake.read("supply_terms")["unit"].to_list() == ["kg", "kg", "kg"]
    (tmp_path / "stock.csv").write_text(STOCK)
    ingest(settings, lake)
    assert lake.read("stock")["product_id"].to_list() == ["C"], "terms stand in kg now"


def test_one_file_that_says_two_units_of_one_series_is_believed_in_neither():
    rows = {
        "product_id": ["a", "a", "b"],
        "unit": ["kg", "box", "kg"],
        "due_on": "2024-06-10",
        "quantity": ["1", "2", "3"],
    }
    good, reasons = taken("open_demand", pl.DataFrame(rows))
    assert good["product_id"].to_list() == ["b"]
    assert reasons["reason"].unique().to_list() == [
        "this file says 'box' and 'kg' of one series; state every quantity of a series in the unit it is sold in"
    ]
