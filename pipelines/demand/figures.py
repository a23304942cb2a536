"""Figures of a backtest, for the tracking run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from features.panel import Panel
from features.tables import MEAN, STANDARD_ERROR, quantile_column
from pipelines.demand import metrics
from pipelines.demand.backtest import BASELINES, MODEL
from pipelines.demand.evaluation import ADDED, ALL, HORIZON

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FANS = 4


def of_backtest(
    long: pl.DataFrame, evaluation: pl.DataFrame, panel: Panel, quantiles: Sequence[float]
) -> dict[str, Figure]:
    """File name → figure: WAPE by cutoff and horizon, value added, calibration, and fans of the largest series."""
    if long.is_empty():
        return {}
    return {
        "wape.png": _wape_by_cutoff(evaluation),
        "wape_by_horizon.png": _wape_by_horizon(evaluation),
        "value_added.png": _value_added(evaluation),
        "calibration.png": _calibration(long.filter(model=MODEL), quantiles),
        "fans.png": _fans(long.filter(model=MODEL), panel, quantiles),
    }


def _new(title: str, width: float = 7, height: float = 4.5) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    return figure


def _models(frame: pl.DataFrame) -> list[str]:
    """The model and its baselines, as far as they are there: more lines than these nobody reads."""
    present = set(frame["model"].unique())
    return [name for name in (MODEL, *BASELINES) if name in present]


def _wape_by_cutoff(evaluation: pl.DataFrame) -> Figure:
    figure = _new("WAPE by cutoff (lower is better)")
    axes = figure.add_subplot()
    spread = pl.col("cut").is_in([MEAN, STANDARD_ERROR])
    cuts = evaluation.filter(~spread, metric="wape", slice=ALL).drop_nulls("value").sort("cut")
    for model in _models(cuts):
        own = cuts.filter(model=model)
        axes.plot(own["cut"].to_list(), own["value"].to_list(), marker="o", **_drawn(model))
    axes.set_xlabel("cutoff")
    axes.set_ylabel("WAPE")
    axes.set_ylim(bottom=0)
    _explain(axes)
    return figure


def _wape_by_horizon(evaluation: pl.DataFrame) -> Figure:
    figure = _new("WAPE by periods ahead, ± standard error over cutoffs (lower is better)")
    axes = figure.add_subplot()
    parts = _spread(evaluation.filter(pl.col("slice").str.starts_with(HORIZON), metric="wape"))
    order = parts["slice"].unique().str.strip_prefix(HORIZON).to_list()
    order.sort(key=lambda part: int(part.split("-")[0]))
    models = _models(parts)
    for number, model in enumerate(models):
        own = {row["slice"].removeprefix(HORIZON): row for row in parts.filter(model=model).iter_rows(named=True)}
        shift = 0.08 * (number - (len(models) - 1) / 2)  # side by side, so that no bar hides another
        at = [place + shift for place, part in enumerate(order) if part in own]
        mean, error = ([own[part][name] for part in order if part in own] for name in ("mean", "error"))
        axes.errorbar(at, mean, yerr=error, marker="o", capsize=3, **_drawn(model))
    axes.set_xticks(range(len(order)), order)
    axes.set_xlabel("periods ahead")
    axes.set_ylabel("WAPE")
    axes.set_ylim(bottom=0)
    _explain(axes)
    return figure


def _value_added(evaluation: pl.DataFrame) -> Figure:
    figure = _new("WAPE taken off the seasonal naive forecast, ± standard error over cutoffs")
    axes = figure.add_subplot()
    added = _spread(evaluation.filter(~pl.col("slice").str.contains("=", literal=True), metric="wape" + ADDED))
    slices = sorted(added["slice"].unique(), key=lambda name: (name != ALL, name))
    models = _models(added)
    width = 0.8 / max(1, len(models))
    for number, model in enumerate(models):
        own = {row["slice"]: row for row in added.filter(model=model).iter_rows(named=True)}
        at = [place + (number - (len(models) - 1) / 2) * width for place, name in enumerate(slices) if name in own]
        mean, error = ([own[name][column] for name in slices if name in own] for column in ("mean", "error"))
        axes.bar(at, mean, width, yerr=error, capsize=3, **_drawn(model))
    axes.axhline(0, color="grey", linewidth=1)
    axes.set_xticks(range(len(slices)), slices)
    axes.set_xlabel("demand class")
    axes.set_ylabel("WAPE of the naive forecast less the model's")
    axes.margins(y=0.25)
    _explain(axes)
    return figure


def _spread(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of `evaluation` → `model`, `slice`, `mean` and `error`; no error (one cutoff) is drawn as none."""
    index = ["model", "slice"]
    mean = rows.filter(cut=MEAN).drop_nulls("value").select(*index, mean="value")
    error = rows.filter(cut=STANDARD_ERROR).select(*index, error=pl.col("value").fill_null(0.0))
    return mean.join(error, on=index, how="left", maintain_order="left")


def _drawn(model: str) -> dict[str, Any]:
    """Name and colour of a model, the same in every figure."""
    return {"label": model.replace("_", " "), "color": f"C{(MODEL, *BASELINES).index(model)}"}


def _explain(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:  # where every figure is undefined there is nothing to explain
        axes.legend()


def _calibration(long: pl.DataFrame, quantiles: Sequence[float]) -> Figure:
    figure = _new("Calibration: a bar that meets the diagonal is an honest quantile", 5.5, 5.5)
    axes = figure.add_subplot()
    fan = long.select(map(quantile_column, quantiles)).to_numpy()
    shares = metrics.calibration(long["actual"].to_numpy(), fan, quantiles)
    below, at_most = [below for below, _, _ in shares], [at_most for _, at_most, _ in shares]
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.vlines(quantiles, below, at_most, linewidth=4, label="share below … at or below the quantile")
    axes.set_xlabel("probability of the quantile")
    axes.set_ylabel("share of demand")
    axes.set_aspect("equal")
    axes.legend(loc="upper left")
    return figure


def _fans(long: pl.DataFrame, panel: Panel, quantiles: Sequence[float]) -> Figure:
    figure = _new("Forecasts of the largest series beside what came true", 9, 6)
    largest = long.group_by("series").agg(pl.col("actual").fill_nan(0).sum()).sort("actual", "series", descending=True)
    shown = largest["series"].head(_FANS).to_list()
    grid = figure.subplots(2, 2).ravel()
    for axes, series in zip(grid, shown, strict=False):
        axes.set_title(" ".join(str(part) for part in panel.series.select(panel.keys).row(series)), fontsize=9)
        axes.plot(range(panel.quantity.shape[1]), panel.quantity[series], color="grey", linewidth=0.7)
        for _, fan in long.filter(series=series).sort("horizon").group_by("cutoff", maintain_order=True):
            columns = (fan["cutoff"] + fan["horizon"]).to_numpy() - panel.first
            low, high = fan[quantile_column(min(quantiles))], fan[quantile_column(max(quantiles))]
            axes.fill_between(columns, low.to_numpy(), high.to_numpy(), alpha=0.3)
            axes.plot(columns, fan["mean"].to_numpy())
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    return figure
