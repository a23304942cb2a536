"""Folds of customers that do not depend on the order of rows and keep twins together."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fold_of(rows: pl.DataFrame, churned: Floats, *, folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row: stratified by outcome; rows that are alike in all but the id fall into the same one.

    A customer who stands twice in a table under two ids must not teach what their twin is judged on.

    Args:
        rows: Rows of `attributes.describe`, sorted by customer.
        churned: 0 or 1 a row.
        folds: How many.
        seed: Decides who meets whom.

    Example:
        >>> rows = pl.DataFrame({"customer_id": ["a", "b", "c", "d"], "fee": [1.0, 1.0, 2.0, 3.0]})
        >>> a, b, c, d = fold_of(rows, np.array([0.0, 0.0, 0.0, 0.0]), folds=3, seed=0).tolist()
        >>> a == b, len({a, c, d})
        (True, 3)
    """
    own = [name for name in rows.columns if name != "customer_id"]
    # attributes may have any name, so ours must not stand beside theirs
    alike = rows.select(pl.col(name).alias(f"attribute_{place}") for place, name in enumerate(own))
    places = alike.with_columns(place=pl.int_range(pl.len()), churned=pl.Series(churned))
    groups = places.group_by(alike.columns, maintain_order=True).agg("place", pl.col("churned").max())
    order = np.random.default_rng(seed).permutation(groups.height)
    groups = groups.select("place", "churned")[order].with_columns(
        fold=(pl.int_range(pl.len()).over("churned") + pl.col("churned").cast(pl.Int64) * (folds // 2)) % folds
    )
    placed = groups.explode("place").sort("place")
    return placed["fold"].to_numpy().astype(np.int64)
