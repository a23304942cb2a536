"""Outliers: single periods that sold far more or less than the series usually sells when it sells.

Judged are sizes alone, so that zeros of an intermittent series are no news. What is usual is the series' own running
median times what the whole shop did in that period. A size must be far from it twice: by the spread of the series'
other sizes (their logarithms), and, where demand comes in whole units, by more than counts differ by chance.

Source:
    Tukey (1977), Exploratory Data Analysis, ch. 11 (row and column effects by medians); Iglewicz & Hoaglin (1993), How
    to Detect and Handle Outliers, for z from the median absolute deviation; Anscombe (1948), Biometrika 35, for the
    square root that gives counts the same variance whatever their mean.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from features import windows as w
from features.demand import without_leading_zeros
from features.panel import Panel
from features.season import RHYTHMS, Rhythm
from features.windows import FloatArray

FAR = 6.0  # robust standard deviations
_NORMAL = 1.4826  # standard deviations a median absolute deviation stands for, if errors are normal
_ENOUGH = 8  # sales of a year that tell what is usual
_NEAR = 5  # sales near a period that tell what was usual then
_STEADIEST = 0.05  # no series is taken to be steadier than this, a share of its size


def robust_z(history: FloatArray, rhythm: Rhythm) -> tuple[FloatArray, FloatArray]:
    """How far each sale of the last year is from what was usual, and what was usual.

    Args:
        history: Demand up to the origin, units (series × period, NaN = unknown).
        rhythm: Windows of the frequency.

    Returns:
        z, in robust standard deviations, and the usual size, units, both series × the last year; NaN
        where nothing was sold or too little is known of the series.
    """
    half = rhythm.means[2] // 2
    sizes = np.where(history > 0, history, np.nan).astype(np.float32)
    logs = np.pad(np.log(w.tail(sizes, rhythm.year + half)), ((0, 0), (0, half)), constant_values=np.nan)
    year = logs[:, half : half + rhythm.year]
    level = np.repeat(w.median(year)[:, None], rhythm.year, axis=1)
    for column in range(rhythm.year):
        near = logs[:, column : column + 2 * half + 1]
        level[:, column] = np.where((~np.isnan(near)).sum(axis=1) >= _NEAR, w.median(near), level[:, column])
    usual = level + np.nan_to_num(w.median((year - level).T))
    left = year - usual
    spread = _NORMAL * w.median(np.abs(left - w.median(left)[:, None]))[:, None]
    z = left / np.maximum(spread, _STEADIEST)
    if np.array_equal(history[~np.isnan(history)], np.rint(history[~np.isnan(history)])):
        z = np.sign(z) * np.minimum(np.abs(z), np.abs(2 * (np.exp(year / 2) - np.exp(usual / 2))))
    enough = (~np.isnan(year)).sum(axis=1)[:, None] >= _ENOUGH
    return np.where(enough, z, np.nan).astype(np.float32), np.where(enough, np.exp(usual), np.nan).astype(np.float32)


def outliers(panel: Panel, origin: int) -> pl.DataFrame:
    """The outliers of the year up to an origin, the farthest first.

    Args:
        panel: The panel; it is cut at the origin here.
        origin: Number of the last period that is over.

    Returns:
        The series keys, `period`, `quantity` and `usual` (units) and `z`, of every sale at least `FAR` from usual.
    """
    known = panel.known(origin)
    z, usual = robust_z(without_leading_zeros(known.quantity), RHYTHMS[panel.grid.frequency])
    row, column = np.nonzero(np.abs(np.nan_to_num(z)) >= FAR)
    first = origin - z.shape[1] + 1
    quantity = w.tail(known.quantity, z.shape[1])[row, column]
    found = {"quantity": quantity, "usual": usual[row, column], "z": z[row, column]}
    return (
        known.series.select(panel.keys)[row]
        .with_columns(period=panel.grid.labels(pl.lit(pl.Series(column + first, dtype=pl.Int32))))
        .hstack(pl.DataFrame(found).cast(pl.Float64))
        .sort(pl.col("z").abs(), *panel.keys, "period", descending=[True] + [False] * (len(panel.keys) + 1))
    )
