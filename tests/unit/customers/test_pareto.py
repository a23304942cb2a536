"""Pareto/NBD against published figures, its closed formula and customers who live by its story."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.special import gammaln, hyp2f1

from pipelines.customers.histories import Histories
from pipelines.customers.pareto import Pareto, _loss, fit_pareto
from pipelines.customers.quadrature import log_integral

PAPER = Pareto(0.553, 10.578, 0.606, 11.669)  # Fader, Hardie & Lee (2005), table 2
OTHER = Pareto(1.2, 8.0, 0.7, 5.0)  # α > β, where the formula takes its other form


def test_the_customer_of_the_notes() -> None:
    customer = [np.array([value]) for value in (26.0, 30.86, 31.0)]
    assert PAPER.expected_purchases(52, *customer)[0] == pytest.approx(25.46, abs=0.005)
    assert PAPER.p_alive(*customer)[0] == pytest.approx(0.9979, abs=5e-5)


def test_expected_repeat_purchases_of_a_new_customer() -> None:
    published = [0.05078, 0.09916, 0.14543, 0.18980, 0.23247, 0.27361, 0.31335, 0.35181, 0.38909]
    found = Pareto(0.55, 10.56, 0.61, 11.64).expected_from_start(np.arange(1.0, 10.0))
    assert found == pytest.approx(published, abs=5.1e-6)


@pytest.mark.parametrize("x", [221.0, 254.0, 161.0, 204.0, 501.0])
def test_heavy_buyers_get_finite_figures(x: float) -> None:
    """Cases of CLVTools at which the difference of two ₂F₁ fails, and a heavier buyer."""
    last, age = {221: (103.43, 103.57), 254: (97.14, 97.29), 161: (94.71, 98.0), 204: (98.57, 99.43)}.get(
        int(x), (99.0, 100.0)
    )
    model, customer = Pareto(0.5143, 2.8845, 0.2856, 14.1087), [np.array([value]) for value in (x, last, age)]
    gone = quad(lambda t: 0.2856 * ratio(t, age, x + 0.5143, 2.8845) * ratio(t, age, 1.2856, 14.1087), last, age)[0]
    assert model.p_alive(*customer)[0] == pytest.approx(1 / (1 + gone / (14.1087 + age)), abs=1e-9)
    assert np.isfinite(model.log_likelihoods(*customer)[0])
    assert np.isfinite(model.wait(0.5, *customer)[0])


def ratio(t: float, age: float, power: float, scale: float) -> float:
    return float(((scale + age) / (scale + t)) ** power)


@pytest.mark.parametrize("model", [PAPER, OTHER])
def test_the_likelihood_is_that_of_the_closed_formula(model: Pareto) -> None:
    """Fader & Hardie (2005), equations 17 to 22, with ₂F₁ where it can still be trusted."""
    x = np.array([0.0, 1.0, 2.0, 5.0, 9.0, 3.0])
    recency, age = np.array([0.0, 3.0, 30.43, 20.0, 38.0, 30.0]), np.array([38.86, 38.86, 38.86, 31.0, 38.86, 30.0])
    r, alpha, s, beta = model.r, model.alpha, model.s, model.beta
    total, larger = r + s + x, max(alpha, beta)
    second = s + 1 if alpha >= beta else r + x

    def part(time: np.ndarray) -> np.ndarray:
        value = hyp2f1(total, second, total + 1, abs(alpha - beta) / (larger + time))
        return value / (larger + time) ** total

    alive = (alpha + age) ** -(r + x) * (beta + age) ** -s
    gone = s / total * (part(recency) - part(age))
    shared = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    assert model.log_likelihoods(x, recency, age) == pytest.approx(shared + np.log(alive + gone), abs=1e-9)
    assert model.p_alive(x, recency, age) == pytest.approx(alive / (alive + gone), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    p=st.floats(0.05, 520),
    q=st.floats(0.05, 20),
    scales=st.tuples(st.floats(0.01, 1e3), st.floats(0.01, 1e3)),
    ages=st.tuples(st.floats(0, 500), st.floats(0.001, 500)),
)
def test_the_integral_is_what_many_small_pieces_make(
    p: float, q: float, scales: tuple[float, float], ages: tuple[float, float]
) -> None:
    (alpha, beta), (lower, length) = scales, ages
    points, weights = np.polynomial.legendre.leggauss(30)
    edges = np.concatenate([[0.0], np.geomspace(1e-5, 1.0, 500)]) * np.log1p(length / (min(scales) + lower))
    width = np.diff(edges)[:, None]
    near = (min(scales) + lower) * np.exp(edges[:-1, None] + width * (points + 1) / 2)
    others = near + max(scales) - min(scales)
    first, second = (p, q) if alpha <= beta else (q, p)
    logs = np.log(weights * width / 2) + (1 - first) * np.log(near) - second * np.log(others)
    wanted = logs.max() + np.log(np.exp(logs - logs.max()).sum())
    arrays = (np.array([lower]), np.array([lower + length]))
    assert log_integral(np.array([p]), q, alpha, beta, *arrays)[0] == pytest.approx(wanted, abs=1e-6)


def test_slopes_are_those_of_the_loss() -> None:
    x, recency, age, _, _ = lives(PAPER, customers=300, seed=7)
    histories = Histories.gather(pl.Series(x), pl.Series(recency), pl.Series(age))
    for point in (np.log([0.4, 0.3, 0.7, 0.1]), np.log([0.4, 0.1, 0.7, 0.3])):
        numeric = approx_fprime(point, lambda logs: _loss(logs, histories=histories)[0], 1e-7)
        assert _loss(point, histories=histories)[1] == pytest.approx(numeric, abs=1e-5)


@pytest.mark.parametrize("model", [PAPER, OTHER])
def test_figures_are_those_of_customers_who_live_by_the_story(model: Pareto) -> None:
    x, recency, age, alive, later = lives(model, customers=200_000, seed=3, ahead=13.0)
    assert x.mean() == pytest.approx(float(model.expected_from_start(age).mean()), rel=0.01)
    for few in (x == 0, (x > 0) & (x < 3), x >= 3):
        history = x[few], recency[few], age[few]
        assert model.p_alive(*history).mean() == pytest.approx(alive[few].mean(), abs=0.006)
        assert model.p_no_purchase(13.0, *history).mean() == pytest.approx((later[few] == 0).mean(), abs=0.006)
        assert model.expected_purchases(13.0, *history).mean() == pytest.approx(later[few].mean(), rel=0.03)


def test_parameters_are_recovered_in_any_order() -> None:
    history = lives(PAPER, customers=20_000, seed=11)[:3]
    fitted = fit_pareto(*map(pl.Series, history))
    truth = (PAPER.r, PAPER.alpha, PAPER.s, PAPER.beta)
    found = (fitted.r, fitted.alpha, fitted.s, fitted.beta)
    assert fitted.converged
    for own, true, error in zip(found, truth, fitted.standard_errors.values(), strict=True):
        assert abs(own - true) < 3 * error
    best, wanted = fitted.log_likelihood, float(PAPER.log_likelihoods(*history).sum())
    assert wanted <= best < wanted + 10  # above the truth, by a chi-square's worth
    assert best == pytest.approx(float(fitted.log_likelihoods(*history).sum()), abs=1e-6)
    mixed = np.random.default_rng(1).permutation(len(history[0]))
    assert fit_pareto(*(pl.Series(values[mixed]) for values in history)) == fitted
    assert Pareto(**json.loads(json.dumps(fitted.as_dict(), allow_nan=False))) == fitted


@pytest.mark.parametrize("model", [PAPER, OTHER, Pareto(0.2, 3.0, 1.0, 2.0)])
def test_a_wait_is_where_the_chance_of_no_purchase_has_come_down(model: Pareto) -> None:
    history = lives(PAPER, customers=300, seed=3)[:3]
    for q in (0.1, 0.5, 0.9):
        waits = model.wait(q, *history)
        ever = model.p_no_purchase(1e15, *history) < 1 - q
        assert (np.isfinite(waits) == ever).mean() > 0.99  # a wait of ages may count as never
        for wait, customer in zip(waits[ever][:20], np.transpose(history)[ever], strict=False):
            found = model.p_no_purchase(wait, *(np.array([value]) for value in customer))[0]
            assert found == pytest.approx(1 - q, abs=1e-8)


def test_a_customer_alone_has_the_figures_it_has_in_company() -> None:
    history = lives(PAPER, customers=400, seed=5)[:3]
    for figure in (PAPER.p_alive, PAPER.log_likelihoods, lambda *own: PAPER.p_no_purchase(13, *own)):
        alone = [figure(*(values[[place]] for values in history))[0] for place in range(400)]
        assert figure(*history).tolist() == alone


def lives(model: Pareto, *, customers: int, seed: int, ahead: float = 0.0) -> tuple[np.ndarray, ...]:
    """x, t_x, T of customers, whether they are alive at T, and how often they buy in the time ahead."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(27.0, 39.0, customers)
    rate = rng.gamma(model.r, 1 / model.alpha, customers)
    life = rng.exponential(1 / rng.gamma(model.s, 1 / model.beta, customers))
    x, last, now, later = np.zeros(customers), np.zeros(customers), np.zeros(customers), np.zeros(customers)
    going = np.ones(customers, dtype=bool)
    while going.any():
        now = np.where(going, now + rng.exponential(1 / np.maximum(rate, 1e-300)), now)
        going &= (now <= life) & (now <= age + ahead)
        known = going & (now <= age)
        x, last, later = x + known, np.where(known, now, last), later + (going & ~known)
    return x, last, age, life > age, later
