"""The buy-till-you-die models on the data they were published on: the 1/10 sample of CDNOW, 2,357 customers.

Calibration to 30 September 1997, 39 weeks; the unit is a week of 7 days; purchases of one day count once. Figures:
Fader, Hardie & Lee (2005), Fader & Hardie (2013), and the programs CLVTools, BTYDplus and lifetimes where they show
more digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.customers.btyd import BetaGeometric, fit_beta_geometric
from pipelines.customers.pareto import Pareto, fit_pareto
from pipelines.customers.spending import GammaGamma, fit_gamma_gamma

BEGIN, END, LAST = date(1997, 1, 1), date(1997, 9, 30), date(1998, 6, 30)


@pytest.fixture(scope="module")
def days(evaluation_data: Path) -> pl.DataFrame:
    """Purchase days: customer_id, date, amount, first (the customer's first day)."""
    purchases = pl.read_parquet(evaluation_data / "cdnow" / "cdnow_sample.parquet")
    days = purchases.group_by("customer_id", "date", maintain_order=True).agg(pl.col("amount").sum())
    return days.with_columns(first=pl.col("date").min().over("customer_id"))


@pytest.fixture(scope="module")
def customers(days: pl.DataFrame) -> pl.DataFrame:
    """One row a customer: frequency, recency, T in weeks, mean (of repeat purchases), later (purchase days)."""
    known, repeat = pl.col("date") <= END, (pl.col("date") <= END) & (pl.col("date") > pl.col("first"))
    weeks = (pl.col("date").filter(known).max() - pl.col("first").first()).dt.total_days() / 7
    return days.group_by("customer_id", maintain_order=True).agg(
        frequency=repeat.sum(),
        recency=weeks,
        T=(END - pl.col("first").first()).dt.total_days() / 7,
        mean=pl.col("amount").filter(repeat).mean(),
        later=(~known).sum(),
    )


@pytest.fixture(scope="module")
def bg(customers: pl.DataFrame) -> BetaGeometric:
    return fit_beta_geometric(customers["frequency"], customers["recency"], customers["T"])


@pytest.fixture(scope="module")
def mbg(customers: pl.DataFrame) -> BetaGeometric:
    return fit_beta_geometric(customers["frequency"], customers["recency"], customers["T"], modified=True)


@pytest.fixture(scope="module")
def pareto(customers: pl.DataFrame) -> Pareto:
    return fit_pareto(customers["frequency"], customers["recency"], customers["T"])


@pytest.fixture(scope="module")
def spending(customers: pl.DataFrame) -> GammaGamma:
    repeat = customers.filter(pl.col("frequency") > 0)
    return fit_gamma_gamma(repeat["frequency"], repeat["mean"])


def one(*values: float) -> tuple[np.ndarray, ...]:
    return tuple(np.array([value]) for value in values)


def agree(model: BetaGeometric | Pareto | GammaGamma, published: Sequence[float]) -> None:
    """Within a hundredth of a standard error; it came to rest."""
    assert model.converged
    assert model.gradient_norm < 1e-9
    for (name, error), wanted in zip(model.standard_errors.items(), published, strict=True):
        assert getattr(model, name) == pytest.approx(wanted, abs=0.01 * error), name


def test_the_sample_is_the_published_one(customers: pl.DataFrame) -> None:
    assert customers.height == 2_357
    assert customers.filter(pl.col("frequency") > 0).height == 946
    assert customers["later"].sum() == 1_882
    mean = customers["mean"].drop_nulls()
    assert [round(float(v)) for v in (mean.mean(), mean.std(), mean.min(), mean.max())] == [35, 30, 3, 300]


def test_bg_nbd(bg: BetaGeometric) -> None:
    agree(bg, (0.2425945, 4.4136019, 0.7929199, 2.4258881))
    assert bg.log_likelihood == pytest.approx(-9582.429, abs=5e-4)
    times = np.array([0.1429, 1, 3, 31.8571, 32, 78])
    published = [0.0078, 0.0532, 0.1506, 1.0405, 1.0437, 1.8576]
    assert bg.expected_from_start(times) == pytest.approx(published, abs=5e-4)


def test_bg_nbd_at_the_parameters_of_the_paper() -> None:
    paper = BetaGeometric(0.243, 4.414, 0.793, 2.426)
    assert paper.expected_purchases(39, *one(2, 30.43, 38.86))[0] == pytest.approx(1.22603, abs=5.1e-6)
    assert paper.p_alive(*one(2, 30.43, 38.86))[0] == pytest.approx(0.7266, abs=5e-5)
    assert paper.expected_from_start(np.array([31.8571, 78])) == pytest.approx([1.0420, 1.8605], abs=5e-5)
    assert paper.p_purchases_from_start(0, 39) == pytest.approx(0.5737864, abs=5e-8)
    assert paper.p_purchases_from_start(10, 2) == pytest.approx(1.07869e-07, abs=5.1e-13)


def test_bg_nbd_on_the_table_that_rounds_weeks(evaluation_data: Path) -> None:
    table = pl.read_parquet(evaluation_data / "cdnow" / "cdnow_sample_summary_39w.parquet")
    columns = table["frequency_39w"], table["recency_weeks"], table["age_weeks"]
    found = fit_beta_geometric(*columns)
    agree(found, (0.24259, 4.41353, 0.79289, 2.42576))
    assert found.log_likelihood == pytest.approx(-9582.4256, abs=5.1e-5)
    assert fit_pareto(*columns).log_likelihood == pytest.approx(-9594.974, abs=5e-4)


def test_bg_nbd_in_the_39_weeks_after(bg: BetaGeometric, customers: pl.DataFrame) -> None:
    expected = bg.expected_purchases(39, *customers.select("frequency", "recency", "T").to_numpy().T)
    later = customers["later"].to_numpy()
    assert np.corrcoef(expected, later)[0, 1] == pytest.approx(0.6256, abs=5e-5)
    assert np.abs(expected - later).mean() == pytest.approx(0.785, abs=5e-4)
    assert round(float(expected.sum())) == 1_653


def test_mbg_nbd(mbg: BetaGeometric, bg: BetaGeometric) -> None:
    agree(mbg, (0.525, 6.183, 0.891, 1.614))
    assert mbg.log_likelihood > bg.log_likelihood


def test_pareto_nbd(pareto: Pareto) -> None:
    agree(pareto, (0.55315, 10.57633, 0.60625, 11.67150))
    assert pareto.log_likelihood == pytest.approx(-9594.976, abs=5e-4)
    published = {"r": 0.0476, "alpha": 0.8427, "s": 0.1873, "beta": 6.2105}
    assert pareto.standard_errors == pytest.approx(published, rel=1e-3)


def test_pareto_nbd_points(pareto: Pareto) -> None:
    assert pareto.expected_purchases(52, *one(26, 30.86, 31))[0] == pytest.approx(25.46, abs=0.005)
    assert pareto.p_alive(*one(26, 30.86, 31))[0] == pytest.approx(0.9979, abs=5e-5)


def test_pareto_nbd_follows_repeat_purchases_week_by_week(pareto: Pareto, days: pl.DataFrame) -> None:
    first = (days.group_by("customer_id").first()["first"] - BEGIN).dt.total_days().to_numpy()
    repeat = days.filter(pl.col("date") > pl.col("first"))["date"]
    weeks = range(20, 26)
    expected = [float(pareto.expected_from_start(np.maximum(7 * week - first, 0) / 7).sum()) for week in weeks]
    assert [round(total) for total in expected] == [1309, 1385, 1460, 1533, 1604, 1674]
    actual = [int((repeat < BEGIN + timedelta(days=7 * week)).sum()) for week in weeks]
    assert actual == [1359, 1414, 1484, 1517, 1573, 1672]


def test_gamma_gamma(spending: GammaGamma) -> None:
    assert spending.converged
    assert [round(value, 2) for value in (spending.p, spending.q, spending.v)] == [6.25, 3.74, 15.44]
    assert spending.log_likelihood == pytest.approx(-4055.9177, abs=5.1e-5)


def test_gamma_gamma_at_the_published_parameters() -> None:
    x, mean = np.array([2.0, 1.0, 0.0, 7.0]), np.array([22.35, 11.77, 0.0, 73.74])
    expected = GammaGamma(6.25, 3.74, 15.44).expected_value(x, mean)
    assert expected == pytest.approx([24.66, 18.92, 35.22, 71.47], abs=0.005)


def test_frequency_and_spending_hardly_hang_together(customers: pl.DataFrame) -> None:
    repeat = customers.filter(pl.col("frequency") > 0)
    assert repeat.select(pl.corr("frequency", "mean")).item() == pytest.approx(0.11, abs=0.005)


def test_value_of_the_first_customer(bg: BetaGeometric, spending: GammaGamma) -> None:
    """Twelve spans of 30 periods at 1 % each, as in the tour of lifetimes."""
    spans = np.arange(13)
    reached = np.array([bg.expected_purchases(30.0 * span, *one(2, 30.43, 38.86))[0] for span in spans])
    value = spending.expected_value(*one(2, 22.35))[0] * (np.diff(reached) / 1.01 ** spans[1:]).sum()
    assert value == pytest.approx(140.096, abs=0.01)


def test_no_model_minds_the_order_of_customers(
    customers: pl.DataFrame, bg: BetaGeometric, mbg: BetaGeometric, pareto: Pareto
) -> None:
    mixed = customers.sample(fraction=1, shuffle=True, seed=1)
    columns = mixed["frequency"], mixed["recency"], mixed["T"]
    assert fit_beta_geometric(*columns) == bg
    assert fit_beta_geometric(*columns, modified=True) == mbg
    assert fit_pareto(*columns) == pareto


def test_days_end_where_the_sample_ends(days: pl.DataFrame) -> None:
    assert (days["date"].min(), days["date"].max()) == (BEGIN, LAST)
