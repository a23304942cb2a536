"""Order lines that come in, beside those the lake holds: when each was known, and which sale each return takes back."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from pipelines.ingest.returns import match_returns

KEY = ["order_id", "line_no"]
LINKS = ["cancels_order_id", "cancels_line_no"]
STATED = "_stated"  # whether the source itself says when the row was known


def settle(lines: pl.DataFrame, held: pl.DataFrame | None, now: datetime) -> pl.DataFrame:
    """Decide on `known_at` and the links of returns.

    A row the lake holds unchanged keeps both. An event is known when it happens (`known_at` comes in so), or when its
    source says. A row that is older than the newest event held, or corrects a row held, is known from now on: it came
    late. So is a return held without a link whose sale has come in only now.

    Args:
        lines: Good order lines, with `_stated`. Of rows with one key the last counts: a later file corrects an earlier.
        held: What the lake holds; None on the first load.
        now: The moment of ingestion (UTC).

    Returns:
        The rows to merge, sorted by time and key.
    """
    lines = lines.unique(subset=KEY, keep="last", maintain_order=True)
    if held is None or held.is_empty():
        everything = lines
    else:
        lines = _timed(lines, held, now)
        others = held.join(lines, on=KEY, how="anti").with_columns(_stated=pl.lit(value=True))
        everything = pl.concat([lines, others], how="diagonal_relaxed")
    links = match_returns(everything)
    linked = everything.join(links, on=KEY, how="inner", suffix="_new").with_columns(
        pl.col(f"{name}_new").alias(name) for name in LINKS
    )
    arrived = linked.join(lines, on=KEY, how="semi")
    found_late = linked.join(lines, on=KEY, how="anti").with_columns(known_at=_moment(now))
    rest = lines.join(links, on=KEY, how="anti")
    columns = [name for name in lines.columns if name != STATED]
    rows = pl.concat([part.select(columns) for part in (rest, arrived, found_late)])
    return rows.sort("ordered_at", *KEY)


def _timed(lines: pl.DataFrame, held: pl.DataFrame, now: datetime) -> pl.DataFrame:
    content = [name for name in lines.columns if name in held.columns and name not in (*LINKS, "known_at")]
    before = held.select(*KEY, _known="known_at", **{f"_{name}": name for name in LINKS}, _held=pl.lit(value=True))
    same = lines.select(content).join(held.select(content), on=content, how="semi", nulls_equal=True).select(*KEY)
    lines = lines.join(before, on=KEY, how="left", maintain_order="left").join(
        same.with_columns(_same=pl.lit(value=True)), on=KEY, how="left", maintain_order="left"
    )
    same_as_held = pl.col("_same").is_not_null()
    late = pl.col("_held").is_not_null() | (pl.col("ordered_at") < held["ordered_at"].max())
    known = pl.when(STATED).then("known_at").when(same_as_held).then("_known").when(late).then(_moment(now))
    kept = [pl.when(same_as_held).then(pl.coalesce(name, f"_{name}")).otherwise(name).alias(name) for name in LINKS]
    return lines.with_columns(known.otherwise("known_at").alias("known_at"), *kept).drop(
        "_known", "_held", "_same", *(f"_{name}" for name in LINKS)
    )


def _moment(now: datetime) -> pl.Expr:
    return pl.lit(now, dtype=pl.Datetime("us", "UTC"))
