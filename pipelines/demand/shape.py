"""Level × shape: a series is the level of its days times the shape of its week and of its year.

A shape says how much of the mean each part of a cycle takes (1 = the mean). It is the recent mean, trusted as far as
cycles agree with each other: shrunk toward the shape of the group, and that toward flat. The level, freed of shape,
is what `pipelines.demand.ridge` forecasts. In the spirit of rank-one factorisation with a frozen shape (FLAIR,
arXiv 2605.07222); trust in place of a test of rank, and the shape of the year, are our own.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import numpy.typing as npt

from features import windows as w
from features.season import RHYTHMS, contributions, pooled
from features.windows import Float64Array, FloatArray, Int64Array
from pipelines.demand.ridge import level_ahead
from pipelines.demand.smoothing import by_parts

_YEARS = 3  # looked at
_WEEKS = 26  # whose days make the shape of the week
_CAP = 3.0  # in units of the level: one large order makes no season
_OVERLAP = 0.4  # of a year seen twice: half the trust
_FREQUENCY = {7: "day", 52: "week", 12: "month"}


def level_shape(y: FloatArray, horizon: int, season: int, group: Int64Array | None = None) -> FloatArray:
    """The level of a series, times the shape of its year and (for days) of its week.

    Less than two cycles leave the shape of the group, or none. Only the last three years are looked at.

    Args:
        y: Demand (series × period), NaN = unknown, the last column is the origin.
        horizon: Periods ahead.
        season: 7 for days, else the periods of a year.
        group: Group number of each series, 0, 1, …; without, each series stands alone.

    Returns:
        Series × horizon, ≥ 0; 0 where nothing is known.

    Example:
        >>> week = np.array([1, 1, 1, 1, 1, 5, 4], dtype=np.float32)
        >>> level_shape(np.tile(week, 20)[None], 7, 7).round(3)
        array([[1., 1., 1., 1., 1., 5., 4.]], dtype=float32)
    """
    alone = np.arange(len(y)) if group is None else group
    week, year = (7, 52) if season == 7 else (1, season)
    recent = _recent(y, max(1, min(-(-y.shape[1] // week), _YEARS * year)) * week)
    scale = np.nan_to_num(w.mean(np.abs(recent)).astype(np.float64))
    unit = np.where(scale > 0, scale, 1)
    days = _days(recent, week, unit, alone)
    level = by_parts(lambda rows: _levels(recent[rows], unit[rows], days[rows]), np.arange(len(y)))
    ahead = -(-horizon // week)
    index, within = year_shape(level, year, alone)
    coming = by_parts(lambda rows: level_ahead(level[rows] / within[rows], ahead), np.arange(len(y)))
    blocks = coming[:, None] * index[:, np.arange(ahead) % index.shape[1]]
    forecast = np.repeat(blocks, week, axis=1) * np.tile(days, ahead)
    return np.maximum(forecast[:, :horizon] * unit[:, None], 0).astype(np.float32)


def seasonal_level(y: FloatArray, horizon: int, season: int, group: Int64Array | None = None) -> FloatArray:
    """The recent level of a series times the seasonal index of its group (`features.season.pooled`).

    For days, also times the shape of its week. Without a year on record the level is held.

    Args:
        y: Demand (series × period), NaN = unknown, the last column is the origin.
        horizon: Periods ahead.
        season: Periods of the season: 7, 52 or 12, for days, weeks or months.
        group: Group number of each series, 0, 1, …; without, all are one group.

    Returns:
        Series × horizon, ≥ 0; 0 where nothing is known.
    """
    group = np.zeros(len(y), dtype=np.int64) if group is None else group
    rhythm = RHYTHMS[_FREQUENCY[season]]
    recent = _recent(y, 2 * rhythm.year + rhythm.level + rhythm.around)
    scale, longer = (np.nan_to_num(w.mean(np.abs(part))) for part in (w.tail(recent, rhythm.year), recent))
    unit = np.where(scale > 0, scale, np.where(longer > 0, longer, 1)).astype(np.float32)
    week = rhythm.week or 1
    days = _days(recent, week, unit.astype(np.float64), group)
    taken = np.tile(days.astype(np.float32), -(-recent.shape[1] // week))[:, -recent.shape[1] :]
    taken = np.where(np.isnan(recent), np.float32(np.nan), taken)
    usual = w.last_valid_mean(taken, rhythm.level) * unit  # the last known days need not be whole weeks
    level = w.ratio(w.last_valid_mean(recent, rhythm.level), usual)
    brought = dict(contributions(recent / unit[:, None], horizon, rhythm))
    [(_, index)] = islice(pooled(brought, {"group": group}, level, np.arange(len(y))), 1)
    forecast = np.where(np.isnan(index), 1, index) * np.nan_to_num(level)[:, None]
    shape = np.tile(days, -(-horizon // week))[:, :horizon]
    points: FloatArray = np.maximum(forecast * shape * unit[:, None], 0).astype(np.float32)
    return points


def week_shape(y: FloatArray, unit: Float64Array, group: Int64Array) -> Float64Array:
    """How much of its week's mean each day takes: series × 7, the first is the day after the origin.

    The largest share a day ever had counts no more than the second largest. What a series has of its own is trusted
    as far as it is more than noise between weeks (empirical Bayes, positive part: Efron & Morris 1973).

    Args:
        y: Demand of whole weeks (series × day).
        unit: Scale of each series.
        group: Group number of each series.
    """
    weeks = (y / unit[:, None]).reshape(len(y), y.shape[1] // 7, 7)
    days = np.ascontiguousarray(np.moveaxis(weeks, 1, 2))  # series × day × week
    known = ~np.isnan(days)
    open_days = known.sum(axis=1)
    mean = _over(_sum(np.where(known, days, 0), axis=1), open_days)
    whole = open_days >= open_days.max(axis=1, initial=0)[:, None] - 1  # the mean of a day or two is not a week's
    share = _over(days, np.where(whole & (mean > 0), mean, np.nan)[:, None])
    if share.shape[2] > 2:
        second = np.sort(np.nan_to_num(share, nan=-np.inf), axis=2)[:, :, -2, None]
        share = np.where(np.isfinite(second), np.minimum(share, second), share)
    known = ~np.isnan(share)
    count = known.sum(axis=2)
    own = _over(np.where(known, share, 0).sum(axis=2), count)
    own = _over(own, _mean(own)[:, None])
    spread = np.where(known, share - own[:, :, None], 0)
    noise = _mean(_over((spread * spread).sum(axis=2), count * np.maximum(count - 1, 1)))
    usual = np.nan_to_num(_of_group(own, group), nan=1.0) if _shared(group) else np.ones_like(own)
    apart = np.nan_to_num(own - usual)
    signal = (apart * apart).sum(axis=1) / np.maximum((count > 0).sum(axis=1), 1)
    trust = np.nan_to_num(_over(np.maximum(signal - noise, 0), signal)) * np.clip((count.max(axis=1) - 1) / 3, 0, 1)
    shape: Float64Array = usual + trust[:, None] * apart
    return shape


def year_shape(level: Float64Array, year: int, group: Int64Array) -> tuple[Float64Array, Float64Array]:
    """How much of the year's mean each coming period takes, and how much each past one took.

    Args:
        level: Series × period, up to the origin; whole years are not needed.
        year: Periods of a year.
        group: Group number of each series.

    Returns:
        Series × year for the periods after the origin; series × period for the past, each judged by the other years.
    """
    periods = level.shape[1]
    if year < 2 or periods <= year:
        return np.ones((len(level), year)), np.ones_like(level)
    share = np.minimum(_over(level, _year_around(level, year)), _CAP)
    lacking = -periods % year
    share = np.pad(share, ((0, 0), (lacking, 0)), constant_values=np.nan)
    usual = np.ones((len(level), year)), np.ones((len(level), periods + lacking))
    if _shared(group):
        size = int(group.max()) + 1
        coming, past = _trusted(_means(share, group), np.ones((size, year)), np.ones((size, periods + lacking)))
        usual = coming[group], past[group]
    coming, past = _trusted(share, *usual)
    return np.maximum(coming, 0), np.maximum(past[:, lacking:], 0.1)


def _recent(y: FloatArray, periods: int) -> FloatArray:
    """The last periods; a series of which nothing is known there is as when it was last heard of."""
    recent = w.tail(y, periods)
    silent = np.isnan(recent).all(axis=1)
    if silent.any():
        recent = recent.copy()
        recent[silent, -1] = w.last_valid_mean(y[silent], 1)
    return recent


def _days(recent: FloatArray, week: int, unit: Float64Array, group: Int64Array) -> Float64Array:
    """The shape of the week (series × 7), or of nothing (series × 1)."""
    return week_shape(w.tail(recent, week * _WEEKS), unit, group) if week > 1 else np.ones((len(recent), 1))


def _levels(y: FloatArray, unit: Float64Array, days: Float64Array) -> Float64Array:
    """Demand of each week (of each period, where a week is one), in units, for an average day of known ones."""
    parts = (y / unit[:, None]).reshape(len(y), y.shape[1] // days.shape[1], days.shape[1])
    known = ~np.isnan(parts)
    return _over(np.where(known, parts, 0).sum(axis=2), np.where(known, days[:, None], 0).sum(axis=2))


def _year_around(level: Float64Array, year: int) -> Float64Array:
    """Mean of the year around each period; the first and the last year stand for the half years at the ends."""
    known = ~np.isnan(level)
    periods = level.shape[1]
    total, count = (np.cumsum(np.pad(v, ((0, 0), (1, 0))), axis=1) for v in (np.where(known, level, 0), known))
    first = known.argmax(axis=1)[:, None]
    end = np.clip(np.arange(periods) + year // 2, first + year - 1, periods - 1) + 1
    start = np.maximum(end - year, 0)
    sums, counts = (np.take_along_axis(v, end, axis=1) - np.take_along_axis(v, start, axis=1) for v in (total, count))
    mean = _over(sums, counts)
    return np.where(mean > 1e-6, mean, np.nan)


def _trusted(share: Float64Array, usual: Float64Array, usual_past: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Shapes of the coming year and of the past, as far as one year tells of the others.

    A year's departure from what is usual is regressed on the mean departure of the other years; the slope, clipped to
    [0, 1] and lowered where little of the year has been seen twice, is the trust. Of the shares as they are and
    averaged with their neighbours (1, 2, 1), those that tell more of the other years are used.
    """
    rows, year = usual.shape
    best, least = (usual, usual_past), np.full(rows, np.inf)
    for smooth in (_with_neighbours(share), share):
        known = ~np.isnan(smooth)
        apart = np.where(known, smooth - usual_past, 0)
        others, seen = (_other_years(v, year) for v in (apart, known.astype(np.float64)))
        twice = known & (seen > 0)
        others = np.where(seen > 0, others / np.maximum(seen, 1), 0)
        now = np.where(twice, share - usual_past, 0)
        cells = twice.sum(axis=1)
        told = _over((now * others).sum(axis=1), np.where(twice, others * others, 0).sum(axis=1))
        slope = np.clip(np.nan_to_num(told), 0, 1)
        trust = (slope * cells**2 / (cells**2 + (_OVERLAP * year) ** 2))[:, None]
        loss = np.where(twice, (now - trust * others) ** 2, 0).sum(axis=1)
        better = (loss < 0.98 * least)[:, None]
        count = _by_year(known.astype(np.float64), year)
        own = _by_year(np.where(known, smooth, 0), year) / np.maximum(count, 1)
        coming = usual + trust * np.where(count > 0, own - usual, 0)
        best = np.where(better, coming, best[0]), np.where(better, usual_past + trust * others, best[1])
        least = np.where(better[:, 0], loss, least)
    return best


