"""The mean as a blend of members: trees that learn from all series, and models that see a few numbers of one.

Weights are fixed: a blend that is fitted to few origins learns their noise (Claeskens, Magnus, Vasnev & Wang 2016, The
forecast combination puzzle, IJF 32). They are learned only where there are many origins, and kept only where the
origins left out say it pays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from features.panel import Panel
from features.windows import Float64Array
from pipelines.demand.local import LOCALS, POOLED
from pipelines.demand.recursive import RECURSIVE
from pipelines.demand.statistical import statistical

TREES = "trees"
MEMBER = "member_"
ALIKE, ALIKE_RECENT = "alike", "alike_recent"
ENOUGH_ORIGINS = 8
_TREES_SHARE = 0.85


@dataclass(frozen=True)
class Blend:
    """A weight a member; together they make one.

    Attributes:
        weights: Member → weight, ≥ 0.

    Example:
        >>> Blend({"trees": 0.75, "level_shape": 0.25}).of({"trees": np.array([4.0]), "level_shape": np.array([8.0])})
        array([5.])
    """

    weights: dict[str, float]

    @classmethod
    def fixed(cls, names: Sequence[str]) -> Blend:
        """Most for trees, direct and recursive alike; the rest in equal parts."""
        grown = [name for name in names if name in (TREES, RECURSIVE)]
        others = [name for name in names if name not in grown]
        share = _TREES_SHARE if others else 1.0
        weights = dict.fromkeys(grown, share / len(grown))
        return cls(weights | {name: (1 - share) / len(others) for name in others})

    @classmethod
    def learned(cls, members: Sequence[Mapping[str, Float64Array]], target: Sequence[Float64Array]) -> Blend:
        """Weights from many origins: least squares, ≥ 0, kept where they beat the fixed ones beyond chance.

        Every origin is judged by weights learned from the others; the mean gain has to exceed its standard error.

        Args:
            members: An origin each: member → scaled forecasts.
            target: An origin each: scaled demand, NaN where unknown.
        """
        names = list(members[0])
        fixed = cls.fixed(names)
        if len(members) < ENOUGH_ORIGINS or len(names) < 2:
            return fixed
        sums = [_squares(fixed.filled(own), y) for own, y in zip(members, target, strict=True)]
        gains = []
        for left_out, (products, crossed, known) in enumerate(sums):
            others = cls._least_squares(names, [one for i, one in enumerate(sums) if i != left_out])
            gains.append(_loss(fixed, products, crossed, known) - _loss(others, products, crossed, known))
        gain = np.array(gains)
        if gain.mean() <= gain.std(ddof=1) / np.sqrt(len(gain)):
            return fixed
        return cls._least_squares(names, sums)

    def of(self, members: Mapping[str, Float64Array]) -> Float64Array:
        """The blended forecast; where a member has none, the trees stand in for it."""
        filled = self.filled(members)
        total = np.zeros_like(filled[TREES])
        for name, weight in self.weights.items():
            total += weight * filled[name]
        return total

    def filled(self, members: Mapping[str, Float64Array]) -> dict[str, Float64Array]:
        """The members of this blend, with the trees where one has no forecast."""
        trees = members[TREES]
        return {name: np.where(np.isnan(members[name]), trees, members[name]) for name in self.weights}

    @classmethod
    def _least_squares(cls, names: Sequence[str], sums: Sequence[tuple[Float64Array, Float64Array, float]]) -> Blend:
        from scipy.optimize import nnls  # half a second to load, and few shops have so many origins

        products = np.sum([one[0] for one in sums], axis=0)
        crossed = np.sum([one[1] for one in sums], axis=0)
        # the constraint that they sum to one, as a row that outweighs all others
        heavy = 1e3 * np.sqrt(np.trace(products) + 1e-12)
        root = np.linalg.cholesky(products + 1e-9 * np.trace(products) * np.eye(len(names)))
        weights, _ = nnls(np.vstack([root.T, np.full(len(names), heavy)]), [*np.linalg.solve(root, crossed), heavy])
        return cls(dict(zip(names, (weights / weights.sum()).tolist(), strict=True)))


def with_members(rows: pl.DataFrame, panel: Panel, horizon: int, more: Sequence[str] = ()) -> pl.DataFrame:
    """Feature rows of one origin with the forecasts of local models beside them, in units of scale.

    Local models know nothing of covariates. Where a shop knows some ahead, the mean of past periods that share them
    with the target (feature `alike_recent`) is the second member instead.

    Args:
        rows: Rows of `features.demand.rows_at`, every series of the panel, sorted by key.
        panel: What was known at the origin.
        horizon: Periods ahead.
        more: Names of further local models, ours or those of statsforecast.

    Raises:
        ConfigError: One of them needs statsforecast, which is not installed.
    """
    season, scale = panel.grid.season, rows["scale"].to_numpy().astype(np.float64)
    everyone = np.zeros(len(panel.quantity), dtype=np.int64)
    members = {}
    if ALIKE_RECENT in rows.columns:
        members[ALIKE] = rows[ALIKE_RECENT].to_numpy().astype(np.float64)
    else:
        for name, pooled in POOLED.items():
            members[name] = pooled(panel.quantity, horizon, season, everyone).ravel() / scale
    for name in more:
        local = LOCALS[name] if name in LOCALS else statistical(name)
        members[name] = local(panel.quantity, horizon, season).ravel() / scale
    return rows.hstack(pl.DataFrame({MEMBER + name: values for name, values in members.items()}))


def members_of(rows: pl.DataFrame, trees: Float64Array) -> dict[str, Float64Array]:
    """Member → scaled forecasts, the trees first."""
    local = [name for name in rows.columns if name.startswith(MEMBER)]
    return {TREES: trees} | {name.removeprefix(MEMBER): rows[name].to_numpy() for name in local}


def _squares(members: Mapping[str, Float64Array], y: Float64Array) -> tuple[Float64Array, Float64Array, float]:
    """Mean products of the members with each other, with demand, and of demand with itself, on the known cells."""
    known = ~np.isnan(y)
    matrix = np.stack([values[known] for values in members.values()])
    count = max(1, int(known.sum()))
    return matrix @ matrix.T / count, matrix @ y[known] / count, float(y[known] @ y[known]) / count


def _loss(blend: Blend, products: Float64Array, crossed: Float64Array, known: float) -> float:
    weights = np.array(list(blend.weights.values()))
    return float(weights @ products @ weights - 2 * weights @ crossed + known)
