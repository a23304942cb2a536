"""Order lines that come in, beside those the lake holds: which line each is, when it was known, what it takes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from pipelines.ingest.numbering import AGAIN, COUNTED, FILE, number_lines
from pipelines.ingest.returns import match_returns

KEY = ["order_id", "line_no"]
LINKS = ["cancels_order_id", "cancels_line_no"]
STATED = "_stated"  # whether the source itself says when the row was known
DECISIVE = ["ordered_at", "customer_id", "product_id", "location_id", "kind", "quantity", "unit_price"]


@dataclass(frozen=True)
class Settled:
    """Rows for `order_lines`, and the versions they take the place of, for `superseded_lines`."""

    lines: pl.DataFrame
    superseded: pl.DataFrame


def settle(lines: pl.DataFrame, held: pl.DataFrame | None, now: datetime, series: Sequence[str] = ()) -> Settled:
    """Decide on line numbers, `known_at` and the links of returns.

    An event is known when it happens (`known_at` comes in so), or when its source says. A row that is older than the
    newest event held is known from now on: it came late. So is a row held of which something changed that decides
    demand or a customer's ledger, and a return held without a link whose sale has come in only now: for what was known
    before, the version held is kept. All other changes of a row leave its `known_at` as it was.

    Args:
        lines: Good order lines of all files, with `_stated`, `_file`, `_counted` and `_again`. Of rows with one key the
            last counts: a later file corrects an earlier.
        held: What the lake holds; None on the first load.
        now: The moment of ingestion (UTC).
        series: The shop's series columns: they decide demand.

    Returns:
        The rows to merge, sorted by time and key, and the versions of theirs that were known until now.
    """
    held = lines.clear().drop(STATED, FILE, COUNTED, AGAIN) if held is None else held
    decisive = list(dict.fromkeys([*DECISIVE, *(name for name in series if name in lines.columns)]))
    lines = number_lines(lines, held, ["order_id", *decisive]).drop(FILE, COUNTED, AGAIN)
    lines = lines.unique(subset=KEY, keep="last", maintain_order=True)
    lines = _timed(lines, held, now, [name for name in decisive if name in held.columns])
    others = held.join(lines, on=KEY, how="anti")
    everything = pl.concat([lines, others], how="diagonal_relaxed")
    links = match_returns(everything)
    linked = everything.join(links, on=KEY, how="inner", suffix="_new").with_columns(
        pl.col(f"{name}_new").alias(name) for name in LINKS
    )
    arrived = linked.join(lines, on=KEY, how="semi")
    found_late = linked.join(lines, on=KEY, how="anti").with_columns(known_at=_moment(now))
    rest = lines.join(links, on=KEY, how="anti")
    rows = pl.concat([part.select(lines.columns) for part in (rest, arrived, found_late)]).sort("ordered_at", *KEY)
    superseded = held.join(rows.select(*KEY, known_until="known_at"), on=KEY)
    return Settled(rows, superseded.filter(pl.col("known_until") > pl.col("known_at")))


def _timed(lines: pl.DataFrame, held: pl.DataFrame, now: datetime, decisive: Sequence[str]) -> pl.DataFrame:
    """The lines with their `known_at`; those that say what the lines held say keep their links."""
    before = held.select(*KEY, pl.exclude(*KEY).name.prefix("held ")).with_columns(_held=pl.lit(value=True))
    lines = lines.join(before, on=KEY, how="left", maintain_order="left")
    is_held = pl.col("_held").is_not_null()
    same = is_held & pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"held {name}")) for name in decisive)
    corrected, was_known = is_held & ~same, pl.col("held known_at")
    late = ~is_held & (pl.col("ordered_at") < pl.lit(held["ordered_at"].max(), dtype=pl.Datetime("us", "UTC")))
    known = (
        pl.when(pl.col(STATED) & ~(corrected & (pl.col("known_at") <= was_known)))
        .then("known_at")
        .when(same)
        .then(was_known)
        .when(corrected | late)
        .then(_moment(now))
        .otherwise("known_at")
    )
    kept = [pl.when(same).then(pl.coalesce(name, f"held {name}")).otherwise(name).alias(name) for name in LINKS]
    return lines.with_columns(known.alias("known_at"), *kept).select(pl.exclude(STATED, "_held", "^held .*$"))


def _moment(now: datetime) -> pl.Expr:
    return pl.lit(now, dtype=pl.Datetime("us", "UTC"))