def _with_neighbours(share: Float64Array) -> Float64Array:
    padded = np.pad(share, ((0, 0), (1, 1)), constant_values=np.nan)
    around = [padded[:, :-2], share, share, padded[:, 2:]]
    total = np.zeros_like(share)
    count = np.zeros_like(share)
    for values in around:
        total += np.nan_to_num(values)
        count += ~np.isnan(values)
    return np.where(np.isnan(share), np.nan, total / np.maximum(count, 1))


def _by_year(values: Float64Array, year: int) -> Float64Array:
    """Sum over years of each period of the year (series × year)."""
    total = np.zeros((len(values), year))
    for start in range(0, values.shape[1], year):
        total += values[:, start : start + year]
    return total


def _other_years(values: Float64Array, year: int) -> Float64Array:
    """For each period, the sum over the same period of the other years."""
    return np.tile(_by_year(values, year), values.shape[1] // year) - values


def _shared(group: Int64Array) -> bool:
    return len(np.unique(group)) < len(group)


def _means(values: Float64Array, group: Int64Array) -> Float64Array:
    """Mean of the known values of each group, column by column (group × column)."""
    size = int(group.max(initial=-1)) + 1
    total, count = np.zeros((2, size, values.shape[1]))
    known = ~np.isnan(values)
    np.add.at(total, group, np.where(known, values, 0))
    np.add.at(count, group, known)
    return _over(total, count)


def _of_group(values: Float64Array, group: Int64Array) -> Float64Array:
    return _means(values, group)[group]


def _mean(values: Float64Array) -> Float64Array:
    known = ~np.isnan(values)
    return _over(np.where(known, values, 0).sum(axis=1), known.sum(axis=1))


def _sum(values: Float64Array, axis: int) -> Float64Array:
    total: Float64Array = np.ascontiguousarray(np.moveaxis(values, axis, -1)).sum(axis=-1)
    return total


def _over(top: npt.ArrayLike, bottom: npt.ArrayLike) -> Float64Array:
    """Top / bottom, NaN where the bottom is zero or unknown."""
    top, bottom = np.broadcast_arrays(top, bottom)
    quotient: Float64Array = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return quotient
