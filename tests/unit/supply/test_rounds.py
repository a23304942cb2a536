"""How far a forecast must reach so that the slowest supplier's next order is in it."""

from __future__ import annotations

import polars as pl
import pytest

from features.tables import TABLES
from pipelines.rounds import horizon_of


def periods(made, days_a_period=1.0):
    return horizon_of(made.settings, made.lake, days_a_period)


def test_without_terms_the_defaults_count(shop):
    assert periods(shop(lead_time_days=10, review_days=5)) == 17, "15 days, the one they end in, and the one begun"


@pytest.mark.parametrize(
    ("said", "days"),
    [
        ({}, 14 + 7),
        ({"lead_times_days": "12;40;21"}, 40 + 7),
        ({"order_days": "thu"}, 6 + 7 + 14),  # on a friday thursday is six days off, and so is the one after it
        ({"order_days": "thu", "cut_off": "08:00"}, 7 + 7 + 14),  # too late for this thursday
        ({"order_days": "thu", "review_days": 10}, 6 + 14 + 14),  # from a thursday the second one comes next
        ({"order_days": "mon;thu", "review_days": 1}, 3 + 3 + 14),  # on a friday: monday, then thursday
        ({"delivery_days": "mon"}, 6 + 21),  # 21 days from a tuesday is a tuesday, and monday six days later
        ({"order_days": "thu", "delivery_days": "wed"}, 6 + 7 + 14 + 6),
    ],
    ids=["stated", "observed", "order day", "cut-off", "review", "two order days", "delivery day", "both"],
)
def test_every_wait_counts(shop, said, days):
    made = shop(review_days=7)
    made.terms(**({"review_days": 7} | said))
    assert periods(made) == days + 2


def test_the_slowest_supplier_decides(shop):
    made = shop()
    quick = made.terms(review_days=7)
    slow = made.terms(supplier_id="S9", review_days=7, lead_time_days=30.0)
    made.lake.replace("supply_terms", pl.concat([quick, slow]))
    assert periods(made) == 30 + 7 + 2
    assert periods(made, days_a_period=7.0) == 6 + 1


def test_a_supplier_that_is_reviewed_seldom_needs_a_longer_forecast(shop):
    made = shop(review_days=7)
    made.terms()
    assert periods(made) == 14 + 7 + 2
    rows = TABLES["suppliers"].schema.create_empty()
    seldom = pl.DataFrame({"supplier_id": ["S1"], "reviewed_every_days": [28]})
    made.lake.replace("suppliers", pl.concat([rows, seldom], how="diagonal"))
    assert periods(made) == 14 + 28 + 2
