"""Local models, one series at a time in meaning and all at once in arithmetic: the floor every model must beat.

Each takes demand (series × period, NaN = unknown, the last column is the origin) and gives a point forecast for the
next 1 … H periods. Unknown periods teach nothing; a series without a known period is forecast 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from features import windows as w
from features.windows import FloatArray

Local = Callable[[FloatArray, int, int], FloatArray]


def moving_average(y: FloatArray, horizon: int, season: int) -> FloatArray:
    """Mean of the last quarter of a year of known periods (of the last four seasons for days), held."""
    periods = 28 if season == 7 else max(3, season // 4)
    return _held(w.last_valid_mean(y, periods), horizon)


def seasonal_naive(y: FloatArray, horizon: int, season: int) -> FloatArray:
    """The newest known value of the same season; the mean of what is known where no such season is on record."""
    target = y.shape[1] + np.arange(horizon)
    back = season * np.ceil(np.arange(1, horizon + 1) / season).astype(np.int64)
    cycles = max(1, -(-y.shape[1] // season))
    same = w.take(y, (target - back)[:, None] - season * np.arange(cycles))
    newest = np.take_along_axis(same, np.argmax(~np.isnan(same), axis=2)[:, :, None], axis=2)[:, :, 0]
    return np.where(np.isnan(newest), _held(w.mean(y), horizon), newest).astype(np.float32)


def tsb(y: FloatArray, horizon: int, season: int, alpha: float = 0.2, beta: float = 0.1) -> FloatArray:
    """Teunter, Syntetos & Babai (2011, eq. 3): demand size smoothed when there is demand, its probability always.

    Args:
        y: Demand (series × period).
        horizon: Periods ahead.
        season: Not used.
        alpha: Smoothing of the size.
        beta: Smoothing of the probability.
    """
    size = w.mean(np.where(y > 0, y, np.nan).astype(np.float32)[:, : max(1, season)])
    share = w.share_positive(y[:, : max(1, season)])
    for column in y.T:
        sold, known = column > 0, ~np.isnan(column)
        new_size = np.where(np.isnan(size), column, size + alpha * (column - size))
        size = np.where(sold, new_size, size)
        new_share = np.where(np.isnan(share), sold, share + beta * (sold - share))
        share = np.where(known, new_share, share)
    return _held(np.nan_to_num(size) * np.nan_to_num(share), horizon)


LOCALS: dict[str, Local] = {
    "seasonal_naive": seasonal_naive,
    "moving_average": moving_average,
    "tsb": tsb,
}


def _held(level: npt.NDArray[np.floating], horizon: int) -> FloatArray:
    return np.repeat(np.nan_to_num(level).astype(np.float32)[:, None], horizon, axis=1)
