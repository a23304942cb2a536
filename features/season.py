"""What can be said of a target period in advance: its season a year before, its calendar, its known covariates.

Arrays of history end at the origin: column −1 is the origin itself, target `h` would be column `columns + h − 1`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

from features import windows as w
from features.calendar import Grid, holidays_between
from features.windows import FloatArray

_CAP = 20  # in units of a series' scale: one large order does not make a season


@dataclass(frozen=True)
class Rhythm:
    """The windows that suit a frequency, in periods."""

    year: int
    around: int
    lags: int
    means: tuple[int, ...]
    level: int
    half_lives: tuple[int, ...]
    week: int | None = None


RHYTHMS = {
    "day": Rhythm(364, 3, 7, (7, 14, 28, 91, 182, 364), 28, (7, 28), week=7),
    "week": Rhythm(52, 1, 4, (4, 8, 13, 26, 52), 8, (3, 10)),
    "month": Rhythm(12, 0, 3, (3, 6, 12, 24), 6, (2, 6)),
}


def target_aligned(y: FloatArray, horizon: int, rhythm: Rhythm) -> Iterator[tuple[str, FloatArray]]:
    """The same season one and two years before each target; for days also the same weekday of the last weeks.

    Args:
        y: Scaled demand up to the origin (series × period).
        horizon: Periods ahead.
        rhythm: Windows of the frequency.

    Yields:
        Name and values (series × horizon).
    """
    target = y.shape[1] + np.arange(horizon)
    around = np.arange(-rhythm.around, rhythm.around + 1)
    for years in (1, 2):
        yield f"year_ago_{years}", w.take(y, target - years * rhythm.year)
        if rhythm.around:
            yield f"year_ago_{years}_around", w.mean(w.take(y, target[:, None] - years * rhythm.year + around))
    if rhythm.week is not None:
        back = rhythm.week * np.ceil(np.arange(1, horizon + 1) / rhythm.week).astype(np.int64)
        weekdays = w.take(y, (target - back)[:, None] - rhythm.week * np.arange(8))
        yield "weekday_1", weekdays[:, :, 0]
        yield "weekday_4", w.mean(weekdays[:, :, :4])
        yield "weekday_8", w.mean(weekdays)
        yield "weekday_median_8", w.median(weekdays)


def contributions(y: FloatArray, horizon: int, rhythm: Rhythm) -> Iterator[tuple[str, FloatArray]]:
    """What each series brings to the season and momentum of its groups; each value capped.

    Args:
        y: Scaled demand up to the origin (series × period).
        horizon: Periods ahead.
        rhythm: Windows of the frequency.

    Yields:
        Name and values: around each target one and two years before (`later_…`, series × horizon), and, one value a
        series, in the periods up to the origin of those years (`before_…`), lately (`now`, `recent`, `year`) and in
        the same quarter a year ago (`last_year`).
    """
    end = y.shape[1]
    near = (end + np.arange(horizon))[:, None] + np.arange(-rhythm.around, rhythm.around + 1)
    base = end - 1 - np.arange(rhythm.level)
    quarter = np.arange(rhythm.means[2])

    def capped(window: FloatArray) -> FloatArray:
        return w.mean(np.minimum(window, np.float32(_CAP)))

    for years in (1, 2):
        yield f"later_{years}", capped(w.take(y, near - years * rhythm.year))
        yield f"before_{years}", capped(w.take(y, base - years * rhythm.year))
    for name, span in (("now", rhythm.means[0]), ("recent", rhythm.means[2]), ("year", rhythm.year)):
        yield name, capped(w.tail(y, span))
    yield "last_year", capped(w.take(y, end - 1 - rhythm.year - quarter))


def pooled(
    brought: Mapping[str, FloatArray],
    groups: Mapping[str, npt.NDArray[np.int64]],
    level: FloatArray,
    chosen: npt.NDArray[np.int64],
) -> Iterator[tuple[str, FloatArray]]:
    """Season and momentum of the groups a series belongs to.

    The seasonal index of a target is what the group sold around it one and two years before, divided by what it sold
    in the periods up to the origin of those years. Only series that lived then count. The series' own index is shrunk
    toward that of its group.

    Args:
        brought: What `contributions` says of every series.
        groups: Name → group number of each series.
        level: Recent level of each chosen series, scaled.
        chosen: Series for which values are wanted.

    Yields:
        Name and values (chosen series × horizon, or chosen series × 1).
    """
    later, before = ([brought[f"{name}_{years}"] for years in (1, 2)] for name in ("later", "before"))
    there, base = later[0][chosen], before[0][chosen, None]
    for name, group in groups.items():
        own_group = group[chosen]
        index = _group_index(later, before, group)[own_group]
        own = w.ratio(np.nan_to_num(there) + 0.5 * index, np.nan_to_num(base) + 0.5)
        own = np.where(np.isnan(there) | np.isnan(base), index, own)
        yield f"season_{name}", index
        yield f"season_{name}_level", index * level[:, None]
        yield f"season_{name}_own_level", own * level[:, None]
        for kind, top, bottom in (
            (f"momentum_{name}", "now", "recent"),
            (f"momentum_{name}_year", "recent", "year"),
            (f"growth_{name}", "recent", "last_year"),
        ):
            yield kind, _group_ratio(brought[top], brought[bottom], group)[own_group, None]


def _group_index(later: list[FloatArray], before: list[FloatArray], group: npt.NDArray[np.int64]) -> FloatArray:
    """The index of each group: group × horizon."""
    size = int(group.max(initial=0)) + 1
    top, bottom = np.zeros((2, size, later[0].shape[1]), dtype=np.float64)
    for target, base in zip(later, before, strict=True):
        for step, values in enumerate(target.T):
            both = ~np.isnan(values) & ~np.isnan(base)
            top[:, step] += np.bincount(group, np.where(both, values, 0), minlength=size)
            bottom[:, step] += np.bincount(group, np.where(both, base, 0), minlength=size)
    return w.ratio(top, bottom)


def _group_ratio(top: FloatArray, bottom: FloatArray, group: npt.NDArray[np.int64]) -> FloatArray:
    both = ~np.isnan(top) & ~np.isnan(bottom)
    size = int(group.max(initial=0)) + 1
    sums = (np.bincount(group, np.where(both, values, 0), minlength=size) for values in (top, bottom))
    return w.ratio(*sums)


def target_calendar(
    grid: Grid, origin: int, horizon: int, rhythm: Rhythm, country: str | None
) -> Iterator[tuple[str, FloatArray]]:
    """Date parts, Fourier terms and holidays of each target period.

    Yields:
        Name and one value a horizon.
    """
    numbers = [origin + step for step in range(1, horizon + 1)]
    spans = [(grid.first_day(number), grid.last_day(number)) for number in numbers]
    middles = [first + (last - first) / 2 for first, last in spans]
    yield "month", np.array([day.month for day in middles], dtype=np.float32)
    if grid.frequency != "month":
        yield "week_of_year", np.array([day.isocalendar().week for day in middles], dtype=np.float32)
    if grid.frequency == "day":
        yield "weekday", np.array([day.isoweekday() for day in middles], dtype=np.float32)
        yield "day_of_month", np.array([day.day for day in middles], dtype=np.float32)
    angle = 2 * np.pi * np.array([day.timetuple().tm_yday for day in middles]) / 365.25
    for order in (1, 2):
        yield f"sine_{order}", np.sin(order * angle).astype(np.float32)
        yield f"cosine_{order}", np.cos(order * angle).astype(np.float32)
    if country is not None:
        yield from _holidays(spans, country, rhythm, grid)


def _holidays(
    spans: list[tuple[date, date]], country: str, rhythm: Rhythm, grid: Grid
) -> Iterator[tuple[str, FloatArray]]:
    year = timedelta(days=364 if grid.frequency != "month" else 365)
    length = timedelta(days=round(grid.days_a_period))
    days = holidays_between(country, spans[0][0] - year - length, spans[-1][1] + length)

    def within(shift: timedelta) -> FloatArray:
        counts = [sum(first + shift <= day <= last + shift for day in days) for first, last in spans]
        return np.array(counts, dtype=np.float32)

    here = within(timedelta(0))
    yield "holidays", here
    yield "holidays_before", within(-length)
    yield "holidays_after", within(length)
    yield "holidays_change", here - within(-year)


def target_covariates(
    ahead: Mapping[str, FloatArray], alike: Sequence[str], y: FloatArray, horizon: int, rhythm: Rhythm
) -> Iterator[tuple[str, FloatArray]]:
    """Covariates known ahead, at the target period, and what sold in past periods that were like it.

    Args:
        ahead: Name → values (series × period), reaching beyond the origin.
        alike: Those by which past periods are compared with the target.
        y: Scaled demand up to the origin (series × period).
        horizon: Periods ahead.
        rhythm: Windows of the frequency.

    Yields:
        Name and values (series × horizon).
    """
    end = y.shape[1]
    target = end + np.arange(horizon)
    for name, values in ahead.items():
        there = w.take(values, target)
        yield f"ahead_{name}", there
        yield f"ahead_{name}_before", w.take(values, target - 1)
        yield f"ahead_{name}_after", w.take(values, target + 1)
        yield f"ahead_{name}_year_ago", w.take(values, target - rhythm.year)
        usual = w.mean(w.tail(values[:, :end], rhythm.year))
        yield f"ahead_{name}_to_usual", w.ratio(there, usual[:, None])
    if alike:
        yield from _alike([ahead[name] for name in alike], y, target, rhythm)


def _alike(
    covariates: Sequence[FloatArray], y: FloatArray, target: npt.NDArray[np.int64], rhythm: Rhythm
) -> Iterator[tuple[str, FloatArray]]:
    """Mean demand of the past year's periods with the same covariates (for days, also the same weekday)."""
    end, stride = y.shape[1], rhythm.week or 1
    mean, near = (np.full((y.shape[0], len(target)), np.nan, dtype=np.float32) for _ in range(2))
    for first in range(min(stride, len(target))):  # targets of one weekday look back at the same periods
        newest = end - 1 - (end - 1 - target[first]) % stride
        columns = np.arange(newest - (newest - end + rhythm.year) // stride * stride, newest + 1, stride)
        recency = np.exp2(-(end - 1 - columns) / (rhythm.year / 4)).astype(np.float32)
        recent = w.take(y, columns)
        past = [w.take(values[:, :end], columns) for values in covariates]
        for step in range(first, len(target), stride):
            same = ~np.isnan(recent)
            for values, then in zip(covariates, past, strict=True):
                there = w.take(values, target[step, None])
                same &= (then == there) | (np.isnan(there) & np.isnan(then))
            like = w.only(recent, same)
            mean[:, step] = w.ratio(w.total(like), w.count(same))
            near[:, step] = w.ratio(w.total(like * recency), w.total(same * recency))
    yield "alike", mean
    yield "alike_recent", near
