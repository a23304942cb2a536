"""Honest evaluation by rolling origin: forecasts from past cutoffs beside what came true, and beside baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from features import windows as w
from features.demand import scale_of, without_leading_zeros
from features.season import RHYTHMS
from features.tables import quantile_column
from pipelines.demand import metrics
from pipelines.demand.distribution import ENOUGH, Errors
from pipelines.demand.lives import lives_of, within_life
from pipelines.demand.local import LOCALS
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins

BASELINES = ("seasonal_naive", "moving_average", "tsb")
MODEL = "demand"
_SMOOTH = 0.49  # squared coefficient of variation, Syntetos, Boylan & Croston (2005)
_REGULAR = 1.32  # mean interval between periods with demand, same source


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
        `actual` (as known today, NaN = unknown), `mean`, the quantile columns, `scale_step` and `scale_season`
        (of the series' history up to the cutoff, for scaled metrics).
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
    facts = _facts(origins, cutoff)
    keys = _keys(facts["series"].to_numpy(), origins.horizon, cutoff)
    actual = keys.select("series", "horizon", actual=pl.Series(origins.actual(keys, origins.panel.last)))
    return pl.concat(
        frame.join(actual, on=["series", "horizon"], how="left")
        .join(facts, on="series", how="left")
        .with_columns(model=pl.lit(name), cutoff=pl.lit(cutoff, dtype=pl.Int32))
        for name, frame in frames.items()
    )


def evaluate(long: pl.DataFrame, quantiles: Sequence[float]) -> pl.DataFrame:
    """Metrics of a backtest, by model, demand class and cutoff.

    Returns:
        `model`, `slice` (all or a demand class), `cut` (number of the cutoff as text, or `mean`: the mean over cuts),
        `metric` and `value` (null where undefined).
    """
    rows: list[dict[str, Any]] = []
    for (model,), frame in long.group_by("model", maintain_order=True):
        slices = {"all": frame} | {str(key[0]): part for key, part in frame.group_by("class")}
        for name, part in sorted(slices.items()):
            for (cutoff,), cut in part.group_by("cutoff", maintain_order=True):
                figures = measure(cut, quantiles)
                rows += [
                    {"model": model, "slice": name, "cut": str(cutoff), "metric": metric, "value": value}
                    for metric, value in figures.items()
                ]
    schema = {"model": pl.String, "slice": pl.String, "cut": pl.String, "metric": pl.String, "value": pl.Float64}
    cuts = pl.DataFrame(rows, schema=schema)
    mean = cuts.group_by("model", "slice", "metric", maintain_order=True).agg(
        cut=pl.lit("mean"), value=pl.mean("value")
    )
    return pl.concat([cuts, mean.select(cuts.columns)])


def measure(frame: pl.DataFrame, quantiles: Sequence[float]) -> dict[str, float | None]:
    """Every metric of some rows of one model: WAPE of the median, bias and RMSSE of the mean, quantile losses."""
    actual, mean = frame["actual"].to_numpy(), frame["mean"].to_numpy()
    fan = frame.select(map(quantile_column, quantiles)).to_numpy()
    middle = int(np.argmin(np.abs(np.asarray(quantiles) - 0.5)))
    group = (frame["series"].cast(pl.Int64) * 100_000 + frame["cutoff"]).to_numpy()
    gaps = [gap for _, _, gap in metrics.calibration(actual, fan, quantiles)]
    figures = {
        "wape": metrics.wape(actual, fan[:, middle]),
        "wape_of_mean": metrics.wape(actual, mean),
        "bias_share": metrics.bias(actual, mean),
        "rmsse": metrics.rmsse(actual, mean, frame["scale_step"].to_numpy(), group),
        "scaled_pinball": metrics.pinball(actual, fan, quantiles, frame["scale_season"].to_numpy()),
        "wql": metrics.wql(actual, fan, quantiles),
        "calibration_gap": max(gaps) if np.isfinite(gaps).all() else None,
    }
    return figures | {"series": float(frame["series"].n_unique())}


def demand_class(history: w.FloatArray) -> list[str]:
    """Smooth, erratic, intermittent or lumpy, by mean interval and squared variation of sizes.

    Source:
        Syntetos, Boylan & Croston (2005), On the categorization of demand patterns, JORS 56.
    """
    sizes = np.where(history > 0, history, np.nan).astype(np.float32)
    interval = w.ratio(1, w.share_positive(history))
    variation = w.ratio(w.deviation(sizes), w.mean(sizes)) ** 2
    often, steady = np.nan_to_num(interval, nan=np.inf) < _REGULAR, ~(variation >= _SMOOTH)
    names = np.array([["lumpy", "intermittent"], ["erratic", "smooth"]])
    return [str(name) for name in names[often.astype(int), steady.astype(int)]]


def _facts(origins: Origins, cutoff: int) -> pl.DataFrame:
    """Class and scales of every series known at a cutoff, from its history up to it."""
    known = origins.panel.known(cutoff)
    history = without_leading_zeros(known.quantity)
    season = origins.panel.grid.season
    step = np.diff(history, axis=1)
    lagged = history[:, season:] - history[:, :-season] if history.shape[1] > season else step[:, :0]
    absolute = w.mean(np.abs(lagged))
    absolute = np.where(np.isnan(absolute), w.mean(np.abs(step)), absolute)
    return pl.DataFrame(
        {
            "series": known.position,
            "class": demand_class(history),
            "scale_step": np.sqrt(w.mean(step * step)).astype(np.float64),
            "scale_season": absolute.astype(np.float64),
        }
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
