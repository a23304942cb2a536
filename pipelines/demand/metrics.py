"""How good forecasts are: pure functions of arrays. Undefined is None, never a number made up.

All are pooled over cells (a series in a period); cells with unknown demand (NaN) are left out. A scale is what makes
series of different size comparable: zero or NaN leaves the cell out, because nothing can be said of it in that unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from features.windows import Float64Array, Int64Array

CENTRAL = (50, 80, 90, 95)  # per cent of the central intervals whose coverage is reported


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


def vn1(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> float | None:
    """(Σ|y − f| + |Σ(y − f)|) / Σ|y|: WAPE and the size of the bias in one. None where nothing was demanded.

    Source:
        The score of the VN1 forecasting competition (2024).

    Example:
        >>> vn1([10, 10], [15, 5]), vn1([10, 10], [15, 10])
        (0.5, 0.5)
    """
    y, f = _known(actual, forecast)
    return _share(np.abs(y - f).sum() + abs((y - f).sum()), np.abs(y).sum())


def mase(actual: npt.ArrayLike, forecast: npt.ArrayLike, scale: npt.ArrayLike, group: npt.ArrayLike) -> float | None:
    """Mean absolute scaled error: mean over groups of MAE / scale.

    Args:
        actual: Demand.
        forecast: Forecast.
        scale: Mean absolute seasonal change of each cell's series, up to the cutoff.
        group: Number of each cell's series and cutoff.

    Source:
        Hyndman & Koehler (2006), Another look at measures of forecast accuracy.

    Example:
        >>> mase([4, 6, 1], [2, 6, 4], scale=[2, 2, 1], group=[0, 0, 1])
        1.75
    """
    y, f, s, own, _ = _scaled(actual, forecast, scale, group)
    return float(_means(np.abs(y - f) / s, own).mean()) if y.size else None


def rmsse(actual: npt.ArrayLike, forecast: npt.ArrayLike, scale: npt.ArrayLike, group: npt.ArrayLike) -> float | None:
    """Pooled root mean squared scaled error: √ of the mean over groups of MSE / scale².

    A proper score of a mean forecast, which the mean of the groups' roots (`mean_rmsse`) is not.

    Args:
        actual: Demand.
        forecast: Mean forecast.
        scale: Root mean squared one-step change of each cell's series, up to the cutoff.
        group: Number of each cell's series and cutoff.

    Source:
        Hyndman & Koehler (2006) for the scaling; the M5 guide for squared errors.

    Example:
        >>> rmsse([4, 6, 1], [2, 6, 4], scale=[2, 2, 1], group=[0, 0, 1])  # √((0.5 + 9) / 2)
        2.179449471770337
    """
    y, f, s, own, _ = _scaled(actual, forecast, scale, group)
    return float(np.sqrt(_means(((y - f) / s) ** 2, own).mean())) if y.size else None


def mean_rmsse(
    actual: npt.ArrayLike, forecast: npt.ArrayLike, scale: npt.ArrayLike, group: npt.ArrayLike
) -> float | None:
    """Mean over groups of each group's root mean squared scaled error, as M5 and most libraries report it.

    Example:
        >>> mean_rmsse([4, 6, 1], [2, 6, 4], scale=[2, 2, 1], group=[0, 0, 1])  # (√0.5 + 3) / 2
        1.8535533905932737
    """
    y, f, s, own, _ = _scaled(actual, forecast, scale, group)
    return float(np.sqrt(_means(((y - f) / s) ** 2, own)).mean()) if y.size else None


def wrmsse(
    actual: npt.ArrayLike, forecast: npt.ArrayLike, scale: npt.ArrayLike, weight: npt.ArrayLike, group: npt.ArrayLike
) -> float | None:
    """Weighted root mean squared scaled error of one level of a hierarchy: Σ weight · RMSSE / Σ weight over groups.

    Over several levels it is the plain mean of theirs. None where no group with a scale has a weight.

    Args:
        actual: Demand.
        forecast: Mean forecast.
        scale: Root mean squared one-step change of each cell's group, up to the cutoff.
        weight: What each cell's group is worth, the same for all of its cells: money or units of the last year.
        group: Number of each cell's group.

    Source:
        Makridakis, Spiliotis & Assimakopoulos (2022), M5 accuracy competition.

    Example:
        >>> wrmsse([4, 6, 1], [2, 6, 4], scale=[2, 2, 1], weight=[3, 3, 1], group=[0, 0, 1])  # (3·√0.5 + 3) / 4
        1.2803300858899107
    """
    y, f, s, own, fit = _scaled(actual, forecast, scale, group)
    roots = np.sqrt(_means(((y - f) / s) ** 2, own))
    worth = _means(np.asarray(weight, dtype=np.float64)[fit], own)
    return _share((roots * worth).sum(), worth.sum())


def pinball(
    actual: npt.ArrayLike, quantiles: npt.ArrayLike, levels: Sequence[float], scale: npt.ArrayLike
) -> float | None:
    """Scaled pinball loss, doubled (the median's is its absolute error): mean over cells and levels of loss / scale.

    Args:
        actual: Demand.
        quantiles: Cells × levels.
        levels: Probabilities.
        scale: Mean absolute seasonal change of each cell's series up to the cutoff.
    """
    y, s = np.asarray(actual, dtype=np.float64), np.asarray(scale, dtype=np.float64)
    fit = ~np.isnan(y) & (s > 0)
    if not fit.any():
        return None
    losses = pinball_losses(y[fit], np.asarray(quantiles, dtype=np.float64)[fit], levels)
    return float((losses.mean(axis=1) / s[fit]).mean())


def wql(actual: npt.ArrayLike, quantiles: npt.ArrayLike, levels: Sequence[float]) -> float | None:
    """Weighted quantile loss: mean over levels of 2 Σ pinball / Σ|y|. None where nothing was demanded."""
    y = np.asarray(actual, dtype=np.float64)
    fit = ~np.isnan(y)
    losses = pinball_losses(y[fit], np.asarray(quantiles, dtype=np.float64)[fit], levels)
    return _share(losses.mean(axis=1).sum(), np.abs(y[fit]).sum())


def crps(actual: npt.ArrayLike, quantiles: npt.ArrayLike, levels: Sequence[float]) -> float | None:
    """Continuous ranked probability score, units: mean over cells of twice the integral of pinball over the levels.

    The integral is taken by the trapezoid rule between the levels there are; below the lowest and above the highest
    the loss counts as theirs. A point forecast at symmetric levels so gets its absolute error, as it should.

    Source:
        Gneiting & Ranjan (2011), Comparing density forecasts using threshold- and quantile-weighted scoring rules.

    Example:
        >>> crps([10], [[12, 12, 12]], [0.1, 0.5, 0.9])
        2.0
    """
    y = np.asarray(actual, dtype=np.float64)
    fit = ~np.isnan(y)
    if not fit.any():
        return None
    losses = pinball_losses(y[fit], np.asarray(quantiles, dtype=np.float64)[fit], levels)
    return float((losses * _trapezoid(levels)).sum(axis=1).mean())


def intervals(levels: Sequence[float]) -> list[tuple[int, int, int]]:
    """The central intervals whose two ends are among the levels: per cent, place of the low and of the high end.

    Example:
        >>> intervals([0.1, 0.25, 0.5, 0.75, 0.9])
        [(50, 1, 3), (80, 0, 4)]
    """
    places = {round(level, 3): place for place, level in enumerate(levels)}
    ends = [(percent, round(0.5 - percent / 200, 3), round(0.5 + percent / 200, 3)) for percent in CENTRAL]
    return [(percent, places[low], places[high]) for percent, low, high in ends if low in places and high in places]


def coverage(actual: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike) -> float | None:
    """Share of cells inside an interval, its ends included. None where no cell is known.

    Where demand is often zero an honest interval covers more than it says: `calibration` judges such quantiles.

    Example:
        >>> coverage([1, 5, 9, float("nan")], [1, 1, 1, 1], [6, 6, 6, 6])
        0.6666666666666666
    """
    y, below, above = (np.asarray(values, dtype=np.float64) for values in (actual, low, high))
    fit = ~np.isnan(y)
    inside = (y[fit] >= below[fit] - 1e-9) & (y[fit] <= above[fit] + 1e-9)
    return float(inside.mean()) if fit.any() else None


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


def pinball_losses(actual: Float64Array, quantiles: Float64Array, levels: Sequence[float]) -> Float64Array:
    """Doubled pinball loss of every cell and level, units: 2 · max(τ (y − q), (τ − 1)(y − q)).

    Source:
        Koenker & Bassett (1978), Regression quantiles.
    """
    above = actual[:, None] - quantiles
    tau = np.asarray(levels)
    doubled: Float64Array = 2 * np.maximum(tau * above, (tau - 1) * above)
    return doubled


def _trapezoid(levels: Sequence[float]) -> Float64Array:
    """The share of [0, 1] each ascending level stands for: half way to its neighbours, the outer ones to the ends."""
    tau = np.asarray(levels, dtype=np.float64)
    edges = np.concatenate([[0.0], (tau[1:] + tau[:-1]) / 2, [1.0]])
    return np.diff(edges)


def _scaled(
    actual: npt.ArrayLike, forecast: npt.ArrayLike, scale: npt.ArrayLike, group: npt.ArrayLike
) -> tuple[Float64Array, Float64Array, Float64Array, Int64Array, npt.NDArray[np.bool_]]:
    """Demand, forecast and scale of the cells that have all three, the number of each one's group, and which."""
    y, f, s = (np.asarray(values, dtype=np.float64) for values in (actual, forecast, scale))
    fit = ~np.isnan(y) & ~np.isnan(f) & (s > 0)
    _, own = np.unique(np.asarray(group)[fit], return_inverse=True)
    return y[fit], f[fit], s[fit], own, fit


def _means(cells: Float64Array, own: Int64Array) -> Float64Array:
    means: Float64Array = np.bincount(own, cells) / np.bincount(own)
    return means


def _known(actual: npt.ArrayLike, forecast: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    y, f = np.asarray(actual, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    fit = ~np.isnan(y) & ~np.isnan(f)
    return y[fit], f[fit]


def _share(top: float, bottom: float) -> float | None:
    return float(top / bottom) if bottom > 0 else None
