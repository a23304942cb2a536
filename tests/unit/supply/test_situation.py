"""From a shop's tables to the arrays of the engine, each told again row by row in plain Python."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.tables import TABLES
from pipelines.rounds import horizon_of
from pipelines.settings import Supply
from pipelines.supply.jobs import replenish
from pipelines.supply.lines import lines_of, stocked, unit_costs
from pipelines.supply.schedule import schedule
from pipelines.supply.situation import Situation
from pipelines.supply.terms import complete_terms, valid_terms

AS_OF = date(2024, 4, 17)
ISSUED = date(2024, 4, 15)
KEYS = ["product_id"]
SERIES = ("A", "B", "C")


def table(name, rows):
    empty = TABLES[name].schema.create_empty().with_columns(product_id=pl.lit(None, dtype=pl.String))
    given = pl.DataFrame(rows, schema_overrides={k: v for k, v in empty.schema.items() if rows and k in rows[0]})
    return pl.concat([empty, given], how="diagonal") if rows else empty


def situation(**rows):
    """A situation of three series; tables by name as lists of rows."""
    stock = [{"product_id": name, "as_of": AS_OF, "on_hand": 10.0} for name in SERIES]
    given = {"stock": stock, "stock_lots": [], "open_supply": [], "open_demand": [], "supply_terms": []} | rows
    issue = pl.DataFrame({"issued_on": [ISSUED]})
    return Situation(
        as_of=AS_OF,
        forecasts=issue,
        lead_time_demand=issue,
        prices=pl.DataFrame({"product_id": "A", "price": 10.0}),
        **{name: table(name, frame) for name, frame in given.items()},
    )


def arrays(made, supply=None, days_a_period=7.0):
    supply = supply or Supply()
    stock = stocked(made, KEYS)
    terms = complete_terms(
        stock, made.supply_terms, made.prices, supply, keys=KEYS, periods_a_year=52, as_of=made.as_of
    )
    dates = schedule(terms, valid_terms(made.supply_terms, None), made.as_of, supply.orders_placed_at)
    return lines_of(stock, made, terms, dates, supply, keys=KEYS, days_a_period=days_a_period)


def in_days(days):
    return AS_OF + timedelta(days=days)


flow = st.tuples(
    st.sampled_from(SERIES), st.integers(-5, 30), st.integers(0, 9), st.sampled_from([None, 0.0, 0.5, 1.0])
)


@settings(max_examples=40)
@given(supply=st.lists(flow, max_size=8), demand=st.lists(flow, max_size=8), seed=st.randoms())
def test_what_comes_and_goes_adds_up_on_every_day(supply, demand, seed):
    def made():
        return situation(
            open_supply=[
                {"product_id": p, "supplier_id": "s", "due_on": in_days(d), "quantity": float(q), "confidence": c}
                for p, d, q, c in supply
            ],
            open_demand=[{"product_id": p, "due_on": in_days(d), "quantity": float(q)} for p, d, q, _ in demand],
        )

    lines = arrays(made())
    sure = np.ones_like(lines.receipts) if lines.confidence is None else lines.confidence
    for line, name in enumerate(SERIES):
        for day in (0, 3, 14, 30):
            until = (day + 2) / 7 + 1e-9  # the forecast was issued two days before
            expected = sum(q * (1 if c is None else c) for p, d, q, c in supply if p == name and d <= day)
            expected -= sum(q for p, d, q, _ in demand if p == name and d <= day)
            told = (lines.receipts[line] * sure[line])[lines.due[line] <= until].sum()
            assert told == pytest.approx(expected)
    seed.shuffle(supply)
    seed.shuffle(demand)
    again = arrays(made())
    assert (again.receipts.tobytes(), again.due.tobytes()) == (lines.receipts.tobytes(), lines.due.tobytes())


def test_an_open_order_is_sure_unless_something_else_is_said():
    coming = {"product_id": "A", "supplier_id": "s", "due_on": in_days(1), "quantity": 4.0}
    sure = arrays(situation(open_supply=[coming | {"confidence": 1.0}])).confidence
    assert sure is None or (sure == 1).all()
    assert arrays(situation(open_supply=[coming | {"confidence": 0.25}])).confidence[0].tolist() == [0.25]


def test_lots_are_the_stock_of_their_series_and_the_expired_do_not_count():
    lots = [
        {"product_id": "B", "expires_on": in_days(-1), "quantity": 5.0},
        {"product_id": "B", "expires_on": in_days(0), "quantity": 3.0},
        {"product_id": "B", "expires_on": None, "quantity": 2.0},
        {"product_id": "Z", "expires_on": in_days(20), "quantity": 7.0},
    ]
    made = situation(stock_lots=lots[::-1])
    stock = stocked(made, KEYS)
    assert dict(stock.select("product_id", "on_hand").rows()) == {"A": 10, "B": 5, "C": 10, "Z": 7}
    assert stock["as_of"].to_list() == [AS_OF] * 4
    lines = arrays(made)
    assert lines.lots.tolist() == [[10, 0], [3, 2], [10, 0], [7, 0]]
    assert lines.lots.sum(axis=1).tolist() == lines.on_hand.tolist()
    assert lines.lot_expiry[1, 0] * 7 == pytest.approx(3), "two days since the issue, and today it can still be sold"
    assert lines.lot_expiry[3, 0] * 7 == pytest.approx(2 + 21)
    assert np.isinf(lines.lot_expiry[[0, 1, 2], [0, 1, 0]]).all()
    without = arrays(situation()).lots
    assert without is None or not without.any()


def test_a_series_whose_lots_have_all_expired_has_nothing_on_hand():
    made = situation(stock_lots=[{"product_id": "A", "expires_on": in_days(-3), "quantity": 5.0}])
    assert stocked(made, KEYS)["on_hand"].to_list() == [0, 10, 10]
    assert arrays(made).lots.tolist() == [[0], [10], [10]]


def test_terms_become_the_fields_of_the_engine():
    said = {"product_id": "A", "supplier_id": "s", "unit_cost": 2.0, "price_breaks": "10:1.5;20:1.25"} | {
        "backorder_cost_per_day": 0.5, "service_kind": "fill_rate", "fixed_order_cost": 4.0, "storage_maximum": 90.0,
        "shelf_life_days": 21.0, "rounding": "down", "order_unit": 6.0, "lead_time_days": 7.0,
    }  # fmt: skip
    lines = arrays(situation(supply_terms=[said]), Supply(unmet_demand="backorder", objective="service"))
    assert lines.shelf_life.tolist() == [3.0, np.inf, np.inf]
    assert lines.backorder_cost.tolist() == [3.5, 0, 0]
    assert lines.shortage_cost.tolist() == [0.0, 0.5, 0.5], "a unit that waits costs by the day and nothing else"
    assert lines.service_kind.tolist() == [2, 1, 1]
    assert lines.fixed_cost.tolist() == [4, 0, 0]
    assert lines.storage_maximum.tolist() == [90, np.inf, np.inf]
    assert lines.rounding.tolist() == [2, 0, 0]
    assert lines.multiple.tolist() == [6, 1, 1]
    assert lines.lead.tolist() == [1, 2, 2]
    for quantity, each in ((9, 2.0), (10, 1.5), (19, 1.5), (20, 1.25), (500, 1.25)):
        assert unit_costs(lines, np.array([quantity, 1, 1.0])).tolist() == [each, 0.5, 0.5]


def test_waiting_costs_nothing_where_sales_are_lost():
    said = {"product_id": "A", "supplier_id": "s", "backorder_cost_per_day": 0.5}
    lines = arrays(situation(supply_terms=[said]))
    assert lines.backorder_cost.tolist() == [0, 0, 0]
    assert lines.shortage_cost.tolist() == [5.0, 0.5, 0.5], "half the selling price"


def test_terms_hold_between_their_days_only():
    offers = [
        {"product_id": "A", "supplier_id": "old", "unit_cost": 1.0, "valid_to": in_days(-1)},
        {"product_id": "A", "supplier_id": "now", "unit_cost": 2.0, "valid_from": AS_OF, "valid_to": AS_OF},
        {"product_id": "A", "supplier_id": "soon", "unit_cost": 1.0, "valid_from": in_days(1)},
        {"product_id": "B", "supplier_id": "old", "unit_cost": 1.0, "valid_to": in_days(-1)},
    ]
    made = situation(supply_terms=offers)
    chosen = complete_terms(
        made.stock, made.supply_terms, made.prices, Supply(), keys=KEYS, periods_a_year=52, as_of=AS_OF
    )
    assert chosen["supplier_id"].to_list() == ["now", "supplier", "supplier"]
    assert chosen["suppliers"].to_list() == [1, 0, 0]


def test_a_supplier_says_when_it_takes_orders_where_its_terms_do_not():
    offers = [
        {"product_id": "A", "supplier_id": "s"},
        {"product_id": "B", "supplier_id": "s", "order_days": "fri", "review_days": 3},
        {"product_id": "C", "supplier_id": "t"},
    ]
    suppliers = table(
        "suppliers",
        [
            {"supplier_id": "s", "order_days": "mon", "reviewed_every_days": 14},
            {"supplier_id": "t", "order_days": "tue", "reviewed_every_days": None},
        ],
    )
    made = situation(supply_terms=offers)
    chosen = complete_terms(
        made.stock, made.supply_terms, made.prices, Supply(), keys=KEYS, periods_a_year=52, suppliers=suppliers
    )
    assert chosen["order_days"].to_list() == ["mon", "fri", "tue"]
    assert chosen["review_days"].to_list() == [14, 3, 1], "with order days alone, each of them is a review"


@pytest.mark.parametrize(
    ("terms", "suppliers", "periods"),
    [
        ([{"lead_time_days": 3.0}, {}], [], 6),  # the open one takes the default: (21 + 7) / 7 and more
        ([{"lead_times_days": "7;49"}], [], 10),  # (49 + 7) / 7 and more
        ([{"lead_time_days": 7.0}], [{"reviewed_every_days": 28}], 7),
        ([{"lead_time_days": 7.0, "order_days": "fri", "delivery_days": "mon"}], [], 5),
        ([{"lead_time_days": 7.0}], [], 4),
    ],
)
def test_a_round_forecasts_as_far_as_the_slowest_terms_reach(shop, terms, suppliers, periods):
    made = shop(lead_time_days=21)
    made.lake.replace(
        "supply_terms", table("supply_terms", [{"product_id": "A", "supplier_id": "s"} | t for t in terms])
    )
    if suppliers:
        empty = TABLES["suppliers"].schema.create_empty()
        rows = pl.DataFrame([{"supplier_id": "s"} | each for each in suppliers])
        made.lake.replace("suppliers", pl.concat([empty, rows.cast({"reviewed_every_days": pl.Int64})], how="diagonal"))
    assert horizon_of(made.settings, made.lake, 7.0) == periods


# -- through the job -----------------------------------------------------------------------------------------------


def test_dates_money_and_versions_of_a_line(shop):
    made = shop(objective="service")
    made.forecast()
    made.stock(0)
    made.terms(
        order_days="thu", delivery_days="mon", lead_times_days="7;7;7;21;21", unit_cost=2.0, price_breaks="5:1.5"
    )
    made.lake.replace("suppliers", table("suppliers", [{"supplier_id": "S1", "on_time_share": 0.9}]).drop("product_id"))
    replenish(made.settings, made.lake)
    orders = made.lake.read("replenishment").filter(pl.col("quantity") > 0)
    assert orders.height
    assert orders["order_by"].unique().to_list() == [date(2024, 4, 18)]
    assert orders["receive_on"].unique().to_list() == [date(2024, 4, 29)], "a week from thursday, and the monday after"
    assert orders["receive_on_p90"].unique().to_list() == [date(2024, 5, 13)]
    each = np.where(orders["quantity"] >= 5, 1.5, 2.0)
    assert orders["order_value"].to_list() == pytest.approx((orders["quantity"].to_numpy() * each).tolist())
    assert orders["data_versions"].unique().to_list() == [
        "stock 0, supply_terms 0, suppliers 0, forecasts 0, lead_time_demand 0"
    ]


def test_nobody_is_told_a_value_when_nobody_knows_a_cost(shop):
    made = shop()
    made.forecast()
    made.stock(0)
    made.terms()
    replenish(made.settings, made.lake)
    assert made.lake.read("replenishment")["order_value"].null_count() == 6


def test_a_shop_that_counts_lots_needs_no_other_stock(shop):
    made = shop()
    sources = [{"table": name, "path": f"{name}.parquet"} for name in ("demand", "stock_lots")]
    made.settings = type(made.settings).model_validate(made.settings.model_dump() | {"sources": sources})
    made.forecast()
    lots = made.keys().with_columns(expires_on=pl.lit(ISSUED), quantity=pl.lit(4.0), as_of=pl.lit(ISSUED))
    gone = lots.head(2).with_columns(expires_on=pl.lit(ISSUED - timedelta(days=1)))
    made.lake.replace("stock_lots", pl.concat([lots, gone]))
    made.terms()
    assert made.settings.replenishes
    summary = replenish(made.settings, made.lake)
    assert made.lake.read("replenishment")["on_hand"].to_list() == [4.0] * 6
    assert "2 lots have expired and are not counted." in summary.notes


def test_what_customers_have_ordered_is_ordered_on_top(shop):
    made = shop()
    made.forecast()
    made.stock(20)
    made.terms(moq=0.0)
    replenish(made.settings, made.lake)
    before = made.lake.read("replenishment").sort("product_id")
    reserved = made.keys().with_columns(due_on=pl.lit(ISSUED - timedelta(days=1)), quantity=pl.lit(20.0))
    made.lake.replace("open_demand", reserved)
    summary = replenish(made.settings, made.lake)
    after = made.lake.read("replenishment").sort("product_id")
    assert (after["quantity"] >= before["quantity"]).all()
    assert after["quantity"].sum() > before["quantity"].sum()
    assert "6 orders of customers are overdue and taken off stock today." in summary.notes


def test_a_run_keeps_the_versions_it_first_read(shop):
    made = shop()
    made.forecast()
    made.stock(3)
    replenish(made.settings, made.lake, as_of=ISSUED)
    made.forecast(issued=ISSUED + timedelta(days=7))
    assert not replenish(made.settings, made.lake, as_of=ISSUED).changed
