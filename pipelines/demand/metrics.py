"""How good forecasts are: pure functions of arrays. Undefined is None, never a number made up.

All are pooled over cells; cells with unknown demand (NaN) are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from features.windows import Float64Array


def wape(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> float | None:
    """Weighted absolute percentage error: Σ|y − f| / Σ|y|. None where nothing was demanded.

    Example:
        >>> wape([10, 10], [15, 5])
        0.5
    """
    y, f = _known(actual, forecast)
    return _share(np.abs(y - f).sum(), np.abs(y).sum())


def bias(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> float | None:
    """Σ(f − y) / Σ|y|: positive where too much was forecast. None where nothing was demanded.

    Example:
        >>> bias([10, 10], [15, 6])
        0.05
    """
    y, f = _known(actual, forecast)
    return _share((f - y).sum(), np.abs(y).sum())


def rmsse(actual: npt.ArrayLike, forecast: npt.ArrayLike, scale: npt.ArrayLike, group: npt.ArrayLike) -> float | None:
    """Pooled root mean squared scaled error: √ of the mean over groups of MSE / scale².

    Args:
        actual: Demand.
        forecast: Mean forecast.
        scale: Root mean squared one-step change of each cell's series, up to the cutoff; zero or NaN leaves it out.
        group: Number of each cell's series and cutoff.

    Source:
        Hyndman & Koehler (2006) for the scaling; the M5 guide for squared errors.
    """
    y, f, s, g = (np.asarray(values, dtype=np.float64) for values in (actual, forecast, scale, group))
    fit = ~np.isnan(y) & ~np.isnan(f) & (s > 0)
    if not fit.any():
        return None
    _, own = np.unique(g[fit], return_inverse=True)
    squared = np.bincount(own, ((y[fit] - f[fit]) / s[fit]) ** 2) / np.bincount(own)
    return float(np.sqrt(squared.mean()))


def pinball(
    actual: npt.ArrayLike, quantiles: npt.ArrayLike, levels: Sequence[float], scale: npt.ArrayLike
) -> float | None:
    """Scaled pinball loss, doubled (the median's is its absolute error): mean over cells and levels of loss / scale.

    Args:
        actual: Demand.
        quantiles: Cells × levels.
        levels: Probabilities.
        scale: Mean absolute seasonal change of each cell's series up to the cutoff; zero or NaN leaves the cell out.
    """
    y, s = np.asarray(actual, dtype=np.float64), np.asarray(scale, dtype=np.float64)
    fit = ~np.isnan(y) & (s > 0)
    if not fit.any():
        return None
    losses = _pinball(y[fit], np.asarray(quantiles, dtype=np.float64)[fit], levels)
    return float((losses.mean(axis=1) / s[fit]).mean())


def wql(actual: npt.ArrayLike, quantiles: npt.ArrayLike, levels: Sequence[float]) -> float | None:
    """Weighted quantile loss: mean over levels of 2 Σ pinball / Σ|y|. None where nothing was demanded."""
    y = np.asarray(actual, dtype=np.float64)
    fit = ~np.isnan(y)
    losses = _pinball(y[fit], np.asarray(quantiles, dtype=np.float64)[fit], levels)
    return _share(losses.mean(axis=1).sum(), np.abs(y[fit]).sum())


def calibration(
    actual: npt.ArrayLike, quantiles: npt.ArrayLike, levels: Sequence[float]
) -> list[tuple[float, float, float]]:
    """For each level: the share of cells below the quantile, the share at or below it, and by how much it misses.

    A quantile is right when share(y < q) ≤ τ ≤ share(y ≤ q): also where many cells are zero. Where demand is whole
    numbers, quantiles are rounded first, so that ties count.

    Example:
        >>> calibration([0, 0, 0, 4], [[0], [0], [0], [0]], [0.5])
        [(0.0, 0.75, 0.0)]
    """
    y = np.asarray(actual, dtype=np.float64)
    fit = ~np.isnan(y)
    y, q = y[fit][:, None], np.asarray(quantiles, dtype=np.float64)[fit]
    if not y.size:
        return [(float("nan"), float("nan"), float("nan")) for _ in levels]
    q = np.rint(q) if np.array_equal(y, np.rint(y)) else q
    below, at_most = (y < q - 1e-9).mean(axis=0), (y <= q + 1e-9).mean(axis=0)
    missed = np.maximum(0, np.maximum(below - np.asarray(levels), np.asarray(levels) - at_most))
    return [(float(a), float(b), float(c)) for a, b, c in zip(below, at_most, missed, strict=True)]


def _pinball(y: Float64Array, quantiles: Float64Array, levels: Sequence[float]) -> Float64Array:
    above = y[:, None] - quantiles
    tau = np.asarray(levels)
    doubled: Float64Array = 2 * np.maximum(tau * above, (tau - 1) * above)
    return doubled


def _known(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    y, f = np.asarray(actual, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    fit = ~np.isnan(y) & ~np.isnan(f)
    return y[fit], f[fit]


def _share(top: float, bottom: float) -> float | None:
    return float(top / bottom) if bottom > 0 else None
