"""Local models, one series at a time in meaning and all at once in arithmetic: the floor every model must beat.

Each takes demand (series × period, NaN = unknown, the last column is the origin) and gives a point forecast for the
next 1 … H periods. Unknown periods teach nothing; negative ones (more returned than sold) do. No forecast is below
zero, and a series without a known period is forecast 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features import windows as w
from features.windows import FloatArray, Int64Array
from pipelines.demand.shape import level_shape, seasonal_level
from pipelines.demand.smoothing import adida, by_parts, damped_trend, held, imapa, ses, tsb

Local = Callable[[FloatArray, int, int], FloatArray]
"""Demand, horizon, season → forecast: each series by itself."""

Pooled = Callable[[FloatArray, int, int, Int64Array], FloatArray]
"""Demand, horizon, season, group number of each series → forecast: series borrow from their group."""


def moving_average(y: FloatArray, horizon: int, season: int) -> FloatArray:
    """Mean of the last quarter of a year of known periods (of the last four seasons for days), held."""
    periods = 28 if season == 7 else max(3, season // 4)
    return held(by_parts(lambda part: w.last_valid_mean(part, periods), y), horizon)


def seasonal_naive(y: FloatArray, horizon: int, season: int) -> FloatArray:
    """The newest known value of the same season; the mean of what is known where no such season is on record."""
    column = y.shape[1] + np.arange(horizon) - season * np.ceil(np.arange(1, horizon + 1) / season).astype(np.int64)
    newest = w.take(y, column)
    while np.isnan(newest).any() and (column >= season).any():
        column = column - season
        newest = np.where(np.isnan(newest), w.take(y, column), newest)
    return np.maximum(np.where(np.isnan(newest), held(w.mean(y), horizon), newest), 0)


LOCALS: dict[str, Local] = {
    "seasonal_naive": seasonal_naive,
    "moving_average": moving_average,
    "ses": ses,
    "damped_trend": damped_trend,
    "tsb": tsb,
    "adida": adida,
    "imapa": imapa,
    "level_shape": level_shape,
}

POOLED: dict[str, Pooled] = {
    "level_shape": level_shape,
    "seasonal_level": seasonal_level,
}
