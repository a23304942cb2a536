"""The quantile head: what trees say of each quantile, and the spread of past demand around the mean, in one fan.

The two are averaged quantile by quantile (Lichtendahl, Grushka-Cockayne & Winkler 2013, Management Science 59), then
shifted by their own past errors. Trees see what makes one period more uncertain than another; the spread around the
mean does not overfit, and follows the mean wherever its totals were mended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.windows import Float64Array, Int64Array
from pipelines.demand.distribution import CELLS_OF_A_KIND, Errors, conform, lead_time_cells

SPREAD_SHARES = (0.0, 0.25, 0.5, 0.75)
_UNTOLD_SHARE = 0.25
EXPECTED_SALES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class Moment:
    """Forecasts of one origin before they are made a fan, row by row.

    Attributes:
        trees: Quantiles of the trees, units (rows × levels).
        mean: Mean, units.
        scale: Scale of each row's series, units.
        sale: Usual size of a sale, units.
        often: Cell by horizon, how often the series sold lately, and volume.
        third: Third of the horizon.
        large: 1 for large series, 0 for small ones.
        kind: How often the series sold lately, and volume.
    """

    trees: Float64Array
    mean: Float64Array
    scale: Float64Array
    sale: Float64Array
    often: Int64Array
    third: Int64Array
    large: Int64Array
    kind: Int64Array

    def part(self, chosen: npt.NDArray[np.bool_]) -> Moment:
        """Some of the rows."""
        return Moment(**{name: values[chosen] for name, values in vars(self).items()})

    @property
    def unit(self) -> Float64Array:
        """What demand is divided by to make spreads comparable; a tenth of a sale keeps it off zero."""
        return self.mean + 0.1 * self.sale

    @property
    def expected(self) -> Int64Array:
        """Cell by how many sales of usual size are expected, volume, and third of the horizon."""
        return lead_time_cells(self.mean, self.sale, EXPECTED_SALES, self.large) * 3 + self.third


@dataclass(frozen=True)
class Fan:
    """Everything that turns forecasts of one origin into quantiles.

    Attributes:
        levels: Probabilities.
        spread: Quantiles of demand in units of what was expected, by cell.
        shares: Weight of the spread in each quantile.
        errors: Past errors of the averaged quantiles, in units of scale, by cell.
    """

    levels: list[float]
    spread: Errors
    shares: list[float]
    errors: Errors

    @classmethod
    def none(cls, levels: Sequence[float]) -> Fan:
        """What is known before anything is learned: trees alone, taken as they are."""
        nothing = Errors(list(levels), [0.0] * len(levels), {})
        return cls(list(levels), nothing, [0.0] * len(levels), nothing)

    @classmethod
    def learn(cls, moments: Sequence[Moment], actual: Sequence[Float64Array], levels: Sequence[float]) -> Fan:
        """Learn from earlier origins; the spread that is judged at one of them comes from the others.

        Args:
            moments: An origin each.
            actual: An origin each: demand, units, NaN where unknown.
            levels: Probabilities.
        """
        spread = _spread(moments, actual, levels)
        held_out = [
            _spread(_without(moments, i), _without(actual, i), levels) if len(moments) > 1 else spread
            for i in range(len(moments))
        ]
        around = [_around(own, moment) for own, moment in zip(held_out, moments, strict=True)]
        shares = _shares(moments, around, actual, levels)
        errors = [
            (y[:, None] - _averaged(moment.trees, own, shares)) / moment.scale[:, None]
            for moment, own, y in zip(moments, around, actual, strict=True)
        ]
        cell = np.concatenate([moment.often for moment in moments])
        return cls(list(levels), spread, shares, Errors.fit(np.concatenate(errors), cell, levels, CELLS_OF_A_KIND))

    def of(self, moment: Moment) -> Float64Array:
        """Quantiles in units: rows × levels, ascending, ≥ 0."""
        averaged = _averaged(moment.trees, _around(self.spread, moment), self.shares)
        return conform(averaged, moment.scale, moment.often, self.errors)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "levels": self.levels,
            "spread": self.spread.as_dict(),
            "shares": self.shares,
            "errors": self.errors.as_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Fan:
        """From plain data."""
        return cls(data["levels"], Errors.from_dict(data["spread"]), data["shares"], Errors.from_dict(data["errors"]))


def _spread(moments: Sequence[Moment], actual: Sequence[Float64Array], levels: Sequence[float]) -> Errors:
    ratios = np.concatenate([y / moment.unit for moment, y in zip(moments, actual, strict=True)])
    cell = np.concatenate([moment.expected for moment in moments])
    return Errors.fit(np.repeat(ratios[:, None], len(levels), axis=1), cell, levels, CELLS_OF_A_KIND)


def _around(spread: Errors, moment: Moment) -> Float64Array:
    return spread.of(moment.expected) * moment.unit[:, None]


def _averaged(trees: Float64Array, around: Float64Array, shares: Sequence[float]) -> Float64Array:
    share = np.asarray(shares)
    averaged: Float64Array = np.sort((1 - share) * trees + share * around, axis=1)
    return averaged


def _shares(
    moments: Sequence[Moment], around: Sequence[Float64Array], actual: Sequence[Float64Array], levels: Sequence[float]
) -> list[float]:
    """The share of the spread in each quantile: none unless some loses less beyond chance, a little if few can tell."""
    losses = np.array([_losses(*one, levels) for one in zip(moments, around, actual, strict=True)])
    if len(losses) < 3:
        return [_UNTOLD_SHARE] * len(levels)
    gain = losses[:, :1] - losses  # origins × shares × levels
    sure = gain.mean(axis=0) - gain.std(axis=0, ddof=1) / np.sqrt(len(gain))
    return [SPREAD_SHARES[place] for place in sure.argmax(axis=0)]


def _losses(moment: Moment, around: Float64Array, actual: Float64Array, levels: Sequence[float]) -> Float64Array:
    """Pinball loss of each share and level over an origin, as a share of its demand."""
    known = ~np.isnan(actual)
    tau, total = np.asarray(levels), max(float(actual[known].sum()), 1e-12)
    losses = []
    for share in SPREAD_SHARES:
        above = actual[known, None] - (1 - share) * moment.trees[known] - share * around[known]
        losses.append(np.maximum(tau * above, (tau - 1) * above).sum(axis=0) / total)
    return np.array(losses)


def _without(values: Sequence[Any], place: int) -> list[Any]:
    return [value for i, value in enumerate(values) if i != place]
