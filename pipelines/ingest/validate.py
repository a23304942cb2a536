"""Good rows and bad rows. Every bad row gets its reasons in plain words, with the column and the value.

The rules are those of the table (`features.tables`) and six that need to know the moment, the whole file or the shop:
nothing happened later than tomorrow, demand is not below zero, a period lies on the shop's grid, an override speaks of
series there are, a series has one unit, a key stands once in a file.
Where one file gives one key two different sets of values nobody can know which is right: all of them are set aside.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dataframely as dy
import polars as pl

from features.calendar import Grid
from features.supply_tables import POLICIES
from features.tables import TABLES, Table
from pipelines.ingest.sources import ROW
from pipelines.ingest.units import TABLES_WITH_UNITS, mixed

REASONS = {ROW: pl.Int64(), "reason": pl.String()}
_HAPPENS = {
    "order_lines": "ordered_at",
    "demand": "period",
    "feedback": "at",
    "stock": "as_of",
    "stock_lots": "as_of",
    "stock_counts": "counted_on",
    "overrides": "at",
    "campaign_outcomes": "contacted_at",
}
_ALLOWED_AHEAD = timedelta(days=1)
_IN_WORDS = {
    "kind_is_sale_or_return": "kind '{kind}' is neither sale nor return",
    "quantity_is_a_number": "quantity is infinite",
    "delivered_not_before_ordered": "delivered_on {delivered_on} is before ordered_at {ordered_at}",
    "ended_not_before_started": "ended_on {ended_on} is before started_on {started_on}",
    "moq_not_above_maximum": "moq {moq} is above maximum {maximum}: nothing could ever be ordered",
    "multiple_not_above_maximum": "multiple {multiple} is above maximum {maximum}: nothing could ever be ordered",
    "moq_not_above_storage_maximum": "moq {moq} is above storage_maximum {storage_maximum}: it could never be stored",
    "whole_packs_not_above_maximum": "moq {moq} in whole packs is above maximum {maximum}: nothing could "
    "ever be ordered",
    "whole_packs_not_above_storage_maximum": "moq {moq} in whole packs is above storage_maximum {storage_maximum}: "
    "it could never be stored",
    "multiple_is_whole_order_units": "multiple {multiple} is not a whole number of order units of {order_unit}: state "
    "both in the unit you sell",
    "pallet_is_whole_order_units": "pallet_units {pallet_units} is not a whole number of order units of {order_unit}: "
    "state both in the unit you sell",
    "lead_times_are_days": "lead_times_days '{lead_times_days}' is not a list of days from 0 up: write 12;14;21",
    "order_days_are_weekdays": "order_days '{order_days}' are not days of the week: write mon;thu",
    "delivery_days_are_weekdays": "delivery_days '{delivery_days}' are not days of the week: write mon;thu",
    "cut_off_is_a_time": "cut_off '{cut_off}' is not a time of day: write 14:00",
    "price_breaks_are_pairs": "price_breaks '{price_breaks}' are not quantity:unit cost: write 100:0.95;500:0.90",
    "price_breaks_ascend": "price_breaks '{price_breaks}' do not go up in quantity: sort them",
    "price_breaks_get_cheaper": "price_breaks '{price_breaks}' cost more where more is bought (unit_cost {unit_cost}): "
    "state the cost of one unit, not of all",
    "rounding_is_known": "rounding '{rounding}' is none of best, up, down, nearest",
    "service_kind_is_known": "service_kind '{service_kind}' is none of cost, cycle, fill_rate",
    "policy_is_known": f"policy '{{policy}}' is none of {', '.join(POLICIES)}",
    "valid_to_not_before_valid_from": "valid_to {valid_to} is before valid_from {valid_from}",
    "kind_is_set_add_or_multiply": "kind '{kind}' is none of set, add, multiply",
    "only_add_is_below_zero": "value {value} is below 0, which only an 'add' may be",
    "from_not_after_to": "from_period {from_period} is after to_period {to_period}",
    "withdrawn_not_before_said": "withdrawn_at {withdrawn_at} is before at {at}",
    "kind_is_known": "kind '{kind}' is none of csat, nps, complaint",
}
_HINTS = {
    ("OrderLines", "quantity", "min_exclusive"): " (a return is a line of kind 'return')",
    ("SupplyTerms", "service_target", "max_exclusive"): " (a share: 97.5 % is 0.975)",
    ("OpenSupply", "confidence", "max"): " (a share: 80 % is 0.8)",
    ("Suppliers", "on_time_share", "max"): " (a share: 95 % is 0.95)",
}
_BOUNDS = {
    "min": "is below {}",
    "min_exclusive": "is not above {}",
    "max": "is above {}",
    "max_exclusive": "is not below {}",
}


@dataclass(frozen=True)
class Verdict:
    """Rows that keep all rules, in the table's columns and `_row`; and one row a broken rule: `_row`, `reason`."""

    good: pl.DataFrame
    reasons: pl.DataFrame


