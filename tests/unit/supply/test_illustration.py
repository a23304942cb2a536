from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from pipelines.settings import Supply
from pipelines.supply.illustration import illustrate, uniform

AS_OF = date(2024, 4, 15)


def forecasts(products):
    return pl.DataFrame(
        [{"product_id": product, "horizon": k, "mean": 10.0} for product in products for k in range(1, 9)]
    )


def made_up(products, seed=7):
    supply = Supply(illustrative={"seed": seed, "cover_weeks": 4})
    return illustrate(forecasts(products), supply, keys=["product_id"], as_of=AS_OF, days_a_period=7)


@pytest.mark.parametrize("table", ["stock", "open_supply", "supply_terms"])
def test_a_series_has_the_same_values_whatever_else_is_sold(table):
    names = [f"P{i}" for i in range(40)] + ["Ärmel", "a longer name than all others"]
    all_of_them = getattr(made_up(names), table)
    few = getattr(made_up(names[:7][::-1]), table)
    assert_frame_equal(all_of_them.filter(pl.col("product_id").is_in(names[:7])), few)


def test_another_seed_is_another_illustration():
    names = [f"P{i}" for i in range(40)]
    assert not made_up(names).stock.equals(made_up(names, seed=8).stock)


def test_values_follow_the_stated_rules():
    made = made_up([f"P{i}" for i in range(2000)])
    assert made.stock["on_hand"].is_between(10, 70).all()
    assert made.stock["on_hand"].mean() == pytest.approx(40, rel=0.05)
    assert made.open_supply.height / 2000 == pytest.approx(0.4, abs=0.04)
    assert made.open_supply["due_on"].is_between(date(2024, 4, 16), date(2024, 4, 29)).all()
    assert set(made.supply_terms["lead_time_days"]) == {7.0, 14.0, 21.0}
    assert (made.supply_terms["moq"] % made.supply_terms["multiple"] == 0).all()
    assert made.supply_terms["supplier_id"].n_unique() == 5


def slow_uniform(text, seed, stream):
    """FNV-1a and splitmix64 as published, in whole numbers of any size."""
    whole = 2**64
    state = 0xCBF29CE484222325
    for letter in text:
        state = (state ^ ord(letter)) * 0x100000001B3 % whole
    state = (state + seed * 0xBF58476D1CE4E5B9 + (stream + 1) * 0x9E3779B97F4A7C15) % whole
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % whole
    state = (state ^ state >> 27) * 0x94D049BB133111EB % whole
    return ((state ^ state >> 31) >> 11) / 2**53


def test_draws_are_even_independent_of_one_another_and_fixed_for_ever():
    keys = pl.DataFrame({"location_id": ["L1"] * 5000, "product_id": [f"P{i:04d}" for i in range(5000)]})
    streams = np.array([uniform(keys, 7, stream) for stream in range(4)])
    assert stats.kstest(streams.ravel(), "uniform").pvalue > 0.01
    assert np.abs(np.corrcoef(streams) - np.eye(4)).max() < 0.05
    assert [slow_uniform("L1\x1fP0000", 7, stream) for stream in range(4)] == streams[:, 0].tolist()
    a, b = pl.DataFrame({"x": ["A"], "y": ["BC"]}), pl.DataFrame({"x": ["AB"], "y": ["C"]})
    assert uniform(a, 7, 0) != uniform(b, 7, 0)
