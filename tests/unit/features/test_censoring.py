"""Demand behind sold-out periods: moments against brute force, level against a simulation that knows the truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from features.censoring import _at_least, _in_share, unconstrained
from features.demand import Vocabulary, rows_at
from features.panel import Panel
from tests.made_panel import GRIDS, panel_of, tables
from tests.made_stock import shelves

U = np.nan


def one(value: float) -> np.ndarray:
    return np.array([value], dtype=np.float64)


@pytest.mark.parametrize(("mean", "shape"), [(0.3, 0.5), (2.0, 1.0), (7.0, 4.0), (40.0, 0.3)])
@pytest.mark.parametrize("sold", [1, 2, 9])
def test_at_least_agrees_with_summing_the_tail(mean: float, shape: float, sold: int):
    demand = np.arange(sold, 20_000)
    weight = stats.nbinom.pmf(demand, shape, shape / (shape + mean))
    expected = (demand * weight).sum() / weight.sum()
    variance = (demand**2 * weight).sum() / weight.sum() - expected**2
    found = _at_least(one(sold), one(0), one(mean), one(shape))
    np.testing.assert_allclose(np.concatenate(found), [expected, variance], rtol=1e-6)


@pytest.mark.parametrize("sold", [0, 1, 6])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_of_the_period_agrees_with_integrating_over_the_rate(sold: int, share: float):
    mean, shape = 3.0, 1.5
    rate = np.linspace(1e-4, 80, 400_000)
    weight = stats.gamma.pdf(rate, shape, scale=mean / shape) * stats.poisson.pmf(sold, share * rate)
    weight /= weight.sum()
    rest = ((1 - share) * rate * weight).sum()
    second = (((1 - share) * rate + ((1 - share) * rate) ** 2) * weight).sum()
    found = _in_share(one(sold), one(share), one(mean), one(shape))
    np.testing.assert_allclose(np.concatenate(found), [sold + rest, second - rest**2], rtol=1e-3)


def level(demand: np.ndarray) -> float:
    """Sum of the series' smoothed levels: the plainest forecast there is."""
    smooth = np.nanmean(demand[:, :8], axis=1)
    for week in demand[:, 8:].T:
        smooth = np.where(np.isnan(week), smooth, smooth + 0.1 * (week - smooth))
    return float(smooth.sum())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("cover", "lead", "rate"), [(3.0, 1, 0.06), (2.2, 2, 0.07), (2.2, 1, 0.12), (1.7, 1, 0.19), (1.3, 2, 0.23)]
)
def test_the_level_is_nearly_that_of_true_demand(cover: float, lead: int, rate: float, seed: int):
    shop = shelves(250, 156, cover, lead, seed)
    assert (shop.share < 1).mean() == pytest.approx(rate, abs=0.03)
    true = level(shop.demand)
    ignored = level(shop.sales) / true - 1
    dropped = level(np.where(shop.share < 1, np.nan, shop.sales)) / true - 1
    for available in (shop.share, shop.flag):
        quantity = np.where((available == 0) & (shop.sales == 0), np.nan, shop.sales).astype(np.float32)
        bias = level(unconstrained(quantity, available.astype(np.float32), 52, 52)) / true - 1
        assert abs(bias) < abs(ignored) / 3
        assert abs(bias) < abs(dropped)


def test_a_share_of_the_period_pulls_harder_than_the_mere_fact():
    """Sold out on the first day says more than sold out at some time."""
    quantity = np.tile(np.array([4, 6, 5, 5, 6, 4, 5, 3], dtype=np.float32), (3, 1))
    available = np.ones_like(quantity)
    available[:, -1] = [0.2, 0.0, 0.95]
    early, some_time, late = unconstrained(quantity, available, 52, 52)[:, -1]
    assert early > 5 > 3.5 > late > 3
    assert early > some_time > late


def test_one_early_sell_out_is_not_read_as_a_hundredfold():
    quantity = np.array([[4, 6, 5, 5, 6, 4, 60]], dtype=np.float32)
    available = np.ones_like(quantity)
    available[0, -1] = 0.01
    assert unconstrained(quantity, available, 52, 52)[0, -1] <= 300


def test_weekdays_are_told_apart():
    """A sold-out Saturday is compared with Saturdays."""
    week = np.array([2, 2, 2, 2, 2, 20, 8], dtype=np.float32)
    quantity = np.tile(np.tile(week, 12), (2, 1))
    available = np.ones_like(quantity)
    quantity[0, 75], available[0, 75] = 10, 0.5  # a Saturday
    quantity[1, 77], available[1, 77] = 1, 0.5  # a Monday
    saturday, monday = (unconstrained(quantity, available, 7, 365)[row, day] for row, day in ((0, 75), (1, 77)))
    assert 15 < saturday < 24
    assert 1 < monday < 4


def test_a_panel_tells_bounds_from_what_was_seen():
    demand = pl.DataFrame(
        {
            "store": ["a"] * 6,
            "period": [GRIDS["week"].name(2800 + i) for i in range(6)],
            "quantity": [4.0, 5.0, 3.0, 0.0, 2.0, None],
            "available": [1.0, None, 0.0, 0.0, 0.5, 0.5],
        }
    )
    panel = Panel.build(demand, ["store"], GRIDS["week"], last=2805)
    assert panel.censored is not None
    assert panel.censored.tolist() == [[False, False, True, True, True, True]]
    known = np.isfinite(panel.quantity)[0].tolist()
    assert known == [True, True, True, False, True, False], "nothing sold of nothing in stock is unknown"
    assert panel.quantity[0, :2].tolist() == [4, 5]
    assert panel.quantity[0, 2] > 3
    assert panel.quantity[0, 4] > 2
    assert panel.known(2801).censored.tolist() == [[False, False]]  # type: ignore[union-attr]
    row = rows_at(panel, 2802, 1, Vocabulary())
    assert row["since_stock_out"].to_list() == [0]
    assert row["stock_out_share_4"].to_list() == [pytest.approx(1 / 3)]


@pytest.mark.parametrize("available", ["absent", "never told"])
def test_a_shop_that_does_not_tell_what_is_in_stock_has_no_stock_outs(available: str):
    parts = tables("week")
    plain = parts["demand"].drop("available")
    told = plain if available == "absent" else plain.with_columns(available=pl.lit(None, pl.Float64))
    panel = panel_of("week", parts | {"demand": told})
    assert panel.censored is None
    assert panel.quantity.tobytes() == panel_of("week", parts | {"demand": plain}).quantity.tobytes()
    assert not [name for name in rows_at(panel, panel.last, 2, Vocabulary()).columns if "stock_out" in name]