def judge(
    name: str,
    rows: pl.DataFrame,
    series: tuple[str, ...],
    now: datetime,
    grid: Grid | None = None,
    names: pl.DataFrame | None = None,
    units: pl.DataFrame | None = None,
) -> Verdict:
    """Split typed, canonical rows of one file into good ones and reasons against the others.

    Args:
        name: The table.
        rows: Typed rows with `_row`; columns the table lacks are left out unless the table is open.
        series: The shop's series columns.
        now: Nothing can have happened later than a day after this (UTC).
        grid: The grid periods must lie on, if the table has periods.
        names: Keys of the series there are, as text; None or empty where nobody knows.
        units: Units of the series, from `units.with_units_of`; None or empty where nobody knows.
    """
    table = TABLES[name]
    schema = _schema(table, rows, series)
    absent = {column: spec.dtype for column, spec in schema.columns().items() if column not in rows.columns}
    rows = rows.with_columns(pl.lit(None, dtype=dtype).alias(column) for column, dtype in absent.items())
    good, failure = schema.filter(rows, cast=True)
    details = failure.details()
    reasons = [_reason(schema, details.filter(pl.col(rule) == "invalid"), rule) for rule in failure.counts()]
    reasons += list(_wider_rules(name, rows, now, grid))
    if name == "overrides" and names is not None and not names.is_empty():
        reasons.append(_nameless(rows, names))
    if name in TABLES_WITH_UNITS and set(series) <= set(rows.columns):
        reasons.append(mixed(rows, series, units if units is not None else pl.DataFrame()))
    broken = pl.concat(reasons).unique(maintain_order=True) if reasons else pl.DataFrame(schema=REASONS)
    return Verdict(good.join(broken, on=ROW, how="anti"), broken)


def _schema(table: Table, rows: pl.DataFrame, series: tuple[str, ...]) -> type[dy.Schema]:
    present = tuple(name for name in series if name in rows.columns) if table.name == "covariates" else series
    columns = {name: dtype for name, dtype in rows.schema.items() if name != ROW}
    schema = table.schema_with(columns, present)
    numbered: dict[str, Any] = {ROW: dy.Int64(nullable=False)}
    return types.new_class(schema.__name__, (schema,), exec_body=lambda body: body.update(numbered))


def _reason(schema: type[dy.Schema], broken: pl.DataFrame, rule: str) -> pl.DataFrame:
    return broken.select(ROW, reason=_in_words(schema, rule)).cast(REASONS)  # type: ignore[arg-type]


def _in_words(schema: type[dy.Schema], rule: str) -> pl.Expr:
    if rule == "primary_key":
        key = schema.primary_key()
        shown = pl.concat_str([pl.format(f"{name} {{}}", _shown(name)) for name in key], separator=", ")
        return pl.format("the key {} stands more than once in this file, with different values", shown)
    if "|" not in rule:
        words = _IN_WORDS.get(rule, f"the rule '{rule.replace('_', ' ')}' is broken")
        names = [part.split("}")[0] for part in words.split("{")[1:]]
        template = words
        for name in names:
            template = template.replace(f"{{{name}}}", "{}")
        return pl.format(template, *map(_shown, names)) if names else pl.lit(template)
    column, check = rule.split("|", 1)
    if check in ("nullability", "min_length"):
        return pl.lit(f"{column} is missing")
    if check in ("inf", "nan"):
        return pl.lit(f"{column} is infinite")
    limit = getattr(schema.columns()[column], check, "")
    words = _BOUNDS.get(check, f"breaks the rule {check}").format(_bound(limit))
    if isinstance(limit, datetime):
        words = words.replace("below", "before")
    hint = _HINTS.get((schema.__name__, column, check), "")
    return pl.format(f"{column} {{}} {words}{hint}", _shown(column))


def _bound(limit: Any) -> str:
    if isinstance(limit, datetime):
        return f"{limit:%Y-%m-%d}"
    return f"{limit:,.10g}" if isinstance(limit, float) else str(limit)


def _shown(column: str) -> pl.Expr:
    text = pl.col(column).cast(pl.String).fill_null("nothing").str.slice(0, 60)
    return text.str.replace(r"(\d\d:\d\d)(?::00)?(:\d\d)?\.0+\+00:00$", "${1}${2} UTC").str.strip_suffix(".0")


def _wider_rules(name: str, rows: pl.DataFrame, now: datetime, grid: Grid | None) -> Iterator[pl.DataFrame]:
    if name in _HAPPENS:
        column = _HAPPENS[name]
        late = pl.col(column) > pl.lit(now + _ALLOWED_AHEAD).cast(rows.schema[column])
        if name == "demand":
            late &= pl.col("quantity").is_not_null()
        yield _against(rows, late, pl.format(f"{column} {{}} lies in the future", _shown(column)))
    if name == "demand":
        yield _against(rows, pl.col("quantity") < 0, pl.format("quantity {} is below 0", _shown("quantity")))
    for period in ("period", "from_period", "to_period"):
        if grid is not None and period in rows.columns:
            grids = {"week": f"{grid.anchor:%A}s", "month": f"day {grid.anchor.day} of the month"}
            words = f"{period} {{}} is not on the grid of the others ({grids.get(grid.frequency, 'days')})"
            yield _against(rows, grid.on_grid(pl.col(period)).not_(), pl.format(words, _shown(period)))


def _nameless(rows: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Overrides of series there are not. A key that is left open speaks of every value."""
    keys = [key for key in names.columns if key in rows.columns]
    said = rows.select(ROW, *(pl.col(key).cast(pl.String) for key in keys))
    found = []
    for left_open, part in said.group_by([pl.col(key).is_null() for key in keys], maintain_order=True):
        given = [key for key, is_open in zip(keys, left_open, strict=True) if not is_open]
        if given:
            words = pl.concat_str([pl.format(f"{key} {{}}", _shown(key)) for key in given], separator=", ")
            nobody = part.join(names, on=given, how="anti")
            found.append(nobody.select(ROW, reason=pl.format("there is no series with {}", words)))
    return pl.concat(found) if found else pl.DataFrame(schema=REASONS)


def _against(rows: pl.DataFrame, broken: pl.Expr, reason: pl.Expr) -> pl.DataFrame:
    return rows.filter(broken).select(ROW, reason=reason)
