"""Pareto/NBD: repeat purchases of customers who may leave at any time, not only after a purchase.

While alive a customer buys at random with rate λ ~ Gamma(r, α) and stays for a time with rate μ ~ Gamma(s, β).
Schmittlein, Morrison & Colombo (1987), Counting Your Customers, Management Science 33(1); formulas after Fader & Hardie
(2005), A Note on Deriving the Pareto/NBD Model. Unlike in BG/NBD, a one-time buyer grows ever less likely to be alive.

Of one customer the likelihood is, but for what hangs on x alone,

    (α + T)^-(r + x) (β + T)^-s  +  s ∫ (α + τ)^-(r + x) (β + τ)^-(s + 1) dτ,   t_x < τ < T:

alive at T, or gone at some τ since the last purchase. The literature writes the integral as a difference of two ₂F₁,
which cancel for heavy buyers and overflow; here it is taken as it stands, and so are its slopes (`quadrature`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl
from scipy.special import digamma, expit, gammaln

from pipelines.customers.histories import Histories
from pipelines.customers.likelihood import Floats, either, named
from pipelines.customers.quadrature import log_integral, moments

_STARTS = ((0.5, 0.3, 0.5, 0.3), (1.5, 1.0, 1.5, 1.5))  # times in units of the greatest age
_TURNS = 30  # of Newton's method, which needs five or six
_CLOSE = 1e-9  # of a probability
_MOST = 1 - 1e-9  # of the living who would buy again if none left: whoever needs longer never does


@dataclass(frozen=True)
class Pareto:
    """Parameters of Pareto/NBD.

    Attributes:
        r: Shape of the purchase rates.
        alpha: Scale of the purchase rates, in periods.
        s: Shape of the dropout rates.
        beta: Scale of the dropout rates, in periods.
        log_likelihood: At these parameters, summed over the customers of the fit; 0 where it was not fitted.
        gradient_norm: Largest slope of the mean log-likelihood by a log-parameter at the end of the fit.
        standard_errors: Of r, alpha, s, beta; empty where the data cannot tell them.
        converged: Whether the fit came to rest (`likelihood.Optimum`).

    Example:
        A customer of Fader & Hardie's notes with 26 repeat purchases in 31 weeks, the last one day ago:

        >>> paper = Pareto(0.553, 10.578, 0.606, 11.669)
        >>> x, recency, age = np.array([26.0]), np.array([30.86]), np.array([31.0])
        >>> float(paper.expected_purchases(52, x, recency, age)[0].round(2))
        25.46
    """

    r: float
    alpha: float
    s: float
    beta: float
    log_likelihood: float = 0.0
    gradient_norm: float = 0.0
    standard_errors: dict[str, float] = field(default_factory=dict)
    converged: bool = False

    def log_likelihoods(self, x: Floats, recency: Floats, age: Floats) -> Floats:
        """Log-likelihood of each customer (Fader & Hardie 2005, equation 17)."""
        counts, place = np.unique(x, return_inverse=True)
        shared = _by_count(self.r, self.alpha, self.s, self.beta, counts)[place]
        alive = -(self.r + x) * np.log(self.alpha + age) - self.s * np.log(self.beta + age)
        _, both = either(self._log_odds_gone(x, recency, age))
        likelihood: Floats = shared + alive + both
        return likelihood

    def p_alive(self, x: Floats, recency: Floats, age: Floats) -> Floats:
        """Probability that each customer is still alive at `age`."""
        alive: Floats = expit(-self._log_odds_gone(x, recency, age))
        return alive

    def p_no_purchase(
        self, periods: float, x: Floats, recency: Floats, age: Floats, *, alive: Floats | None = None
    ) -> Floats:
        """Probability that each customer buys nothing in the next `periods`; `alive` is P(alive) where known."""
        alive = self.p_alive(x, recency, age) if alive is None else alive
        result: Floats = 1 - alive * self._p_return(np.full(len(x), float(periods)), x, age)
        return result

    def wait(self, q: float, x: Floats, recency: Floats, age: Floats, *, living: bool = False) -> Floats:
        """Periods within which each customer buys again with probability `q`, or a `living` one; NaN where never.

        Example:
            >>> model = Pareto(0.553, 10.578, 0.606, 11.669)
            >>> x, recency, age = np.array([0.0, 4.0]), np.array([0.0, 30.0]), np.array([30.0, 31.0])
            >>> model.wait(0.5, x, recency, age).round(1)
            array([nan, 7.5])
        """
        alive = np.ones(len(x)) if living else self.p_alive(x, recency, age)
        asked = np.flatnonzero(alive > q)
        periods = np.full(len(x), np.nan)
        periods[asked] = self._wait_of_living(q / alive[asked], x[asked], age[asked])
        return periods

    def expected_purchases(
        self, periods: float, x: Floats, recency: Floats, age: Floats, *, alive: Floats | None = None
    ) -> Floats:
        """Expected purchases of each customer in the next `periods` (Fader & Hardie 2005, equation 41).

        `alive` is P(alive) where it is already known.
        """
        alive = self.p_alive(x, recency, age) if alive is None else alive
        rate = (self.r + x) / (self.alpha + age)
        return alive * rate * self._lifetime(periods, self.beta + age)

    def expected_from_start(self, periods: float | Floats) -> Floats:
        """Expected repeat purchases of a new customer in the first `periods` (equation 27)."""
        return self.r / self.alpha * self._lifetime(periods, np.asarray(self.beta))

    def _lifetime(self, periods: float | Floats, beta: Floats) -> Floats:
        """Expected periods that a living customer stays of the next `periods`."""
        passed, excess = np.log1p(np.asarray(periods) / beta), self.s - 1
        stays: Floats = beta * (passed if abs(excess) < 1e-12 else -np.expm1(-excess * passed) / excess)
        return stays

    def _p_return(self, periods: Floats, x: Floats, age: Floats) -> Floats:
        """Probability that a living customer buys within `periods`: at some time, not having left before."""
        rate, stay = self.r + x, self.beta + age
        came = log_integral(rate + 1, self.s, self.alpha, self.beta, age, age + periods)
        before = np.log(rate) + rate * np.log(self.alpha + age) + self.s * np.log(stay)
        share: Floats = np.minimum(np.exp(before + came), 1.0)
        return share

    def _wait_of_living(self, q: Floats, x: Floats, age: Floats) -> Floats:
        """Periods within which a living customer buys again with probability `q`; NaN where that never is.

        Sought as the share v of customers who would have bought by then if none left. The share who do buy is a concave
        function of v with slope 1 at 0, so Newton's method from 0 comes near from below; where it passes 1, never.
        """
        share = np.zeros(len(x))
        for _ in range(_TURNS):
            periods = self._by_share(share, x, age)
            missing = q - self._p_return(periods, x, age)
            with np.errstate(over="ignore", invalid="ignore"):  # no end in sight: left out below
                share = share + missing * (1 + periods / (self.beta + age)) ** self.s
            share = np.where(share < _MOST, share, np.nan)
            if not (np.abs(missing) > _CLOSE).any():
                break
        return self._by_share(share, x, age)

    def _by_share(self, share: Floats, x: Floats, age: Floats) -> Floats:
        """Periods by which this share of living customers would have bought again if none left."""
        with np.errstate(divide="ignore", over="ignore"):
            periods: Floats = (self.alpha + age) * np.expm1(-np.log1p(-share) / (self.r + x))
        return periods

    def _log_odds_gone(self, x: Floats, recency: Floats, age: Floats) -> Floats:
        alive = -(self.r + x) * np.log(self.alpha + age) - self.s * np.log(self.beta + age)
        gone = log_integral(self.r + x, self.s + 1, self.alpha, self.beta, recency, age)
        odds: Floats = np.log(self.s) + gone - alive
        return odds

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be stored."""
        return asdict(self)


