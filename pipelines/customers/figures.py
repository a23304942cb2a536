"""What a person wants to see and read first of a backtest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from pipelines.customers.backtest import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def headline(evaluation: pl.DataFrame) -> dict[str, float]:
    """The figures a person asks for first, means over the cuts."""
    wanted = {
        f"{model}_{metric}_{part}": figure(evaluation, model, metric, part)
        for part in ("all", "active")
        for model in ("churn", "recency_rule", "bg_nbd", "trees", "logistic")
        for metric in ("auc", "ece")
    }
    parts = evaluation.filter(pl.col("capability") == "value")["slice"].unique(maintain_order=True)
    wanted |= {
        f"value_{metric}_{part}": figure(evaluation, "value", metric, part)
        for part in parts
        for metric in ("gini", "total_ratio")
    }
    return {name: value for name, value in wanted.items() if not math.isnan(value)}


def calibration(churned: pl.DataFrame, models: Sequence[str] = ("churn", "recency_rule", "bg_nbd")) -> Figure:
    """Said against came true, in ten bins of equal count a model."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(5, 5))
    axes = canvas.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for model in models:
        known = churned.select(said=model, came=pl.col("churned").cast(pl.Float64)).filter(pl.col("said").is_not_nan())
        bins = known.sort("said").with_columns(bin=pl.int_range(pl.len()) * 10 // pl.len()).group_by("bin").mean()
        bins = bins.sort("bin")
        axes.plot(bins["said"].to_list(), bins["came"].to_list(), marker="o", label=model)
    axes.set_xlabel("probability of churn, said")
    axes.set_ylabel("share that churned, came true")
    axes.legend()
    return canvas
