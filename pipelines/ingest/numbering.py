"""Line numbers where the source has none: lines are told apart by what they say.

A line that says what a line held of its order says is that line. Where a file comes again under its name, a line that
says something else of a product of the order is a correction. Every other line is new; its number follows those that
its order has, in whatever files they came.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.ingest.mapping import occurrence

FILE, COUNTED, AGAIN = "_file", "_counted", "_again"
_ABOUT = ["order_id", "product_id", "location_id", "kind"]


def number_lines(lines: pl.DataFrame, held: pl.DataFrame, content: Sequence[str]) -> pl.DataFrame:
    """Give the lines that were merely counted the numbers they have beside those the lake holds.

    Args:
        lines: Good lines of all files with `_file` (its number), `_counted` (whether the line number was counted) and
            `_again` (whether a file of that name was taken in before).
        held: What the lake holds.
        content: The columns that tell lines of one order apart, `order_id` among them.

    Returns:
        The same lines in the same columns, each once however many files have it.
    """
    counted = lines.filter(COUNTED)
    if counted.is_empty():
        return lines
    given = lines.filter(~pl.col(COUNTED))
    names = [name for name in content if name in held.columns]
    new = counted.with_columns(_nth=occurrence(FILE, *content)).unique(
        [*content, "_nth"], keep="last", maintain_order=True
    )
    there = (
        held.join(new, on="order_id", how="semi")
        .sort("line_no")
        .select(*dict.fromkeys([*names, *_ABOUT]), _is="line_no")
    )
    new = _recognised(new, there, names)
    free = there.join(new, left_on=["order_id", "_is"], right_on=["order_id", "_is"], how="anti")
    settled = pl.col("_is").is_not_null() | ~pl.col(AGAIN)
    corrections = _recognised(new.filter(~settled).drop("_is"), free, _ABOUT)
    new = pl.concat([new.filter(settled), corrections.select(new.columns)])
    numbers = pl.concat([there.select("order_id", "_is"), given.select("order_id", _is="line_no")])
    top = numbers.group_by("order_id").agg(_top=pl.col("_is").max())
    known, more = new.filter(pl.col("_is").is_not_null()), new.filter(pl.col("_is").is_null())
    more = more.sort(FILE, "line_no", maintain_order=True).join(top, on="order_id", how="left", maintain_order="left")
    more = more.with_columns(_is=pl.col("_top").fill_null(0) + occurrence("order_id"))
    numbered = pl.concat([known, more.select(known.columns)]).with_columns(line_no="_is")
    return pl.concat([given, numbered.select(lines.columns)])


def _recognised(new: pl.DataFrame, there: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """New lines with `_is`, the number of the line that is there and equal in these columns; equal ones in turn."""
    nth = occurrence(*names).alias("_nth")
    numbered = there.with_columns(nth).select(*names, "_nth", "_is")
    return new.with_columns(nth).join(
        numbered, on=[*names, "_nth"], how="left", nulls_equal=True, maintain_order="left"
    )
