"""Forecasts held within the life of their series: nothing before its launch, nothing after its end."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.lifecycle import shares
from features.panel import Panel


def lives_of(panel: Panel, rows: pl.DataFrame) -> pl.DataFrame:
    """How much of each target period lies in the life of its series, as known at the origin.

    Args:
        panel: The panel, whole.
        rows: Feature rows of one origin.

    Returns:
        For each series and horizon of the rows: `_share` of the period, whether some of it is lost to the `_launch` or
        the `_end` of the series, and whether the series carries on the history of another (`_substitute`).
    """
    origin, longest = int(rows["origin"][0]), int(rows["horizon"].max())  # type: ignore[arg-type]
    known = panel.known(origin)
    from_launch, to_end = shares(known.series, panel.grid, origin, longest)
    carries_on = np.zeros(known.series.height, dtype=bool)
    if "replaces" in known.series.columns:
        carries_on = known.series["replaces"].is_not_null().to_numpy()
    return pl.DataFrame(
        {
            "series": np.repeat(known.position, longest),
            "horizon": np.tile(np.arange(1, longest + 1, dtype=np.int32), len(known.position)),
            "_share": np.maximum(from_launch + to_end - 1, 0).ravel(),
            "_launch": (from_launch < 1).ravel(),
            "_end": (to_end < 1).ravel(),
            "_substitute": np.repeat(carries_on, longest),
        }
    )


def within_life(forecasts: pl.DataFrame, lives: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Forecasts with as much of each period as lies in the life of its series; `p_zero` is 1 where none does.

    Args:
        forecasts: Rows with `series` and `horizon`.
        lives: What `lives_of` gives; its columns are added.
        columns: Those in units.
    """
    found = forecasts.join(lives, on=["series", "horizon"], how="left", maintain_order="left")
    found = found.with_columns(pl.col(name) * pl.col("_share") for name in columns)
    if "p_zero" not in found.columns:
        return found
    return found.with_columns(p_zero=pl.when(pl.col("_share") > 0).then("p_zero").otherwise(1.0))


def sums_within_life(
    sums: pl.DataFrame, forecasts: pl.DataFrame, lives: pl.DataFrame, columns: list[str]
) -> pl.DataFrame:
    """Sums over the next 1 … H periods, as much of them as is expected within the life of each series.

    Args:
        sums: Rows with `series` and `periods`.
        forecasts: The means of the single periods as if every series lived on: `series`, `horizon`, `mean`.
        lives: What `lives_of` gives.
        columns: Those in units.
    """
    expected = pl.col("mean") + 1e-9  # where nothing is expected, periods count alike
    both = forecasts.join(lives, on=["series", "horizon"], how="left", maintain_order="left")
    lived, whole = (
        (expected * share).cum_sum().over("series", order_by="horizon") for share in (pl.col("_share"), 1.0)
    )
    part = both.select("series", periods="horizon", _part=lived / whole)
    found = sums.join(part, on=["series", "periods"], how="left", maintain_order="left")
    return found.with_columns(pl.col(name) * pl.col("_part") for name in columns)
