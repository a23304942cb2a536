"""From a shop's columns to the canonical ones, and the stated defaults for what a shop does not have.

| order_lines without | takes |
|---|---|
| `order_id` | one order per customer and time |
| `line_no`, or both | the occurrence within the order; `numbering` settles it beside what the lake holds |
| `product_id`, `location_id` | `all` |
| `unit_price` | `amount` (line total) divided by the quantity |
| `kind` | `sale` |
| `known_at` | the event's own time; for a late or corrected row the time of its ingestion |
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from features.notation import SEPARATOR
from features.tables import TABLES
from pipelines.errors import SourceError
from pipelines.ingest.casting import narrowest
from pipelines.ingest.sources import ROW, nearest
from pipelines.settings import Source

AMOUNT = "amount"
# What cannot be left out although its column may hold nulls.
_NEEDED = {"demand": ["quantity"], "covariates": ["period"]}
_DEFAULTED = {"order_id", "line_no", "product_id", "location_id", "kind", "known_at", "unit_price"}
_SHARES = ("available", "promotion")  # numbers that many write as yes and no
_WORDS = {"true": "1", "yes": "1", "false": "0", "no": "0"}
_SPEAK_OF_SERIES = ("stock_lots", "open_supply", "open_demand")  # many rows a series, none of them its key
_WRITTEN_LISTS = ("lead_times_days", "order_days", "delivery_days")  # a parquet file may hold them as lists
_ONLY_FROM_CONFIG = {"illustrative"}  # real data are never marked as made up


def rename(frame: pl.DataFrame, source: Source, series: tuple[str, ...], file: str) -> pl.DataFrame:
    """The columns this table takes, under their canonical names, with `_row`; types as in the source.

    Raises:
        SourceError: A column is missing; the nearest one in the file is named.
    """
    given = [name for name in frame.columns if name != ROW]
    for canonical, original in source.columns.items():
        if original not in given:
            raise SourceError(
                f"There is no column {original!r} in the file.",
                file=file,
                column=original,
                rule=f"columns.{canonical}",
                remedy=nearest(given, original),
            )
    table = TABLES[source.table]
    # A column that another name takes is spoken for, unless it has a meaning of its own in this table.
    used = set(source.columns) | (set(source.columns.values()) - set(table.schema.columns()))
    selected = dict(source.columns) | {name: name for name in given if name not in used}
    named = [*source.known_ahead, *source.observed]
    wanted = set(table.schema.columns()) | set(series) | set(named)
    if source.table == "order_lines":
        wanted.add(AMOUNT)
    keep_own = table.open and not named
    selected = {
        canonical: original
        for canonical, original in selected.items()
        if (keep_own or canonical in wanted) and canonical not in _ONLY_FROM_CONFIG
    }
    _require(source, list(selected), given, series, file)
    lists = [selected[name] for name in _WRITTEN_LISTS if isinstance(frame.schema.get(selected.get(name, "")), pl.List)]
    frame = frame.with_columns(_written(name) for name in lists)
    for canonical, original in selected.items():
        if frame.schema[original].is_nested() or frame.schema[original] in (pl.Binary, pl.Object):
            raise SourceError(
                f"The column {original!r} holds {frame.schema[original]}: not one plain value a row.",
                file=file,
                column=canonical,
                remedy="export it as numbers, text or dates, or leave it out",
            )
    renamed = frame.select(ROW, **{canonical: pl.col(original) for canonical, original in selected.items()})
    words = [name for name in _SHARES if renamed.schema.get(name) == pl.String]
    return renamed.with_columns(pl.col(name).str.to_lowercase().replace(_WORDS) for name in words)


def _written(column: str) -> pl.Expr:
    """A list as the text it would be in csv; an empty one is nothing said."""
    text = pl.col(column).cast(pl.List(pl.String)).list.eval(pl.element().fill_null("")).list.join(SEPARATOR)
    return pl.when(pl.col(column).list.len() > 0).then(text).alias(column)


def _require(source: Source, present: list[str], given: list[str], series: tuple[str, ...], file: str) -> None:
    table = TABLES[source.table]
    columns = table.schema.columns()
    needed = [name for name, column in columns.items() if not column.nullable] + _NEEDED.get(source.table, [])
    if source.table == "order_lines":
        needed = [name for name in needed if name not in _DEFAULTED]
        needed += [name for name in series if name not in columns]
        needed += [] if {"unit_price", AMOUNT} & set(present) else ["unit_price"]
    elif source.table == "covariates":
        needed += [*source.known_ahead, *source.observed]
    elif table.keyed_by_series or source.table in _SPEAK_OF_SERIES:
        needed += series
    for name in dict.fromkeys(needed):
        if name not in present:
            also = " (or amount, the line total)" if name == "unit_price" else ""
            raise SourceError(
                f"Table {source.table} needs the column {name!r}{also}; the file has none of that name.",
                file=file,
                column=name,
                remedy=f"add `columns: {{{name}: …}}` to this source; {nearest(given, name)}",
            )


def types_of(
    frame: pl.DataFrame, source: Source, series: tuple[str, ...], kept: Mapping[str, pl.DataType]
) -> dict[str, pl.DataType]:
    """The type of each canonical column.

    Known columns have the type of the table; whatever ends in `_id` is text; a shop's own columns keep the type they
    first had in the lake, else the type in the file. In csv that is the narrowest one that all values have.

    Args:
        frame: Canonical columns, types as in the source.
        source: Where they come from.
        series: The shop's series columns.
        kept: Types of the columns that the lake's table already has.
    """
    known = {name: column.dtype for name, column in TABLES[source.table].schema.columns().items()}
    known[AMOUNT] = pl.Float64()
    types = {}
    for name in frame.columns:
        if name == ROW:
            continue
        if name in known:
            types[name] = known[name]
        elif name.endswith("_id"):
            types[name] = pl.String()
        elif name in kept:
            types[name] = kept[name]
        else:
            types[name] = _own_type(frame[name], is_key=name in series, is_text=source.format == "csv")
    return types


def _own_type(column: pl.Series, *, is_key: bool, is_text: bool) -> pl.DataType:
    dtype = narrowest(column) if is_text else column.dtype
    if is_text and is_key and dtype == pl.Float64:
        return pl.Int64() if not column.drop_nulls().str.contains(r"[^\d\s-]").any() else pl.String()
    if dtype.is_integer():
        return pl.Int64()
    if dtype.is_numeric():
        return pl.Float64()
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", "UTC")
    return dtype if dtype in (pl.Boolean, pl.Date) else pl.String()


def complete_order_lines(lines: pl.DataFrame) -> pl.DataFrame:
    """Fill in what the shop does not have (see the table above). Typed rows in, the same rows out.

    A return may state its quantity and amount below zero, as many systems write it: both become positive.

    Example:
        >>> from datetime import UTC, datetime
        >>> at = datetime(2024, 1, 1, tzinfo=UTC)
        >>> bought = pl.DataFrame({"ordered_at": [at, at], "customer_id": "a", "quantity": [2.0, 1.0], "amount": 6.0})
        >>> complete_order_lines(bought).select("order_id", "line_no", "product_id", "kind", "unit_price").rows()[1]
        ('a 2024-01-01T00:00:00Z', 2, 'all', 'sale', 6.0)
    """
    have = set(lines.columns)
    defaults = {"customer_id": None, "kind": "sale", "product_id": "all", "location_id": "all"}
    lines = lines.with_columns(
        pl.lit(value, dtype=pl.String).alias(name) for name, value in defaults.items() if name not in have
    )
    lines = lines.with_columns(kind=pl.col("kind").str.to_lowercase())
    returned = pl.col("kind") == "return"
    lines = lines.with_columns(
        pl.when(returned).then(pl.col(name).abs()).otherwise(pl.col(name)).alias(name)
        for name in ("quantity", AMOUNT)
        if name in lines.columns
    )
    if AMOUNT in have:
        each = pl.col(AMOUNT) / pl.when(pl.col("quantity") != 0).then(pl.col("quantity"))
        lines = lines.with_columns(unit_price=pl.col("unit_price").fill_null(each) if "unit_price" in have else each)
    if "order_id" not in have:
        at = pl.col("ordered_at").dt.to_string("%Y-%m-%dT%H:%M:%SZ")
        lines = lines.with_columns(
            order_id=pl.concat_str(pl.col("customer_id"), at, separator=" ", ignore_nulls=True).replace("", None)
        )
    if not have >= {"order_id", "line_no"}:  # a number within the source's own order says nothing within a made-up one
        lines = lines.with_columns(line_no=occurrence("order_id"))
    return lines


def occurrence(*order: str) -> pl.Expr:
    """1 for the first row of each order, 2 for the second, … (Int64)."""
    return (pl.int_range(pl.len()).over(order) + 1).cast(pl.Int64)
