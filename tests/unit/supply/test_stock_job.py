"""`purvey stock` on a made-up shop: valid tables, nothing later than the day, nothing twice."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from features.tables import TABLES
from pipelines.errors import NotEnoughDataError
from pipelines.stock import review_stock

ISSUED = date(2024, 4, 15)
WRITTEN = ("item_classes", "stock_review", "supply_advice", "count_plan")
WEEKS = 70


def demand_of(keys, silent=(), later=1.0):
    """Two weeks reach beyond the day; `later` scrambles what they hold."""
    rng = np.random.default_rng(2)
    rows = []
    for row in range(keys.height):
        for back in range(WEEKS, -2, -1):
            period = ISSUED - timedelta(days=7 * back)
            units = float(rng.poisson(2 + 3 * row)) * (0 if row in silent and 0 < back <= 8 else 1)
            rows.append((period, units * (later if back <= 0 else 1.0)))
    spread = keys.select(pl.all().repeat_by(WEEKS + 2)).explode(keys.columns)
    return pl.concat([spread, pl.DataFrame(rows, schema=["period", "quantity"], orient="row")], how="horizontal")


@pytest.fixture
def made(shop):
    def make(*, silent=(), later=1.0, **given):
        built = shop(**given)
        built.forecast()
        built.stock(12)
        built.terms(unit_cost=4.0, holding_cost=0.02, shortage_cost=3.0)
        built.lake.replace("demand", demand_of(built.keys(), silent, later))
        coming = built.keys().with_columns(
            supplier_id=pl.lit("S1"), due_on=pl.lit(ISSUED + timedelta(days=12)), quantity=pl.lit(40.0)
        )
        built.lake.replace("open_supply", coming)
        return built

    return make


@pytest.mark.parametrize(
    ("series", "frequency"), [(("product_id",), "week"), (("location_id", "product_id"), "week"), (("sku",), "day")]
)
def test_tables_are_valid_for_any_key_and_frequency(made, series, frequency):
    built = made(series=series, frequency=frequency)
    summary = review_stock(built.settings, built.lake)
    assert summary.figures["as_of"] == ISSUED
    for name in WRITTEN:
        frame = built.lake.read(name)
        TABLES[name].schema_with(dict(frame.schema), series).validate(frame)
        assert frame.height == summary.wrote[name]
    assert built.lake.read("stock_review").height == 6


def test_orders_that_come_too_late_are_hurried(made):
    built = made()
    summary = review_stock(built.settings, built.lake)
    advice, review = built.lake.read("supply_advice"), built.lake.read("stock_review").sort("product_id")
    hurried = advice.filter(advice="expedite")
    assert "P005" in hurried["product_id"].to_list()  # twelve units, and seventeen a week are wanted
    assert "P000" not in hurried["product_id"].to_list()  # at two a week they last
    assert hurried["move_to"].unique().to_list() == [ISSUED + timedelta(days=3)]
    assert (hurried["stock_out_on"] < hurried["due_on"]).any()
    assert review["stock_out_risk"].is_sorted()
    assert summary.figures["orders_to_change"] == advice.height


def test_running_twice_changes_nothing(made):
    built = made()
    assert review_stock(built.settings, built.lake).changed
    versions = built.lake.versions(WRITTEN)
    assert not review_stock(built.settings, built.lake).changed
    assert built.lake.versions(WRITTEN) == versions


def test_what_came_later_is_not_looked_at(made, tmp_path):
    def tables(built, folder):
        review_stock(built.settings, built.lake, as_of=ISSUED, out=folder)
        return {name: (folder / f"{name}.csv").read_bytes() for name in WRITTEN}

    plain = made()
    before = tables(plain, tmp_path / "plain")
    assert set(plain.lake.versions(WRITTEN)) == set()
    scrambled = made(later=90.0)
    scrambled.forecast(issued=ISSUED + timedelta(days=7))
    counts = [("P000", ISSUED, 0.0, 12.0), ("P001", ISSUED + timedelta(days=3), 0.0, 12.0)]
    columns = ["product_id", "counted_on", "counted", "recorded"]
    scrambled.lake.replace("stock_counts", pl.DataFrame(counts, schema=columns, orient="row"))
    assert tables(scrambled, tmp_path / "scrambled") == before


def test_the_order_of_rows_does_not_matter(made, tmp_path):
    built = made()
    review_stock(built.settings, built.lake, out=tmp_path / "one")
    for name in ("demand", "stock", "open_supply", "forecasts", "lead_time_demand"):
        built.lake.replace(name, built.lake.read(name).sample(fraction=1, shuffle=True, seed=4))
    review_stock(built.settings, built.lake, out=tmp_path / "other")
    for name in WRITTEN:
        assert (tmp_path / "one" / f"{name}.csv").read_bytes() == (tmp_path / "other" / f"{name}.csv").read_bytes()


def test_planted_phantom_stock_is_counted_first_and_a_count_settles_it(made):
    built = made(silent=(3,))
    review_stock(built.settings, built.lake)
    first = built.lake.read("count_plan").sort("count_on", "record_risk", descending=[False, True]).row(0, named=True)
    assert first["product_id"] == "P003"
    assert first["silent_periods"] == 8
    assert first["phantom_probability"] > 0.9
    counted = pl.DataFrame(
        {"product_id": ["P003"], "counted_on": [ISSUED - timedelta(days=1)], "counted": [12.0], "recorded": [20.0]}
    )
    built.lake.replace("stock_counts", counted)
    summary = review_stock(built.settings, built.lake)
    plan = built.lake.read("count_plan")
    assert plan.filter(product_id="P003")["phantom_probability"].sum() == 0
    assert summary.tables["record accuracy over the last year"]["record_accuracy"].to_list() == [0.0]


def test_classes_of_a_month_are_replaced_and_held_against_those_of_the_month_before(made):
    built = made()
    review_stock(built.settings, built.lake)
    review_stock(built.settings, built.lake, as_of=ISSUED + timedelta(days=3))
    classes = built.lake.read("item_classes")
    assert classes.height == 6
    assert classes["previous_abc"].null_count() == 6
    review_stock(built.settings, built.lake, as_of=date(2024, 5, 2))
    both = built.lake.read("item_classes")
    assert both.height == 12
    later = both.filter(month=date(2024, 5, 1)).sort("product_id")
    assert later["previous_abc"].to_list() == classes.sort("product_id")["abc"].to_list()


def test_stock_without_a_forecast_is_reviewed_and_said(made):
    built = made()
    built.stock(12, keys=pl.concat([built.keys(), pl.DataFrame({"product_id": ["OLD"]})]))
    old = demand_of(pl.DataFrame({"product_id": ["OLD"]})).with_columns(
        quantity=pl.when(pl.col("period") < ISSUED - timedelta(days=300)).then(5.0).otherwise(0.0)
    )
    built.lake.replace("demand", pl.concat([built.lake.read("demand"), old]))
    summary = review_stock(built.settings, built.lake)
    row = built.lake.read("stock_review").row(by_predicate=pl.col("product_id") == "OLD", named=True)
    assert row["finding"] == "obsolete"
    assert row["dead_value"] == 12 * row["stock_value"] / 12 > 0
    assert any("1 series have stock and no forecast" in note for note in summary.notes)


def test_without_stock_it_says_what_to_bring(shop):
    built = shop()
    built.forecast()
    with pytest.raises(NotEnoughDataError, match="stock table"):
        review_stock(built.settings, built.lake)
