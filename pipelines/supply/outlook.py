"""Demand ahead of every line: the forecasts of one issue as arrays, and sample paths from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from features.tables import quantile_of
from pipelines.supply.paths import Array, one_factor_ranks, sample_paths, shared_part, spread


@dataclass(frozen=True)
class Outlook:
    """Demand ahead of every line, in arrays.

    Attributes:
        levels: Levels of the quantiles, shape (q,).
        sums: Quantiles of demand summed over the next 1 … H periods, shape (n, H, q), units.
        sums_mean: Their means, shape (n, H).
        periods: Quantiles of single periods, shape (n, H, q), units; None where only sums were forecast.
        periods_mean: Their means, shape (n, H).
        joint: Ranks in (0, 1) of each pool's paths, shape (pools, H, paths); None where demand has learned none.
        pool: The pool of each line, shape (n,).
    """

    levels: Array
    sums: Array
    sums_mean: Array
    periods: Array | None = None
    periods_mean: Array | None = None
    joint: Array | None = None
    pool: npt.NDArray[np.intp] | None = None

    @property
    def horizon(self) -> int:
        """Periods ahead."""
        return int(self.sums.shape[1])

    def known(self) -> npt.NDArray[np.bool_]:
        """Which lines have a whole forecast, shape (n,)."""
        parts = [self.sums.sum(axis=2), self.sums_mean]
        if self.periods is not None and self.periods_mean is not None:
            parts += [self.periods.sum(axis=2), self.periods_mean]
        return np.asarray(np.isfinite(sum(parts)).all(axis=1))

    def rows(self, chosen: npt.NDArray[np.intp]) -> Outlook:
        """The outlook of some lines."""
        per_line = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("levels", "joint")}
        return replace(self, **{name: values[chosen] for name, values in per_line.items() if values is not None})

    def paths(self, drawn: Array, horizon: int) -> Array:
        """Sample paths of cumulative demand over the next `horizon` periods, shape (n, horizon + 1, paths).

        Args:
            drawn: From `paths.draws`, for all lines.
            horizon: Periods, at most as many as the outlook has.

        Raises:
            ValueError: Only sums were forecast.
        """
        if self.periods is None or self.periods_mean is None:
            raise ValueError("sample paths need forecasts of single periods")
        ranks: Iterator[Array]
        if self.joint is None or self.pool is None:
            spreads = (
                spread(self.levels, self.sums, self.sums_mean),
                spread(self.levels, self.periods, self.periods_mean),
            )
            ranks = one_factor_ranks(drawn[1 : horizon + 2], shared_part(*spreads))
        else:  # the ranks of a pool are shared by its lines
            pool = self.pool[:1] if (self.pool == self.pool[:1]).all() else self.pool
            ranks = (self.joint[pool, k] for k in range(horizon))
        return sample_paths(
            ranks,
            self.levels,
            self.periods[:, :horizon],
            self.periods_mean[:, :horizon],
            self.sums[:, :horizon],
            self.sums_mean[:, :horizon],
        )


def outlook(
    lines: pl.DataFrame,
    forecasts: pl.DataFrame | None,
    lead_time_demand: pl.DataFrame,
    keys: Sequence[str],
    path_ranks: pl.DataFrame | None = None,
) -> Outlook:
    """Forecasts of one issue as arrays in the order of `lines`; not-a-number where a line has none.

    Args:
        lines: Key columns, one row a line.
        forecasts: One issue of table forecasts; None to go by the sums alone.
        lead_time_demand: The same issue of table lead_time_demand.
        keys: The shop's series columns.
        path_ranks: The same issue of table path_ranks; None or empty where there is none.
    """
    levels = {name: level for name in lead_time_demand.columns if (level := quantile_of(name)) is not None}
    names = sorted(levels, key=lambda name: levels[name])
    horizon = int(lead_time_demand["periods"].to_numpy().max(initial=1))
    numbered = lines.select(keys).with_row_index("line")

    def arrays(frame: pl.DataFrame, step: str) -> tuple[Array, Array]:
        values = np.full((lines.height, horizon, len(names)), np.nan)
        means = np.full((lines.height, horizon), np.nan)
        for k in range(horizon):  # period by period: one join of whole columns each, without a table of everything
            rows = frame.filter(pl.col(step) == k + 1).join(numbered, on=list(keys), how="inner")
            place = rows["line"].to_numpy()
            means[place, k] = rows["mean"].to_numpy()
            for q, name in enumerate(names):
                values[place, k, q] = rows[name].to_numpy()
        return values, means

    sums, sums_mean = arrays(lead_time_demand, "periods")
    periods, periods_mean = (None, None) if forecasts is None else arrays(forecasts, "horizon")
    joint, pool = (None, None) if forecasts is None else (_joint(path_ranks, lead_time_demand, horizon), None)
    if joint is not None:
        pools = lead_time_demand.select(*keys, "pool").unique(keys)
        pool = numbered.join(pools, on=list(keys), how="left", maintain_order="left")["pool"].fill_null(-1).to_numpy()
    return Outlook(
        levels=np.array([levels[name] for name in names]),
        sums=sums,
        sums_mean=sums_mean,
        periods=periods,
        periods_mean=periods_mean,
        joint=joint,
        pool=pool,
    )


def _joint(path_ranks: pl.DataFrame | None, lead_time_demand: pl.DataFrame, horizon: int) -> Array | None:
    """Ranks of every pool, shape (pools, H, paths); None where they do not serve every series and period."""
    if path_ranks is None or path_ranks.is_empty() or "pool" not in lead_time_demand.columns:
        return None
    place = [path_ranks[name].to_numpy() for name in ("pool", "horizon", "path")]
    joint = np.full([int(axis.max()) + 1 for axis in place], np.nan)
    joint[tuple(place)] = path_ranks["rank"].to_numpy()
    joint = joint[:, 1:]  # horizons count from one
    pools = lead_time_demand["pool"].fill_null(-1).to_numpy()
    serves = joint.shape[1] >= horizon and np.isin(pools, np.arange(len(joint))).all() and not np.isnan(joint).any()
    return joint if serves else None
