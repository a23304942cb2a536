"""Totals that are right: means drawn toward forecasts of their groups, and freed of a habitual miss.

Sums of many small forecasts inherit every small bias; the sum of a group is smooth and easy to forecast by itself. So
means are scaled until their sums lie between the two (a shrunken top-down reconciliation: proportions of forecasts,
Athanasopoulos, Ahmed & Hyndman 2009, IJF 25). How far they go is learned from what earlier sums missed. Since only
means of single series move, all levels of a hierarchy stay coherent: every total is the sum of its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from features.panel import Panel
from features.windows import Float64Array, Int64Array, IntArray, mean
from pipelines.demand.local import LOCALS

GROUP, TOTAL, SIZE = "group_", "total_", "size_"
_ENOUGH_ORIGINS = 3
_MOST_PULL = 0.5
_PULL_BOUNDS = (0.7, 1.4)
_LEVEL_BOUNDS = (0.85, 1.15)


@dataclass(frozen=True)
class Alignment:
    """How far the means of a group go toward the group's own forecast, and a factor on all.

    Attributes:
        pull: Name of a level of the hierarchy → share of the way, 0 … 0.5.
        level: Factor on every mean, after that.
    """

    pull: dict[str, float]
    level: float

    @classmethod
    def learn(
        cls, rows: Sequence[pl.DataFrame], means: Sequence[Float64Array], actual: Sequence[Float64Array]
    ) -> Alignment:
        """Learn from forecasts of earlier origins.

        Args:
            rows: An origin each: keys and what `with_totals` added.
            means: An origin each: forecasts, units.
            actual: An origin each: demand, units, NaN where unknown.
        """
        pull: dict[str, float] = {}
        aligned = list(means)
        for name in levels_of(rows[0]):
            shares = [_share(own, name, m, y) for own, m, y in zip(rows, aligned, actual, strict=True)]
            found = np.array([share for share in shares if share is not None])
            if len(found) >= _ENOUGH_ORIGINS:
                sure = found.mean() - found.std(ddof=1) / np.sqrt(len(found))
                pull[name] = float(np.clip(sure, 0, _MOST_PULL))
                aligned = [_pulled(own, name, m, pull[name]) for own, m in zip(rows, aligned, strict=True)]
        return cls(pull, habit(aligned, actual))

    def of(self, rows: pl.DataFrame, means: Float64Array) -> Float64Array:
        """The aligned means, units. A group that is not there whole is not drawn anywhere."""
        for name, share in self.pull.items():
            means = _pulled(rows, name, means, share)
        return means * self.level


def with_totals(rows: pl.DataFrame, panel: Panel, horizon: int, hierarchy: Sequence[Sequence[str]]) -> pl.DataFrame:
    """Feature rows of one origin with the forecast of the group each belongs to, at each level.

    Args:
        rows: Rows of `features.demand.rows_at`, every series of the panel, sorted by key.
        panel: What was known at the origin.
        horizon: Periods ahead.
        hierarchy: Levels, each the columns whose values make its groups; a level without columns is the whole shop.
    """
    columns: dict[str, Any] = {}
    for level in hierarchy:
        name = level_name(level)
        group = groups_of(panel.series, level)
        size = np.bincount(group)
        forecast = LOCALS["level_shape"](_sums(panel, group, len(size)), horizon, panel.grid.season)
        columns[GROUP + name] = np.repeat(group, horizon).astype(np.int32)
        columns[TOTAL + name] = forecast.astype(np.float64)[group].ravel()
        columns[SIZE + name] = np.repeat(size[group], horizon).astype(np.int32)
    return rows.hstack(pl.DataFrame(columns)) if columns else rows


def groups_of(series: pl.DataFrame, level: Sequence[str]) -> Int64Array:
    """The group each series belongs to, numbered 0, 1, … in the order of the groups' names."""
    if not level:
        return np.zeros(series.height, dtype=np.int64)
    names = series.select(pl.col(name).cast(pl.String).fill_null("") for name in level)
    ranks = names.select(pl.struct(pl.all()).rank("dense").cast(pl.Int64) - 1).to_series()
    return ranks.to_numpy().astype(np.int64)


def level_name(level: Sequence[str]) -> str:
    """What a level of a hierarchy is called.

    Example:
        >>> level_name(["category", "location_id"]), level_name([])
        ('category × location_id', 'all')
    """
    return " × ".join(level) or "all"


def levels_in(series: pl.DataFrame, hierarchy: Sequence[Sequence[str]]) -> dict[str, IntArray]:
    """Level of a configured hierarchy → the group of each series.

    Args:
        series: Key columns and attributes of every series.
        hierarchy: Levels, each the columns whose values make its groups.
    """
    return {level_name(level): groups_of(series, level).astype(np.int32) for level in hierarchy}


