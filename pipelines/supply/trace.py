"""The constraints an order line passed, in words: what each made of the quantity, in their order."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from pipelines.supply.paths import Array

SEPARATOR = "; "


def trace(passed: Mapping[str, Array], next_order_on: pl.Series | None = None) -> pl.Series:
    """One text a line.

    Args:
        passed: Quantity after each step, in order, units; not-a-number leaves the step out. Each shape (n,).
        next_order_on: The day the supplier takes orders again, named with step `calendar`; null where it is today.

    Example:
        >>> import numpy as np
        >>> from datetime import date
        >>> steps = {"wish": np.array([7.0, 2.5]), "calendar": np.array([np.nan, 0.0]), "moq": np.array([24.0, 0.0])}
        >>> trace(steps, pl.Series([None, date(2024, 4, 18)])).to_list()
        ['wish 7; moq 24', 'wish 2.5; calendar 0 (next order day 2024-04-18); moq 0']
    """
    frame = pl.DataFrame(dict(passed))
    parts = {name: pl.format("{} {}", pl.lit(name), _units(name)) for name in passed}
    if next_order_on is not None and "calendar" in parts:
        frame = frame.with_columns(next_order_on.cast(pl.Date).alias("next_order_on"))
        named = pl.format("{} (next order day {})", parts["calendar"], pl.col("next_order_on").dt.to_string("%Y-%m-%d"))
        parts["calendar"] = pl.coalesce(named, parts["calendar"])
    return frame.select(pl.concat_str(list(parts.values()), separator=SEPARATOR, ignore_nulls=True).alias("trace"))[
        "trace"
    ]


def _units(column: str) -> pl.Expr:
    """Whole units as whole numbers, others with up to three decimals; null for not-a-number."""
    value = pl.col(column).fill_nan(None).round(3)
    return pl.when(value == value.round(0)).then(value.cast(pl.Int64).cast(pl.String)).otherwise(value.cast(pl.String))
