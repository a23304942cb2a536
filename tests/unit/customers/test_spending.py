"""Gamma-Gamma against published conditional means and against money spent by its own story."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import gamma

from pipelines.customers.spending import GammaGamma, _loss_of, fit_gamma_gamma
from pipelines.errors import NotEnoughDataError


def receipts(customers: int) -> tuple[np.ndarray, np.ndarray]:
    """Purchases and their mean of customers whose p, q, v are 6, 3.7, 15."""
    rng = np.random.default_rng(2)
    x = rng.integers(1, 12, customers).astype(float)
    rate = rng.gamma(3.7, 1 / 15.0, customers)
    return x, rng.gamma(6.0 * x, 1 / (rate * x))


@pytest.mark.parametrize(
    ("x", "mean", "expected"), [(2, 22.35, 24.66), (1, 11.77, 18.92), (0, 0, 35.22), (7, 73.74, 71.47)]
)
def test_expected_value_of_a_purchase(x: float, mean: float, expected: float) -> None:
    """Published conditional means (Fader & Hardie 2013; parameters 6.25, 3.74, 15.44)."""
    found = GammaGamma(6.25, 3.74, 15.44).expected_value(np.array([x]), np.array([mean]))[0]
    assert found == pytest.approx(expected, abs=0.005)


def test_parameters_are_recovered() -> None:
    fitted = fit_gamma_gamma(*map(pl.Series, receipts(20_000)))
    assert fitted.converged
    errors = fitted.standard_errors
    for found, true, error in zip((fitted.p, fitted.q, fitted.v), (6.0, 3.7, 15.0), errors.values(), strict=True):
        assert abs(found - true) < 3 * error
        assert error < 0.1 * true


def test_the_likelihood_is_that_of_means_whose_rates_are_drawn() -> None:
    """f(mean | x) = ∫ gamma(mean; px, ν x) gamma(ν; q, v) dν, here a mean over many ν."""
    x, mean = receipts(12)
    fitted = fit_gamma_gamma(pl.Series(x), pl.Series(mean))
    rates = gamma.ppf((np.arange(200_000) + 0.5) / 200_000, fitted.q, scale=1 / fitted.v)
    densities = [gamma.pdf(z, fitted.p * n, scale=1 / (rates * n)).mean() for n, z in zip(x, mean, strict=True)]
    assert fitted.log_likelihood == pytest.approx(np.log(densities).sum(), abs=1e-3)


def test_slopes_are_those_of_the_loss() -> None:
    loss, point = _loss_of(*receipts(300)), np.log([4.0, 6.0, 10.0])
    assert loss(point)[1] == pytest.approx(approx_fprime(point, lambda logs: loss(logs)[0], 1e-7), abs=1e-4)


def test_order_and_a_draft_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, mean = receipts(5_000)
    whole = fit_gamma_gamma(pl.Series(x), pl.Series(mean))
    assert fit_gamma_gamma(pl.Series(x[::-1]), pl.Series(mean[::-1])) == whole
    monkeypatch.setattr("pipelines.customers.histories.DRAFT", 500)
    drafted = fit_gamma_gamma(pl.Series(x), pl.Series(mean))
    assert drafted.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-6)
    assert (drafted.p, drafted.q, drafted.v) == pytest.approx((whole.p, whole.q, whole.v), rel=1e-6)


def test_customers_who_spent_nothing_teach_nothing() -> None:
    with pytest.raises(NotEnoughDataError, match="spent anything"):
        fit_gamma_gamma(pl.Series([1.0] * 50), pl.Series([0.0] * 50))
