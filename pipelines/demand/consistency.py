"""Mean and quantiles of the same demand: drawn together where they are learned, and held against each other.

Past forecasts of small series may have come out low, those of large ones high. A miss that cannot be told from chance
does not move the mean (`pipelines.demand.alignment`), so it must not move the quantiles either: they learn how demand
spreads around means that are right on average (`centred`).

Whether the two agree is measured without using the mean. Mean demand is the area under the survival function
S(x) = P(demand > x) (Feller 1971, An Introduction to Probability Theory and Its Applications II, § V.6). Past demand
tells its shape between quantiles and by how much the highest was exceeded; how often each was exceeded is not learned:
there the levels are taken at their word, so that quantiles that are all too high imply a mean that is too high.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from features.windows import Float64Array, Int64Array
from pipelines.demand.distribution import ENOUGH

VOLUMES = ("small", "medium", "large")
TOLERATED_GAP = 0.05  # of the mean, in each volume class
_LEAST_ORIGINS = 2  # what one origin missed says nothing of what is missed on average
_MOST_MISSED = 2.0


def volume_class(mean: Float64Array) -> Int64Array:
    """The volume class of each row of one origin: the smallest rows that hold a third of all expected units, and so on.

    Args:
        mean: Expected demand, units, ≥ 0.

    Example:
        >>> volume_class(np.array([6.0, 1.0, 2.0, 3.0, 6.0])).tolist()
        [1, 0, 0, 0, 2]
    """
    order = np.argsort(mean, kind="stable")
    before = np.cumsum(mean[order]) - mean[order] / 2
    number = np.empty(len(mean), dtype=np.int64)
    total = max(float(mean.sum()), np.finfo(float).tiny)
    number[order] = np.clip(len(VOLUMES) * before / total, 0, len(VOLUMES) - 1)
    return number


def centred(means: Sequence[Float64Array], actual: Sequence[Float64Array]) -> list[Float64Array]:
    """Past demand as it would have been had the means been right on average in each volume class.

    Args:
        means: An origin each: forecasts, units.
        actual: An origin each: demand, units, NaN where unknown.

    Returns:
        An origin each: demand over what it was of its forecast, all origins together; at most half or twice of it.
    """
    if len(means) < _LEAST_ORIGINS:
        return list(actual)
    volumes = [volume_class(mean) for mean in means]
    sums = np.zeros((len(VOLUMES), 2))
    for mean, y, volume in zip(means, actual, volumes, strict=True):
        known = ~np.isnan(y)
        sums += _by_class((mean[known], y[known]), volume[known])
    missed = np.divide(sums[:, 1], sums[:, 0], out=np.ones(len(sums)), where=sums.min(axis=1) > 0)
    missed = np.clip(missed, 1 / _MOST_MISSED, _MOST_MISSED)
    return [y / missed[volume] for y, volume in zip(actual, volumes, strict=True)]


class Window(NamedTuple):
    """Forecasts of one past origin and what came true of them, in units, row by row.

    Attributes:
        quantiles: Rows × levels, ascending, ≥ 0.
        demand: NaN where unknown.
        mean: Mean forecasts.
        unit: About what was expected, > 0: demand above the highest quantile is learned in it.
        step: The smallest step of demand (1 for whole units): a quantile means itself give or take half of it.
    """

    quantiles: Float64Array
    demand: Float64Array
    mean: Float64Array
    unit: Float64Array
    step: Float64Array


@dataclass(frozen=True)
class ImpliedMean:
    """What past demand told of the shape between and beyond quantiles, by volume class.

    Attributes:
        survival: Mean survival between neighbouring quantiles, from zero to the lowest on: class × level.
        excess: Mean demand above the highest quantile, in units of what was expected, by class.
    """

    survival: list[list[float]]
    excess: list[float]

    @classmethod
    def learn(cls, windows: Iterable[Window], levels: Sequence[float]) -> ImpliedMean:
        """Learn from past forecasts.

        Args:
            windows: Past origins.
            levels: Probabilities of the quantiles, ascending.
        """
        sums = np.zeros((len(VOLUMES), 4 * len(levels) + 3))
        for window in windows:
            known = ~np.isnan(window.demand)
            volume = volume_class(window.mean)[known]
            sums += _by_class(_counted(Window(*(each[known] for each in window))), volume)
        sums = np.where(sums[:, -1:] < ENOUGH, sums.sum(axis=0), sums)
        passed, width, above, reached = (part.T for part in np.split(sums[:, :-3].T, 4))
        over, unit = sums[:, -3:-1].T
        nominal = 1 - np.asarray(levels)
        # demand above a quantile was as frequent as its level says if that lies between these two
        share = np.clip(nominal * unit[:, None], above, reached)
        word = np.divide(nominal * unit[:, None], share, out=np.ones_like(share), where=share > 0)
        either = np.sqrt(word * np.column_stack([np.ones(len(word)), word[:, :-1]]))
        survival = either * np.divide(passed, width, out=np.zeros_like(width), where=width > 0)
        excess = word[:, -1] * np.divide(over, unit, out=np.zeros_like(unit), where=unit > 0)
        return cls(survival.tolist(), excess.tolist())

    def of(self, quantiles: Float64Array, volume: Int64Array, unit: Float64Array) -> Float64Array:
        """The mean that quantiles imply, row by row, in units.

        Args:
            quantiles: Units (rows × levels), ascending, ≥ 0.
            volume: Volume class of each row.
            unit: About what was expected, as in `Window`.

        Example:
            >>> even = ImpliedMean([[0.75]] * 3, [0.125] * 3)
            >>> even.of(np.array([[4.0]]), np.array([0]), np.array([8.0])).tolist()
            [4.0]
        """
        between = (np.asarray(self.survival)[volume] * _widths(quantiles)).sum(axis=1)
        beyond = np.asarray(self.excess)[volume] * unit
        return np.asarray(between + beyond)

    def gaps(self, mean: Float64Array, quantiles: Float64Array, unit: Float64Array) -> dict[str, float]:
        """How far the implied mean lies above the mean forecast, as a share of it, in each volume class of one origin.

        Classes in which nothing is expected are left out.
        """
        volume = volume_class(mean)
        sums = _by_class((mean, self.of(quantiles, volume, unit)), volume)
        named = zip(VOLUMES, sums.tolist(), strict=True)
        return {name: implied / expected - 1 for name, (expected, implied) in named if expected > 0}

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dict(vars(self))


def _counted(window: Window) -> Iterator[Float64Array]:
    """What is summed of each row, column by column: all at once would take much memory.

    How far demand got between quantiles, and their distances; the units of rows whose demand lay surely above each
    quantile, and of those where it may have reached it; how far it lay above the highest, its unit, and one.
    """
    demand, unit, half = window.demand, window.unit, window.step / 2
    quantiles, width = window.quantiles.T, _widths(window.quantiles).T
    yield from (np.clip(demand - (q - w), 0, w) for q, w in zip(quantiles, width, strict=True))
    yield from width
    yield from (np.where(demand > q + half, unit, 0) for q in quantiles)
    yield from (np.where(demand >= q - half, unit, 0) for q in quantiles)
    yield from (np.maximum(demand - quantiles[-1], 0), unit, np.ones(len(demand)))


def _widths(quantiles: Float64Array) -> Float64Array:
    """From zero to the lowest quantile, and from each to the next."""
    return np.diff(quantiles, axis=1, prepend=0.0)


def _by_class(columns: Iterable[Float64Array], volume: Int64Array) -> Float64Array:
    """Sums of each column over the rows of each volume class: classes × columns."""
    return np.array([np.bincount(volume, column, len(VOLUMES)) for column in columns]).T
