from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from features.tables import TABLES
from pipelines.errors import NotEnoughDataError, PurveyError
from pipelines.supply.jobs import replenish
from pipelines.supply.order_choice import Choice
from pipelines.supply.order_jobs import decide
from pipelines.supply.orders import APPROVED, EDITED

ISSUED = date(2024, 4, 15)


def without_stock_source(shop):
    sources = [source for source in shop.settings.sources if source.table != "stock"]
    shop.settings = shop.settings.model_copy(update={"sources": sources})
    return shop


def test_without_forecasts_it_says_what_to_run(shop):
    with pytest.raises(NotEnoughDataError, match="purvey score demand"):
        replenish(shop().settings, shop().lake)


def test_forecasts_issued_later_are_not_looked_at(shop):
    made = shop()
    made.forecast(issued=ISSUED)
    made.stock(1)
    with pytest.raises(NotEnoughDataError, match="on or before 2024-04-14"):
        replenish(made.settings, made.lake, as_of=ISSUED - timedelta(days=1))
    before = replenish(made.settings, made.lake, as_of=ISSUED).figures["run"]
    made.forecast(issued=ISSUED + timedelta(days=7))
    again = replenish(made.settings, made.lake, as_of=ISSUED)
    assert again.figures["run"] == before
    assert again.figures["issued_on"] == ISSUED


def test_without_stock_it_says_what_to_bring(shop):
    made = shop()
    made.forecast()
    with pytest.raises(NotEnoughDataError, match="stock table"):
        replenish(made.settings, made.lake)


@pytest.mark.parametrize("frequency", ["day", "week", "month"])
@pytest.mark.parametrize("series", [("product_id",), ("location_id", "product_id"), ("sku",)])
def test_lines_are_valid_for_any_key_and_frequency(shop, series, frequency):
    made = shop(series=series, frequency=frequency)
    made.forecast()
    made.stock(3)
    made.terms(lead_time_days=3.0)
    summary = replenish(made.settings, made.lake)
    orders = made.lake.read("replenishment")
    TABLES["replenishment"].schema_with(dict(orders.schema), series).validate(orders)
    assert orders.height == summary.figures["lines"] == 6
    assert set(orders["state"]) == {"proposed"}
    assert not orders["illustrative"].any()
    assert orders["as_of"].unique().to_list() == [ISSUED]
    placed = orders.filter(pl.col("quantity") > 0)
    assert placed.height
    assert placed["receive_on"].unique().to_list() == [ISSUED + timedelta(days=3)]
    assert all(len(reasons.split("; ")) == 3 for reasons in orders["drivers"])


def test_running_twice_changes_nothing_and_doubles_nothing(shop):
    made = shop()
    made.forecast()
    made.stock(3)
    first = replenish(made.settings, made.lake)
    version = made.lake.version("replenishment")
    second = replenish(made.settings, made.lake)
    assert first.changed
    assert not second.changed
    assert made.lake.version("replenishment") == version
    assert made.lake.read("replenishment").height == 6


def test_new_stock_of_the_same_day_replaces_its_lines_and_keeps_other_days(shop):
    made = shop()
    made.forecast()
    made.stock(3)
    replenish(made.settings, made.lake, as_of=ISSUED)
    replenish(made.settings, made.lake, as_of=ISSUED + timedelta(days=1))
    made.stock(50, keys=made.keys().head(4))
    made.terms(supplier_id="S2")
    summary = replenish(made.settings, made.lake, as_of=ISSUED)
    orders = made.lake.read("replenishment")
    today = orders.filter(pl.col("as_of") == ISSUED)
    assert today.height == 4
    assert today["supplier_id"].unique().to_list() == ["S2"]
    assert today["on_hand"].unique().to_list() == [50.0]
    assert orders.height == 10
    assert any("2 series have a forecast but no stock record" in note for note in summary.notes)


def test_lines_somebody_has_decided_on_are_not_proposed_again(shop):
    made = shop()
    made.forecast()
    made.stock(3)
    replenish(made.settings, made.lake)
    chosen = Choice(series={"product_id": "P002"})
    decide(made.settings, made.lake, chosen, EDITED, quantity=123.0, who="ann", why="a fair")
    decide(made.settings, made.lake, chosen, APPROVED, who="bob", why="agreed")
    made.terms(supplier_id="S2")
    summary = replenish(made.settings, made.lake)
    orders = made.lake.read("replenishment")
    assert orders.height == orders["product_id"].n_unique() == 6
    ours = pl.col("product_id") == "P002"
    assert orders.filter(ours).select("quantity", "state", "supplier_id").rows() == [(123.0, "approved", "supplier")]
    assert orders.filter(~ours)["supplier_id"].unique().to_list() == ["S2"]
    assert "1 series of the day are decided already and stay as they are." in summary.notes
    assert not replenish(made.settings, made.lake).changed


def test_stock_without_forecast_is_reported(shop):
    made = shop()
    made.forecast()
    made.stock(3, keys=pl.concat([made.keys(), pl.DataFrame({"product_id": ["NEW"]})]))
    summary = replenish(made.settings, made.lake)
    assert any("1 series have stock but no forecast" in note for note in summary.notes)
    assert made.lake.read("replenishment").height == 6


def test_stock_of_other_series_altogether_is_an_error_that_names_the_keys(shop):
    made = shop()
    made.forecast()
    made.stock(3, keys=pl.DataFrame({"product_id": ["p000", "p001"]}))
    with pytest.raises(NotEnoughDataError, match=r"None of the 2 series(.|\n)*product_id are written alike"):
        replenish(made.settings, made.lake)


