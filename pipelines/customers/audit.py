"""Audit of protected columns: nobody learns from them, everybody may look at how their groups fare."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.customers.backtest import MEAN

Floats = NDArray[np.float64]

LEAST_CELL = 50  # customers of a group, below which its figures say nothing
MANY_VALUES = 10  # numbers of more are told in quarters


def groups(attributes: pl.DataFrame, protected: Sequence[str]) -> pl.DataFrame:
    """The group of each customer in each protected column there is; numbers of many values are told in quarters.

    Args:
        attributes: One row a customer: `customer_id`, and a shop's own columns.
        protected: Columns that nobody learns from.

    Returns:
        customer_id, and the columns as text.

    Example:
        >>> people = pl.DataFrame({"customer_id": [f"c{n}" for n in range(12)], "age": range(12)})
        >>> groups(people, ["age"])["age"].unique(maintain_order=True).to_list()
        ['up to 2.75', '2.75 to 5.5', '5.5 to 8.25', 'above 8.25']
    """
    columns = [name for name in protected if name in attributes.columns]
    return attributes.select("customer_id", *(_told(attributes[name]) for name in columns))


def figures(said: Floats, churned: Floats, grouped: pl.DataFrame) -> Iterator[tuple[str, str, float]]:
    """Figures of each group of each protected column.

    As many customers are selected as have left, those with the highest probability. `selection_rate` is the share of
    a group that is selected, `calibration_gap` its mean probability less the share that left, `false_negative_rate`
    the share of those who left that was not selected.

    Args:
        said: Probability of leaving, one a customer.
        churned: 1 for those who left.
        grouped: What `groups` gives, one row a customer in the same order.

    Yields:
        Metric, slice (`column=group`), value; groups of fewer than 50 customers are left out.
    """
    selected = said > np.quantile(said, 1 - churned.mean())
    for labels in grouped.drop("customer_id"):
        for label in labels.drop_nulls().unique().sort():
            inside = (labels == label).fill_null(value=False).to_numpy()
            if inside.sum() < LEAST_CELL:
                continue
            left = churned[inside] > 0
            missed = float(1 - selected[inside][left].mean()) if left.any() else float("nan")
            group = f"{labels.name}={label}"
            yield "selection_rate", group, float(selected[inside].mean())
            yield "calibration_gap", group, float(said[inside].mean() - left.mean())
            yield "false_negative_rate", group, missed


def evaluation(churned: pl.DataFrame, customers: pl.DataFrame, protected: Sequence[str]) -> pl.DataFrame:
    """Figures of the groups of active customers at each cut, and their means over the cuts.

    Args:
        churned: Predictions beside outcomes (`backtest.Backtest.churn`).
        customers: Table customers, as it is now.
        protected: Its columns that nobody learns from.

    Returns:
        Rows of the evaluation table; none where nothing is protected.
    """
    rows, grouped = [], groups(customers, protected)
    for (cut,), part in churned.filter("active").partition_by("cut", as_dict=True, maintain_order=True).items():
        mine = part.select("customer_id").join(grouped, on="customer_id", how="left", maintain_order="left")
        found = figures(part["churn"].to_numpy(), part["churned"].cast(pl.Float64).to_numpy(), mine)
        rows += [("customers", "churn", metric, group, str(cut), value) for metric, group, value in found]
    keys = ["capability", "model", "metric", "slice"]
    schema = {**dict.fromkeys((*keys, "cut"), pl.String), "value": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("value").fill_nan(None))
    means = frame.group_by(keys, maintain_order=True).agg(pl.col("value").mean()).with_columns(cut=pl.lit(MEAN))
    return pl.concat([frame, means.select(frame.columns)])


def _told(column: pl.Series) -> pl.Series:
    if not column.dtype.is_numeric() or column.n_unique() <= MANY_VALUES:
        return column.cast(pl.String)
    known = column.cast(pl.Float64)
    edges = sorted({float(np.quantile(known.drop_nulls().to_numpy(), share)) for share in (0.25, 0.5, 0.75)})
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    names = [f"up to {edges[0]:g}", *between, f"above {edges[-1]:g}"]
    return pl.Series(column.name, [None if value is None else names[bisect_left(edges, value)] for value in known])
