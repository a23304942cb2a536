"""The level of many series some periods ahead: a ridge on their own smoothed past, one fit a series, all at once."""

from __future__ import annotations

import numpy as np

from features.windows import Float64Array

ALPHA = 0.25  # of the level that is kept where nothing better is known
_ALPHAS = (1.0, 0.5, 0.07)  # faster and slower levels: what they differ by from the kept one tells where it is going
_PENALTIES = (np.inf, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)  # times the mean eigenvalue; infinite = keep the level
_GAIN = 0.98  # a weaker penalty must lower the squared error by more than chance does
_LEAST_ROWS = 12


def level_ahead(values: Float64Array, ahead: int) -> Float64Array:
    """Mean level over the next periods.

    A smoothed level, plus a ridge of what came later on how faster and slower levels differed from it and on a
    constant (the drift). The penalty of each series is the one with the least leave-one-out error, in closed form;
    the largest leaves the smoothed level as it is. Means over `ahead` periods overlap from row to row, so a row's
    leverage counts that often. Short records keep the smoothed level.

    Args:
        values: Series × period without season, in units of the series' scale; NaN = unknown.
        ahead: Periods ahead.

    Returns:
        One level a series; 0 where nothing is known.

    Source:
        Golub, Heath & Wahba (1979), Technometrics 21(2), for leave-one-out errors from leverages.

    Example:
        >>> level_ahead(np.array([[2.0, 2.0, np.nan, 2.0]]), 3)
        array([2.])
    """
    kept = smoothed_means(values, ALPHA)
    now = np.nan_to_num(kept[:, -1])
    rows = values.shape[1] - ahead
    if rows < _LEAST_ROWS:
        return now
    differences = [smoothed_means(values, alpha) - kept for alpha in _ALPHAS]
    differences.append(np.where(np.isnan(kept), np.nan, 1.0))
    later = mean_of_next(values, ahead)[:, :rows] - kept[:, :rows]
    change = ridge([one[:, :rows] for one in differences], later, [one[:, -1] for one in differences], ahead)
    return now + change


def smoothed_means(values: Float64Array, alpha: float) -> Float64Array:
    """Exponentially weighted means of the known values so far: series × period, NaN before the first."""
    total, weight = np.zeros((2, len(values)))
    means = np.full_like(values, np.nan)
    for column, value in enumerate(values.T):
        known = ~np.isnan(value)
        total = np.where(known, (1 - alpha) * total + np.where(known, value, 0), total)
        weight = np.where(known, (1 - alpha) * weight + 1, weight)
        np.divide(total, weight, out=means[:, column], where=weight > 0)
    return means


def mean_of_next(values: Float64Array, periods: int) -> Float64Array:
    """Mean of the known values among the next periods, after each one; NaN where there are none."""
    known = ~np.isnan(values)
    total, count = np.zeros((2, *values.shape))
    for step in range(1, periods + 1):
        total[:, :-step] += np.where(known, values, 0)[:, step:]
        count[:, :-step] += known[:, step:]
    means: Float64Array = np.divide(total, count, out=np.full_like(values, np.nan), where=count > 0)
    return means


def ridge(inputs: list[Float64Array], target: Float64Array, now: list[Float64Array], overlap: int = 1) -> Float64Array:
    """One ridge a series, its penalty chosen by leave-one-out error, applied to the inputs of now.

    Args:
        inputs: Series × row each; scaled here to a mean square of one.
        target: Series × row; rows with an unknown target or input are left out.
        now: One value a series for each input.
        overlap: How many neighbouring rows share most of their target.

    Returns:
        One prediction a series; 0 where rows are few.
    """
    known = ~np.isnan(target) & ~np.isnan(inputs).any(axis=0)
    count = np.maximum(known.sum(axis=1), 1)
    z = np.where(known, target, 0)
    x = [np.where(known, values, 0) for values in inputs]
    unit = [np.sqrt((values * values).sum(axis=1) / count) for values in x]
    unit = [np.where(size > 1e-9, size, np.inf) for size in unit]  # an input that never moved has no say
    x = [values / size[:, None] for values, size in zip(x, unit, strict=True)]
    here = [np.nan_to_num(value) / size for value, size in zip(now, unit, strict=True)]
    # sums along rows, not matrix products: BLAS rounds a series differently in batches of different size
    gram = np.stack([np.stack([(a * b).sum(axis=1) for b in x], axis=1) for a in x], axis=1)
    size, turn = np.linalg.eigh(gram)
    parts = [_turned(x, turn[:, :, j, None]) for j in range(len(x))]
    part_here = [_turned(here, turn[:, :, j]) for j in range(len(x))]
    toward = [(part * z).sum(axis=1) for part in parts]
    least, best = np.full(len(z), np.inf), np.zeros(len(z))
    for penalty in _PENALTIES:
        shrunk = [1 / (np.maximum(size[:, j], 0) + penalty * count) for j in range(len(x))]
        weights = [a * b for a, b in zip(toward, shrunk, strict=True)]
        fitted = sum(part * weight[:, None] for part, weight in zip(parts, weights, strict=True))
        leverage = sum(part * part * shrink[:, None] for part, shrink in zip(parts, shrunk, strict=True))
        error = np.where(known, (z - fitted) / np.maximum(1 - overlap * leverage, 0.05), 0)
        loss = (error * error).sum(axis=1)
        better = loss < _GAIN * least
        prediction = sum(a * b for a, b in zip(part_here, weights, strict=True))
        least, best = np.where(better, loss, least), np.where(better, prediction, best)
    return np.where(known.sum(axis=1) >= _LEAST_ROWS, best, 0)


def _turned(x: list[Float64Array], direction: Float64Array) -> Float64Array:
    total = np.zeros_like(x[0])
    for j, values in enumerate(x):
        total += values * direction[:, j]
    return total
