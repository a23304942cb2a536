"""Buy till you die: BG/NBD and its modification for repeat purchases, Gamma-Gamma for what a purchase is worth.

While alive a customer buys at random with rate λ ~ Gamma(r, α); after each purchase the customer leaves for good with
probability p ~ Beta(a, b). BG/NBD: Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way, Marketing
Science 24(2). MBG/NBD (Batislam, Denizel & Filiztekin 2007, IJRM 24(3)) lets a customer leave at the first purchase
too, so that a one-time buyer is not certain to be alive. Both are one formula here: the dropout coin has been tossed
k = x times in BG/NBD and k = x + 1 times in MBG/NBD. Gamma-Gamma: Fader & Hardie (2013), The Gamma-Gamma Model of
Monetary Value.

All times are in one unit (periods). Parameters are found as logarithms, by maximum likelihood without penalty, on
distinct (x, t_x, T) with their counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, digamma, gammaln, hyp2f1

from pipelines.customers.record import too_little

Floats = NDArray[np.float64]
_START = (0.3, 1.5)
_BOUND = 12.0  # of a logarithm: a parameter beyond e^±12 means the data cannot tell


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

    def log_likelihoods(self, x: Floats, recency: Floats, age: Floats) -> Floats:
        """Log-likelihood of each customer (Fader, Hardie & Lee 2005, equation 6)."""
        return _bg_terms(np.array([self.r, self.alpha, self.a, self.b]), x, recency, age, self.modified)[0]

    def p_alive(self, x: Floats, recency: Floats, age: Floats) -> Floats:
        """Probability that each customer is still alive at `age`."""
        return _bg_terms(np.array([self.r, self.alpha, self.a, self.b]), x, recency, age, self.modified)[1]

    def p_no_purchase(self, periods: float, x: Floats, recency: Floats, age: Floats) -> Floats:
        """Probability that each customer buys nothing in the next `periods`.

        A living customer leaves only by buying, and the rate of one alive is Gamma(r + x, α + T).
        """
        silent = ((self.alpha + age) / (self.alpha + age + periods)) ** (self.r + x)
        alive = self.p_alive(x, recency, age)
        result: Floats = 1 - alive * (1 - silent)
        return result

    def expected_purchases(self, periods: float, x: Floats, recency: Floats, age: Floats) -> Floats:
        """Expected purchases of each customer in the next `periods` (Fader, Hardie & Lee 2005, equation 10).

        Written with Euler's transformation of ₂F₁, whose first arguments then do not grow with x.
        """
        total = self.a + self.b + x + self.modified - 1
        return self.p_alive(x, recency, age) * self._growth(total, total, periods, self.alpha + age)

    def expected_from_start(self, periods: float | Floats) -> Floats:
        """Expected repeat purchases of a new customer in the first `periods` (equation 9)."""
        total = np.asarray(self.a + self.b + self.modified - 1)
        factor = np.asarray(self.b) if self.modified else total
        return self._growth(total, factor, periods, np.asarray(self.alpha))

    def _growth(self, total: Floats, factor: Floats, periods: float | Floats, scale: Floats) -> Floats:
        a = self.a if abs(self.a - 1) > 1e-6 else 1 + 1e-6  # the limit at a = 1 exists, the formula there does not
        share = np.asarray(periods) / (scale + periods)
        first = self.a + self.b + self.modified - 1 - self.r
        with np.errstate(over="ignore", invalid="ignore"):
            grown: Floats = factor / (a - 1) * (1 - (1 - share) ** (a - 1) * hyp2f1(first, a - 1, total, share))
        # Customers who buy like clockwork make the function overflow: hardly any leave, all keep their rate.
        steady = (total - first) / scale * periods
        return np.maximum(np.where(np.isfinite(grown), grown, steady), 0.0)

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
    customers = pl.DataFrame({"x": x.cast(pl.Float64), "recency": recency, "age": age}).filter(pl.col("age") > 0)
    if customers.height < 10 or not (customers["x"] > 0).any():
        raise too_little(
            "Too few customers have bought again to learn how they come back: "
            f"{customers.filter(pl.col('x') > 0).height} of {customers.height}.",
            rule="at least ten customers, one of them with two purchase days",
            remedy="bring a longer record of orders",
        )
    cells = customers.group_by("x", "recency", "age").agg(count=pl.len()).sort("x", "recency", "age")
    scale = float(customers["age"].max())  # type: ignore[arg-type]
    loss = partial(
        _bg_loss,
        x=cells["x"].to_numpy(),
        recency=cells["recency"].to_numpy() / scale,
        age=cells["age"].to_numpy() / scale,
        weight=cells["count"].to_numpy().astype(float),
        modified=modified,
    )
    logs, value, slope = _best(loss, [np.log([start, start, start, 2 * start]) for start in _START])
    r, alpha, a, b = (float(v) for v in np.exp(logs))
    purchases = float((cells["x"] * cells["count"]).sum())
    total = -value * customers.height - purchases * float(np.log(scale))
    return BetaGeometric(r, alpha * scale, a, b, modified, total, slope)


@dataclass(frozen=True)
class GammaGamma:
    """What a purchase is worth: z ~ Gamma(p, ν) of one customer, ν ~ Gamma(q, v) over customers.

    Attributes:
        p: Shape of one customer's purchases.
        q: Shape over customers.
        v: Scale over customers, in money.
        log_likelihood: At these parameters; 0 where it was not fitted.

    Example:
        >>> float(GammaGamma(6.25, 3.74, 15.44).expected_value(np.array([2.0]), np.array([22.35]))[0].round(2))
        24.66
    """

    p: float
    q: float
    v: float
    log_likelihood: float = 0.0

    def expected_value(self, x: Floats, mean: Floats) -> Floats:
        """Expected value of a purchase, given x purchases with this mean (0 purchases: the population's)."""
        value: Floats = self.p * (self.v + x * mean) / (self.p * x + self.q - 1)
        return value

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be stored."""
        return asdict(self)


def fit_gamma_gamma(x: pl.Series, mean: pl.Series) -> GammaGamma:
    """Gamma-Gamma by maximum likelihood (Fader & Hardie 2013, equation 1a).

    Args:
        x: Purchases that the mean was taken over.
        mean: Mean value of a purchase; customers with none or no positive mean are left out.

    Raises:
        NotEnoughDataError: Fewer than ten customers have a positive mean.
    """
    known = pl.DataFrame({"x": x.cast(pl.Float64), "mean": mean.cast(pl.Float64)}).filter(
        (pl.col("x") > 0) & (pl.col("mean") > 0)
    )
    if known.height < 10:
        raise too_little(
            f"Too few customers have spent anything to learn what a purchase is worth: {known.height}.",
            rule="at least ten customers with a positive mean order value",
            remedy="check the amounts of the order lines, bring a longer record",
        )
    known = known.sort("x", "mean")
    scale = float(known["mean"].median())  # type: ignore[arg-type]
    values = known["mean"].to_numpy() / scale
    loss = partial(_gg_loss, x=known["x"].to_numpy(), mean=values)
    starts = [np.log([p, q, 1.0]) for p, q in ((1.0, 2.0), (5.0, 4.0))]
    logs, value, _ = _best(loss, starts)
    p, q, v = (float(value) for value in np.exp(logs))
    total = -value * known.height - known.height * float(np.log(scale))
    return GammaGamma(p, max(q, 1 + 1e-3), v * scale, total)  # q ≤ 1 has no mean


def _best(loss: Callable[[Floats], tuple[float, Floats]], starts: list[Floats]) -> tuple[Floats, float, float]:
    """The lowest of several descents: log-parameters, loss, largest slope."""

    def bounded(logs: Floats) -> tuple[float, Floats]:
        inside = np.clip(logs, -_BOUND, _BOUND)
        value, slope = loss(inside)
        return value + float(((logs - inside) ** 2).sum()), slope * (logs == inside) + 2 * (logs - inside)

    ends = [minimize(bounded, start, jac=True, method="BFGS", options={"gtol": 1e-8}) for start in starts]
    best = min(ends, key=lambda end: float(end.fun))
    logs = np.clip(best.x, -_BOUND, _BOUND)
    value, slope = loss(logs)
    return logs, value, float(np.abs(slope).max())


def _bg_terms(parameters: Floats, x: Floats, recency: Floats, age: Floats, modified: bool) -> tuple[Floats, Floats]:
    """Log-likelihood and P(alive) of each customer."""
    r, alpha, a, b = parameters
    k = x + modified
    alive = -(r + x) * np.log(alpha + age)
    gone = np.where(
        k > 0, np.log(a) - np.log(np.maximum(b + k - 1, 1e-300)) - (r + x) * np.log(alpha + recency), -np.inf
    )
    either = np.logaddexp(alive, gone)
    counts, place = _distinct(x)
    shared = gammaln(r + counts) - gammaln(r) + r * np.log(alpha) + betaln(a, b + counts + modified) - betaln(a, b)
    return shared[place] + either, np.exp(alive - either)


def _distinct(x: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """The different counts, and which of them each customer has: special functions are dear, counts few."""
    counts, place = np.unique(x, return_inverse=True)
    return counts, place


def _bg_loss(
    logs: Floats, *, x: Floats, recency: Floats, age: Floats, weight: Floats, modified: bool
) -> tuple[float, Floats]:
    """Negative mean log-likelihood and its slope by the log-parameters."""
    parameters = np.exp(logs)
    r, alpha, a, b = parameters
    likelihood, alive = _bg_terms(parameters, x, recency, age, modified)
    gone = 1 - alive
    k = x + modified
    counts, place = _distinct(x)
    rates = digamma(r + counts)[place]
    coins = digamma(a + b + counts + modified)[place]
    by_r = rates - digamma(r) + np.log(alpha) - alive * np.log(alpha + age) - gone * np.log(alpha + recency)
    by_alpha = r / alpha - (r + x) * (alive / (alpha + age) + gone / (alpha + recency))
    shared = digamma(a + b) - coins
    by_a = shared + gone / a
    by_b = (
        shared
        + digamma(b + counts + modified)[place]
        - digamma(b)
        - np.where(k > 0, gone / np.maximum(b + k - 1, 1e-300), 0.0)
    )
    slopes = np.array([weight @ by for by in (by_r, by_alpha, by_a, by_b)]) * parameters
    return float(-(weight @ likelihood) / weight.sum()), -slopes / weight.sum()


def _gg_loss(logs: Floats, *, x: Floats, mean: Floats) -> tuple[float, Floats]:
    """Negative mean log-likelihood and its slope by the log-parameters."""
    p, q, v = np.exp(logs)
    shape, spent = p * x, np.log(x * mean + v)
    likelihood = (
        gammaln(shape + q)
        - gammaln(shape)
        - gammaln(q)
        + q * np.log(v)
        + (shape - 1) * np.log(mean)
        + shape * np.log(x)
        - (shape + q) * spent
    )
    by_p = x * (digamma(shape + q) - digamma(shape) + np.log(mean) + np.log(x) - spent)
    by_q = digamma(shape + q) - digamma(q) + np.log(v) - spent
    by_v = q / v - (shape + q) / (x * mean + v)
    return float(-likelihood.mean()), -np.array([by_p.mean() * p, by_q.mean() * q, by_v.mean() * v])
