"""Gamma-Gamma: what a purchase of a customer is worth.

The purchases of one customer scatter as z ~ Gamma(p, ν), and ν ~ Gamma(q, v) over customers, independent of how often
they buy. Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

from pipelines.customers.histories import drafted
from pipelines.customers.likelihood import Floats, Loss, maximise, named
from pipelines.customers.record import too_little

_STARTS = ((1.0, 2.0, 1.0), (5.0, 4.0, 1.0))  # money in units of the median mean
_LEAST_Q = 1 + 1e-3  # at q ≤ 1 the population has no mean
_FEWEST = 10


@dataclass(frozen=True)
class GammaGamma:
    """Parameters of Gamma-Gamma.

    Attributes:
        p: Shape of one customer's purchases.
        q: Shape over customers.
        v: Scale over customers, in money.
        log_likelihood: Of the customers' means at the best parameters; 0 where it was not fitted.
        gradient_norm: Largest slope of the mean log-likelihood by a log-parameter at the end of the fit.
        standard_errors: Of p, q, v; empty where the data cannot tell them.
        converged: Whether the fit came to rest at parameters with which a purchase has a mean.

    Example:
        >>> float(GammaGamma(6.25, 3.74, 15.44).expected_value(np.array([2.0]), np.array([22.35]))[0].round(2))
        24.66
    """

    p: float
    q: float
    v: float
    log_likelihood: float = 0.0
    gradient_norm: float = 0.0
    standard_errors: dict[str, float] = field(default_factory=dict)
    converged: bool = False

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
    if known.height < _FEWEST:
        raise too_little(
            f"Too few customers have spent anything to learn what a purchase is worth: {known.height}.",
            rule="at least ten customers with a positive mean order value",
            remedy="check the amounts of the order lines, bring a longer record",
        )
    known = known.sort("mean").sort("x", maintain_order=True)  # quicker than by both at once
    scale = float(known["mean"].median())  # type: ignore[arg-type]
    counts, means = known["x"].to_numpy(), known["mean"].to_numpy() / scale
    size = drafted(known.height)
    draft = _loss_of(counts[:: known.height // size], means[:: known.height // size]) if size else None
    best = maximise(_loss_of(counts, means), _STARTS, known.height, draft)
    unit = np.array([1, 1, scale])
    p, q, v = (best.parameters * unit).tolist()
    return GammaGamma(
        p,
        max(q, _LEAST_Q),
        v,
        best.log_likelihood - known.height * float(np.log(scale)),
        best.gradient_norm,
        named(["p", "q", "v"], best.standard_errors * unit),
        best.converged and q > _LEAST_Q,
    )


def _loss_of(x: Floats, mean: Floats) -> Loss:
    counts, place, customers = np.unique(x, return_inverse=True, return_counts=True)
    sharing = customers.astype(np.float64)
    log_means = np.bincount(place, np.log(mean)).astype(np.float64)
    return partial(_loss, total=x * mean, counts=counts, place=place, sharing=sharing, log_means=log_means)


def _loss(
    logs: Floats, *, total: Floats, counts: Floats, place: NDArray[np.intp], sharing: Floats, log_means: Floats
) -> tuple[float, Floats]:
    """Mean negative log-likelihood of a customer and its slopes by the log-parameters.

    Args:
        logs: Logarithms of p, q, v.
        total: What each customer spent.
        counts: The distinct numbers of purchases.
        place: Which of `counts` each customer has.
        sharing: How many customers have each of `counts`.
        log_means: Sum of the log of their means.
    """
    p, q, v = np.exp(logs)
    shape = p * counts
    held = np.bincount(place, np.log(total + v))
    by_count = gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(v) + shape * np.log(counts)
    likelihood = (sharing * by_count + (shape - 1) * log_means - (shape + q) * held).sum()
    growing = digamma(shape + q)
    by_p = (counts * (sharing * (growing - digamma(shape) + np.log(counts)) + log_means - held)).sum()
    by_q = (sharing * (growing - digamma(q) + np.log(v)) - held).sum()
    by_v = sharing.sum() * q / v - ((shape + q) * np.bincount(place, 1 / (total + v))).sum()
    return float(-likelihood / sharing.sum()), -np.array([by_p * p, by_q * q, by_v * v]) / sharing.sum()
