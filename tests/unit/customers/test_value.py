"""What a customer is worth, seen from days other than that of the fit."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from pipelines.customers.btyd import BetaGeometric, fit_beta_geometric
from pipelines.customers.clock import WEEKS, Clock
from pipelines.customers.expectation import Expectation
from pipelines.customers.spending import GammaGamma, fit_gamma_gamma
from pipelines.customers.value import ValueModel


def _fitted() -> tuple[BetaGeometric, GammaGamma]:
    rng = np.random.default_rng(0)
    age = rng.uniform(10, 60, 400)
    count = rng.poisson(0.05 * age * rng.gamma(2, 0.5, 400)).astype(float)
    last = np.where(count > 0, age * rng.uniform(0.3, 1, 400), 0.0)
    btyd = fit_beta_geometric(*(pl.Series(each) for each in (count, last, age)), modified=True)
    return btyd, fit_gamma_gamma(pl.Series(count + 1), pl.Series(rng.gamma(5, 6, 400)))


@pytest.fixture(scope="module")
def model() -> ValueModel:
    btyd, spending = _fitted()
    pace = np.where(np.arange(WEEKS) < WEEKS // 2, 0.4, 1.6)
    trained_on = date(2023, 12, 31)  # the slow half of the year lies ahead
    expectation = Expectation(btyd, Clock(trained_on, tuple(pace.tolist())), trained_on, 7)
    return ValueModel(expectation, spending, Clock(trained_on), None, horizon_days=91, taught_days=91)


def test_the_season_ahead_is_that_of_the_day_customers_are_looked_at(model: ValueModel) -> None:
    rows = pl.DataFrame({"frequency": [25], "days_since_last_order": [3], "T": [51.0], "spend": [180.0]})
    slow = model.predict(rows)
    busy = model.seen_from(date(2023, 12, 31) + timedelta(days=182)).predict(rows)
    assert busy["expected_orders"][0] > 2 * slow["expected_orders"][0]
    assert busy["value"][0] > 2 * slow["value"][0]
    assert busy["next_order_in_days"][0] < slow["next_order_in_days"][0]
    assert model.seen_from(date(2023, 12, 31)).predict(rows).equals(slow)
