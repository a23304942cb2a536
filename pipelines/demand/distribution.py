"""From anchor quantiles to the configured ones, made honest by what earlier forecasts missed.

Three steps: interpolate between anchors on the normal scale (Gaussian tails beyond them), shift each quantile by the
conformal quantile of its own past errors in units of scale (Romano, Patterson & Candès 2019, Conformalized Quantile
Regression, one-sided and pooled by cell), floor at zero and sort. Demand summed over a lead time is a target of its
own: its ratio to the summed mean is pooled over past sums in which as many sales were expected. It is never a sum of
quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from features.windows import Float64Array, Int64Array

ENOUGH = 200  # errors a cell needs to speak for itself
_ENOUGH_OF_A_KIND = 100
CELLS_OF_A_KIND = 6  # that differ only in the third of the horizon and in volume
_OFTEN = (0.05, 1 / 3, 0.8)  # share of recent periods with demand: silent, sparse, intermittent, regular


def interpolate(anchors: Float64Array, at: Sequence[float], levels: Sequence[float]) -> Float64Array:
    """Quantiles at `levels` from quantiles at `at`: linear in the standard normal quantile, monotone, ≥ 0.

    Args:
        anchors: Rows × `at`, ascending along each row.
        at: Probabilities of the anchors, ascending, at least two.
        levels: Probabilities wanted.

    Example:
        >>> interpolate(np.array([[1.0, 3.0]]), [0.25, 0.75], [0.25, 0.5, 0.75])
        array([[1., 2., 3.]])
    """
    normal = NormalDist()
    z, wanted = (np.array([normal.inv_cdf(p) for p in ps]) for ps in (at, levels))
    left = np.clip(np.searchsorted(z, wanted, side="right") - 1, 0, len(z) - 2)
    part = (wanted - z[left]) / (z[left + 1] - z[left])
    values = anchors[:, left] * (1 - part) + anchors[:, left + 1] * part
    return np.sort(np.maximum(values, 0), axis=1)


def cells(horizon: npt.NDArray[np.int32], longest: int, share_positive: Float64Array, large: Int64Array) -> Int64Array:
    """The cell of each row: how often the series sold lately (its kind) × third of the horizon × volume."""
    bucket = np.minimum((np.asarray(horizon, dtype=np.int64) - 1) * 3 // longest, 2)
    often = np.digitize(np.nan_to_num(share_positive), _OFTEN)
    return np.asarray(often * CELLS_OF_A_KIND + bucket * 2 + large, dtype=np.int64)


def lead_time_cells(total: Float64Array, sale: Float64Array, edges: Sequence[float], large: Int64Array) -> Int64Array:
    """The cell of each sum: how many sales of usual size are expected × large or small volume.

    Args:
        total: Expected demand of the sum, units.
        sale: Usual size of a sale, units.
        edges: Ascending numbers of expected sales at which the next cell begins.
        large: 1 for large series, 0 for small ones.
    """
    return (np.digitize(total / sale, edges) * 2 + large).astype(np.int64)


@dataclass(frozen=True)
class Errors:
    """Quantiles of past errors in each cell. Cells that know too little ask their kind, then all cells together.

    Attributes:
        levels: Probabilities.
        pooled: Error quantiles over all cells.
        by_cell: Cell → error quantiles.
        by_kind: Kind of cell → error quantiles.
        merged: How many neighbouring numbers are cells of one kind.
    """

    levels: list[float]
    pooled: list[float]
    by_cell: dict[int, list[float]]
    by_kind: dict[int, list[float]] = field(default_factory=dict)
    merged: int = 1

    @classmethod
    def fit(cls, errors: Float64Array, cell: Int64Array, levels: Sequence[float], merged: int = 1) -> Errors:
        """Learn from errors.

        Args:
            errors: Rows × levels (an error for each quantile forecast), NaN where demand is unknown.
            cell: Cell of each row.
            levels: Probabilities.
            merged: How many neighbouring numbers are cells of one kind.
        """
        known = ~np.isnan(errors).any(axis=1)
        errors, cell = errors[known], cell[known]
        by_cell = _by_number(errors, cell, levels, ENOUGH)
        by_kind = _by_number(errors, cell // merged, levels, _ENOUGH_OF_A_KIND) if merged > 1 else {}
        return cls(list(levels), _quantiles(errors, levels), by_cell, by_kind, merged)

    def of(self, cell: Int64Array) -> Float64Array:
        """Error quantiles for each row: rows × levels."""
        out = np.tile(np.asarray(self.pooled), (len(cell), 1))
        for number, own in self.by_kind.items():
            out[cell // self.merged == number] = own
        for number, own in self.by_cell.items():
            out[cell == number] = own
        return out

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Errors:
        """From plain data, whose keys JSON has made text."""
        tables = {name: {int(k): v for k, v in data[name].items()} for name in ("by_cell", "by_kind")}
        return cls(**(data | tables))


def conform(quantiles: Float64Array, scale: Float64Array, cell: Int64Array, errors: Errors) -> Float64Array:
    """Quantiles shifted by their past errors, floored at zero and ascending.

    Args:
        quantiles: Rows × levels, units.
        scale: Scale of each row's series, units.
        cell: Cell of each row.
        errors: Past errors in units of scale.
    """
    return np.sort(np.maximum(quantiles + errors.of(cell) * scale[:, None], 0), axis=1)


def probability_of_zero(quantiles: Float64Array, levels: Sequence[float], smallest: npt.ArrayLike) -> Float64Array:
    """P(demand < smallest possible demand / 2), read from the quantile function; linear between its points.

    Args:
        quantiles: Rows × levels, ascending.
        levels: Probabilities.
        smallest: Smallest demand above zero a row can have (1 for whole units).
    """
    edge = np.broadcast_to(np.asarray(smallest, dtype=np.float64) / 2, quantiles.shape[:1])
    tau = np.asarray(levels)
    count = (quantiles < edge[:, None]).sum(axis=1)
    low, high = np.maximum(count - 1, 0), np.minimum(count, len(tau) - 1)
    rows = np.arange(len(quantiles))
    gap = quantiles[rows, high] - quantiles[rows, low]
    part = np.divide(edge - quantiles[rows, low], gap, out=np.zeros(len(gap)), where=gap > 0)
    inside = tau[low] + part * (tau[high] - tau[low])
    # outside the outermost quantiles the distribution says only: at most, at least
    return np.where(count == 0, 0.0, np.where(count == len(tau), tau[-1], inside))


def _by_number(
    errors: Float64Array, number: Int64Array, levels: Sequence[float], enough: int
) -> dict[int, list[float]]:
    found, count = np.unique(number, return_counts=True)
    return {int(one): _quantiles(errors[number == one], levels) for one in found[count >= enough]}


def _quantiles(errors: Float64Array, levels: Sequence[float]) -> list[float]:
    if not len(errors):
        return [0.0] * len(levels)
    return [float(np.quantile(errors[:, i], p, method="inverted_cdf")) for i, p in enumerate(levels)]
