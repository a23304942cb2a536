"""What a proposal says an order costs, and what room it finds, through the whole job."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from pipelines.supply.jobs import replenish

ISSUED = date(2024, 4, 15)


def proposed(made, **terms):
    made.forecast()
    made.stock(3)
    made.terms(**terms)
    replenish(made.settings, made.lake)
    return made.lake.read("replenishment").sort("product_id")


def test_the_fixed_cost_of_an_order_is_in_its_expected_cost_and_in_no_other(shop):
    without = proposed(shop(effective_ratio=1.0))
    charged = proposed(shop(effective_ratio=1.0), fixed_order_cost=0.01)  # too little to change a quantity
    assert charged["quantity"].to_list() == without["quantity"].to_list()
    ordered = (without["quantity"] > 0).cast(pl.Float64)
    assert ordered.sum() > 0
    assert (charged["expected_cost"] - without["expected_cost"]).to_list() == pytest.approx((0.01 * ordered).to_list())
    assert charged["expected_cost_at_zero"].to_list() == pytest.approx(without["expected_cost_at_zero"].to_list())


@pytest.mark.parametrize(("due_in_days", "room"), [(13, 12.0), (15, 17.0)])
def test_storage_counts_what_is_due_by_the_arrival(shop, due_in_days, room):
    made = shop(effective_ratio=1.0)
    coming = {"supplier_id": "S1", "quantity": 5.0, "due_on": ISSUED + timedelta(days=due_in_days)}
    made.lake.replace("open_supply", made.keys().with_columns(**{n: pl.lit(v) for n, v in coming.items()}))
    last = proposed(made, storage_maximum=20.0).tail(1)  # 17 units a week and a lead time of 14 days
    assert last.select("quantity", "binding_constraint").row(0) == (room, "storage")
