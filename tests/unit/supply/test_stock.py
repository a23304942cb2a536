"""Classes, review, advice and counts of a day: against plain Python, planted faults and a scrambled future."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.stock import review_stock
from pipelines.supply.classes import ABC, settle
from tests.unit.supply.conftest import ISSUED

TABLES = ("item_classes", "stock_review", "supply_advice", "count_plan")
SILENT = "P003"
WEEKS = 104


def history(made, *, seed=1, weeks=WEEKS, from_week=-WEEKS):
    """Poisson demand about the forecast's level; of one series nothing in the last eight weeks."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, key in enumerate(made.keys()["product_id"]):
        for week in range(from_week, from_week + weeks):
            sold = float(rng.poisson(2 + 3 * number))
            gone = key == SILENT and -8 <= week < 0
            rows.append((key, ISSUED + timedelta(weeks=week), 0.0 if gone else sold))
    return pl.DataFrame(rows, schema=["product_id", "period", "quantity"], orient="row").with_columns(
        available=pl.lit(None, dtype=pl.Float64),
        price=pl.lit(10.0),
        promotion=pl.lit(None, dtype=pl.Float64),
    )


@pytest.fixture
def stocked_shop(shop):
    """A shop with two years of demand, forecasts, stock and terms."""

    def build(on_hand=50.0, **supply):
        made = shop(**supply)
        made.forecast()
        made.stock(on_hand)
        made.terms(unit_cost=5.0)
        made.lake.replace("demand", history(made))
        return made

    return build


def test_classes_are_those_of_a_slow_reckoning(stocked_shop):
    made = stocked_shop()
    review_stock(made.settings, made.lake)
    classes = {row["product_id"]: row for row in made.lake.read("item_classes").to_dicts()}
    demand = made.lake.read("demand").sort("period")
    sold = {key: rows["quantity"].to_list()[-52:] for (key,), rows in demand.group_by("product_id")}
    total, before = sum(sum(weeks) for weeks in sold.values()), 0.0
    for key in sorted(sold, key=lambda key: (-sum(sold[key]), key)):
        weeks = sold[key]
        sizes = [units for units in weeks if units > 0]
        mean = sum(sizes) / len(sizes)
        squared = sum((units - mean) ** 2 for units in sizes) / len(sizes) / mean**2
        rare, varied = len(weeks) / len(sizes) >= 1.32, squared >= 0.49
        named = {(0, 0): "smooth", (0, 1): "erratic", (1, 0): "intermittent", (1, 1): "lumpy"}[rare, varied]
        assert classes[key]["abc"] == ("A" if before < 0.8 * total else "B" if before < 0.95 * total else "C")
        assert classes[key]["demand_class"] == named
        assert classes[key]["usage_value"] == pytest.approx(5 * sum(weeks))
        before += sum(weeks)
    assert {row["abc"] for row in classes.values()} == set(ABC)


def test_a_season_the_shop_shares_is_not_unsteadiness(stocked_shop):
    made = stocked_shop()
    month = pl.col("period").dt.month()
    swing = pl.when(month.is_in([11, 12])).then(200.0).otherwise(40.0)
    made.lake.replace("demand", made.lake.read("demand").with_columns(quantity=swing))
    raw = made.lake.read("demand").sort("period")["quantity"].to_numpy()
    review_stock(made.settings, made.lake)
    assert raw.std() / raw.mean() > 0.5
    assert set(made.lake.read("item_classes")["xyz"]) == {"X"}


def test_a_class_is_left_only_beyond_the_margin_or_when_measured_twice():
    cuts, slack = np.array([0.5, 1.0]), np.array([0.05, 0.1])

    def plain(value, before, measured_before):
        measured = 0 if value < 0.5 else 1 if value < 1.0 else 2
        if before < 0 or measured == measured_before:
            return measured
        low, high = [(-np.inf, 0.55), (0.45, 1.1), (0.9, np.inf)][before]
        return before if low <= value < high else measured

    cases = [(v, b, m) for v in np.arange(0.01, 1.5, 0.02) for b in (-1, 0, 1, 2) for m in (-1, 0, 1, 2)]
    value, before, measured = (np.array(part) for part in zip(*cases, strict=True))
    held = settle(value, cuts, slack, before, measured).held
    assert held.tolist() == [plain(*case) for case in cases]


