"""Files that come again, corrected, or late: what was known before stays known, and now everything counts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.customers import WHERE_BROUGHT, describe, ledger, snapshot
from features.versions import every_version
from pipelines.customers.jobs import _book
from pipelines.demand.inputs import open_panel
from pipelines.ingest import jobs
from pipelines.ingest.numbering import AGAIN, COUNTED, FILE, number_lines
from pipelines.lake import Lake
from pipelines.settings import Settings, load_settings
from tests.shops import orders, tea_shop

HEADER = "order_id,line_no,ordered_at,customer_id,product_id,quantity,unit_price\n"


@pytest.fixture
def tea(tmp_path: Path) -> tuple[Settings, Lake]:
    settings = load_settings(tea_shop(tmp_path))
    lake = Lake(settings.lake_url)
    jobs.ingest(settings, lake)
    return settings, lake


def units(settings: Settings, lake: Lake) -> float:
    """Demand of all periods as it is known now."""
    panel = open_panel(settings, lake, fresh=True)
    known = panel.known(panel.last).quantity
    return float(known[known == known].sum())


def seen(settings: Settings, lake: Lake, as_of: date | None = None) -> pl.DataFrame:
    return describe(*_book(settings, lake, as_of))


def test_a_file_with_one_more_column_changes_nothing(tea: tuple[Settings, Lake], tmp_path: Path) -> None:
    before, demand = seen(*tea), units(*tea)
    known = tea[1].read("order_lines").select("order_id", "line_no", "known_at").sort("order_id", "line_no")
    orders().with_columns(channel=pl.lit("web")).write_csv(tmp_path / "orders.csv")
    summary = jobs.ingest(*tea)
    assert summary.figures["new_rows"] == 0
    lines = tea[1].read("order_lines").sort("order_id", "line_no")
    assert lines["channel"].unique().to_list() == ["web"]
    assert_frame_equal(lines.select(known.columns), known)
    assert not tea[1].exists("superseded_lines")
    assert_frame_equal(seen(*tea).drop(WHERE_BROUGHT), before.drop(WHERE_BROUGHT))
    assert units(*tea) == demand > 0


@pytest.mark.parametrize("numbered", [True, False])
def test_corrected_prices_lose_no_customer_and_no_history(tmp_path: Path, numbered: bool) -> None:
    settings = load_settings(tea_shop(tmp_path))
    lake = Lake(settings.lake_url)
    lines = orders()
    if numbered:
        lines = lines.with_columns(line_no=pl.int_range(pl.len()).over("order_id") + 1)
    lines.write_csv(tmp_path / "orders.csv")
    jobs.ingest(settings, lake)
    before, demand, history = seen(settings, lake), units(settings, lake), open_panel(settings, lake, fresh=True)
    third = pl.int_range(pl.len()) % 3 == 0
    dearer = pl.when(third).then(pl.col("unit_price") * 2).otherwise("unit_price").alias("unit_price")
    lines.with_columns(dearer).write_csv(tmp_path / "orders.csv")
    summary = jobs.ingest(settings, lake)
    assert summary.figures["new_rows"] == 0
    assert summary.figures["corrected_rows"] == -(-lines.height // 3) == lake.read("superseded_lines").height
    after = seen(settings, lake)
    assert after.height == before.height == 250
    assert after["orders"].to_list() == before["orders"].to_list()
    paid = lines.with_columns(dearer).select(pl.col("quantity") * pl.col("unit_price")).to_series().sum()
    assert after["spend"].sum() == pytest.approx(paid)
    assert units(settings, lake) == demand
    past = history.last - 10  # what was known then does not change
    corrected = open_panel(settings, lake, cutoff=history.grid.name(past), fresh=True).known(past).quantity
    assert (corrected == history.known(past).quantity)[~(corrected != corrected)].all()
    day = date(2024, 3, 1)
    book = ledger(every_version(lake.read("order_lines"), lake.read("superseded_lines")), timezone=settings.timezone)
    first = lake.read("order_lines", version=0)
    assert_frame_equal(describe(book, day), snapshot(first, day, timezone=settings.timezone))
    jobs.ingest(settings, lake)
    assert lake.read("superseded_lines").height == -(-lines.height // 3)


def test_last_year_loaded_after_this_year_gives_all_units(tmp_path: Path) -> None:
    (tmp_path / "late").mkdir()
    late, whole = (load_settings(tea_shop(tmp_path / name)) for name in ("late", "whole"))
    both = [Lake(one.lake_url) for one in (late, whole)]
    jobs.ingest(whole, both[1])
    (tmp_path / "late" / "orders.csv").unlink()
    for year in ("2024", "2023"):
        lines = orders().filter(pl.col("ordered_at").str.starts_with(year))
        lines.write_csv(tmp_path / "late" / f"orders_{year}.csv")
        jobs.ingest(late, both[0])
    assert units(late, both[0]) == pytest.approx(units(whole, both[1]))
    heard = "discount_share"  # from list prices as they were believed to be when a line became known
    assert_frame_equal(seen(late, both[0]).drop(heard), seen(whole, both[1]).drop(heard))
    origin = open_panel(late, both[0], fresh=True)
    first_of_2024 = origin.grid.number_containing(date(2024, 1, 1))
    assert origin.known(first_of_2024 - 1).series.is_empty()
    assert origin.first < first_of_2024 - 50


def test_a_corrected_line_counts_as_known_then_and_as_corrected_now(tmp_path: Path) -> None:
    settings = load_settings(tea_shop(tmp_path))
    lake = Lake(settings.lake_url)
    rows = [f"o{day},1,2024-01-{day:02d} 10:00,ann,cup,2,1" for day in range(1, 29)]
    (tmp_path / "orders.csv").write_text(HEADER + "\n".join(rows) + "\n")
    jobs.ingest(settings, lake)
    moved = rows[8].replace("cup,2", "pot,5").replace("ann", "bob")
    (tmp_path / "orders.csv").write_text(HEADER + "\n".join([*rows[:8], moved, *rows[9:]]) + "\n")
    jobs.ingest(settings, lake)
    panel = open_panel(settings, lake, fresh=True)
    assert panel.known(panel.last - 1).quantity.tolist() == [[14, 14, 14]]
    assert panel.known(panel.last).series["product_id"].to_list() == ["cup", "pot"]
    now = panel.known(panel.last).quantity
    assert now[0].tolist() == [14, 12, 14, 14]
    assert now[1][1:].tolist() == [5, 0, 0]
    assert seen(settings, lake).select("customer_id", "orders").rows() == [("ann", 27), ("bob", 1)]
    assert seen(settings, lake, date(2024, 1, 20)).select("customer_id", "orders").rows() == [("ann", 20)]


def test_killed_between_the_versions_and_the_lines_nothing_counts_twice(
    tea: tuple[Settings, Lake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, demand = seen(*tea), units(*tea)
    orders().with_columns(pl.col("quantity") * 2).write_csv(tmp_path / "orders.csv")
    merge = Lake.merge

    def killed(lake: Lake, table: str, *rest: object) -> object:
        if table == "order_lines":
            raise KeyboardInterrupt
        return merge(lake, table, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "merge", killed)
        with pytest.raises(KeyboardInterrupt):
            jobs.ingest(*tea)
    assert tea[1].exists("superseded_lines")
    assert_frame_equal(seen(*tea).drop(WHERE_BROUGHT), before.drop(WHERE_BROUGHT))
    assert units(*tea) == demand
    jobs.ingest(*tea)
    assert units(*tea) == 2 * demand
    assert tea[1].read("superseded_lines").height == tea[1].read("order_lines").height


def demand_shop(folder: Path) -> tuple[Settings, Lake]:
    text = "shop: s\ndata_dir: data\nsources:\n- {table: demand, format: csv, path: d.csv}\ndemand: {series: [store]}\n"
    (folder / "shop.yaml").write_text(text)
    settings = load_settings(folder)
    return settings, Lake(settings.lake_url)


def test_a_corrected_total_is_a_revision_and_an_unknown_one_is_filled_in(tmp_path: Path) -> None:
    settings, lake = demand_shop(tmp_path)
    weeks = [date(2024, 1, 1) + timedelta(weeks=week) for week in range(6)]

    def bring(*quantities: object) -> None:
        rows = [f"a,{week},{quantity}" for week, quantity in zip(weeks, quantities, strict=False)]
        (tmp_path / "d.csv").write_text("store,period,quantity\n" + "\n".join(rows) + "\n")
        jobs.ingest(settings, lake)

    bring(1, 2, "", 4)
    bring(1, 5, 3, 4, 6)
    assert lake.read("demand").sort("period")["quantity"].to_list() == [1, 2, 3, 4, 6]
    assert lake.read("demand_revisions").select("period", "quantity").rows() == [(weeks[1], 3.0)]
    bring(1, 4, 3, 4, 6)
    [revision] = lake.read("demand_revisions").rows(named=True)
    assert revision["quantity"] == 2
    assert revision["known_period"] <= datetime.now(UTC).date() < revision["known_period"] + timedelta(weeks=1)
    panel = open_panel(settings, lake)
    assert panel.known(panel.last).quantity.tolist() == [[1, 4, 3, 4, 6]]
    assert panel.known(panel.last - 1).quantity.tolist() == [[1, 2, 3, 4]]


def test_a_replayed_row_of_a_snapshot_joins_the_good_ones(tmp_path: Path) -> None:
    text = """shop: s
