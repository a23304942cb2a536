"""Whom a series is bought from, against landed costs worked out by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import optimize, stats

from features.tables import TABLES
from pipelines.settings import Supply
from pipelines.supply.offers import lateness_cost
from pipelines.supply.terms import complete_terms

WEEKS_A_YEAR = 365.25 / 7


def table(name, rows, **keys):
    empty = TABLES[name].schema.create_empty().with_columns(pl.lit(None, dtype=pl.String).alias(key) for key in keys)
    types = {column: dtype for column, dtype in empty.schema.items() if any(column in row for row in rows)}
    return pl.concat([empty, pl.DataFrame(rows, schema=types)], how="diagonal")


def offer(supplier, unit_cost, product="A", **more):
    """Weekly reviews, holding 0.05 a week, a shortage costs 0.05: the newsvendor's z is 0, a week late costs 0.10."""
    terms = {"lead_time_days": 14.0, "lead_time_sd_days": 0.0, "holding_cost": 0.05, "shortage_cost": 0.05}
    named = {"product_id": product, "supplier_id": supplier, "unit_cost": unit_cost, "review_days": 7}
    return named | terms | more


def taken(*offers, suppliers=(), demand=None, **supply):
    series = pl.DataFrame({"product_id": sorted({each["product_id"] for each in offers})})
    if demand is not None:
        series = series.with_columns(demand=pl.Series(demand))
    chosen = complete_terms(
        series,
        table("supply_terms", list(offers), product_id=pl.String),
        pl.DataFrame(schema={"product_id": pl.String, "price": pl.Float64}),
        Supply(**supply),
        keys=["product_id"],
        periods_a_year=WEEKS_A_YEAR,
        suppliers=table("suppliers", list(suppliers)) if suppliers else None,
    )
    assert chosen["product_id"].to_list() == series["product_id"].to_list()
    return chosen["supplier_id"].to_list()


# Landed by hand: price + 0.05 × weeks of lead + (1 − on time) × sd in weeks × 0.7979 × 0.10.


def test_capital_bound_in_a_long_lead_time_outweighs_a_low_price():
    far = offer("far", 1.0, lead_time_days=70.0)  # 1.00 + 0.50
    assert taken(far, offer("near", 1.39)) == ["near"]  # 1.39 + 0.10 = 1.49
    assert taken(far, offer("near", 1.41)) == ["far"]  # 1.51


def test_lateness_outweighs_a_low_price_as_far_as_the_supplier_is_late():
    shaky = offer("shaky", 1.0, lead_time_days=28.0, lead_time_sd_days=14.0)
    for on_time, share_late in ((0.9, 0.1), (0.2, 0.8), (None, 0.5)):
        suppliers = [{"supplier_id": "shaky", "on_time_share": on_time}]
        late = share_late * 2 * 0.797885 * 0.10
        dearer, cheaper = (offer("sure", 1.0 + late + more, lead_time_days=28.0) for more in (1e-4, -1e-4))
        assert taken(shaky, dearer, suppliers=suppliers) == ["shaky"]
        assert taken(shaky, cheaper, suppliers=suppliers) == ["sure"]


def test_lead_times_that_were_observed_count_in_place_of_those_stated():
    slow = offer("slow", 1.0, lead_time_days=7.0, lead_times_days="70;70;70")  # 1.50, stated 1.05
    assert taken(slow, offer("near", 1.2)) == ["near"]  # 1.30


def test_a_price_nobody_knows_is_no_bargain():
    unknown, known = offer("a", None), offer("b", 900.0)
    assert taken(unknown, known) == ["b"]
    assert taken(unknown, offer("b", None, lead_time_days=7.0)) == ["b"], "where none is known the shorter lead time"


def test_equal_offers_go_to_the_first_name_whatever_the_order_of_rows():
    offers = [offer(name, 1.0, product) for product in ("B", "A") for name in ("z", "m", "k")]
    assert taken(*offers) == taken(*offers[::-1]) == ["k", "k"]


def test_leaning_on_one_supplier_costs_a_surcharge_in_proportion_to_what_it_sells():
    # Without surcharge "big" sells A and B: with demands 9 and 1, all of 10 spent. At 0.2 it costs 1.20 a unit.
    offers = [offer("big", 1.0), offer("big", 1.0, "B"), offer("small", 1.15, "B"), offer("other", 1.25)]
    assert taken(*offers, demand=[9.0, 1.0]) == ["big", "big"]
    assert taken(*offers, demand=[9.0, 1.0], concentration=0.1) == ["big", "big"]
    assert taken(*offers, demand=[9.0, 1.0], concentration=0.2) == ["big", "small"]
    # "rest" sells C for 30 of 40 spent: "big" has a quarter, its surcharge at 0.2 is 0.05.
    rest = offer("rest", 1.0, "C")
    assert taken(*offers, rest, demand=[9.0, 1.0, 30.0], concentration=0.2) == ["big", "big", "rest"]
    assert taken(*offers, rest, demand=[9.0, 1.0, 30.0], concentration=0.65) == ["big", "small", "rest"]  # 1.1625


@pytest.mark.parametrize(("holding", "shortage", "review"), [(0.05, 2.0, 1.0), (0.3, 1.0, 4.0)])
def test_a_period_of_lateness_costs_what_the_newsvendor_pays_for_it(holding, shortage, review):
    """Against the least expected cost of a stock level, found by search and integration, for a lead time of sd 1."""

    def cost(level):
        left = stats.norm.expect(lambda demand: level - demand, lb=-9, ub=level)
        missing = stats.norm.expect(lambda demand: demand - level, lb=level, ub=9)
        return holding * review * left + shortage * missing

    least = optimize.minimize_scalar(cost, bounds=(-4, 4), method="bounded").fun
    a_unit = least / review
    expected_lateness = stats.norm.pdf(0)
    found = lateness_cost(np.array([holding]), np.array([shortage]), np.array([review])).item()
    assert found * expected_lateness == pytest.approx(a_unit, rel=1e-3)


def test_lateness_costs_nothing_where_shortages_do_not():
    nothing = np.zeros(2)
    assert lateness_cost(np.array([0.1, 0.0]), nothing, np.ones(2)).tolist() == [0, 0]
