"""Figures of a backtest, for the tracking run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from features.panel import Panel
from features.tables import quantile_column
from pipelines.demand import metrics
from pipelines.demand.backtest import MODEL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FANS = 4


def of_backtest(
    long: pl.DataFrame, evaluation: pl.DataFrame, panel: Panel, quantiles: Sequence[float]
) -> dict[str, Figure]:
    """File name → figure: WAPE beside the baselines, calibration, and fans of the largest series."""
    if long.is_empty():
        return {}
    return {
        "wape.png": _wape(evaluation),
        "calibration.png": _calibration(long.filter(model=MODEL), quantiles),
        "fans.png": _fans(long.filter(model=MODEL), panel, quantiles),
    }


def _new(title: str, width: float = 6, height: float = 4) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    return figure


def _wape(evaluation: pl.DataFrame) -> Figure:
    figure = _new("WAPE by cutoff (lower is better)")
    axes = figure.add_subplot()
    cuts = evaluation.filter(pl.col("metric") == "wape", pl.col("slice") == "all", pl.col("cut") != "mean")
    for (model,), frame in cuts.sort("cut").group_by("model", maintain_order=True):
        axes.plot(frame["cut"].to_list(), frame["value"].to_list(), marker="o", label=str(model))
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def _calibration(long: pl.DataFrame, quantiles: Sequence[float]) -> Figure:
    figure = _new("Share of demand below, and at or below, each quantile")
    axes = figure.add_subplot()
    fan = long.select(map(quantile_column, quantiles)).to_numpy()
    shares = metrics.calibration(long["actual"].to_numpy(), fan, quantiles)
    axes.vlines(quantiles, [below for below, _, _ in shares], [at_most for _, at_most, _ in shares], linewidth=4)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.set_xlabel("quantile")
    axes.set_ylabel("share of cells")
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
