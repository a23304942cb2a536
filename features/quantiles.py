"""The distribution of demand that a mean and some quantiles describe: demand at a rank, and the rank of a demand.

The curve goes through every quantile and down to a floor of zero below the lowest; equal quantiles are an atom. Above
the highest quantile the tail is exponential through the two highest, or, where these coincide, the exponential that
restores the mean. Between the quantiles the curve bends as far as the mean asks for: straight lines would give a
skewed series, silent in most periods, far more than its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.windows import Float64Array, Int64Array

_LEAST_AREA = 0.1  # of the area between two quantiles, below or above the curve: bends have an end


def demand_at(rank: Float64Array, levels: Float64Array, quantiles: Float64Array, mean: Float64Array) -> Float64Array:
    """Inverse distribution function of demand.

    Args:
        rank: Probabilities, shape (n, m) or (1, m).
        levels: Levels of the quantiles, ascending, at most three decimals, shape (q,).
        quantiles: Units, shape (n, q); made non-negative and ascending here.
        mean: Units, shape (n,).

    Returns:
        Units, shape (n, m).

    Example:
        >>> levels, quantiles = np.array([0.25, 0.5, 0.75, 0.999]), np.array([[0.0, 0.0, 4.0, 4.0]])
        >>> demand_at(np.array([[0.4, 0.625, 0.75]]), levels, quantiles, np.array([1.5])).round(6).tolist()
        [[0.0, 2.0, 4.0]]
    """
    return Curve.through(levels, quantiles, mean).at(rank)


def rank_of(demand: Float64Array, levels: Float64Array, quantiles: Float64Array, mean: Float64Array) -> Float64Array:
    """Distribution function P(demand ≤ a value): what `demand_at` inverts.

    Args:
        demand: Units, shape (n,); NaN gives NaN.
        levels: Levels of the quantiles, ascending, at most three decimals, shape (q,).
        quantiles: Units, shape (n, q); made non-negative and ascending here.
        mean: Units, shape (n,).

    Returns:
        Probabilities, shape (n,).

    Example:
        >>> levels, quantiles = np.array([0.25, 0.5, 0.75, 0.999]), np.array([[0.0, 0.0, 4.0, 4.0]] * 3)
        >>> rank_of(np.array([-1.0, 0.0, 2.0]), levels, quantiles, np.full(3, 1.5)).round(6).tolist()
        [0.0, 0.5, 0.625]
    """
    return Curve.through(levels, quantiles, mean).rank(demand)


@dataclass(frozen=True)
class Curve:
    """Inverse distribution functions of n rows.

    Attributes:
        knots: Probabilities, from zero on, shape (q + 1,).
        values: Demand at the knots, units, shape (n, q + 1).
        tail: Scale of the exponential above the highest knot, units, shape (n,).
        power: Between two knots demand rises with this power of the probability, shape (n,); 1 is a straight line.
    """

    knots: Float64Array
    values: Float64Array
    tail: Float64Array
    power: Float64Array

    @classmethod
    def through(cls, levels: Float64Array, quantiles: Float64Array, mean: Float64Array) -> Curve:
        """The curves through quantiles; arguments as of `demand_at`."""
        values = np.maximum.accumulate(np.maximum(quantiles, 0.0), axis=1)
        if len(levels) > 1:
            slope = (values[:, 1] - values[:, 0]) / (levels[1] - levels[0])
            floor = np.maximum(values[:, 0] - slope * levels[0], 0.0)
        else:
            floor = np.zeros(len(values))
        knots, values = np.concatenate([[0.0], levels]), np.column_stack([floor, values])
        beyond, width = 1 - knots[-1], np.diff(knots)
        least, between = ((area * width).sum(axis=1) for area in (values[:, :-1], np.diff(values, axis=1)))
        through_two = (values[:, -1] - values[:, -2]) / np.log((1 - knots[-2]) / beyond)
        restoring_mean = np.maximum((mean - least - between / 2) / beyond - values[:, -1], 0.0)
        tail = np.where(values[:, -1] > values[:, -2], through_two, restoring_mean)
        # ∫ t^γ dt = 1 / (1 + γ) is the part of the area between the quantiles that the mean leaves below the curve
        below = mean - least - beyond * (values[:, -1] + tail)
        part = np.divide(below, between, out=np.full(len(values), 0.5), where=between > 0)
        return cls(knots, values, tail, 1 / np.clip(part, _LEAST_AREA, 1 - _LEAST_AREA) - 1)

    def at(self, rank: Float64Array) -> Float64Array:
        """Demand at ranks, shape (n, m) or (1, m): units, shape (n, m)."""
        segment = _segment_of_thousandth(self.knots)[(rank * 1000).astype(np.int64)]
        part = np.clip((rank - self.knots[segment]) / np.diff(self.knots)[segment], 0.0, 1.0)
        low, rise = self.values, np.diff(self.values, axis=1)
        if len(segment) == 1:  # the ranks are everybody's: whole columns, many times faster than element by element
            low, rise = low[:, segment[0]], rise[:, segment[0]]
        else:
            low, rise = np.take_along_axis(low, segment, axis=1), np.take_along_axis(rise, segment, axis=1)
        beyond = np.log((1 - self.knots[-1]) / np.minimum(1 - rank, 1 - self.knots[-1]))
        with np.errstate(divide="ignore"):  # at a knot itself the part is nothing, and so is its power
            risen = np.exp(self.power[:, None] * np.log(part))  # thrice as fast as the power itself
        return np.asarray(low + rise * risen + self.tail[:, None] * beyond)

    def rank(self, demand: Float64Array) -> Float64Array:
        """P(demand ≤ a value), shape (n,); NaN gives NaN."""
        count, low, risen = self._place(demand)
        inside = self.knots[low] + risen ** (1 / self.power) * np.diff(self.knots)[low]
        beyond = 1 - (1 - self.knots[-1]) * np.exp(-self._tails_over(demand))
        rank = np.where(count == 0, 0.0, np.where(count == len(self.knots), beyond, inside))
        return np.asarray(np.where(np.isnan(demand), np.nan, rank))

    def excess(self, level: Float64Array) -> Float64Array:
        """Expected demand above a level, E[max(demand − level, 0)]: the loss function, in closed form.

        The integral of the curve above the level: the part of its segment, the whole segments above, the tail.

        Args:
            level: Units, shape (n,).

        Returns:
            Units, shape (n,).

        Example:
            >>> levels, quantiles = np.array([0.25, 0.5, 0.75, 0.999]), np.array([[1.0, 2.0, 3.0, 3.996]] * 2)
            >>> Curve.through(levels, quantiles, np.full(2, 2.0)).excess(np.array([0.0, 2.0])).round(2).tolist()
            [2.0, 0.5]
        """
        _, low, risen = self._place(level)
        rows, widths = np.arange(len(level)), np.diff(self.knots)
        rise = self.values[rows, low + 1] - self.values[rows, low]
        part = risen ** (1 / self.power)
        area = (self.values[rows, low] - level) * (1 - part) + rise * (1 - risen * part) / (1 + self.power)
        wide = np.append(np.cumsum(widths[::-1])[::-1], 0.0)[low + 1]
        top = self.values[:, -1]
        tail = np.maximum(top - level, 0.0) + self.tail * np.exp(-self._tails_over(level))
        return np.asarray(
            widths[low] * area + self._areas_from[rows, low + 1] - level * wide + (1 - self.knots[-1]) * tail
        )

    @cached_property
    def _areas_from(self) -> Float64Array:
        """Area below the curve from each knot to the highest, shape (n, q + 1)."""
        bent = self.values[:, :-1] + np.diff(self.values, axis=1) / (1 + self.power)[:, None]
        areas = np.cumsum((bent * np.diff(self.knots))[:, ::-1], axis=1)[:, ::-1]
        return np.column_stack([areas, np.zeros(len(areas))])

    def _place(self, demand: Float64Array) -> tuple[Int64Array, Int64Array, Float64Array]:
        """Knots at or below a demand, the segment it falls into, and what share of its rise lies below."""
        count = (self.values <= demand[:, None]).sum(axis=1)
        low = np.clip(count - 1, 0, len(self.knots) - 2)
        rows = np.arange(len(self.values))
        gap = self.values[rows, low + 1] - self.values[rows, low]
        over = (count == len(self.knots)).astype(np.float64)
        risen = np.divide(demand - self.values[rows, low], gap, out=over, where=gap > 0)
        return count, low, np.clip(risen, 0, 1)

    def _tails_over(self, demand: Float64Array) -> Float64Array:
        """How many scales of the tail a demand lies above the highest knot."""
        over = np.maximum(demand - self.values[:, -1], 0.0)
        return np.asarray(np.divide(over, self.tail, out=np.full(len(over), np.inf), where=self.tail > 0))


def _segment_of_thousandth(knots: Float64Array) -> Int64Array:
    """The segment between knots that holds each thousandth of probability."""
    thousandths = (np.arange(1000) + 0.5) / 1000
    return np.clip(np.searchsorted(knots, thousandths, side="right") - 1, 0, len(knots) - 2)