def test_series_without_terms_take_the_defaults_and_it_is_said(shop):
    made = shop(lead_time_days=7, multiple=5)
    made.forecast()
    made.stock(3)
    summary = replenish(made.settings, made.lake)
    orders = made.lake.read("replenishment")
    assert any("6 series have no supply terms" in note for note in summary.notes)
    assert orders["protection_days"].unique().to_list() == [14.0]
    assert (orders["quantity"] % 5 == 0).all()


def test_the_cheapest_supplier_gets_the_line(shop):
    made = shop()
    made.forecast()
    made.stock(0)
    dear, cheap = made.terms(unit_cost=3.0), made.terms(supplier_id="S9", unit_cost=2.0)
    made.lake.replace("supply_terms", pl.concat([dear, cheap]))
    replenish(made.settings, made.lake)
    assert made.lake.read("replenishment")["supplier_id"].unique().to_list() == ["S9"]


def test_open_supply_counts_from_the_day_it_is_due(shop):
    made = shop()
    made.forecast()
    made.stock(0)
    made.terms()

    def ordered(due_on):
        coming = made.keys().with_columns(supplier_id=pl.lit("S1"), due_on=pl.lit(due_on), quantity=pl.lit(10.0))
        made.lake.replace("open_supply", coming)
        replenish(made.settings, made.lake)
        return made.lake.read("replenishment").sort("product_id")

    late, next_week, now = (ordered(ISSUED + timedelta(days=days)) for days in (21, 7, -2))
    assert late["on_order"].sum() == 0
    assert next_week["on_order"].unique().to_list() == now["on_order"].unique().to_list() == [10.0]
    assert (next_week["unconstrained_quantity"] <= late["unconstrained_quantity"] + 1e-9).all()
    assert next_week["quantity"].sum() < late["quantity"].sum()


def test_a_file_is_all_that_is_written_when_one_is_named(shop, tmp_path):
    made = without_stock_source(shop(illustrative={"seed": 1}))
    made.forecast()
    out = tmp_path / "orders" / "today.parquet"
    replenish(made.settings, made.lake, out=out)
    assert pl.read_parquet(out).height == 6
    assert not any(made.lake.exists(name) for name in ("replenishment", "stock", "open_supply", "supply_terms"))
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(PurveyError, match="cannot be written"):
        replenish(made.settings, made.lake, out=tmp_path / "blocked" / "today.parquet")


def test_an_illustration_is_marked_wherever_it_goes(shop):
    made = without_stock_source(shop(illustrative={"seed": 1}, products=30))
    made.forecast()
    summary = replenish(made.settings, made.lake)
    for name in ("stock", "open_supply", "supply_terms", "replenishment"):
        frame = made.lake.read(name)
        assert frame.height
        assert frame["illustrative"].all(), name
        TABLES[name].schema_with(dict(frame.schema), ("product_id",)).validate(frame)
    assert any("illustration" in note for note in summary.notes)
    versions = made.lake.versions(["stock", "open_supply", "supply_terms", "replenishment"])
    assert not replenish(made.settings, made.lake).changed
    assert made.lake.versions(versions) == versions


def test_real_stock_is_never_overwritten_by_an_illustration(shop):
    made = shop(illustrative={"seed": 1})
    made.forecast()
    made.stock(3)
    replenish(made.settings, made.lake)
    assert made.lake.read("stock")["on_hand"].unique().to_list() == [3.0]
    assert not made.lake.read("replenishment")["illustrative"].any()


def test_costs_left_open_come_from_the_selling_price(shop):
    made = shop(unit_cost_share=0.5, shortage_cost_share=0.5, holding_rate_a_year=0.25)
    made.forecast()
    made.stock(0)
    sales = [  # what sold within a year has the price of that year, what did not the price it last had
        ("P000", ISSUED - timedelta(days=7), 4.0),
        ("P000", ISSUED - timedelta(days=700), 90.0),
        ("P001", ISSUED - timedelta(days=700), 40.0),
        ("P001", ISSUED + timedelta(days=7), 900.0),
    ]
    demand = pl.DataFrame(sales, schema=["product_id", "period", "price"], orient="row")
    made.lake.append("demand", demand.with_columns(quantity=pl.lit(5.0)))
    summary = replenish(made.settings, made.lake)
    orders = made.lake.read("replenishment").sort("product_id")
    missing = orders["demand_mean"] / 3  # nothing on hand: the whole review week is lost
    per_unit = (orders["expected_cost_at_zero"] / missing).to_list()
    assert per_unit[:3] == pytest.approx([0.5 * 4.0, 0.5 * 40.0, 0.5 * 1.0], rel=0.02)
    assert any("4 series have neither costs nor a selling price" in note for note in summary.notes)


def test_a_budget_holds_over_all_orders_and_is_named(shop):
    def orders(**supply):
        made = shop(**supply)
        made.forecast()
        made.stock(0)
        made.terms(unit_cost=3.0)
        replenish(made.settings, made.lake, as_of=ISSUED)
        return made.lake.read("replenishment").filter(pl.col("as_of") == ISSUED)

    free = orders()["order_value"].sum()
    held = orders(budget=free / 2)
    assert 0.4 * free < held["order_value"].sum() <= free / 2
    assert "budget" in held["binding_constraint"].to_list()
