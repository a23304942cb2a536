"""One series, one unit: stock in pieces and terms in boxes would order twelve times too much.

What the tables of supply say of a series' unit must agree. The first table of `TABLES_WITH_UNITS` that says one is
believed, tables of the lake that are not brought anew before all others; a file that says two of one series is
believed in neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.ingest.sources import ROW

TABLES_WITH_UNITS = ("stock", "supply_terms", "open_supply", "open_demand", "stock_lots")
UNIT, SAID_BY = "unit", "said_by"


def with_units_of(table: str, rows: pl.DataFrame, keys: Sequence[str], known: pl.DataFrame) -> pl.DataFrame:
    """The units known so far (keys as text, `unit`, `said_by`) and those of a table for series without one yet."""
    if table not in TABLES_WITH_UNITS or not {*keys, UNIT} <= set(rows.columns):
        return known
    said = rows.select(*(pl.col(key).cast(pl.String) for key in keys), UNIT, pl.lit(table).alias(SAID_BY))
    said = said.drop_nulls(UNIT).unique().sort(*keys, UNIT)
    return pl.concat([known, said], how="diagonal").unique(list(keys), keep="first", maintain_order=True)


def mixed(rows: pl.DataFrame, keys: Sequence[str], known: pl.DataFrame) -> pl.DataFrame:
    """Reasons (`_row`, `reason`) against rows whose unit is not that of their series.

    Args:
        rows: Typed rows of one file, with `_row`.
        keys: The shop's series columns.
        known: From `with_units_of`; may be empty.
    """
    said = rows.select(ROW, UNIT, *(pl.col(key).cast(pl.String) for key in keys)).drop_nulls(UNIT)
    several = said.filter(pl.col(UNIT).n_unique().over(keys) > 1)
    both = pl.col(UNIT).unique().sort().str.join("' and '").over(keys)
    reasons = [several.select(ROW, reason=pl.format("this file says '{}' of one series; {}", both, _REMEDY))]
    if not known.is_empty():
        other = said.join(several, on=ROW, how="anti").join(known, on=list(keys), suffix="_known")
        other = other.filter(pl.col(UNIT) != pl.col(f"{UNIT}_known"))
        words = pl.format("unit '{}' is not that of {} ('{}'); {}", UNIT, SAID_BY, f"{UNIT}_known", _REMEDY)
        reasons.append(other.select(ROW, reason=words))
    return pl.concat(reasons)


_REMEDY = pl.lit("state every quantity of a series in the unit it is sold in")
