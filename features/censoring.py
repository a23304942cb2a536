"""Demand that stock did not let happen: what a sold-out period would have sold, from what was known up to then.

A period out of stock is a lower bound, not a missing value: stock runs out when demand is high, so leaving such periods
out biases demand more than taking sales for demand does. Demand of a period is taken as negative binomial in multiples
of the series' smallest sale: Poisson, with a gamma distributed rate. Sales in a known share of the period tell of its
rate; where only the fact is known that stock ran out, demand is at least what was sold. Mean and dispersion follow
an online EM (Cappé & Moulines 2009, On-line expectation-maximization algorithm for latent data models, JRSS B 71):
one pass over periods, each censored one entering with its conditional moments. No value depends on a later period or on
another series, so it is computed once and holds at every origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.windows import Float64Array, FloatArray

_TOP = 5.0  # times what was sold or expected: no more is read into one period
_PRIOR_SEASON = 8.0  # periods as which it counts that there is no season
_PRIOR_SPREAD = 2.0  # periods as which the usual dispersion counts
_USUAL_DISPERSION = 0.5  # variance of the rate over its squared mean
_DISPERSION = (0.02, 5.0)
_TINY = 1e-9


def unconstrained(quantity: FloatArray, available: FloatArray, season: int, year: int) -> FloatArray:
    """Demand as if in stock throughout: sales where it was, their expectation given what was sold where it was not.

    Args:
        quantity: Sales (series × period), units; NaN = unknown, and stays unknown.
        available: Share of the period in stock (series × period); NaN = all of it. 0 beside sales = stock ran out, and
            when is not known.
        season: Periods of the shortest season (7 for days, 52 for weeks, 12 for months).
        year: Periods a year.

    Returns:
        Demand (series × period), never below sales.

    Example:
        >>> sales = np.array([[4, 6, 5, 5, 6, 4, 5, 5]], dtype=np.float32)
        >>> share = np.array([[1, 1, 1, 1, 1, 1, 0.5, 0]], dtype=np.float32)
        >>> unconstrained(sales, share, season=52, year=52).round(1)
        array([[4. , 6. , 5. , 5. , 6. , 4. , 7.6, 7.1]], dtype=float32)
    """
    short = (available < 1) & ~np.isnan(quantity)
    rows = np.flatnonzero(short.any(axis=1))
    demand = quantity.copy()
    state = _State.start(len(rows), season, year)
    for column in range(quantity.shape[1]):
        sold = np.maximum(quantity[rows, column].astype(np.float64), 0)
        mean = state.mean(column)
        value, variance = sold.copy(), np.zeros_like(sold)
        at = np.flatnonzero(short[rows, column])
        if len(at):
            share = available[rows[at], column].astype(np.float64)
            value[at], variance[at] = state.given(at, sold[at], share, mean[at])
            demand[rows[at], column] = value[at]
        state.learn(column, sold, value, variance, mean)
    return demand


@dataclass
class _State:
    """What is known of each series before a period; all in units, one value a series.

    Attributes:
        level: Exponentially smoothed demand, NaN before the first sale.
        periods: Periods it has learned from.
        unit: Smallest sale, infinite before the first.
        errors: Sum of squared errors of the mean, fading.
        means: Sum of the means, fading alike.
        squares: Sum of the squared means, fading alike.
        seen: Demand summed by place in the season (season × series).
        base: The levels before it, summed alike.
        gain: Weight of a new period in the level.
        memory: What is left of sums after a period.
    """

    level: Float64Array
    periods: Float64Array
    unit: Float64Array
    errors: Float64Array
    means: Float64Array
    squares: Float64Array
    seen: Float64Array
    base: Float64Array
    gain: float
    memory: float

    @classmethod
    def start(cls, series: int, season: int, year: int) -> _State:
        nothing, seasons = np.zeros(series), np.zeros((season, series))
        gain, memory = 1 - 2 ** (-1 / max(2.0, year / 8)), 2 ** (-1 / year)
        unknown, infinite = np.full(series, np.nan), np.full(series, np.inf)
        return cls(unknown, nothing, infinite, nothing, nothing, nothing, seasons, seasons.copy(), gain, memory)

    def mean(self, column: int) -> Float64Array:
        """The level, times what the same season was to the level before it, as far as that is on record."""
        season = len(self.seen)
        reach = 2 if season > 12 else 0  # single weeks are noisy
        prior = _PRIOR_SEASON * self.level
        top, bottom = prior, prior
        for near in range(column - reach, column + reach + 1):
            top = top + self.seen[near % season]
            bottom = bottom + self.base[near % season]
        return self.level * np.divide(top, bottom, out=np.ones_like(top), where=bottom > 0)

    def given(
        self, at: npt.NDArray[np.intp], sold: Float64Array, share: Float64Array, mean: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Expectation and variance of demand of the series `at`, given what was sold in a share < 1 of the period."""
        only = np.where(share > 0, sold / np.maximum(share, 0.5), sold)  # for want of a past
        mean = np.where(np.isnan(mean), only, mean)
        unit, shape = self.spread(at, sold, mean)
        value, variance = sold.copy(), np.zeros_like(sold)
        for how, part in ((_in_share, share > 0), (_at_least, share == 0)):
            part &= mean > 0
            moments = how(sold[part] / unit[part], share[part], mean[part] / unit[part], shape[part])
            value[part], variance[part] = moments[0] * unit[part], moments[1] * unit[part] ** 2
        return np.clip(value, sold, np.maximum(_TOP * np.maximum(sold, mean), sold)), variance

    def spread(
        self, at: npt.NDArray[np.intp], sold: Float64Array, mean: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Unit and shape of the negative binomials, by the method of moments, shrunk toward usual ones."""
        prior = _PRIOR_SPREAD * mean
        errors = self.errors[at] + prior * mean * _USUAL_DISPERSION
        means, squares = self.means[at] + prior, self.squares[at] + prior * mean
        known = squares > 0
        smallest = np.where(np.isinf(self.unit[at]), np.maximum(sold, _TINY), self.unit[at])
        # what always sells by the dozen need not be sold in dozens
        unit = np.minimum(smallest, np.divide(errors, means, out=smallest.copy(), where=known))
        dispersion = np.divide(errors - unit * means, squares, out=np.ones_like(mean), where=known)
        return unit, 1 / np.clip(dispersion, *_DISPERSION)

    def learn(
        self, column: int, sold: Float64Array, value: Float64Array, variance: Float64Array, mean: Float64Array
    ) -> None:
        """Take in the moments of a period's demand. Before its first sale a series teaches nothing."""
        old = ~np.isnan(self.level)
        known = ~np.isnan(value)
        self.unit = np.where(sold > 0, np.minimum(self.unit, sold), self.unit)
        off = np.minimum(value, _TOP * np.maximum(mean, self.level)) - mean
        both = old & known
        self.errors = np.where(both, self.memory * self.errors + off * off + variance, self.errors)
        self.means = np.where(both, self.memory * self.means + mean, self.means)
        self.squares = np.where(both, self.memory * self.squares + mean * mean, self.squares)
        place = column % len(self.seen)
        self.seen[place] += np.where(both, value, 0)
        self.base[place] += np.where(both, self.level, 0)
        taught = known & (old | (value > 0))
        self.periods = self.periods + taught
        gain = np.maximum(self.gain, 1 / np.maximum(self.periods, 1))
        self.level = np.where(taught, np.where(old, self.level + gain * (value - self.level), value), self.level)


def _in_share(
    sold: Float64Array, share: Float64Array, mean: Float64Array, shape: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Moments given sales in a share of the period: the rate's gamma posterior speaks for the rest of it.

    The same whether stock ran out or came late: the likelihood of the rate is.
    """
    rest = (1 - share) * (shape + sold) / (shape / mean + share)
    return sold + rest, rest + rest * rest / (shape + sold)


def _at_least(
    sold: Float64Array, share: Float64Array, mean: Float64Array, shape: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Moments given only that demand was at least what was sold: those of the tail of a negative binomial.

    x·NB(x; shape, p) = mean·NB(x − 1; shape + 1, p), so they are ratios of tails, and tails incomplete beta functions.
    """
    from scipy.special import betaincc

    p = shape / (mean + shape)
    tail, tail_1, tail_2 = (betaincc(shape + k, np.maximum(sold - k, _TINY), p) for k in range(3))
    once, twice = mean * tail_1, mean * mean * (1 + 1 / shape) * tail_2
    real = tail > 1e-200  # else the bound is beyond belief, and taken as it is
    value = np.maximum(np.divide(once, tail, out=sold.copy(), where=real), sold)
    second = np.divide(twice + once, tail, out=value * value, where=real)
    return value, np.maximum(second - value * value, 0)
