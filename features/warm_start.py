"""The scale of young series: what their group sold at the same age, until their own record speaks.

Credibility in Bühlmann's sense: a mean of n periods counts n / (n + κ) against the mean of its group, where κ is the
variance within a series over the variance between series. Where series of a group differ little and sell unevenly, the
group speaks longer; where they differ much, a single period says more.

Source:
    Bühlmann & Gisler (2005), A Course in Credibility Theory and its Applications, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features import windows as w
from features.season import Rhythm
from features.windows import Float64Array, FloatArray, Int64Array

_FEW = 5  # series a group needs to speak for its young ones


@dataclass(frozen=True)
class _Record:
    """What each series tells others of a start: its level and variance over some periods, and whether it was seen.

    Attributes:
        level: Mean demand a period, units; NaN where it tells nothing.
        within: Unbiased variance of a period.
        periods: Known periods behind both.
        launched: Whether they are its first ones, and the start was seen.
    """

    level: FloatArray
    within: FloatArray
    periods: Int64Array
    launched: npt.NDArray[np.bool_]


def warmed(scale: FloatArray, history: FloatArray, groups: Sequence[Int64Array], rhythm: Rhythm) -> FloatArray:
    """Scales, those of young series drawn toward what series of their group sold when they were as young.

    A series is young (`cold_start`) until it has as many known periods as the model has lags; its group has less and
    less to say until then. The unit of a young one that has not sold yet is its group's level: none is made up. One
    that had its time and never sold keeps the part of it that its silent periods leave credible, and at least what
    selling it once a year would be.

    Args:
        scale: `features.demand.scale_of` of the history, units.
        history: Demand up to the origin, units (series × period), unknown before the first sale.
        groups: Group numbers of each series, from all in one to the narrowest grouping; the narrowest that knows
            enough series speaks. All together differ too much to have a say once a series has sold.
        rhythm: Windows of the frequency.

    Returns:
        Units; unchanged where no group knows enough series.
    """
    first, young = rhythm.means[2], rhythm.lags
    known = (~np.isnan(history)).sum(axis=1)
    record = _record(history, first, young)
    mean, kappa, apart = _of_groups(record, groups, first)
    fading = np.where(apart, kappa, 0) * np.maximum(0, 1 - known / young)
    trust = np.divide(known, known + fading, out=np.zeros(len(known)), where=known + fading > 0)
    sold = (history > 0).any(axis=1)
    silent = mean * np.divide(kappa, known + kappa, out=np.zeros(len(known)), where=kappa > 0)
    unsold = np.where(known < young, mean, np.maximum(silent, mean / rhythm.year))
    drawn = np.where(sold, trust * scale + (1 - trust) * mean, unsold)
    return np.where(mean > 0, drawn, scale).astype(np.float32)


def _record(history: FloatArray, span: int, least: int) -> _Record:
    """The first periods of each series whose start was seen, the last ones of every other that sold."""
    valid = ~np.isnan(history)
    first = np.argmax(valid, axis=1)
    launched = (first > 0) & (valid.sum(axis=1) >= least) & (history > 0).any(axis=1)
    start = np.where(launched, first, max(0, history.shape[1] - span))
    columns = start[:, None] + np.arange(span)
    inside = columns < history.shape[1]
    window = np.take_along_axis(history, np.where(inside, columns, 0), axis=1) if history.shape[1] else history
    window = np.where(inside, window, np.nan).astype(np.float32)
    periods = (~np.isnan(window)).sum(axis=1)
    level = np.where((periods >= least) & (history > 0).any(axis=1), w.mean(window), np.nan).astype(np.float32)
    return _Record(level, w.ratio(w.deviation(window) ** 2 * periods, np.maximum(periods - 1, 1)), periods, launched)


def _of_groups(
    record: _Record, groups: Sequence[Int64Array], most: int
) -> tuple[Float64Array, Float64Array, npt.NDArray[np.bool_]]:
    """Level and κ of each series' group, 0 where none knows enough, and whether it is narrower than all together.

    Launches speak before others.
    """
    mean, kappa = np.full((2, len(record.level)), np.nan)
    apart, told = np.zeros(len(mean), dtype=bool), ~np.isnan(record.level)
    for group in groups:
        for speaks in (told, told & record.launched):
            enough, level, ratio = _credibility(record, group, speaks, most)
            mean, kappa = np.where(enough, level, mean), np.where(enough, ratio, kappa)
            apart |= enough & (group is not groups[0])
    return np.nan_to_num(mean), np.nan_to_num(kappa), apart


def _credibility(
    record: _Record, group: Int64Array, speaks: npt.NDArray[np.bool_], most: int
) -> tuple[npt.NDArray[np.bool_], Float64Array, Float64Array]:
    """Whether each series' group has enough that speak, their mean level and κ, at most so many periods."""
    size = int(group.max(initial=0)) + 1

    def total(values: npt.ArrayLike) -> Float64Array:
        return np.bincount(group, np.where(speaks, values, 0), minlength=size).astype(np.float64)

    count = total(1)
    some = np.maximum(count, 1)
    mean = total(record.level) / some
    within = total(record.within) / some
    noise = total(record.within / np.maximum(record.periods, 1)) / some
    between = total((record.level - mean[group]) ** 2) / np.maximum(count - 1, 1) - noise
    kappa = np.full(size, float(most))
    np.divide(within, between, out=kappa, where=between * most > within)
    return (count >= _FEW)[group], mean[group], kappa[group]