def test_the_class_of_an_earlier_month_is_read_and_kept(stocked_shop):
    made = stocked_shop()
    review_stock(made.settings, made.lake)
    now = made.lake.read("item_classes")
    earlier = now.with_columns(
        month=pl.lit(date(2024, 3, 1)), demand_class=pl.lit("erratic"), demand_class_measured=pl.lit("erratic")
    )
    made.lake.replace("item_classes", earlier)
    review_stock(made.settings, made.lake)
    april = made.lake.read("item_classes").filter(pl.col("month") == date(2024, 4, 1))
    assert set(april["previous_demand_class"]) == {"erratic"}
    assert "erratic" not in set(april["demand_class"])  # steady beyond any margin: it changes at once


def test_stock_that_no_demand_can_reach_is_excess_and_its_orders_are_called_off(stocked_shop):
    made = stocked_shop(on_hand=5000)
    coming = made.keys().with_columns(
        supplier_id=pl.lit("S1"), due_on=pl.lit(ISSUED + timedelta(days=14)), quantity=pl.lit(100.0)
    )
    made.lake.replace("open_supply", coming)
    review_stock(made.settings, made.lake)
    review, advice = (made.lake.read(name) for name in ("stock_review", "supply_advice"))
    expected = 5000 + 100 - review["demand_p95"].to_numpy()
    assert review["excess"].to_numpy() == pytest.approx(expected)
    assert set(review["finding"]) == {"excess"}
    assert advice.height == 6
    assert set(advice["advice"]) == {"cancel"}
    # 100 units, not held from day 14 to day 90, at .2 a unit and week
    assert advice["gain"].to_numpy() == pytest.approx(100 * 0.2 * (90 - 14) / 7, rel=0.01)


def test_an_order_that_comes_too_late_is_hurried(stocked_shop):
    made = stocked_shop(on_hand=0)
    made.terms(unit_cost=1.0, shortage_cost=10.0, lead_time_days=21.0)
    coming = made.keys().with_columns(
        supplier_id=pl.lit("S1"), due_on=pl.lit(ISSUED + timedelta(days=14)), quantity=pl.lit(100.0)
    )
    made.lake.replace("open_supply", coming)
    review_stock(made.settings, made.lake)
    advice = made.lake.read("supply_advice")
    assert set(advice["advice"]) == {"expedite"}
    assert advice["move_to"].unique().to_list() == [ISSUED + timedelta(days=3)]
    assert (advice["gain"] > 0).all()
    assert made.lake.read("stock_review")["stock_out_risk"].min() > 0.99


def test_planted_phantom_stock_is_counted_first_and_negligible_silence_is_not_suspected(stocked_shop):
    made = stocked_shop()
    review_stock(made.settings, made.lake)
    plan = made.lake.read("count_plan").sort("record_risk", descending=True)
    assert plan["product_id"][0] == SILENT
    assert plan["phantom_probability"][0] > 0.99
    assert plan["silent_periods"][0] == 8
    assert plan["count_on"][0] == ISSUED
    assert plan["phantom_probability"][1:].max() < 0.5


def test_nothing_known_later_changes_anything(stocked_shop):
    before = stocked_shop()
    review_stock(before.settings, before.lake, as_of=ISSUED)
    told = {name: before.lake.digest(name) for name in TABLES}
    later = history(before, seed=9, weeks=6, from_week=0).with_columns(pl.col("quantity") * 1000, price=pl.lit(999.0))
    past = before.lake.read("demand").sample(fraction=1.0, shuffle=True, seed=3)
    before.lake.replace("demand", pl.concat([later, past]))
    before.forecast(issued=ISSUED + timedelta(weeks=2))
    for name in TABLES:
        before.lake.replace(name, before.lake.read(name).clear())
    review_stock(before.settings, before.lake, as_of=ISSUED)
    assert {name: before.lake.digest(name) for name in TABLES} == told


def test_running_twice_changes_nothing_and_a_folder_is_all_that_is_written(stocked_shop, tmp_path):
    made = stocked_shop()
    review_stock(made.settings, made.lake, out=tmp_path / "out")
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(TABLES)
    assert not any(made.lake.exists(name) for name in TABLES)
    assert review_stock(made.settings, made.lake).changed
    assert not review_stock(made.settings, made.lake).changed
