"""Exponential smoothing of many series at once: loops go over periods, never over series.

Demand is series × period, NaN = unknown, the last column the origin. An unknown period teaches nothing. Parameters are
chosen for each series by the sum of its squared one-step errors, among a few values rather than by search: the sum is
flat around its minimum, and a short record cannot tell neighbours apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from features import windows as w
from features.windows import Float64Array, FloatArray, Int64Array

_Row = TypeVar("_Row", bound=np.generic)
_Out = TypeVar("_Out", bound=np.generic)

ALPHAS = (0.01, 0.02, 0.04, 0.07, 0.1, 0.14, 0.18, 0.23, 0.3, 0.37, 0.45, 0.55, 0.65, 0.75, 0.87, 0.99)
SLOW_ALPHAS = (0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3)
_TREND_ALPHAS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
_TREND_BETAS = (0.05, 0.2)
_DAMPING = (0.85, 0.95)
_PART = 256  # series at a time: what is smoothed stays in the cache of a core


def ses(y: FloatArray, horizon: int, season: int, alphas: tuple[float, ...] = ALPHAS) -> FloatArray:
    """Simple exponential smoothing, its parameter chosen for each series; the level starts at the first known value.

    Args:
        y: Demand (series × period).
        horizon: Periods ahead.
        season: Not used.
        alphas: Smoothing parameters to choose from.

    Returns:
        Series × horizon, ≥ 0; 0 where nothing is known.

    Source:
        Brown (1959); Hyndman & Athanasopoulos (2021), Forecasting: Principles and Practice, 8.1.

    Example:
        >>> ses(np.array([[8, 8, np.nan, 4]], dtype=np.float32), 2, 52, alphas=(0.5,))
        array([[6., 6.]], dtype=float32)
    """
    return held(_smoothed(y, alphas), horizon)


def damped_trend(
    y: FloatArray,
    horizon: int,
    season: int,
    alphas: tuple[float, ...] = _TREND_ALPHAS,
    betas: tuple[float, ...] = _TREND_BETAS,
    damping: tuple[float, ...] = _DAMPING,
) -> FloatArray:
    """Holt's method with a damped trend, its parameters chosen for each series; without a trend where none helps.

    The trend starts at zero: the first change of a demand series says little of its slope. Through unknown periods
    level and trend go on as forecast.

    Args:
        y: Demand (series × period).
        horizon: Periods ahead.
        season: Not used.
        alphas: Smoothing of the level.
        betas: Smoothing of the trend, as in Holt's equations.
        damping: What is left of the trend after each period.

    Returns:
        Series × horizon, ≥ 0; 0 where nothing is known.

    Source:
        Gardner & McKenzie (1985), Management Science 31(10), in the error-correction form of Hyndman & Athanasopoulos
        (2021), table 8.7 (A, Ad, N).
    """
    trending = [(alpha, alpha * beta, phi) for alpha in alphas for beta in betas for phi in damping]
    choices = np.array([(alpha, 0.0, 1.0) for alpha in alphas] + trending)
    return by_parts(lambda part: _damped(part, horizon, choices), y)


def adida(y: FloatArray, horizon: int, season: int) -> FloatArray:
    """Aggregate–disaggregate: the mean of buckets as long as the mean interval between demands, smoothed.

    Buckets end at the origin; an unknown period leaves its bucket the mean of the others.

    Args:
        y: Demand (series × period).
        horizon: Periods ahead.
        season: Not used.

    Returns:
        Series × horizon, ≥ 0; 0 where nothing is known.

    Source:
        Nikolopoulos, Syntetos, Boylan, Petropoulos & Assimakopoulos (2011), JORS 62(3).
    """
    interval = _mean_interval(y)
    level = np.zeros(len(y))
    for size in np.unique(interval[interval > 0]):
        rows = np.flatnonzero(interval == size)
        level[rows] = _smoothed_buckets(y, rows, int(size))
    return held(level, horizon)


def imapa(y: FloatArray, horizon: int, season: int) -> FloatArray:
    """As `adida`, for every bucket length up to the mean interval between demands; the mean of those forecasts.

    Source:
        Petropoulos & Kourentzes (2015), JORS 66(6).
    """
    interval = _mean_interval(y)
    total = np.zeros(len(y))
    for size in range(1, int(interval.max(initial=0)) + 1):
        rows = np.flatnonzero(interval >= size)
        total[rows] += _smoothed_buckets(y, rows, size)
    return held(total / np.maximum(interval, 1), horizon)


def tsb(y: FloatArray, horizon: int, season: int, alpha: float = 0.2, beta: float = 0.1) -> FloatArray:
    """Demand size smoothed when there is demand, its probability always; both start from the means of the first season.

    Args:
        y: Demand (series × period).
        horizon: Periods ahead.
        season: How many known periods give the start.
        alpha: Smoothing of the size.
        beta: Smoothing of the probability.

    Returns:
        Series × horizon, ≥ 0; 0 where nothing is known.

    Source:
        Teunter, Syntetos & Babai (2011), EJOR 214(3), eq. 3.
    """
    return held(by_parts(lambda part: _expected(part, season, alpha, beta), y), horizon)


def held(level: npt.NDArray[np.floating], horizon: int) -> FloatArray:
    """One level a series as a flat forecast: unknown and negative levels are 0."""
    flat = np.maximum(np.nan_to_num(level), 0).astype(np.float32)
    return np.repeat(flat[:, None], horizon, axis=1)


def _smoothed(y: FloatArray, alphas: tuple[float, ...]) -> Float64Array:
    """The level at the origin for the alpha with the least squared error; 0 where nothing is known."""
    return by_parts(lambda part: _best_level(part, np.array(alphas)), y)


def _best_level(y: FloatArray, alphas: Float64Array) -> Float64Array:
    values, known, first = _columns(y)
    level = np.repeat(first[:, None], len(alphas), axis=1)
    loss = np.zeros_like(level)
    for value, seen in zip(values, known, strict=True):
        error = (value[:, None] - level) * seen[:, None]
        loss += error * error
        level += alphas * error
    return np.take_along_axis(level, loss.argmin(axis=1)[:, None], axis=1)[:, 0]


def _damped(y: FloatArray, horizon: int, choices: Float64Array) -> FloatArray:
    """Forecasts (series × horizon) for the choice of (α, αβ, φ) with the least squared error."""
    alpha, beta, phi = choices.T
    values, known, first = _columns(y)
    level = np.repeat(first[:, None], len(choices), axis=1)
    trend, loss = np.zeros_like(level), np.zeros_like(level)
    for value, seen in zip(values, known, strict=True):
        trend *= phi
        level += trend
        error = (value[:, None] - level) * seen[:, None]
        loss += error * error
        level += alpha * error
        trend += beta * error
    best = loss.argmin(axis=1)[:, None]
    steps = np.cumsum(phi[best] ** np.arange(1, horizon + 1), axis=1)
    level, trend = np.take_along_axis(level, best, axis=1), np.take_along_axis(trend, best, axis=1)
    return np.maximum(level + steps * trend, 0).astype(np.float32)


def _expected(y: FloatArray, season: int, alpha: float, beta: float) -> FloatArray:
    """Smoothed size times smoothed probability at the origin."""
    known = ~np.isnan(y)
    first = np.where(known & (np.cumsum(known, axis=1) <= season), y, np.float32(np.nan))
    size, share = w.mean(np.where(first > 0, first, np.float32(np.nan))), w.share_positive(first)
    for column in y.T:
        sold, seen = column > 0, ~np.isnan(column)
        new_size = np.where(np.isnan(size), column, size + alpha * (column - size))
        size = np.where(sold, new_size, size)
        share = np.where(seen, share + beta * (sold - share), share)
    return np.nan_to_num(size) * np.nan_to_num(share)


def _columns(y: FloatArray) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Values with 0 for unknown and 1 for known (both period × series), and the first known value of each series."""
    values = np.ascontiguousarray(w.tail(y, max(1, y.shape[1])).T, dtype=np.float64)
    known = ~np.isnan(values)
    values = np.where(known, values, 0)
    first = np.take_along_axis(values, known.argmax(axis=0)[None], axis=0)[0]
    return values, known.astype(np.float64), first


