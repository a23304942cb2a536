"""Totals that come in, beside those the lake holds: a correction is a revision, known from the period it came in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl


@dataclass(frozen=True)
class SettledTotals:
    """Rows for `demand`, and for `demand_revisions`."""

    rows: pl.DataFrame
    revisions: pl.DataFrame


def settle_totals(
    rows: pl.DataFrame, held: pl.DataFrame, revisions: pl.DataFrame | None, keys: list[str], this_period: date
) -> SettledTotals:
    """Keep what was told first of a period that is over, and write down by how much it is corrected now.

    A total that was unknown is filled in; of a period that is not over a new total takes the place of the old. A total
    once known cannot become unknown.

    Args:
        rows: Good rows of `demand`, unique by `keys`.
        held: What the lake holds.
        revisions: Table `demand_revisions`, where there is one.
        keys: The series columns and `period`.
        this_period: The label of the period in which the rows come in.

    Returns:
        The rows to merge, and revisions to merge by series, period and `known_period`: those of one period add up.

    Example:
        >>> first, later, now = date(2024, 1, 1), date(2024, 1, 8), date(2024, 1, 15)
        >>> held = pl.DataFrame({"store": ["a", "a"], "period": [first, later], "quantity": [5.0, None]})
        >>> came = held.with_columns(quantity=pl.Series([7.0, 4.0]))
        >>> settled = settle_totals(came, held, None, ["store", "period"], now)
        >>> settled.rows["quantity"].to_list(), settled.revisions["quantity"].to_list()
        ([5.0, 4.0], [2.0])
    """
    if revisions is None:
        revisions = rows.clear().select(*keys, known_period="period", quantity="quantity")
    before = held.drop_nulls("quantity").select(*keys, _told="quantity")
    known = revisions.group_by(keys).agg(_added=pl.col("quantity").sum())
    cells = rows.join(before, on=keys, how="left", maintain_order="left").join(
        known, on=keys, how="left", maintain_order="left"
    )
    kept = pl.col("_told").is_not_null() & (pl.col("quantity").is_null() | (pl.col("period") < this_period))
    change = pl.col("quantity") - pl.col("_told") - pl.col("_added").fill_null(0)
    changed = cells.filter(kept & (change != 0)).select(*keys, quantity=change, known_period=pl.lit(this_period))
    so_far = revisions.filter(known_period=this_period).join(changed, on=keys, how="semi")
    both = pl.concat([changed, so_far.select(changed.columns)])
    return SettledTotals(
        cells.with_columns(quantity=pl.when(kept).then("_told").otherwise("quantity")).select(rows.columns),
        both.group_by(*keys, "known_period").agg(pl.col("quantity").sum()),
    )
