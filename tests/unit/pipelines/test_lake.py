from __future__ import annotations

import resource
import subprocess
import sys
from datetime import date

import polars as pl
import pytest
from deltalake import CommitProperties, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import tables
from features.forecast_tables import DRIVERS
from pipelines import migrations
from pipelines.errors import LakeError, SchemaVersionError
from pipelines.lake import Lake, frame_digest

ORDERS = pl.DataFrame({"order_id": ["a", "b"], "line_no": [1, 1], "quantity": [1.0, None]})
KEYS = ["order_id", "line_no"]


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def test_merge_counts_what_is_new_what_differs_and_what_is_as_it_was(lake):
    assert lake.merge("order_lines", ORDERS, KEYS).inserted == 2
    again = lake.merge("order_lines", ORDERS.reverse(), KEYS)
    assert (again.changed, again.unchanged, again.version) == (0, 2, 0)
    corrected = pl.DataFrame({"order_id": ["b", "c", "a"], "line_no": [1, 1, 1], "quantity": [5.0, 2.0, 1.0]})
    written = lake.merge("order_lines", corrected, KEYS)
    assert (written.inserted, written.updated, written.unchanged) == (1, 1, 1)
    assert lake.read("order_lines").sort(KEYS)["quantity"].to_list() == [1.0, 5.0, 2.0]


def test_earlier_versions_stay_readable(lake):
    lake.replace("stock", ORDERS)
    lake.replace("stock", ORDERS.head(1))
    assert lake.read("stock").height == 1
    assert lake.read("stock", version=0).height == 2
    assert lake.history("stock")["version"].to_list() == [1, 0]


def test_replacing_a_table_by_itself_makes_no_version(lake):
    lake.replace("stock", ORDERS)
    assert lake.replace("stock", ORDERS.reverse()).changed == 0
    assert lake.version("stock") == 0


def test_a_new_column_joins_the_table(lake):
    lake.merge("products", ORDERS, KEYS)
    lake.merge("products", ORDERS.with_columns(colour=pl.lit("red")), KEYS)
    assert lake.read("products")["colour"].to_list() == ["red", "red"]


def test_a_missing_table_is_an_error_with_a_remedy(lake):
    with pytest.raises(LakeError, match="no table forecasts in the lake yet"):
        lake.read("forecasts")
    assert lake.version("forecasts") is None
    assert lake.read_or_empty("forecasts", ("product_id",)).height == 0


rows = st.dictionaries(
    st.tuples(st.sampled_from("abcde"), st.integers(1, 3)), st.one_of(st.none(), st.integers(0, 5)), max_size=8
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(rows, min_size=1, max_size=4))
def test_merging_batches_equals_updating_a_dictionary(tmp_path_factory, batches):
    lake, expected = Lake(tmp_path_factory.mktemp("lake")), {}
    for batch in batches:
        frame = pl.DataFrame(
            [(order, line, quantity) for (order, line), quantity in batch.items()],
            schema={"order_id": pl.String, "line_no": pl.Int64, "quantity": pl.Float64},
            orient="row",
        )
        lake.merge("order_lines", frame, KEYS)
        expected |= batch
    found = {(order, line): quantity for order, line, quantity in lake.read("order_lines").rows()}
    assert found == expected


def test_the_digest_sees_every_change_and_no_order():
    base = frame_digest(ORDERS)
    assert base == frame_digest(ORDERS.reverse().select("quantity", "line_no", "order_id"))
    assert base != frame_digest(ORDERS.with_columns(quantity=pl.lit(1.0)))
    assert base != frame_digest(pl.concat([ORDERS, ORDERS.head(1)]))
    assert base != frame_digest(ORDERS.with_columns(pl.col("line_no").cast(pl.Int32)))


def test_an_older_layout_is_read_migrated_and_rewritten_once(lake, monkeypatch):
    lake.append("stock", pl.DataFrame({"on_hands": [3.0]}))
    layout = tables.TABLES["stock"].version
    newer = tables.Table("stock", tables.Stock, "snapshot", version=layout + 1, keyed_by_series=True)
    steps = [*migrations.MIGRATIONS["stock"], lambda frame: frame.rename({"on_hands": "on_hand"})]
    monkeypatch.setitem(tables.TABLES, "stock", newer)
    monkeypatch.setitem(migrations.MIGRATIONS, "stock", steps)
    assert lake.read("stock").columns == ["on_hand"]
    assert lake.migrate() == ["stock"]
    assert lake.migrate() == []
    assert lake.read("stock")["on_hand"].to_list() == [3.0]
    assert lake.history("stock")["layout"].to_list() == [layout + 1, layout]