def fit_pareto(x: pl.Series, recency: pl.Series, age: pl.Series) -> Pareto:
    """Pareto/NBD by maximum likelihood.

    Args:
        x: Repeat purchases a customer.
        recency: Age at the last purchase, in periods.
        age: Age at the end, in periods.

    Raises:
        NotEnoughDataError: No customer has bought twice, or fewer than ten customers are known.
    """
    histories = Histories.gather(x, recency, age)
    best = histories.maximise(_loss, _STARTS, times=[False, True, False, True])
    r, alpha, s, beta = best.parameters.tolist()
    return Pareto(
        r,
        alpha,
        s,
        beta,
        log_likelihood=best.log_likelihood,
        gradient_norm=best.gradient_norm,
        standard_errors=named(["r", "alpha", "s", "beta"], best.standard_errors),
        converged=best.converged,
    )


def _by_count(r: float, alpha: float, s: float, beta: float, counts: Floats) -> Floats:
    """What of a log-likelihood hangs on the number of purchases alone."""
    shared: Floats = gammaln(r + counts) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
    return shared


def _loss(logs: Floats, *, histories: Histories) -> tuple[float, Floats]:
    """Mean negative log-likelihood of a customer and its slopes by the log-parameters.

    A slope is that of a customer alive at T times P(alive), plus that of one gone at τ, averaged over τ, times P(gone).
    """
    r, alpha, s, beta = np.exp(logs)
    x, age, weight = histories.x, histories.age, histories.customers
    counts, sharing = histories.counts, histories.customers_by_count
    total = sharing.sum()
    log_alpha, log_beta = np.log(alpha + age), np.log(beta + age)
    left = moments(r + x, s + 1, alpha, beta, histories.recency, age)
    odds = np.log(s) + left.log_integral + (r + x) * log_alpha + s * log_beta
    share, both = either(odds)
    gone = weight * share
    alive = weight - gone
    silent = (r + x) * log_alpha + s * log_beta - both
    likelihood = sharing @ _by_count(r, alpha, s, beta, counts) - (weight * silent).sum()
    rates = sharing @ (digamma(r + counts) - digamma(r) + np.log(alpha))
    by_r = rates - (alive * log_alpha + gone * left.log_alpha).sum()
    by_alpha = total * r / alpha - ((r + x) * (alive / (alpha + age) + gone * left.per_alpha)).sum()
    by_s = total * np.log(beta) + gone.sum() / s - (alive * log_beta + gone * left.log_beta).sum()
    by_beta = total * s / beta - (s * alive / (beta + age) + (s + 1) * gone * left.per_beta).sum()
    slopes = np.array([by_r, by_alpha, by_s, by_beta]) * np.exp(logs)
    return float(-likelihood / total), -slopes / total
