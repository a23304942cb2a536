"""What is kept and shown of a backtest: rows of table `evaluation`, and tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from features.panel import Panel
from features.tables import TABLES
from features.windows import IntArray
from pipelines.accuracy import wide
from pipelines.demand.backtest import BASELINES, MODEL
from pipelines.demand.comparison import Comparison, compare
from pipelines.demand.evaluation import ALL, JUDGED_BY, NO_LEVELS, evaluate
from pipelines.settings import Settings

_SHOWN = ("wape", "wape_added", "scaled_pinball", "bias_share", "rmsse", "calibration_gap")
_COMPARED = ("wape", "scaled_pinball", "rmsse")


def evaluation_rows(
    long: pl.DataFrame,
    panel: Panel,
    run: str,
    quantiles: Sequence[float],
    levels: Mapping[str, IntArray] = NO_LEVELS,
) -> pl.DataFrame:
    """Rows of table `evaluation`; a record too short for a backtest has none.

    Args:
        long: What `backtest` returns.
        panel: The panel it was made from.
        run: The tracking run it belongs to.
        quantiles: Its probabilities.
        levels: Levels of the hierarchy, as `evaluate` takes them.
    """
    columns = TABLES["evaluation"].schema.column_names()
    if long.is_empty():
        return TABLES["evaluation"].schema.create_empty()
    frame = evaluate(long, quantiles, panel, levels)
    names = {str(cutoff): panel.grid.name(cutoff).isoformat() for cutoff in long["cutoff"].unique()}
    cut = pl.col("cut").replace(names)
    return frame.with_columns(cut, capability=pl.lit("demand"), run=pl.lit(run)).select(columns)


def tables_of(long: pl.DataFrame, evaluation: pl.DataFrame, settings: Settings) -> dict[str, pl.DataFrame]:
    """For people: figures of every model over all cells, and whether the model is better than each baseline."""
    overall = evaluation.filter(slice=ALL)
    if overall.is_empty():
        return {}
    beside = [
        compare(long, MODEL, name, metric, settings.seed, quantiles=settings.demand.quantiles)
        for metric in _COMPARED
        for name in BASELINES
    ]
    first = JUDGED_BY[settings.demand.optimise_for]
    return {
        "mean over cutoffs": wide(overall, list(dict.fromkeys((first, *_SHOWN)))).drop("slice"),
        "demand against the baselines": pl.DataFrame([_row(comparison) for comparison in beside]),
    }


def _row(comparison: Comparison) -> dict[str, Any]:
    """A comparison in a table: how much lower the loss is, between which bounds, and at how many cutoffs."""
    found = list(comparison.by_cutoff.values())
    lower = sum(value is not None and value < 0 for value in found)
    return {
        "metric": comparison.metric,
        "baseline": comparison.b,
        "difference": comparison.difference,
        "low": comparison.low,
        "high": comparison.high,
        "lower_at": f"{lower} of {len(found)} cutoffs",
        "demand_is": comparison.verdict,
    }
