"""BG/NBD and MBG/NBD against published figures and against data made from known parameters."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy.optimize import approx_fprime

from pipelines.customers.btyd import BetaGeometric, _loss, fit_beta_geometric
from pipelines.customers.histories import Histories
from pipelines.errors import NotEnoughDataError

PAPER = BetaGeometric(0.243, 4.414, 0.793, 2.426)  # Fader, Hardie & Lee (2005), table 2
FITTED = BetaGeometric(0.2425945, 4.4136019, 0.7929199, 2.4258881)  # the same data, more digits (CLVTools)


def one(*values: float) -> tuple[np.ndarray, ...]:
    return tuple(np.array([value]) for value in values)


def test_the_customer_of_the_paper() -> None:
    assert PAPER.expected_purchases(39, *one(2, 30.43, 38.86))[0] == pytest.approx(1.22603, abs=1e-4)
    assert PAPER.p_alive(*one(2, 30.43, 38.86))[0] == pytest.approx(0.7266, abs=5e-5)


def test_expected_repeat_purchases_of_a_new_customer() -> None:
    times = np.array([0.1429, 1, 3, 31.8571, 32, 78])
    published = [0.0078, 0.0532, 0.1506, 1.0405, 1.0437, 1.8576]
    assert FITTED.expected_from_start(times) == pytest.approx(published, abs=5e-4)


def test_log_likelihood_stays_finite_for_heavy_buyers() -> None:
    model = BetaGeometric(0.25, 4, 0.8, 2.5)
    found = model.log_likelihoods(np.array([0.0, 200.0]), np.array([0.0, 38.0]), np.array([40.0, 40.0]))
    assert found == pytest.approx([-0.59947382, 100.7957], abs=1e-4)


def test_no_purchase_at_all_has_the_published_probability() -> None:
    """P(X(39) = 0) of a new customer is 0.5737864 at the paper's parameters: (α / (α + t))^r."""
    assert PAPER.p_no_purchase(39, *one(0, 0, 0))[0] == pytest.approx(0.5737864, abs=1e-6)


def test_a_one_time_buyer_is_surely_alive_only_in_bg_nbd() -> None:
    assert PAPER.p_alive(*one(0, 0, 30))[0] == 1
    assert BetaGeometric(0.525, 6.183, 0.891, 1.614, modified=True).p_alive(*one(0, 0, 30))[0] < 0.8


@pytest.mark.parametrize("modified", [False, True])
def test_expectations_agree_with_customers_made_from_the_parameters(modified: bool) -> None:
    model = BetaGeometric(0.8, 5.0, 0.9, 2.0, modified=modified)
    x, _, age = purchases(model, customers=200_000, periods=30.0, seed=3)
    assert x.mean() == pytest.approx(float(model.expected_from_start(30.0)), rel=0.02)
    assert age[0] == 30.0


@pytest.mark.parametrize("modified", [False, True])
def test_parameters_are_recovered(modified: bool) -> None:
    true = BetaGeometric(0.8, 5.0, 0.9, 2.0, modified=modified)
    x, recency, age = purchases(true, customers=10_000, periods=50.0, seed=11)
    fitted = fit_beta_geometric(pl.Series(x), pl.Series(recency), pl.Series(age), modified=modified)
    assert fitted.gradient_norm < 1e-5
    found, wanted = fitted.log_likelihood, float(true.log_likelihoods(x, recency, age).sum())
    assert wanted <= found < wanted + 10  # the best is above the truth, by a chi-square's worth
    assert (fitted.r, fitted.alpha) == pytest.approx((true.r, true.alpha), rel=0.1)
    assert fitted.a / (fitted.a + fitted.b) == pytest.approx(true.a / (true.a + true.b), rel=0.1)


def test_the_reported_log_likelihood_is_that_of_the_data() -> None:
    x, recency, age = purchases(PAPER, customers=2_000, periods=39.0, seed=5)
    fitted = fit_beta_geometric(pl.Series(x), pl.Series(recency), pl.Series(age))
    assert fitted.log_likelihood == pytest.approx(float(fitted.log_likelihoods(x, recency, age).sum()), abs=1e-6)
    mixed = np.random.default_rng(1).permutation(len(x))
    again = fit_beta_geometric(pl.Series(x[mixed]), pl.Series(recency[mixed]), pl.Series(age[mixed]))
    assert again == fitted


@pytest.mark.parametrize("modified", [False, True])
def test_gradients_are_those_of_the_losses(modified: bool) -> None:
    x, recency, age = purchases(PAPER, customers=300, periods=39.0, seed=7)
    histories = Histories.gather(pl.Series(x), pl.Series(recency), pl.Series(age))
    point = np.log([0.4, 0.2, 0.7, 2.0])
    numeric = approx_fprime(point, lambda logs: _loss(logs, histories=histories, modified=modified)[0], 1e-7)
    assert _loss(point, histories=histories, modified=modified)[1] == pytest.approx(numeric, abs=1e-5)


