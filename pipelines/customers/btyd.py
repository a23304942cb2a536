"""Buy till you die: BG/NBD and its modification, for the repeat purchases of customers who may have left unnoticed.

While alive a customer buys at random with rate λ ~ Gamma(r, α); after each purchase the customer leaves for good with
probability p ~ Beta(a, b). BG/NBD: Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing
Science 24(2). MBG/NBD (Batislam, Denizel & Filiztekin 2007, IJRM 24(3)) lets a customer leave at the first purchase
too, so that a one-time buyer is not certain to be alive. Both are one formula here: the dropout coin has been tossed
k = x times in BG/NBD and k = x + 1 times in MBG/NBD. Siblings: `pareto` (leaving at any time), `spending` (what a
purchase is worth).

All times are in one unit (periods).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from scipy.special import betainc, betaln, digamma, expit, gammaln, hyp2f1

from pipelines.customers.histories import Histories
from pipelines.customers.likelihood import Floats, either, named

_STARTS = ((0.3, 0.3, 0.3, 0.6), (1.5, 1.5, 1.5, 3.0))  # times in units of the greatest age


@dataclass(frozen=True)
class BetaGeometric:
    """Parameters of BG/NBD (`modified` False) or MBG/NBD (`modified` True).

    Attributes:
        r: Shape of the purchase rates.
        alpha: Scale of the purchase rates, in periods.
        a: First parameter of the dropout probability.
        b: Second parameter of the dropout probability.
        modified: Whether a customer may leave at the first purchase.
        log_likelihood: At these parameters, summed over the customers of the fit; 0 where it was not fitted.
        gradient_norm: Largest slope of the mean log-likelihood by a log-parameter at the end of the fit.
        standard_errors: Of r, alpha, a, b; empty where the data cannot tell them.
        converged: Whether the fit came to rest (`likelihood.Optimum`).

    Example:
        The customer of Fader, Hardie & Lee (2005), section 4:

        >>> paper = BetaGeometric(0.243, 4.414, 0.793, 2.426)
        >>> x, recency, age = np.array([2.0]), np.array([30.43]), np.array([38.86])
        >>> float(paper.expected_purchases(39, x, recency, age)[0].round(3))
        1.226
    """

    r: float
    alpha: float
    a: float
    b: float
    modified: bool = False
    log_likelihood: float = 0.0
    gradient_norm: float = 0.0
    standard_errors: dict[str, float] = field(default_factory=dict)
    converged: bool = False

    def log_likelihoods(self, x: Floats, recency: Floats, age: Floats) -> Floats:
        """Log-likelihood of each customer (Fader, Hardie & Lee 2005, equation 6)."""
        counts, place = np.unique(x, return_inverse=True)
        shared = _by_count(self.r, self.alpha, self.a, self.b, counts, self.modified)[place]
        _, both = either(self._log_odds_gone(x, recency, age))
        likelihood: Floats = shared - (self.r + x) * np.log(self.alpha + age) + both
        return likelihood

    def p_alive(self, x: Floats, recency: Floats, age: Floats) -> Floats:
        """Probability that each customer is still alive at `age`."""
        alive: Floats = expit(-self._log_odds_gone(x, recency, age))
        return alive

    def p_no_purchase(
        self, periods: float, x: Floats, recency: Floats, age: Floats, *, alive: Floats | None = None
    ) -> Floats:
        """Probability that each customer buys nothing in the next `periods`; `alive` is P(alive) where known.

        A living customer leaves only by buying, and the rate of one alive is Gamma(r + x, α + T).
        """
        silent = ((self.alpha + age) / (self.alpha + age + periods)) ** (self.r + x)
        alive = self.p_alive(x, recency, age) if alive is None else alive
        result: Floats = 1 - alive * (1 - silent)
        return result

    def wait(self, q: float, x: Floats, recency: Floats, age: Floats, *, living: bool = False) -> Floats:
        """Periods within which each customer buys again with probability `q`, or a `living` one; NaN where never.

        Example:
            Who has bought once and not for long is gone more likely than not:

            >>> model = BetaGeometric(0.5, 6.2, 0.9, 1.6, modified=True)
            >>> x, recency, age = np.array([0.0, 4.0]), np.array([0.0, 30.0]), np.array([30.0, 31.0])
            >>> model.wait(0.5, x, recency, age).round(1)
            array([nan, 8.2])
        """
        alive = np.ones(len(x)) if living else self.p_alive(x, recency, age)
        silent = np.where(alive > q, 1 - q / np.maximum(alive, q), np.nan)
        with np.errstate(over="ignore"):
            periods = (self.alpha + age) * np.expm1(-np.log(silent) / (self.r + x))
        return np.where(np.isfinite(periods), periods, np.nan)

    def expected_purchases(
        self, periods: float, x: Floats, recency: Floats, age: Floats, *, alive: Floats | None = None
    ) -> Floats:
        """Expected purchases of each customer in the next `periods` (Fader, Hardie & Lee 2005, equation 10).

        Written with Euler's transformation of ₂F₁, whose first arguments then do not grow with x. `alive` is P(alive)
        where it is already known.
        """
        alive = self.p_alive(x, recency, age) if alive is None else alive
        total = self.a + self.b + x + self.modified - 1
        return alive * self._growth(total, total, periods, self.alpha + age)

    def expected_from_start(self, periods: float | Floats) -> Floats:
        """Expected repeat purchases of a new customer in the first `periods` (equation 9)."""
        total = np.asarray(self.a + self.b + self.modified - 1)
        factor = np.asarray(self.b) if self.modified else total
        return self._growth(total, factor, periods, np.asarray(self.alpha))

    def p_purchases_from_start(self, count: int, periods: float) -> float:
        """Probability that a new customer makes exactly `count` repeat purchases in the first `periods` (equation 8).

        Either the customer has stayed each time and bought so often by then, or has left at the last toss of the coin
        and would have bought at least so often.

        Example:
            >>> round(BetaGeometric(0.243, 4.414, 0.793, 2.426).p_purchases_from_start(0, 39), 7)
            0.5737864
        """
        tossed, share = count + self.modified, periods / (self.alpha + periods)
        stayed = np.exp(betaln(self.a, self.b + tossed) - betaln(self.a, self.b))
        ways = gammaln(self.r + count) - gammaln(self.r) - gammaln(count + 1)
        exactly = np.exp(ways + self.r * np.log1p(-share) + count * np.log(share))
        left = np.exp(betaln(self.a + 1, self.b + tossed - 1) - betaln(self.a, self.b)) if tossed else 0.0
        at_least = betainc(count, self.r, share) if count else 1.0
        return float(stayed * exactly + left * at_least)

    def _growth(self, total: Floats, factor: Floats, periods: float | Floats, scale: Floats) -> Floats:
        a = self.a if abs(self.a - 1) > 1e-6 else 1 + 1e-6  # the limit at a = 1 exists, the formula there does not
        share = np.asarray(periods) / (scale + periods)
        first = self.a + self.b + self.modified - 1 - self.r
        with np.errstate(over="ignore", invalid="ignore"):
            grown: Floats = factor / (a - 1) * (1 - (1 - share) ** (a - 1) * hyp2f1(first, a - 1, total, share))
        # Customers who buy like clockwork make the function overflow: hardly any leave, all keep their rate.
        steady = (total - first) / scale * periods
        return np.maximum(np.where(np.isfinite(grown), grown, steady), 0.0)

    def _log_odds_gone(self, x: Floats, recency: Floats, age: Floats) -> Floats:
        return _log_odds_gone(self.r, self.alpha, self.a, self.b, x, recency, age, self.modified)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be stored."""
        return asdict(self)