data_dir: data
ingest: {max_bad_share: 0.9}
sources:
- {table: stock, format: csv, path: stock.csv}
- {table: open_supply, format: csv, path: supply.csv}
"""
    (tmp_path / "shop.yaml").write_text(text)
    (tmp_path / "stock.csv").write_text("product_id,as_of,on_hand,pieces\ncup,2024-01-01,5,5\npot,2024-01-01,many,7\n")
    supply = "product_id,supplier_id,due_on,quantity,pieces\ncup,s,2024-01-01,5,5\ncup,s,2024-01-01,many,7\n"
    (tmp_path / "supply.csv").write_text(supply)
    settings = load_settings(tmp_path)
    lake = Lake(settings.lake_url)
    jobs.ingest(settings, lake)
    before = lake.versions(["stock", "open_supply"])
    mended = text.replace("path: stock.csv", "path: stock.csv, columns: {on_hand: pieces}")
    (tmp_path / "shop.yaml").write_text(
        mended.replace("path: supply.csv", "path: supply.csv, columns: {quantity: pieces}")
    )
    jobs.quarantine_replay(load_settings(tmp_path), lake)
    assert dict(lake.read("stock").select("product_id", "on_hand").iter_rows()) == {"cup": 5.0, "pot": 7.0}
    assert lake.read("open_supply")["quantity"].sort().to_list() == [5.0, 7.0]
    assert lake.versions(before) == {table: version + 1 for table, version in before.items()}


def test_two_files_of_one_day_without_order_numbers_keep_all_purchases(tmp_path: Path) -> None:
    settings = load_settings(tea_shop(tmp_path))
    lake = Lake(settings.lake_url)
    (tmp_path / "orders.csv").unlink()
    for name, product in (("a", "cup"), ("b", "pot")):
        text = f"ordered_at,customer_id,product_id,quantity,unit_price\n2024-01-01,ann,{product},1,2\n"
        (tmp_path / f"orders_{name}.csv").write_text(text)
        jobs.ingest(settings, lake)
    assert lake.read("order_lines")["product_id"].sort().to_list() == ["cup", "pot"]


line = st.tuples(st.sampled_from("ab"), st.sampled_from(["cup", "pot"]), st.integers(1, 3), st.integers(0, 3))


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.lists(line, min_size=1, max_size=12, unique_by=lambda row: row[:3]))
def test_the_union_of_lines_survives_any_split_into_files(rows: list[tuple[str, str, int, int]]) -> None:
    content = ["order_id", "product_id", "location_id", "kind", "quantity"]
    frame = pl.DataFrame(rows, schema=["order_id", "product_id", "quantity", FILE], orient="row").select(
        "order_id",
        "product_id",
        "quantity",
        pl.col(FILE).cast(pl.Int32),
        line_no=(pl.int_range(pl.len()).over("order_id", FILE) + 1).cast(pl.Int64),
        location_id=pl.lit("all"),
        kind=pl.lit("sale"),
    )
    frame = frame.with_columns(pl.lit(value=True).alias(COUNTED), pl.lit(value=False).alias(AGAIN))
    held = frame.clear()
    for _ in range(2):  # and the same files again add nothing
        for part in frame.partition_by(FILE):
            came = number_lines(part, held, content)
            kept = held.join(came, on=["order_id", "line_no"], how="anti")
            held = pl.concat([kept, came.select(held.columns)])
        assert held.select("order_id", "line_no").is_unique().all()
        assert sorted(held.select("order_id", "product_id", "quantity").rows()) == sorted(row[:3] for row in rows)
    together = number_lines(frame, frame.clear(), content)
    assert sorted(together.select("order_id", "product_id", "quantity").rows()) == sorted(row[:3] for row in rows)