@pytest.mark.parametrize("modified", [False, True])
def test_standard_errors_are_those_of_the_curvature_of_the_likelihood(modified: bool) -> None:
    """Against second differences of the likelihood itself, by the parameters themselves."""
    x, recency, age = purchases(BetaGeometric(0.8, 5.0, 0.9, 2.0), customers=5_000, periods=50.0, seed=4)
    fitted = fit_beta_geometric(pl.Series(x), pl.Series(recency), pl.Series(age), modified=modified)
    best = np.array([fitted.r, fitted.alpha, fitted.a, fitted.b])

    def likelihood(point: np.ndarray) -> float:
        return float(BetaGeometric(*point, modified=modified).log_likelihoods(x, recency, age).sum())

    steps = np.diag(best * 1e-3)
    curvature = [
        [
            sum(i * j * likelihood(best + i * one + j * other) for i in (1, -1) for j in (1, -1))
            / (4 * one.sum() * other.sum())
            for other in steps
        ]
        for one in steps
    ]
    wanted = np.sqrt(np.diag(np.linalg.inv(-np.array(curvature))))
    assert list(fitted.standard_errors.values()) == pytest.approx(wanted, rel=1e-3)
    assert fitted.converged


def test_a_fit_that_begins_with_some_customers_ends_where_one_on_all_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [pl.Series(values) for values in purchases(PAPER, customers=20_000, periods=39.0, seed=5)]
    whole = fit_beta_geometric(*columns, modified=True)
    monkeypatch.setattr("pipelines.customers.histories.DRAFT", 500)
    drafted = fit_beta_geometric(*columns, modified=True)
    assert drafted.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-6)
    assert (drafted.r, drafted.alpha, drafted.a, drafted.b) == pytest.approx(
        (whole.r, whole.alpha, whole.a, whole.b), rel=1e-6
    )


def test_parameters_that_run_away_are_said_to() -> None:
    """Customers of whom none ever leaves: nothing tells a from 0."""
    rng = np.random.default_rng(6)
    x = rng.poisson(rng.gamma(20, 1.5 / 20, 500) * 40.0).astype(float)
    fitted = fit_beta_geometric(pl.Series(x), pl.Series(np.where(x > 0, 40.0, 0.0)), pl.Series([40.0] * 500))
    assert not fitted.converged


def test_what_is_stored_is_what_is_read() -> None:
    x, recency, age = purchases(PAPER, customers=500, periods=39.0, seed=5)
    fitted = fit_beta_geometric(pl.Series(x), pl.Series(recency), pl.Series(age))
    assert BetaGeometric(**json.loads(json.dumps(fitted.as_dict(), allow_nan=False))) == fitted


@pytest.mark.parametrize("modified", [False, True])
def test_a_wait_is_where_the_chance_of_no_purchase_has_come_down(modified: bool) -> None:
    model = BetaGeometric(0.8, 5.0, 0.9, 2.0, modified=modified)
    history = purchases(model, customers=300, periods=30.0, seed=3)
    for q in (0.1, 0.5, 0.9):
        waits = model.wait(q, *history)
        never = np.isnan(waits)
        assert (model.p_alive(*history)[never] <= q).all()
        assert (model.p_alive(*history)[~never] > q).all()
        for wait, customer in zip(waits[~never][:20], np.transpose(history)[~never], strict=False):
            assert model.p_no_purchase(wait, *one(*customer))[0] == pytest.approx(1 - q, abs=1e-9)


@pytest.mark.parametrize("modified", [False, True])
def test_chances_of_each_number_of_purchases_add_up_to_what_is_expected(modified: bool) -> None:
    model = BetaGeometric(0.8, 5.0, 0.9, 2.0, modified=modified)
    chances = np.array([model.p_purchases_from_start(count, 30.0) for count in range(400)])
    assert chances.sum() == pytest.approx(1, abs=1e-6)
    assert chances @ np.arange(400) == pytest.approx(float(model.expected_from_start(30.0)), abs=1e-4)


def test_a_shop_without_repeat_customers_is_told_so() -> None:
    ages = pl.Series([10.0] * 50)
    with pytest.raises(NotEnoughDataError, match="bought again"):
        fit_beta_geometric(pl.Series([0.0] * 50), pl.Series([0.0] * 50), ages)


def purchases(
    model: BetaGeometric, *, customers: int, periods: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, t_x and T of customers who live by the story of the model, told step by step."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(model.r, 1 / model.alpha, customers)
    leaving = rng.beta(model.a, model.b, customers)
    x, last, now = np.zeros(customers), np.zeros(customers), np.zeros(customers)
    alive = rng.random(customers) >= leaving if model.modified else np.ones(customers, dtype=bool)
    while alive.any():
        now = np.where(alive, now + rng.exponential(1 / np.maximum(rate, 1e-300)), now)
        bought = alive & (now <= periods)
        x, last = x + bought, np.where(bought, now, last)
        alive = bought & (rng.random(customers) >= leaving)
    return x, last, np.full(customers, periods)


def test_customers_who_buy_like_clockwork_get_finite_expectations():
    # a fit of 75 customers with some 32 orders each of whom none left: the hypergeometric function overflows here
    model = BetaGeometric(r=159365.0, alpha=292535.0, a=6.8e-06, b=1967.0, modified=True)
    x, recency, age = np.array([10.0, 32.0]), np.array([50.0, 57.0]), np.array([57.0, 57.5])
    expected = model.expected_purchases(13.0, x, recency, age)
    assert expected == pytest.approx((159365.0 + x) / (292535.0 + age) * 13.0, rel=1e-3)
