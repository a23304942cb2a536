"""Figures of table `evaluation` laid out to be read: a row a model, a column a metric, its standard error beside it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from features.tables import MEAN, STANDARD_ERROR

STANDARD_ERROR_OF = "_standard_error"  # ends the name of the column that belongs to the metric before it
GIVE_OR_TAKE = " ± "
MORE_IS_BETTER = {"auc", "gini", "success_10"}


def wide(evaluation: pl.DataFrame, metrics: Sequence[str]) -> pl.DataFrame:
    """Means over the cuts, a row a slice and model, the best first; a column a metric and one its standard error.

    Args:
        evaluation: Rows of `evaluation`, those of the cuts among them or not.
        metrics: The metrics wanted, the one that ranks first.
    """
    index, frames = ["slice", "model"], []
    for cut, suffix in ((MEAN, ""), (STANDARD_ERROR, STANDARD_ERROR_OF)):
        rows = evaluation.filter(pl.col("cut") == cut, pl.col("metric").is_in(metrics))
        named = rows.with_columns(pl.col("metric") + suffix)
        frames.append(named.pivot("metric", index=index, values="value", maintain_order=True))
    both = frames[0].join(frames[1], on=index, how="left", maintain_order="left") if frames[1].height else frames[0]
    beside = [name for metric in metrics for name in (metric, metric + STANDARD_ERROR_OF) if name in both.columns]
    ranked = both.sort(beside[0], descending=beside[0] in MORE_IS_BETTER, nulls_last=True)
    return ranked.sort(pl.col("slice") != "all", "slice", maintain_order=True).select(*index, *beside)


def with_errors(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns and their standard errors as one text each, for people.

    Example:
        >>> with_errors(pl.DataFrame({"wape": [0.66921], "wape_standard_error": [0.0123]}))["wape"].to_list()
        ['0.669 ± 0.012']
    """
    errors = [name for name in frame.columns if name.endswith(STANDARD_ERROR_OF)]
    for error in errors:
        name = error.removesuffix(STANDARD_ERROR_OF)
        cells = [_beside(*pair) for pair in frame.select(name, error).iter_rows()]
        frame = frame.with_columns(pl.Series(name, cells, dtype=pl.String))
    return frame.drop(errors)


def _beside(value: float | None, error: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.3f}" if error is None else f"{value:.3f}{GIVE_OR_TAKE}{error:.3f}"
