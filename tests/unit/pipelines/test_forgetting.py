"""Whoever is forgotten is nowhere on the disk, stays forgotten, and takes no sale along."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml
from deltalake import DeltaTable

from features.tables import TABLES
from pipelines import forgetting, workflow
from pipelines.errors import ConfigError, DataError, LakeError, ReleaseError
from pipelines.forgetting import Journal, forget
from pipelines.ingest import jobs
from pipelines.lake import Lake
from pipelines.release import current, releases, rollback
from pipelines.settings import Settings, load_settings
from pipelines.steps import Shop, steps_named
from tests.made_shop import made_release, made_tables

ZOE = "zoe-7f3a"
HEADER = "order_id,line_no,ordered_at,customer_id,product_id,quantity,unit_price\n"
LINES = [
    f"{ZOE}/1,1,2024-01-01 10:00,{ZOE},cup,3,2.5",
    f"{ZOE}/1,2,2024-01-01 10:00,{ZOE},pot,1,20",
    f"{ZOE}/2,1,2024-02-01 10:00,{ZOE},cup,2,2.5",
    "b/1,1,2024-01-02 10:00,bob,cup,1,2.5",
    "b/2,1,2024-02-03 10:00,bob,pot,1,20",
]
BAD = [f"{ZOE}/3,1,2024-02-04 10:00,{ZOE},cup,x,2.5", "b/3,1,2024-02-04 10:00,bob,cup,x,2.5"]
RETURN = f"{ZOE}/4,1,2024-02-05 10:00,{ZOE},cup,2,2.5"
SOURCES = [
    {"table": "order_lines", "format": "csv", "path": "orders*.csv"},
    {"table": "order_lines", "format": "csv", "path": "returns*.csv"},
    {"table": "customers", "format": "csv", "path": "people*.csv"},
    {"table": "feedback", "format": "csv", "path": "feedback*.csv"},
]


def ingested(folder: Path, settings: Settings) -> Lake:
    (folder / "orders1.csv").write_text(HEADER + "\n".join([*LINES, *BAD]) + "\n")
    (folder / "returns.csv").write_text(
        HEADER.replace("line_no,", "line_no,kind,") + RETURN.replace(",1,", ",1,return,", 1)
    )
    (folder / "people.csv").write_text(f"customer_id,name\n{ZOE},Zoe Adler\nbob,Bob\n")
    (folder / "feedback.csv").write_text(f"customer_id,at,kind,score,text\n{ZOE},2024-01-03 10:00,csat,2,late\n")
    lake = Lake(settings.lake_url)
    jobs.ingest(settings, lake)
    return lake


def filled(table: str, number: int) -> pl.DataFrame:
    """Rows of a table for two customers, whatever its columns are."""
    at = datetime(2024, 1, number, tzinfo=UTC)
    values = {pl.String: pl.Series([f"text {number} a", f"text {number} b"]), pl.Boolean: False}
    frame = TABLES[table].schema.create_empty()
    columns = [
        pl.lit(values.get(dtype.base_type(), at if dtype.is_temporal() else number)).cast(dtype).alias(name)
        for name, dtype in frame.schema.items()
        if name != "customer_id"
    ]
    return pl.DataFrame({"customer_id": [ZOE, "bob"]}).with_columns(columns).select(frame.columns)


def left_of(name: str, folder: Path) -> list[str]:
    """Files in which a name can be found: in their bytes, or in what their format packs."""
    found = []
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        texts = [file.read_bytes()]
        if file.suffix == ".parquet":
            texts.append(repr(pl.read_parquet(file).to_dicts()).encode())
        if name.encode() in b"".join(texts) or name in file.as_posix():
            found.append(file.relative_to(folder).as_posix())
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    demand = {"series": ["product_id"], "quantiles": [0.1, 0.5, 0.9]}
    content = {"shop": "s", "data_dir": "data", "sources": SOURCES, "demand": demand, "ingest": {"max_bad_share": 0.5}}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(content))
    return load_settings(tmp_path)


@pytest.fixture
def lake(tmp_path: Path, settings: Settings) -> Lake:
    return ingested(tmp_path, settings)


def in_every_table(lake: Lake) -> None:
    """Put the customer into every table that has customers, in two versions."""
    for table, about in TABLES.items():
        if "customer_id" in about.schema.column_names() and not lake.exists(table):
            lake.append(table, filled(table, 1))
            lake.merge(table, filled(table, 2), about.keys())


def in_releases(settings: Settings) -> None:
    """Three releases, the newest current; the oldest does not hold the customer."""
    scores = made_tables()["customer_scores"]
    for seed, name in ((1, "bob"), (2, ZOE), (3, ZOE)):
        renamed = scores.with_columns(customer_id=pl.col("customer_id").replace("12346", name))
        made_release(settings, seed, replaced={"customer_scores": renamed})


def test_nothing_of_the_customer_is_left_on_the_disk(settings: Settings, lake: Lake) -> None:
    in_every_table(lake)
    in_releases(settings)
    people = [table for table in TABLES if lake.exists(table) and "customer_id" in lake.scan(table).collect_schema()]
    before = left_of(ZOE, settings.home)
    assert {file.split("/")[1] for file in before if file.startswith("lake")} >= {*people, "quarantine"}
    assert any("_delta_log" in file for file in before)
    assert left_of("Zoe Adler", settings.home)
    others = {table: lake.scan(table).filter(pl.col("customer_id") == "bob").collect() for table in people}

    forget(settings, lake, [ZOE], why="she asked for it")

    assert left_of(ZOE, settings.home) == left_of("Zoe Adler", settings.home) == []
    for table, rows in others.items():
        now = lake.scan(table).filter(pl.col("customer_id") == "bob").collect()
        assert now.equals(rows), table
    assert lake.read("quarantine")["raw"].str.contains("bob").all()
    assert (settings.home / "state" / "salt").stat().st_mode & 0o777 == stat.S_IRUSR | stat.S_IWUSR
    assert lake.read("tombstones")["why"].to_list() == ["she asked for it"]


def test_the_sales_stay_and_their_returns_still_take_them_back(settings: Settings, lake: Lake) -> None:
    before = lake.read("order_lines")
    assert before.filter(kind="return")["cancels_order_id"].to_list() == [f"{ZOE}/2"]
    forget(settings, lake, [ZOE])
    after = lake.read("order_lines")
    told = ["ordered_at", "product_id", "kind", "quantity", "unit_price", "known_at", "line_no"]
    assert after.select(told).sort(told).equals(before.select(told).sort(told))
    assert after["order_id"].n_unique() == before["order_id"].n_unique()
    links = after.filter(kind="return").select(order_id="cancels_order_id", line_no="cancels_line_no")
    assert links.join(after, on=["order_id", "line_no"])["ordered_at"].to_list() == [
        datetime(2024, 2, 1, 10, tzinfo=UTC)
    ]


@pytest.mark.parametrize("their_system", ["names her still", "has forgotten her too"])
def test_a_file_that_comes_again_brings_nobody_back_and_no_sale_twice(
    settings: Settings, lake: Lake, tmp_path: Path, their_system: str
) -> None:
    forget(settings, lake, [ZOE])
    before = lake.read("order_lines")
    known = their_system == "names her still"
    again = [line if known else line.replace(f",{ZOE},", ",,") for line in [*LINES, *(BAD if known else [])]]
    news = f"{ZOE}/9,1,2024-03-01 10:00,{ZOE},cup,1,2.5"
    (tmp_path / "orders2.csv").write_text(HEADER + "\n".join([*again, *([news] if known else [])]) + "\n")
    (tmp_path / "people2.csv").write_text(f"customer_id,name\n{ZOE},Zoe Adler\namy,Amy\n")
    summary = jobs.ingest(settings, lake)
    after = lake.read("order_lines")
    assert after.height == before.height + known
    assert after.join(before, on=before.columns, how="semi", nulls_equal=True).height == before.height
    assert lake.read("customers")["customer_id"].sort().to_list() == ["amy", "bob"]
    assert any(f"{3 + known} lines of forgotten customers" in note for note in summary.notes)
    excluded = summary.tables["Excluded by rule"].filter(rule="forgotten_customer")
    assert excluded["lines"].to_list() == [1 + known]
    assert left_of(ZOE, settings.home) == []


def test_releases_that_held_them_give_way_and_there_is_no_way_back(settings: Settings, lake: Lake) -> None:
    in_releases(settings)
    oldest, *_, newest = sorted(release.id for release in releases(settings.releases_dir))
    was = current(settings.releases_dir)
    assert was is not None
    forget(settings, lake, [ZOE])
    now = current(settings.releases_dir)
    assert now is not None
    assert now.id > newest
    assert [release.id for release in releases(settings.releases_dir)] == [now.id, oldest]
    assert now.model_versions == was.model_versions
    assert now.tables == was.tables | {"customer_scores": was.tables["customer_scores"] - 1}
    assert rollback(settings.releases_dir).id == oldest
    forget(settings, lake, ["12347"])
    with pytest.raises(ReleaseError, match="forgotten customers were removed"):
        rollback(settings.releases_dir)


@pytest.mark.parametrize("killed_in", ["_bury", "rewrite", "create_checkpoint", "redact"])
def test_what_was_cut_short_is_completed_by_the_next_call(
    settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch, killed_in: str
) -> None:
    in_releases(settings)
    with monkeypatch.context() as broken:

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        owner = {"rewrite": Lake, "create_checkpoint": DeltaTable}.get(killed_in, forgetting)
        broken.setattr(owner, killed_in, killed)
        with pytest.raises(KeyboardInterrupt):
            forget(settings, lake, [ZOE])
    journal = settings.home / "state" / "forgetting.json"
    assert journal.stat().st_mode & 0o777 == stat.S_IRUSR | stat.S_IWUSR
    assert Journal.read(settings) is not None
    assert forget(settings, lake, []).changed
    assert left_of(ZOE, settings.home) == []
    assert not journal.exists()


def test_a_run_completes_it_before_anything_else(settings: Settings, lake: Lake) -> None:
    Journal([ZOE], ["order_lines", "customers", "feedback", "quarantine"], "").write(settings)
    workflow.run(Shop(settings), steps=steps_named(["ingest"]))
    assert left_of(ZOE, settings.home) == []


def test_forgetting_again_changes_nothing(settings: Settings, lake: Lake) -> None:
    forget(settings, lake, [ZOE])
    before = lake.versions(TABLES)
    again = forget(settings, lake, [ZOE])
    assert not again.changed
    assert lake.versions(TABLES) == before


def test_a_dry_run_counts_and_changes_nothing(settings: Settings, lake: Lake) -> None:
    before = {file: file.read_bytes() for file in settings.home.rglob("*") if file.is_file()}
    told = forget(settings, lake, [ZOE], dry_run=True)
    rows = dict(told.tables["What would go"].select("table", "rows").iter_rows())
    assert rows == {"order_lines": 4, "customers": 1, "feedback": 1, "quarantine": 1}
    assert {file: file.read_bytes() for file in settings.home.rglob("*") if file.is_file()} == before


def test_a_name_only_in_an_earlier_version_is_found(settings: Settings, lake: Lake) -> None:
    lake.append("list_leavers", filled("list_leavers", 1).with_columns(customer_id=pl.lit("old")))
    lake.replace("list_leavers", filled("list_leavers", 1))
    forget(settings, lake, ["old"])
    assert left_of("old", Path(lake.url) / "list_leavers") == []
    assert lake.read("list_leavers").height == 2


def test_what_cannot_be_meant_is_refused_before_anything_changes(settings: Settings, lake: Lake) -> None:
    before = lake.versions(TABLES)
    with pytest.raises(DataError, match="Nowhere on record: zoé"):
        forget(settings, lake, [ZOE, "zoé"])
    with pytest.raises(ConfigError, match="Nobody is named"):
        forget(settings, lake, [" "])
    with pytest.raises(ConfigError, match="names a customer"):
        forget(settings, lake, [ZOE], why=f"letter of {ZOE}.")
    assert lake.versions(TABLES) == before


def test_without_the_salt_nothing_is_taken_in(settings: Settings, lake: Lake, tmp_path: Path) -> None:
    forget(settings, lake, [ZOE])
    (settings.home / "state" / "salt").unlink()
    (tmp_path / "orders2.csv").write_text(HEADER + LINES[0] + "\n")
    with pytest.raises(LakeError, match="salt"):
        jobs.ingest(settings, lake)


def test_earlier_versions_are_said_to_be_gone_and_later_ones_are_kept(settings: Settings, lake: Lake) -> None:
    was = lake.version("customers")
    forget(settings, lake, [ZOE])
    with pytest.raises(LakeError, match="not kept any more"):
        lake.read("customers", version=was)
    now = lake.version("customers")
    lake.merge("customers", pl.DataFrame({"customer_id": ["amy"]}), ["customer_id"])
    assert lake.read("customers", version=now).height == 1
    assert lake.migrate() == []


def test_an_adapter_forgets_too_and_a_product_of_the_same_number_stays(tmp_path: Path) -> None:
    source = {"table": "order_lines", "format": "csv", "path": "retail*.csv", "adapter": "online_retail"}
    content = {"shop": "s", "data_dir": "data", "sources": [source], "ingest": {"max_bad_share": 0.9}}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(content))
    settings = load_settings(tmp_path)
    lake = Lake(settings.lake_url)
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    lines = [
        "536365,85123A,LANTERN,6,2010-12-01 08:26:00,2.55,15030,France",
        "536366,85123A,LANTERN,2,2010-12-01 09:26:00,2.55,17850,France",
        "536367,85123A,LANTERN,x,2010-12-01 10:26:00,2.55,15030,France",
        "536368,15030,WINDMILL,x,2010-12-01 11:26:00,2.55,17850,France",
    ]
    (tmp_path / "retail1.csv").write_text(header + "\n".join(lines) + "\n")
    jobs.ingest(settings, lake)
    assert lake.read("quarantine").height == 2
    forget(settings, lake, ["15030"])
    assert lake.read("quarantine")["raw"].str.contains("536368").to_list() == [True]
    (tmp_path / "retail2.csv").write_text(header + "\n".join([*lines, lines[1].replace("536366", "536369")]) + "\n")
    jobs.ingest(settings, lake)
    assert lake.read("order_lines")["customer_id"].sort().to_list() == [None, "17850", "17850"]
    assert lake.read("customers")["customer_id"].to_list() == ["17850"]
    assert not lake.read("quarantine")["raw"].str.contains("536367").any()