def _mean_interval(y: FloatArray) -> Int64Array:
    """Known periods from one demand to the next, on average and rounded; 0 where there was none."""
    known, sold = ~np.isnan(y), np.nan_to_num(y) != 0
    age = np.cumsum(known, axis=1, dtype=np.int32)
    return np.rint(np.nan_to_num(w.ratio((age * sold).max(axis=1, initial=0), sold.sum(axis=1)))).astype(np.int64)


def _smoothed_buckets(y: FloatArray, rows: Int64Array, size: int) -> Float64Array:
    """The smoothed mean of buckets of `size` periods that end at the origin, of some series."""
    return by_parts(lambda part: _best_level(_bucket_means(y[part], size), np.array(SLOW_ALPHAS)), rows)


def _bucket_means(y: FloatArray, size: int) -> FloatArray:
    """Means of the known values (series × bucket); a bucket that began before the series did is unknown."""
    buckets = y.shape[1] // size
    rest = y.shape[1] - buckets * size
    means = w.mean(y[:, rest:].reshape(len(y), buckets, size), axis=2)
    begun = (~np.isnan(y)).argmax(axis=1)
    means[rest + size * np.arange(buckets) < begun[:, None]] = np.nan
    return means


def by_parts(model: Callable[[npt.NDArray[_Row]], npt.NDArray[_Out]], rows: npt.NDArray[_Row]) -> npt.NDArray[_Out]:
    """A model of single series applied to some hundred of them at a time."""
    return np.concatenate([model(rows[at : at + _PART]) for at in range(0, max(1, len(rows)), _PART)])