def test_a_newer_layout_is_refused(lake):
    newer = CommitProperties(custom_metadata={"purvey_layout": "99"})
    write_deltalake(f"{lake.url}/stock", ORDERS, commit_properties=newer)
    with pytest.raises(SchemaVersionError, match="layout 99"):
        lake.read("stock")
    with pytest.raises(SchemaVersionError):
        lake.migrate()


def test_drivers_of_older_issues_still_add_up_after_their_migration():
    (step,) = migrations.MIGRATIONS["forecast_drivers"]
    parts = {name: [1.0] for name in DRIVERS[:-2]}
    day, words = [date(2024, 1, 1)], {"words_en": "w", "words_zh": "w", "model_version": "1"}
    old = pl.DataFrame({"issued_on": day, "period": day, "mean": [float(len(parts))]} | parts).with_columns(
        pl.lit(text).alias(name) for name, text in words.items()
    )
    once = step(old.lazy()).collect()
    schema = tables.TABLES["forecast_drivers"].schema
    schema.validate(once.select(schema.column_names()))
    assert step(once.lazy()).collect().equals(once), "twice is as once"


def test_forecasts_from_before_planners_were_heard_get_room_for_what_they_say(lake):
    old = pl.LazyFrame({"item": ["a"], "mean": [1.0]})
    (step,) = migrations.MIGRATIONS["forecasts"]
    once = step(old).collect()
    assert once.row(0, named=True) == {"item": "a", "mean": 1.0, "mean_model": None, "override_id": None}
    assert once.schema["mean_model"] == pl.Float64
    assert once.schema["override_id"] == pl.String
    known = once.with_columns(mean_model=2.0)
    assert step(known.lazy()).collect().equals(known), "twice is as once"


def test_every_layout_above_the_first_has_its_migrations():
    for table in tables.TABLES.values():
        assert len(migrations.MIGRATIONS.get(table.name, [])) == table.version - 1


FULL_DISK = """
import resource, sys
import polars as pl
from pipelines.lake import Lake
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
lake = Lake(sys.argv[1])
try:
    lake.merge("order_lines", pl.DataFrame({"order_id": [str(i) for i in range(500_000)],
        "line_no": [i * 7919 % 500_009 for i in range(500_000)], "quantity": [1.0] * 500_000}), ["order_id", "line_no"])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no file size limit on this system")
def test_a_full_disk_leaves_the_table_as_it_was(lake):
    lake.merge("order_lines", ORDERS, KEYS)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, lake.url], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("LakeError")
    assert "What it held before is untouched" in done.stdout
    assert lake.read("order_lines").equals(ORDERS)


def test_replacing_one_day_leaves_the_others_and_no_ghosts(lake):
    def day(number, *products):
        rows = {"as_of": [date(2024, 1, number)] * len(products), "product_id": list(products)}
        return pl.DataFrame(rows, schema={"as_of": pl.Date, "product_id": pl.String})

    for frame in (day(1, "a", "b"), day(2, "a", "b")):
        lake.replace_where("replenishment", frame, {"as_of": frame["as_of"][0]})
    written = lake.replace_where("replenishment", day(2, "b", "c"), {"as_of": date(2024, 1, 2)})
    assert lake.read("replenishment").sort("as_of", "product_id").rows() == [
        *day(1, "a", "b").rows(),
        *day(2, "b", "c").rows(),
    ]
    again = lake.replace_where("replenishment", day(2, "c", "b"), {"as_of": date(2024, 1, 2)})
    assert (again.changed, again.version) == (0, written.version)


def test_a_replacement_with_other_columns_replaces_the_table(lake):
    lake.replace_where("evaluation", pl.DataFrame({"capability": ["it's"], "a": [1]}), {"capability": "it's"})
    lake.replace_where("evaluation", pl.DataFrame({"capability": ["it's"], "b": [2]}), {"capability": "it's"})
    assert lake.read("evaluation").rows() == [("it's", 2)]


def test_rows_replaced_by_equal_ones_in_another_order_of_columns_change_nothing(tmp_path):
    lake = Lake(tmp_path)
    frame = pl.DataFrame({"day": [1, 2], "x": [3.0, 4.0], "y": ["a", "b"]})
    lake.append("t", frame)
    assert not lake.replace_where("t", frame.filter(day=1).select("y", "x", "day"), {"day": 1}).changed
    assert lake.version("t") == 0
    assert lake.replace_where("t", frame.filter(day=1).with_columns(x=9.0).select("y", "x", "day"), {"day": 1}).changed
    assert lake.read("t").sort("day").rows() == [(1, 9.0, "a"), (2, 4.0, "b")]
