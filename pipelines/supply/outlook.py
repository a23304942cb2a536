"""Demand ahead of every line: the forecasts of one issue as arrays, and sample paths from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import polars as pl

from features.tables import quantile_of
from pipelines.supply.paths import Array, sample_paths, shared_part, spread


@dataclass(frozen=True)
class Outlook:
    """Demand ahead of every line, in arrays.

    Attributes:
        levels: Levels of the quantiles, shape (q,).
        sums: Quantiles of demand summed over the next 1 … H periods, shape (n, H, q), units.
        sums_mean: Their means, shape (n, H).
        periods: Quantiles of single periods, shape (n, H, q), units.
        periods_mean: Their means, shape (n, H).
    """

    levels: Array
    sums: Array
    sums_mean: Array
    periods: Array
    periods_mean: Array

    @property
    def horizon(self) -> int:
        """Periods ahead."""
        return int(self.sums.shape[1])

    def known(self) -> npt.NDArray[np.bool_]:
        """Which lines have a whole forecast, shape (n,)."""
        parts = (self.sums.sum(axis=2), self.sums_mean, self.periods.sum(axis=2), self.periods_mean)
        return np.asarray(np.isfinite(sum(parts)).all(axis=1))

    def rows(self, chosen: npt.NDArray[np.intp]) -> Outlook:
        """The outlook of some lines."""
        per_line = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name != "levels"}
        return Outlook(levels=self.levels, **per_line)

    def paths(self, drawn: Array, horizon: int) -> Array:
        """Sample paths of cumulative demand over the next `horizon` periods, shape (n, horizon + 1, paths)."""
        shared = shared_part(
            spread(self.levels, self.sums, self.sums_mean), spread(self.levels, self.periods, self.periods_mean)
        )
        return sample_paths(
            drawn[1 : horizon + 2],
            shared,
            self.levels,
            self.periods[:, :horizon],
            self.periods_mean[:, :horizon],
            self.sums[:, :horizon],
            self.sums_mean[:, :horizon],
        )


def outlook(
    lines: pl.DataFrame, forecasts: pl.DataFrame, lead_time_demand: pl.DataFrame, keys: Sequence[str]
) -> Outlook:
    """Forecasts of one issue as arrays in the order of `lines`; not-a-number where a line has none.

    Args:
        lines: Key columns, one row a line.
        forecasts: One issue of table forecasts.
        lead_time_demand: The same issue of table lead_time_demand.
        keys: The shop's series columns.
    """
    levels = {name: level for name in lead_time_demand.columns if (level := quantile_of(name)) is not None}
    names = sorted(levels, key=lambda name: levels[name])
    horizon = int(lead_time_demand["periods"].to_numpy().max(initial=1))
    numbered = lines.select(keys).with_row_index("line")

    def array(frame: pl.DataFrame, step: str) -> Array:
        rows = frame.filter(pl.col(step) <= horizon).join(numbered, on=list(keys), how="inner")
        values = np.full((lines.height, horizon, len(names) + 1), np.nan)
        place = rows["line"].to_numpy(), rows[step].to_numpy() - 1
        values[place] = rows.select(*names, "mean").cast(pl.Float64).to_numpy()
        return values

    sums, periods = array(lead_time_demand, "periods"), array(forecasts, "horizon")
    return Outlook(
        levels=np.array([levels[name] for name in names]),
        sums=sums[:, :, :-1],
        sums_mean=sums[:, :, -1],
        periods=periods[:, :, :-1],
        periods_mean=periods[:, :, -1],
    )