def totals(
    forecasts: pl.DataFrame, series: pl.DataFrame, keys: Sequence[str], hierarchy: Sequence[Sequence[str]]
) -> pl.DataFrame:
    """Means of every group of a hierarchy: the sums of its series, so all levels agree.

    Args:
        forecasts: Key columns, `period`, `horizon` and `mean`.
        series: Key columns and attributes.
        keys: The key columns.
        hierarchy: Levels, each the columns whose values make its groups.

    Returns:
        Table `forecast_totals` but for the issue: `level`, `group` (values joined by ` × `, as the level's name is),
        `period`, `horizon`, `series` (how many) and `mean`.
    """
    parts = []
    for level in hierarchy:
        names = pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in level], separator=" × ")
        grouped = forecasts.select(*keys, "period", "horizon", "mean").join(
            series.select(*keys, group=names), on=list(keys), how="left", maintain_order="left"
        )
        sums = grouped.group_by("group", "period", "horizon", maintain_order=True).agg(
            series=pl.len().cast(pl.Int64), mean=pl.col("mean").sum()
        )
        parts.append(sums.select(pl.lit(level_name(level)).alias("level"), pl.all()).sort("group", "period"))
    schema = {"level": pl.String, "group": pl.String, "period": pl.Date, "horizon": pl.Int32}
    return pl.concat(parts) if parts else pl.DataFrame(schema=schema | {"series": pl.Int64, "mean": pl.Float64})


def levels_of(rows: pl.DataFrame) -> list[str]:
    """Names of the levels whose forecasts stand beside the rows."""
    return [name.removeprefix(TOTAL) for name in rows.columns if name.startswith(TOTAL)]


def habit(means: Sequence[Float64Array], actual: Sequence[Float64Array]) -> float:
    """Factor on the mean from the totals of earlier forecasts: as much of what they missed as is more than noise.

    The mean miss over the origins is shrunk by (m² − s²) / m², its squared standard error taken off its square (the
    empirical Bayes weight, positive part: Efron & Morris 1973, JASA 68). Fewer than three origins
    cannot tell a habit from chance.
    """
    totals = [(y[~np.isnan(y)].sum(), m[~np.isnan(y)].sum()) for m, y in zip(means, actual, strict=True)]
    missed = np.array([true / forecast - 1 for true, forecast in totals if forecast > 0])
    if len(missed) < _ENOUGH_ORIGINS or not missed.any():
        return 1.0
    miss, noise = missed.mean(), missed.var(ddof=1) / len(missed)
    trust = max(0.0, miss**2 - noise) / max(miss**2, noise)
    return float(np.clip(1 + trust * miss, *_LEVEL_BOUNDS))


def _sums(panel: Panel, group: Int64Array, groups: int) -> Any:
    """Demand of each group and period; where some series are unknown, the known ones stand for them."""
    known = ~np.isnan(panel.quantity)
    usual = np.nan_to_num(mean(panel.quantity)).astype(np.float64)
    total, there, all_there = (np.zeros((groups, panel.quantity.shape[1])) for _ in range(3))
    np.add.at(total, group, np.where(known, panel.quantity, 0))
    np.add.at(there, group, known * usual[:, None])
    listed = np.arange(panel.quantity.shape[1])[None, :] >= panel.listed[:, None]
    np.add.at(all_there, group, listed * usual[:, None])
    full = np.divide(total * all_there, there, out=np.full_like(total, np.nan), where=there > 0)
    return full.astype(np.float32)


def _by_cell(rows: pl.DataFrame, name: str, values: Float64Array) -> Float64Array:
    """Sums over each group and horizon, for every row."""
    step = rows["horizon"].to_numpy().astype(np.int64)
    cell = rows[GROUP + name].to_numpy() * (step.max(initial=0) + 1) + step
    return np.asarray(np.bincount(cell, values)[cell] if len(cell) else values, dtype=np.float64)


def _pulled(rows: pl.DataFrame, name: str, means: Float64Array, share: float) -> Float64Array:
    if share == 0:
        return means
    own, total = _by_cell(rows, name, means), rows[TOTAL + name].to_numpy()
    whole = _by_cell(rows, name, np.ones(rows.height)) == rows[SIZE + name].to_numpy()
    fit = whole & (own > 0) & np.isfinite(total)
    toward = np.divide(total, own, out=np.ones_like(own), where=fit)
    return np.asarray(means * np.clip(1 + share * (toward - 1), *_PULL_BOUNDS))


def _share(rows: pl.DataFrame, name: str, means: Float64Array, actual: Float64Array) -> float | None:
    """The share of the way to the groups' forecasts at which one origin's sums would have come out best."""
    known = ~np.isnan(actual)
    own, of_known = _by_cell(rows, name, means), _by_cell(rows, name, np.where(known, means, 0))
    true = _by_cell(rows, name, np.where(known, actual, 0))
    total = np.nan_to_num(rows[TOTAL + name].to_numpy()) * of_known / np.maximum(own, 1e-12)
    # every cell stands once for each of its rows: large groups of series weigh as much as they should
    way, missed = total - of_known, true - of_known
    bottom = float((way * way).sum())
    return float((way * missed).sum()) / bottom if bottom > 0 else None
