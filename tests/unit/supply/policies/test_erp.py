"""What planning systems do: against their published behaviour, textbooks, and a second way to the same figure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nbinom

from pipelines.supply.policies import erp
from pipelines.supply.policies.known import Forecast, Known
from pipelines.supply.policies.newsvendor import base_stock_normal, newsvendor_poisson
from pipelines.supply.policies.rules import MinMax, ReorderLevel


def known(history: np.ndarray, *, lead_time: int = 2, review: int = 1, **other: object) -> Known:
    each = np.ones(len(history))
    some = Known(
        history=history,
        lead_time=each * lead_time,
        review=each * review,
        holding_cost=each * 0.2,
        shortage_cost=each,
        fixed_cost=each * 0,
        service_target=each * 0.95,
    )
    return replace(some, **other)


def test_tryton_asks_for_what_is_missing_to_the_target():
    """Stock 12, of which 5 are promised; below 10, order to 60: the system's own run asks for 53."""
    assert MinMax(np.array([10.0]), np.array([60.0]))(np.array([12.0 - 5]), np.zeros((1, 2)), 0) == 53


def test_erpnext_orders_the_deficiency_where_it_is_more_than_the_lot():
    rule = ReorderLevel(np.array([200.0, 200.0, 200.0]), np.array([150.0, 150.0, 150.0]))
    assert rule(np.array([0.0, 100.0, 150.0]), np.array([[0.0], [0.0], [51.0]]), 0).tolist() == [200, 150, 0]


def test_safety_stock_is_the_base_stock_of_the_textbook():
    """Example 4.4 of Snyder & Shen: N(50, 8), lead time 4, at the critical ratio."""
    spread = 8 / np.sqrt(2)
    some = known(np.array([[50 - spread, np.nan, 50 + spread]]), lead_time=4, service_target=np.array([0.7 / 0.88]))
    assert erp.safety_stock(some).level == pytest.approx([base_stock_normal(0.18, 0.7, 50, 8, lead_time=4).level])


def test_lot_is_the_eoq_or_one_reviews_demand():
    history = np.array([[1300.0, 1300.0], [1300.0, 1300.0]])
    some = known(history, fixed_cost=np.array([8.0, 80_000.0]), holding_cost=np.array([0.225, 0.225]))
    assert erp.reorder_level(some).quantity == pytest.approx([1300, 30404.6780])


def test_history_quantile_is_that_of_summed_periods():
    """Three negative binomial periods, summed by convolution."""
    rng = np.random.default_rng(3)
    some = known(rng.negative_binomial(0.7, 0.2, (4, 400)).astype(float))
    for item in range(4):
        mean, variance = some.mean[item], some.deviation[item] ** 2
        one = nbinom.pmf(np.arange(400), mean**2 / (variance - mean), mean / variance)
        three = np.cumsum(np.convolve(np.convolve(one, one), one))
        level = float(some.history_at(np.full(4, 5 / 6))[item])
        assert level == (three >= 5 / 6).argmax()


def test_history_that_varies_little_is_poisson():
    some = known(np.full((2, 30), 6.0), lead_time=0)
    assert some.history_at(np.array([0.8, 0.8])).tolist() == [newsvendor_poisson(1, 4, 6).level] * 2


def test_critical_ratio_reads_the_forecast_and_static_does_not():
    levels, quantiles = np.array([0.5, 5 / 6, 0.9]).round(3), np.array([[10.0, 20.0, 30.0]])
    some = known(np.full((1, 9), 2.0), holding_cost=np.array([1 / 0.833 - 1]))
    ahead = replace(some, forecast=Forecast(levels, quantiles, np.array([13.0])))
    assert erp.critical_ratio(ahead).level == pytest.approx([20])
    assert erp.static(ahead).level == erp.static(some).level == erp.critical_ratio(some).level
    assert erp.static(replace(ahead, effective_ratio=0.6)).level < erp.static(ahead).level


