"""Vintages: how far a forecast moved since the issue before, and why.

A mean is what the model expects and what planners put on top. Between two issues both can change, and the model's part
changes because the data did or because the model did:

    mean − mean_before = from_data + from_model + from_override

`from_override` is the change of what planners put on top. `from_model` is what the new model expects of today's data
less what the former one expects of the same data. The rest came with the data.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_REASONS = ("from_data", "from_model", "from_override")


def changes(
    before: pl.DataFrame, forecasts: pl.DataFrame, keys: Sequence[str], former: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The moves between two issues, for every period of a series that both forecast.

    Args:
        before: The earlier issue: rows of `forecasts`.
        forecasts: The issue that follows it.
        keys: Series key columns.
        former: Means of the former model on today's data (keys, `period`, `mean`); None where the model is the same
            (`from_model` is 0), or where the former one cannot forecast any more (it is null, its part in `from_data`).

    Returns:
        Rows of `forecast_changes`, sorted by key and period; units.

    Example:
        >>> from datetime import date
        >>> def issue(day: int, mean: float, model: float) -> pl.DataFrame:
        ...     return pl.DataFrame({"item": "a", "period": date(2024, 2, 5), "issued_on": date(2024, 1, day),
        ...         "mean": mean, "mean_model": model, "model_version": "1"})
        >>> moves = changes(issue(1, 10.0, 10.0), issue(8, 15.0, 12.0), ["item"])
        >>> moves.select("from_data", "from_model", "from_override").row(0)
        (2.0, 0.0, 3.0)
    """
    cell = [*keys, "period"]
    model = pl.coalesce("mean_model", "mean")  # issues from before planners were heard have no mean of the model alone
    was = before.select(
        *cell,
        issued_before="issued_on",
        mean_before="mean",
        _added_before=pl.col("mean") - model,
        _version_before="model_version",
    )
    rows = forecasts.with_columns(_model=model, _added=pl.col("mean") - model)
    rows = rows.join(was, on=cell, how="inner", maintain_order="left")
    if former is None:
        rows = rows.with_columns(_former=pl.lit(None, dtype=pl.Float64))
    else:
        rows = rows.join(former.select(*cell, _former="mean"), on=cell, how="left", maintain_order="left")
    same_model = pl.col("model_version") == pl.col("_version_before")
    rows = rows.with_columns(
        from_override=pl.col("_added") - pl.col("_added_before"),
        from_model=pl.when(same_model).then(0.0).otherwise(pl.col("_model") - pl.col("_former")),
    )
    moved = pl.col("mean") - pl.col("mean_before")
    rest = moved - pl.col("from_override") - pl.col("from_model").fill_null(0.0)
    head = ["issued_on", "issued_before", "mean_before", "mean"]
    return rows.with_columns(from_data=rest).select(*cell, *head, *_REASONS, "model_version").sort(cell)


def largest(moves: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The same moves with `move` (units), the largest first."""
    moves = moves.with_columns(move=pl.col("mean") - pl.col("mean_before"))
    return moves.sort(pl.col("move").abs(), *keys, "period", descending=[True, *[False] * (len(keys) + 1)])