def fit_beta_geometric(x: pl.Series, recency: pl.Series, age: pl.Series, *, modified: bool = False) -> BetaGeometric:
    """BG/NBD or MBG/NBD by maximum likelihood.

    Args:
        x: Repeat purchases a customer.
        recency: Age at the last purchase, in periods.
        age: Age at the end, in periods.
        modified: MBG/NBD instead of BG/NBD.

    Raises:
        NotEnoughDataError: No customer has bought twice, or fewer than ten customers are known.
    """
    histories = Histories.gather(x, recency, age)
    best = histories.maximise(partial(_loss, modified=modified), _STARTS, times=[False, True, False, False])
    r, alpha, a, b = best.parameters.tolist()
    return BetaGeometric(
        r,
        alpha,
        a,
        b,
        modified=modified,
        log_likelihood=best.log_likelihood,
        gradient_norm=best.gradient_norm,
        standard_errors=named(["r", "alpha", "a", "b"], best.standard_errors),
        converged=best.converged,
    )


def _by_count(r: float, alpha: float, a: float, b: float, counts: Floats, modified: bool) -> Floats:
    """What of a log-likelihood hangs on the number of purchases alone."""
    coins = betaln(a, b + counts + modified) - betaln(a, b)
    shared: Floats = gammaln(r + counts) - gammaln(r) + r * np.log(alpha) + coins
    return shared


def _log_odds_gone(
    r: float, alpha: float, a: float, b: float, x: Floats, recency: Floats, age: Floats, modified: bool
) -> Floats:
    """Log of P(gone) / P(alive): -∞ where the coin has not been tossed yet."""
    k = x + modified
    coin = np.where(k > 0, np.log(a) - np.log(np.maximum(b + k - 1, 1e-300)), -np.inf)
    odds: Floats = coin + (r + x) * (np.log(alpha + age) - np.log(alpha + recency))
    return odds


def _loss(logs: Floats, *, histories: Histories, modified: bool) -> tuple[float, Floats]:
    """Mean negative log-likelihood of a customer and its slopes by the log-parameters."""
    r, alpha, a, b = np.exp(logs)
    x, recency, age, weight = histories.x, histories.recency, histories.age, histories.customers
    counts, sharing = histories.counts, histories.customers_by_count
    k = counts + modified
    at_end, at_last = alpha + age, alpha + recency
    log_end, log_last = np.log(at_end), np.log(at_last)
    coin = np.where(k > 0, np.log(a) - np.log(np.maximum(b + k - 1, 1e-300)), -np.inf)
    odds = coin[histories.place] + (r + x) * (log_end - log_last)
    share, both = either(odds)
    gone = weight * share
    alive = weight - gone
    gone_by_count = np.bincount(histories.place, gone)
    shared = sharing @ _by_count(r, alpha, a, b, counts, modified)
    likelihood = shared - (weight * ((r + x) * log_end - both)).sum()
    rates = sharing @ (digamma(r + counts) - digamma(r) + np.log(alpha))
    by_r = rates - (alive * log_end + gone * log_last).sum()
    by_alpha = sharing.sum() * r / alpha - ((r + x) * (alive / at_end + gone / at_last)).sum()
    left = sharing @ (digamma(a + b) - digamma(a + b + k))
    by_a = left + gone.sum() / a
    tossed = np.where(k > 0, gone_by_count / np.maximum(b + k - 1, 1e-300), 0.0)
    by_b = left + sharing @ (digamma(b + k) - digamma(b)) - tossed.sum()
    slopes = np.array([by_r, by_alpha, by_a, by_b]) * np.exp(logs)
    return float(-likelihood / sharing.sum()), -slopes / sharing.sum()
