"""Rolling origin: forecasts from past cutoffs beside what came true, and beside baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from features import windows as w
from features.demand import scale_of, without_leading_zeros
from features.season import RHYTHMS
from features.tables import quantile_column
from pipelines.demand.distribution import ENOUGH, Errors
from pipelines.demand.facts import facts_at
from pipelines.demand.lives import lives_of, within_life
from pipelines.demand.local import LOCALS
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins

BASELINES = ("seasonal_naive", "moving_average", "tsb")
MODEL = "demand"


def cutoffs(origins: Origins, count: int) -> list[int]:
    """The last `count` cutoffs, one horizon apart, whose whole horizon is known and that have something behind them."""
    last, first = origins.panel.last, origins.panel.first
    found = [last - origins.horizon * back for back in range(count, 0, -1)]
    return [cutoff for cutoff in found if cutoff > first]


def backtest(
    origins: Origins, count: int, quantiles: Sequence[float], told: Callable[[], None] = lambda: None
) -> pl.DataFrame:
    """Forecast from past cutoffs, each with what was known then.

    Args:
        origins: The panel and what is shared between cutoffs.
        count: How many cutoffs, one horizon apart.
        quantiles: Probabilities.
        told: Called after each cutoff.

    Returns:
        One row a model, series (row in the panel), cutoff and period: `model`, `series`, `cutoff`, `horizon`, `class`,
        `actual` (as known today, NaN = unknown or out of stock), `mean`, the quantile columns, `scale_step`,
        `scale_season`, `price` and `weight` (`facts_at`: of the series' history up to the cutoff).
    """
    parts = []
    for cutoff in cutoffs(origins, count):
        frames = {MODEL: forecast_at(origins, cutoff, quantiles)}
        frames |= {name: _baseline(origins, name, cutoff, quantiles) for name in BASELINES}
        parts.append(beside_actual(origins, cutoff, frames))
        told()
    return pl.concat(parts) if parts else pl.DataFrame()


def forecast_at(origins: Origins, cutoff: int, quantiles: Sequence[float]) -> pl.DataFrame:
    """`series`, `horizon`, `mean` and the quantile columns, by a model fitted on what was known at a cutoff."""
    rows, columns = origins.rows(cutoff), ["mean", *map(quantile_column, quantiles)]
    forecasts = DemandModel.fit(origins, cutoff, quantiles).predict(rows)
    return within_life(forecasts, lives_of(origins.panel, rows), columns).select("series", "horizon", *columns)


def beside_actual(origins: Origins, cutoff: int, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Forecasts of several models at one cutoff beside what came true, in the rows of `backtest`."""
    facts = facts_at(origins.panel, cutoff)
    keys = _keys(facts["series"].to_numpy(), origins.horizon, cutoff)
    actual = keys.select("series", "horizon", actual=pl.Series(origins.actual(keys, origins.panel.last, scored=True)))
    return pl.concat(
        frame.join(actual, on=["series", "horizon"], how="left")
        .join(facts, on="series", how="left")
        .with_columns(model=pl.lit(name), cutoff=pl.lit(cutoff, dtype=pl.Int32))
        for name, frame in frames.items()
    )


def _baseline(origins: Origins, name: str, cutoff: int, quantiles: Sequence[float]) -> pl.DataFrame:
    """A local model's points with quantiles from its own errors at earlier origins.

    Errors are in units of scale and pooled by how often a series sells, three horizons back: the same that conforms
    the trees' quantiles.
    """
    point, scale, often, position = _points(origins, name, cutoff)
    errors, cell = [], []
    for back in range(1, 4):
        earlier = cutoff - back * origins.horizon
        if earlier <= origins.panel.first:
            break
        past, past_scale, past_often, past_position = _points(origins, name, earlier)
        keys = _keys(past_position, origins.horizon, earlier)
        actual = origins.actual(keys, cutoff).reshape(past.shape)
        errors.append(((actual - past) / past_scale[:, None]).ravel())
        cell.append(np.repeat(past_often, origins.horizon))
    pooled = np.concatenate(errors) if errors else np.zeros(ENOUGH)
    learned = Errors.fit(
        np.repeat(pooled[:, None], len(quantiles), axis=1),
        np.concatenate(cell) if cell else np.zeros(ENOUGH, dtype=np.int64),
        quantiles,
    )
    off = learned.of(np.repeat(often, origins.horizon)) * np.repeat(scale, origins.horizon)[:, None]
    fan = np.maximum(point.reshape(-1, 1) + off, 0)
    columns = {quantile_column(level): fan[:, i] for i, level in enumerate(quantiles)}
    keys = _keys(position, origins.horizon, cutoff).select("series", "horizon")
    return keys.hstack(pl.DataFrame({"mean": point.ravel().astype(np.float64), **columns}))


def _points(
    origins: Origins, name: str, cutoff: int
) -> tuple[w.Float64Array, w.Float64Array, w.Int64Array, w.IntArray]:
    known = origins.panel.known(cutoff)
    history = without_leading_zeros(known.quantity)
    year = RHYTHMS[origins.panel.grid.frequency].year
    point = LOCALS[name](history, origins.horizon, origins.panel.grid.season).astype(np.float64)
    often = np.digitize(np.nan_to_num(w.share_positive(w.tail(history, year))), (1 / 3, 0.8))
    return point, scale_of(history, year).astype(np.float64), often, known.position


def _keys(position: w.IntArray, horizon: int, cutoff: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "series": np.repeat(position, horizon).astype(np.int32),
            "origin": np.full(len(position) * horizon, cutoff, dtype=np.int32),
            "horizon": np.tile(np.arange(1, horizon + 1, dtype=np.int32), len(position)),
        }
    )