def organiser(sales: pd.DataFrame, in_stock: pd.DataFrame, weeks: pd.Index, ahead: pd.Index) -> pd.Series:
    """The competition's benchmark in its organiser's terms: frames, groups by week, a mean of 13 columns."""
    masked = sales.where(in_stock)
    season = masked.mean().groupby(np.asarray(weeks)).mean()
    season = season / season.mean()
    plain = masked / season.loc[weeks].to_numpy()
    return plain.iloc[:, -13:].mean(axis=1) * season.loc[ahead].sum()


def test_seasonal_cover_is_the_competitions_benchmark():
    rng = np.random.default_rng(11)
    dates = pd.date_range("2021-04-12", periods=161, freq="W-MON")
    weeks = pd.Index(dates.isocalendar().week.to_numpy(dtype=np.int64))
    wave = 3 + 2 * np.sin(np.arange(157) / 52 * 2 * np.pi)
    sales = pd.DataFrame(rng.poisson(wave * rng.gamma(2, 1, (40, 1))).astype(float))
    in_stock = pd.DataFrame(rng.random((40, 157)) < 0.9)
    some = known(sales.where(in_stock).to_numpy(), season=weeks.to_numpy())
    level = organiser(sales, in_stock, weeks[:157], weeks[157:])
    assert erp.seasonal_cover_level(some) == pytest.approx(level.to_numpy())
    stock, coming = rng.poisson(8, 40).astype(float), rng.poisson(3, (40, 2)).astype(float)
    ordered = (level - stock - coming.sum(axis=1)).clip(lower=0).round(0)
    assert erp.seasonal_cover(some)(stock, coming, 0).tolist() == ordered.tolist()


def test_seasonal_cover_without_recent_sales_looks_further_back():
    history = np.full((2, 30), 4.0)
    history[1, 10:] = np.nan
    assert erp.seasonal_cover_level(known(history)) == pytest.approx([16, 16])
    history[1] = np.nan
    assert erp.seasonal_cover_level(known(history)) == pytest.approx([16, 0])


def test_seasonal_cover_needs_to_know_the_coming_season():
    with pytest.raises(ValueError, match="30 past and 4 coming periods, not 31"):
        erp.seasonal_cover_level(known(np.ones((2, 30)), season=np.arange(31)))


def test_demand_driven_buffer_by_hand():
    """10 a period over 3 periods: usage 30, red 15 + 15·CV, yellow 30, green 15."""
    some = known(np.tile([5.0, 15.0], 200)[None, :])
    rule = erp.demand_driven(some)
    variability = some.deviation[0] / 10
    assert rule.minimum == pytest.approx([45 + 15 * variability])
    assert rule.maximum - rule.minimum == pytest.approx([15])


@pytest.mark.parametrize("name", erp.POLICIES)
def test_steady_demand_is_always_met(name):
    """Ten a period, lead time two: from the second cycle on nothing is ever missing, and stock stays bounded."""
    rule = erp.POLICIES[name](known(np.full((3, 60), 10.0)))
    stock, coming = np.full(3, 40.0), np.zeros((3, 3))
    for period in range(60):
        stock += coming[:, 0] - 10
        assert (stock >= 0).all()
        coming = np.column_stack([coming[:, 1:], rule(stock, coming[:, 1:], period)])
    assert (stock < 60).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(erp.POLICIES)), st.integers(0, 3), st.integers(1, 4))
def test_orders_are_sane_whatever_is_known(seed, name, lead_time, review):
    rng = np.random.default_rng(seed)
    history = rng.negative_binomial(0.5, 0.2, (6, 20)).astype(float)
    history[rng.random((6, 20)) < 0.3] = np.nan
    history[0], history[1] = np.nan, 0.0
    some = known(history, lead_time=lead_time, review=review, service_target=rng.random(6))
    rule = erp.POLICIES[name](some)
    stock, coming = rng.normal(0, 20, 6), rng.poisson(2, (6, lead_time)).astype(float)
    ordered = rule(stock, coming, 0)
    assert ordered.shape == (6,)
    assert np.isfinite(ordered).all()
    assert (ordered >= 0).all()
    assert (rule(stock + 3, coming, 0) <= ordered).all()  # who has more orders no more
    assert rule.rows(slice(2, 5))(stock[2:5], coming[2:5], 0).tolist() == ordered[2:5].tolist()
