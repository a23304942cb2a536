"""Files in, tables out: twice, corrected, late, replaced, bad, and mended."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from pipelines.demand.planning import override_withdraw
from pipelines.errors import ConfigError, DataError, SourceError
from pipelines.ingest import jobs
from pipelines.lake import Lake
from pipelines.settings import Settings, load_settings

ORDERS = {"table": "order_lines", "format": "csv", "path": "orders*.csv"}
HEADER = "order_id,line_no,ordered_at,customer_id,product_id,quantity,unit_price\n"


def shop(folder: Path, *sources: dict, **more: object) -> tuple[Settings, Lake]:
    (folder / "shop.yaml").write_text(
        yaml.safe_dump({"shop": "s", "data_dir": "data", "sources": list(sources), **more})
    )
    settings = load_settings(folder)
    return settings, Lake(settings.lake_url)


def orders(folder: Path, name: str, *lines: str) -> None:
    (folder / name).write_text(HEADER + "\n".join(lines) + "\n")


def contents(lake: Lake) -> dict[str, str]:
    return {folder.name: lake.digest(folder.name) for folder in Path(lake.url).iterdir()}


@pytest.fixture
def two_orders(tmp_path: Path) -> tuple[Settings, Lake]:
    orders(tmp_path, "orders1.csv", "a,1,2024-01-01 10:00,ann,cup,3,2.5", "b,1,2024-01-02 10:00,bob,cup,1,2.5")
    return shop(tmp_path, ORDERS)


def test_the_same_files_again_change_nothing(two_orders: tuple[Settings, Lake]) -> None:
    first = jobs.ingest(*two_orders)
    assert first.changed
    assert first.wrote == {"order_lines": 2}
    before = contents(two_orders[1]), two_orders[1].versions(["order_lines", "batches"])
    again = jobs.ingest(*two_orders)
    assert not again.changed
    assert again.read == {"orders1.csv": "already ingested"}
    assert (contents(two_orders[1]), two_orders[1].versions(["order_lines", "batches"])) == before


def test_a_renamed_copy_is_the_same_content(two_orders: tuple[Settings, Lake], tmp_path: Path) -> None:
    jobs.ingest(*two_orders)
    (tmp_path / "orders1.csv").rename(tmp_path / "orders_copy.csv")
    assert not jobs.ingest(*two_orders).changed


def test_first_load_is_known_when_it_happened(two_orders: tuple[Settings, Lake]) -> None:
    jobs.ingest(*two_orders)
    lines = two_orders[1].read("order_lines")
    assert (lines["known_at"] == lines["ordered_at"]).all()


def test_a_new_file_adds_its_rows_and_a_late_row_is_known_from_now(
    two_orders: tuple[Settings, Lake], tmp_path: Path
) -> None:
    settings, lake = two_orders
    jobs.ingest(settings, lake)
    before = datetime.now(UTC)
    orders(tmp_path, "orders2.csv", "c,1,2024-01-03 10:00,ann,cup,1,2.5", "d,1,2023-12-31 10:00,ann,cup,1,2.5")
    summary = jobs.ingest(settings, lake)
    assert summary.read == {"orders1.csv": "already ingested", "orders2.csv": "2 lines"}
    assert summary.figures["new_rows"] == 2
    known = dict(lake.read("order_lines").select("order_id", "known_at").iter_rows())
    assert known["c"] == datetime(2024, 1, 3, 10, tzinfo=UTC)
    assert known["a"] == datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert before <= known["d"] <= datetime.now(UTC)


def test_a_stated_known_at_is_kept(tmp_path: Path) -> None:
    settings, lake = shop(tmp_path, ORDERS)
    (tmp_path / "orders1.csv").write_text(
        HEADER.strip() + ",known_at\na,1,2024-01-01,ann,cup,1,1,2024-01-05\nb,1,2024-01-02,ann,cup,1,1,\n"
    )
    jobs.ingest(settings, lake)
    known = dict(lake.read("order_lines").select("order_id", "known_at").iter_rows())
    assert known == {"a": datetime(2024, 1, 5, tzinfo=UTC), "b": datetime(2024, 1, 2, tzinfo=UTC)}


def test_a_corrected_file_merges(two_orders: tuple[Settings, Lake], tmp_path: Path) -> None:
    settings, lake = two_orders
    jobs.ingest(settings, lake)
    before = datetime.now(UTC)
    orders(tmp_path, "orders1.csv", "a,1,2024-01-01 10:00,ann,cup,5,2.5", "b,1,2024-01-02 10:00,bob,cup,1,2.5")
    summary = jobs.ingest(settings, lake)
    assert (summary.figures["new_rows"], summary.figures["corrected_rows"]) == (0, 1)
    lines = {row["order_id"]: row for row in lake.read("order_lines").iter_rows(named=True)}
    assert lines["a"]["quantity"] == 5
    assert lines["a"]["known_at"] >= before
    assert lines["b"]["known_at"] == lines["b"]["ordered_at"]
    # and back: the content is known, but it is not what was taken in last under this name
    orders(tmp_path, "orders1.csv", "a,1,2024-01-01 10:00,ann,cup,3,2.5", "b,1,2024-01-02 10:00,bob,cup,1,2.5")
    jobs.ingest(settings, lake)
    assert lake.read("order_lines").filter(order_id="a")["quantity"].item() == 3


def test_returns_are_matched_across_files_whatever_comes_first(tmp_path: Path) -> None:
    settings, lake = shop(tmp_path, ORDERS)
    header = HEADER.strip() + ",kind\n"
    (tmp_path / "orders2.csv").write_text(header + "r,1,2024-01-05,ann,cup,-2,1,return\n")
    jobs.ingest(settings, lake)
    assert lake.read("order_lines")["cancels_order_id"].to_list() == [None]
    (tmp_path / "orders1.csv").write_text(header + "a,1,2024-01-01,ann,cup,2,1,sale\n")
    before = datetime.now(UTC)
    jobs.ingest(settings, lake)
    back = lake.read("order_lines").filter(kind="return").row(0, named=True)
    assert (back["cancels_order_id"], back["cancels_line_no"], back["quantity"]) == ("a", 1, 2.0)
    assert back["known_at"] >= before  # nobody could know of the link before


def test_exact_duplicates_keep_the_first_and_are_counted(tmp_path: Path) -> None:
    row = "a,1,2024-01-01,ann,cup,3,2.5"
    orders(tmp_path, "orders1.csv", row, row, row.replace("a,1", "a,2"))
    settings, lake = shop(tmp_path, ORDERS)
    summary = jobs.ingest(settings, lake)
    assert (summary.figures["good"], summary.figures["excluded"]) == (2, 1)
    assert lake.read("exclusions").rows()[0][1:] == ("exact_duplicate", 1)


def test_bad_rows_wait_with_reason_file_row_and_raw_values(tmp_path: Path) -> None:
    good = [f"g{i},1,2024-01-01,ann,cup,1,1" for i in range(96)]
    bad = ["n,1,2024-01-01,ann,cup,-3,1", "w,1,2024-01-01,ann,cup,many,1"]
    dup = ["d,1,2024-01-01,ann,cup,1,1", "d,1,2024-01-01,ann,cup,2,1"]
    orders(tmp_path, "orders1.csv", *good, *bad, *dup)
    settings, lake = shop(tmp_path, ORDERS)
    summary = jobs.ingest(settings, lake)
    assert {name: summary.figures[name] for name in ("lines_in", "good", "excluded", "quarantined")} == {
        "lines_in": 100, "good": 96, "excluded": 0, "quarantined": 4
    }  # fmt: skip
    waiting = lake.read("quarantine").sort("source_row")
    assert waiting["source_row"].to_list() == [97, 98, 99, 100]
    assert waiting["source"].unique().to_list() == ["orders1.csv"]
    assert waiting["rules"][0] == "quantity -3 is not above 0 (a return is a line of kind 'return')"
    assert waiting["rules"][1] == "quantity 'many' is not a number"
    assert "stands more than once in this file" in waiting["rules"][2]
    assert json.loads(waiting["raw"][1])["quantity"] == "many"
    listed = jobs.quarantine_list(settings, lake)
    assert listed.figures["open"] == 4
    shown = jobs.quarantine_show(settings, lake, waiting["batch"][0])
    assert next(iter(shown.tables.values())).height == 4
    with pytest.raises(DataError, match="No row of batch"):
        jobs.quarantine_show(settings, lake, "order_lines-none")


def test_check_says_what_would_go_to_quarantine(tmp_path: Path) -> None:
    orders(tmp_path, "orders1.csv", "a,1,2024-01-01,ann,cup,1,1", "b,1,2024-01-01,ann,cup,x,1")
    settings, _ = shop(tmp_path, ORDERS, ingest={"max_bad_share": 0.5})
    assert jobs.check(settings).notes == ["1 rows would go to quarantine; nothing was written."]
    strict, _ = shop(tmp_path, ORDERS)
    with pytest.raises(DataError, match=r"1 of 2 rows of this file .* ingest\.max_bad_share allows 5\.0%"):
        jobs.check(strict)
    orders(tmp_path, "orders1.csv", "a,1,2024-01-01,ann,cup,1,1")
    assert jobs.check(strict).notes == ["Configuration and sources are in order; nothing was written."]


def test_a_price_made_from_an_absurd_amount_waits(tmp_path: Path) -> None:
    header = HEADER.replace("unit_price", "amount")
    rows = "a,1,2024-01-01,ann,cup,1,1\nb,1,2024-01-01,ann,cup,2,1e300\n"
    (tmp_path / "orders1.csv").write_text(header + rows)
    settings, lake = shop(tmp_path, ORDERS, ingest={"max_bad_share": 0.5})
    jobs.ingest(settings, lake)
    assert lake.read("quarantine")["rules"].item().endswith("is above 1,000,000,000")
    assert lake.read("order_lines")["order_id"].to_list() == ["a"]


def test_replay_after_a_mapping_fix(tmp_path: Path) -> None:
    """A column written in local words is mapped anew; only then its rows pass."""
    rows = [f"g{i},1,2024-01-01,ann,cup,1,1,sale" for i in range(30)]
    rows += ["r,1,2024-01-02,ann,cup,1,1,retoure", "q,1,2024-01-02,ann,cup,x,1,sale"]
    text = HEADER.strip() + ",kind,art\n" + "\n".join(f"{row},{row.rsplit(',', 1)[1]}" for row in rows)
    (tmp_path / "orders1.csv").write_text(text.replace(",retoure,retoure", ",retoure,return") + "\n")
    relaxed = {"ingest": {"max_bad_share": 0.1}}
    settings, lake = shop(tmp_path, ORDERS, **relaxed)
    jobs.ingest(settings, lake)
    assert lake.read("quarantine")["source_row"].sort().to_list() == [31, 32]

    mended, lake = shop(tmp_path, ORDERS | {"columns": {"kind": "art"}}, **relaxed)
    before = jobs.quarantine_replay(settings, lake)  # nothing is mended yet
    assert before.figures == {"good": 0, "returns": 0, "excluded": 0, "still_waiting": 2}
    summary = jobs.quarantine_replay(mended, lake)
    assert summary.figures == {"good": 0, "returns": 1, "excluded": 0, "still_waiting": 1}
    assert lake.read("order_lines").filter(order_id="r")["cancels_order_id"].item() is not None
    assert dict(lake.read("quarantine").select("source_row", "state").iter_rows()) == {31: "released", 32: "open"}
    ledger = lake.read("batches")
    assert ledger.height == 2
    assert ledger.filter(pl.col("batch").str.contains("~")).select("lines_in", "returns").row(0) == (1, 1)
    assert not jobs.quarantine_replay(mended, lake).changed
    assert lake.read("batches").height == 2


def test_a_corrected_file_speaks_for_its_quarantined_rows(tmp_path: Path) -> None:
    settings, lake = shop(tmp_path, ORDERS, ingest={"max_bad_share": 0.5})
    orders(tmp_path, "orders1.csv", "a,1,2024-01-01,ann,cup,1,1", "b,1,2024-01-01,ann,cup,x,1")
    jobs.ingest(settings, lake)
    orders(tmp_path, "orders1.csv", "a,1,2024-01-01,ann,cup,1,1", "b,1,2024-01-01,ann,cup,2,1")
    jobs.ingest(settings, lake)
    assert lake.read("quarantine")["state"].to_list() == ["superseded"]
    assert lake.read("order_lines").height == 2


def test_line_numbers_survive_a_replay(tmp_path: Path) -> None:
    """A counted line number cannot be counted again from the bad row alone."""
    header = "order_id,ordered_at,customer_id,product_id,quantity,unit_price,gross\n"
    (tmp_path / "orders1.csv").write_text(header + "a,2024-01-01,ann,cup,1,1,1\na,2024-01-01,ann,pot,1,-1,2\n")
    settings, lake = shop(tmp_path, ORDERS, ingest={"max_bad_share": 0.5})
    jobs.ingest(settings, lake)
    mended, lake = shop(tmp_path, ORDERS | {"columns": {"unit_price": "gross"}})
    jobs.quarantine_replay(mended, lake)
    lines = lake.read("order_lines").sort("line_no")
    assert lines.select("line_no", "product_id").rows() == [(1, "cup"), (2, "pot")]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("b,1,soon,ann,cup,1,1", "ordered_at 'soon' is not a time"),
        ("b,1,2024-01-01,ann,cup,-1,1", "quantity -1 is not above 0"),
        (f"b,1,{date.today() + timedelta(days=3)},ann,cup,1,1", "lies in the future"),
        ("a,1,2024-01-01,ann,cup,9,1", "stands more than once in this file"),
    ],
)
def test_too_much_bad_stops_the_run_before_anything_is_written(tmp_path: Path, bad: str, says: str) -> None:
    orders(tmp_path, "orders1.csv", "g,1,2024-01-01,ann,cup,1,1")
    orders(tmp_path, "orders2.csv", "a,1,2024-01-01,ann,cup,1,1", bad)
    settings, lake = shop(tmp_path, ORDERS)
    for job in (lambda: jobs.check(settings), lambda: jobs.ingest(settings, lake)):
        with pytest.raises(DataError) as caught:
            job()
        assert says in str(caught.value)
        assert "orders2.csv" in str(caught.value)
        assert caught.value.where["row"] in (1, 2)
    assert not Path(lake.url).exists()


def test_a_missing_column_stops_the_run_before_anything_is_written(tmp_path: Path) -> None:
    orders(tmp_path, "orders1.csv", "g,1,2024-01-01,ann,cup,1,1")
    (tmp_path / "stock.csv").write_text("product_id,hand\ncup,1\n")
    settings, lake = shop(tmp_path, ORDERS, {"table": "stock", "format": "csv", "path": "stock.csv"})
    with pytest.raises(SourceError, match="as_of"):
        jobs.ingest(settings, lake)
    assert not Path(lake.url).exists()


def test_check_writes_nothing(two_orders: tuple[Settings, Lake], tmp_path: Path) -> None:
    summary = jobs.check(two_orders[0])
    assert summary.figures["good"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["orders1.csv", "shop.yaml"]


def test_snapshots_are_replaced_whole_and_older_ones_stay_as_versions(tmp_path: Path) -> None:
    stock = tmp_path / "stock.csv"
    header = "product_id,as_of,on_hand\n"
    settings, lake = shop(tmp_path, {"table": "stock", "format": "csv", "path": "stock.csv"})
    for rows, expected in (
        ("cup,2024-01-01,5\npot,2024-01-01,1\n", ["cup", "pot"]),
        ("cup,2024-01-08,2\n", ["cup"]),
        ("", []),
        ("cup,2024-01-01,5\npot,2024-01-01,1\n", ["cup", "pot"]),
    ):
        stock.write_text(header + rows)
        assert jobs.ingest(settings, lake).changed
        assert lake.read("stock")["product_id"].sort().to_list() == expected
        assert not jobs.ingest(settings, lake).changed
    assert lake.read("stock", version=1)["on_hand"].to_list() == [2.0]


def test_a_snapshot_is_all_its_files(tmp_path: Path) -> None:
    source = {"table": "stock", "format": "csv", "path": "stock_*.csv"}
    for place, product in (("north", "cup"), ("south", "pot")):
        (tmp_path / f"stock_{place}.csv").write_text(f"product_id,as_of,on_hand\n{product},2024-01-01,5\n")
    settings, lake = shop(tmp_path, source)
    jobs.ingest(settings, lake)
    (tmp_path / "stock_north.csv").write_text("product_id,as_of,on_hand\ncup,2024-01-08,1\n")
    jobs.ingest(settings, lake)
    assert dict(lake.read("stock").select("product_id", "on_hand").iter_rows()) == {"cup": 1.0, "pot": 5.0}
    (tmp_path / "stock_south.csv").unlink()
    jobs.ingest(settings, lake)
    assert lake.read("stock")["product_id"].to_list() == ["cup"]


def test_demand_keyed_by_numbers_with_covariates_of_part_of_the_key(tmp_path: Path) -> None:
    weeks = [date(2024, 1, 5) + timedelta(weeks=i) for i in range(8)]
    pl.DataFrame({"store": 1, "dept": 2, "week": weeks, "sold": range(8)}).write_parquet(tmp_path / "d.parquet")
    ahead = [*weeks, weeks[-1] + timedelta(weeks=1)]
    (tmp_path / "c.csv").write_text("store,week,promo,note\n" + "\n".join(f"1,{week},0,x" for week in ahead))
    settings, lake = shop(
        tmp_path,
        {
            "table": "covariates",
            "format": "csv",
            "path": "c.csv",
            "columns": {"period": "week"},
            "known_ahead": ["promo"],
        },
        {"table": "demand", "path": "d.parquet", "columns": {"period": "week", "quantity": "sold"}},
        demand={"series": ["store", "dept"]},
    )
    jobs.ingest(settings, lake)
    covariates = lake.read("covariates")
    assert covariates.schema == {"period": pl.Date, "store": pl.Int64, "promo": pl.Float64}
    assert covariates.height == 9
    assert lake.read("demand").schema["store"] == pl.Int64


def test_order_lines_keep_a_series_key_of_the_shop(tmp_path: Path) -> None:
    (tmp_path / "orders1.csv").write_text(
        "ordered_at,customer_id,region,quantity,amount\n2024-07-01 00:30,1,north,2,5\n2024-07-01 00:30,1,north,1,3\n"
    )
    settings, lake = shop(tmp_path, ORDERS, demand={"series": ["region"]}, timezone="Europe/London")
    jobs.ingest(settings, lake)
    lines = lake.read("order_lines").sort("line_no")
    assert lines["region"].to_list() == ["north", "north"]
    assert lines["ordered_at"][0] == datetime(2024, 6, 30, 23, 30, tzinfo=UTC)
    assert lines["unit_price"].to_list() == [2.5, 3.0]
    assert lines["order_id"].n_unique() == 1


def test_types_of_own_columns_hold_from_the_first_file_on(tmp_path: Path) -> None:
    (tmp_path / "c1.csv").write_text("customer_id,points\n" + "\n".join(f"a{i},{i}" for i in range(30)))
    (tmp_path / "c2.csv").write_text("customer_id,points\n" + "\n".join(f"b{i},{i}" for i in range(30)) + "\nx,many\n")
    settings, lake = shop(tmp_path, {"table": "customers", "format": "csv", "path": "c*.csv"})
    assert jobs.ingest(settings, lake).figures["quarantined"] == 1
    assert lake.read("quarantine")["rules"].to_list() == ["points 'many' is not a number"]
    assert lake.read("customers").schema["points"] == pl.Float64


def test_covariates_share_their_key(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("store,period,promo\n1,2024-01-01,0\n")
    (tmp_path / "b.csv").write_text("period,holiday\n2024-01-01,0\n")
    sources = [{"table": "covariates", "format": "csv", "path": f"{name}.csv"} for name in "ab"]
    settings, lake = shop(tmp_path, *sources, demand={"series": ["store"]})
    with pytest.raises(SourceError, match="keyed by period, others by store, period"):
        jobs.ingest(settings, lake)
    assert not Path(lake.url).exists()


def test_covariates_of_several_files_complete_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("store,period,promo\n1,2024-01-01,1\n1,2024-01-08,0\n")
    (tmp_path / "b.csv").write_text("store,period,holiday\n1,2024-01-08,1\n1,2024-01-15,0\n")
    sources = [{"table": "covariates", "format": "csv", "path": f"{name}.csv"} for name in "ab"]
    settings, lake = shop(tmp_path, *sources, demand={"series": ["store"]})
    jobs.ingest(settings, lake)
    rows = lake.read("covariates").sort("period").select("promo", "holiday").rows()
    assert rows == [(1.0, None), (0.0, 1.0), (None, 0.0)]


def test_a_column_of_lists_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"customer_id": ["a"], "tags": [["x", "y"]]}).write_parquet(tmp_path / "c.parquet")
    settings, _ = shop(tmp_path, {"table": "customers", "path": "c.parquet"})
    with pytest.raises(SourceError, match="'tags' holds List"):
        jobs.check(settings)


def test_the_message_about_bad_rows_tells_every_kind(tmp_path: Path) -> None:
    orders(tmp_path, "orders1.csv", "a,1,2024-01-01,ann,cup,x,1", "b,1,2024-01-01,ann,cup,y,1", "c,1,never,ann,cup,1,1")
    settings, _ = shop(tmp_path, ORDERS)
    with pytest.raises(DataError) as caught:
        jobs.check(settings)
    assert "3 of 3 rows of this file break the rules of order_lines" in str(caught.value)
    assert "2 as row 1: quantity 'x' is not a number" in str(caught.value)
    assert "1 as row 3: ordered_at 'never' is not a time" in str(caught.value)


OVERRIDES = """override_id,at,who,why,store,from_period,to_period,kind,value
1,2024-01-02 09:00,anna,TV campaign,A,2024-01-08,2024-01-15,multiply,1.3
2,2024-01-02 10:00,bert,stock-taking,,2024-01-08,2024-01-08,set,0
3,2024-01-02 11:00,carl,,A,2024-01-08,2024-01-08,set,1
4,2024-01-02 11:00,carl,a slip,A,2024-01-15,2024-01-08,set,1
5,2024-01-02 11:00,carl,a slip,A,2024-01-08,2024-01-15,set,-1
6,2024-01-02 11:00,carl,fewer,A,2024-01-08,2024-01-15,add,-1
7,2024-01-02 11:00,carl,a slip,A,2024-01-08,2024-01-15,double,2
8,2999-01-02 11:00,carl,a slip,A,2024-01-08,2024-01-15,add,2
"""


def test_overrides_may_come_as_a_file_and_leave_keys_open(tmp_path: Path) -> None:
    (tmp_path / "overrides.csv").write_text(OVERRIDES)
    source = {"table": "overrides", "format": "csv", "path": "overrides.csv"}
    demand = {"series": ["store", "item_id"]}
    settings, lake = shop(tmp_path, source, demand=demand, ingest={"max_bad_share": 0.9})
    jobs.ingest(settings, lake)
    rows = lake.read("overrides").sort("override_id")
    assert rows.select("override_id", "store", "kind", "value").rows() == [
        ("1", "A", "multiply", 1.3),
        ("2", None, "set", 0.0),
        ("6", "A", "add", -1.0),
    ]
    assert rows["withdrawn_at"].null_count() == 3
    reasons = lake.read("quarantine").sort("source_row")["rules"].to_list()
    expected = ["why is missing", "is after to_period", "only an 'add' may be", "none of set, add", "in the future"]
    assert all(words in reason for words, reason in zip(expected, reasons, strict=True)), reasons


@pytest.mark.parametrize("brings", ["demand", "order_lines"])
def test_overrides_of_what_there_is_not_wait_in_quarantine(tmp_path: Path, brings: str) -> None:
    """Off the grid, or about a series nobody knows: they wait until it is there."""
    weeks = [f"A,{item},2024-01-0{day},1" for item in (1, 2) for day in (1, 8)]
    (tmp_path / "demand.csv").write_text("\n".join(["store,item_id,period,quantity", *weeks]) + "\n")
    lines = [f"{n},1,2024-01-0{n},1,A,{n},1" for n in (1, 2)]
    (tmp_path / "order_lines.csv").write_text(
        "\n".join(["order_id,line_no,ordered_at,quantity,store,item_id,unit_price", *lines]) + "\n"
    )
    rows = ["A,,2024-01-15,2024-01-15", "A,2,2024-01-15,2024-01-16", "B,2,2024-01-15,2024-01-15"]
    rows += [",9,2024-01-15,2024-01-15", "A,3,2024-01-15,2024-01-15", "A,1,2024-01-15,2024-01-15"]
    head = "override_id,at,who,why,kind,value,store,item_id,from_period,to_period"
    told = [f"{n},2024-01-02 09:00,anna,fair,add,1,{row}" for n, row in enumerate(rows, 1)]
    (tmp_path / "overrides.csv").write_text("\n".join([head, *told]) + "\n")
    # overrides come first in the file, and are judged by what the others bring
    sources = [{"table": name, "format": "csv", "path": f"{name}.csv"} for name in ("overrides", brings)]
    plan = {"series": ["store", "item_id"]}
    settings, lake = shop(tmp_path, *sources, demand=plan, ingest={"max_bad_share": 0.9})
    jobs.ingest(settings, lake)
    assert lake.read("overrides")["override_id"].sort().to_list() == ["1", "6"]
    reasons = lake.read("quarantine").sort("source_row")["rules"].to_list()
    assert reasons == [
        "to_period 2024-01-16 is not on the grid of the others (Mondays)",
        "there is no series with store B, item_id 2",
        "there is no series with item_id 9",
        "there is no series with store A, item_id 3",
    ]
    launches = {"table": "series", "format": "csv", "path": "series.csv"}
    (tmp_path / "series.csv").write_text("store,item_id,launched_on\nA,3,2024-01-15\n")
    settings, lake = shop(tmp_path, *sources, launches, demand=plan, ingest={"max_bad_share": 0.9})
    jobs.ingest(settings, lake)
    jobs.quarantine_replay(settings, lake)
    assert lake.read("overrides")["override_id"].sort().to_list() == ["1", "5", "6"]


def test_checking_finds_levels_of_a_hierarchy_that_nobody_brings(tmp_path: Path) -> None:
    orders(tmp_path, "orders1.csv", "a,1,2024-01-01,ann,cup,1,1")
    (tmp_path / "products.csv").write_text("product_id,category\ncup,kitchen\n")
    products = {"table": "products", "format": "csv", "path": "products.csv"}
    for level, good in ((["category"], True), (["product_id"], True), (["category", "region"], False)):
        settings, _ = shop(tmp_path, ORDERS, products, demand={"hierarchy": [level]})
        if good:
            jobs.check(settings)
            continue
        with pytest.raises(ConfigError, match=r"(?s)demand\.hierarchy.*region.*product_id.*category"):
            jobs.check(settings)
    settings, _ = shop(tmp_path, ORDERS, products, demand={"hierarchy": [["region"]], "enabled": False})
    jobs.check(settings)


def test_a_withdrawn_override_stays_so_when_its_file_grows(tmp_path: Path) -> None:
    head, first, second = OVERRIDES.splitlines()[:3]
    (tmp_path / "overrides.csv").write_text(f"{head}\n{first}\n")
    source = {"table": "overrides", "format": "csv", "path": "overrides.csv"}
    settings, lake = shop(tmp_path, source, demand={"series": ["store"]})
    jobs.ingest(settings, lake)
    override_withdraw(settings, lake, "1")
    before = lake.read("overrides")["withdrawn_at"].item()
    (tmp_path / "overrides.csv").write_text(f"{head}\n{first}\n{second}\n")
    jobs.ingest(settings, lake)
    assert lake.read("overrides").sort("override_id")["withdrawn_at"].to_list() == [before, None]
