"""Lenient casts: a value becomes what its column asks for, or its row gets a reason. Nothing is guessed.

Whole numbers name things as well as text does (`17850` and `17850.0` are customer `17850`); 0/1 and yes/no are truth
values; naive times are the shop's local time. A date such as 03/04/2024 is refused: nobody can know which is the month.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

TRUE = ("true", "t", "yes", "y", "1", "1.0")
FALSE = ("false", "f", "no", "n", "0", "0.0")
_TIME_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d")
_ZONED_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_DAY = r"^(\d{4}-\d{2}-\d{2})(?:[ T].*)?$"
_WHOLE_NUMBERS = 2.0**53  # beyond it a float no longer tells neighbours apart


def cast(frame: pl.DataFrame, types: Mapping[str, pl.DataType], timezone: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cast columns; say of each value that would not.

    Args:
        frame: Rows with `_row`.
        types: Column → type. Columns the frame lacks are ignored.
        timezone: What naive times mean.

    Returns:
        The frame with typed columns (null where a value would not), and one row a refused value: `_row`, `reason`.

    Example:
        >>> rows = pl.DataFrame({"_row": [1, 2], "quantity": ["3", "x"]})
        >>> typed, refused = cast(rows, {"quantity": pl.Float64()}, "UTC")
        >>> typed["quantity"].to_list(), refused.rows()
        ([3.0, None], [(2, "quantity 'x' is not a number")])
    """
    present = {name: dtype for name, dtype in types.items() if name in frame.columns}
    if not present:
        return frame, pl.DataFrame(schema={"_row": pl.Int64, "reason": pl.String})
    typed = frame.with_columns(
        to(pl.col(name), frame.schema[name], dtype, timezone).alias(name) for name, dtype in present.items()
    )
    refused = [_refused(frame, typed, name, dtype) for name, dtype in present.items()]
    return typed, pl.concat(refused)


def to(value: pl.Expr, source: pl.DataType, target: pl.DataType, timezone: str) -> pl.Expr:
    """One column as another type; null where a value would not."""
    if source == pl.Null:
        return value.cast(target)
    if source == pl.Categorical or isinstance(source, pl.Enum):
        value, source = value.cast(pl.String), pl.String()
    if target == pl.String:
        return as_text(value, source)
    if target == pl.Boolean:
        return _truth(value, source)
    if target == pl.Date:
        return _date(value, source, timezone)
    if isinstance(target, pl.Datetime):
        return _time(value, source, timezone)
    return _number(value, source, target)


def as_text(value: pl.Expr, source: pl.DataType) -> pl.Expr:
    """Any value as text without surrounding blanks; empty text is null, whole floats lose their `.0`."""
    if source.is_float():
        whole = value.is_finite() & (value == value.round()) & (value.abs() < _WHOLE_NUMBERS)
        text = pl.when(whole).then(value.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(value.cast(pl.String))
        return pl.when(value.is_not_nan()).then(text)
    if isinstance(source, pl.Datetime):
        pattern = "%Y-%m-%dT%H:%M:%S%.f%:z" if source.time_zone else "%Y-%m-%dT%H:%M:%S%.f"
        return value.dt.to_string(pattern)
    text = value.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def local_to_utc(local: pl.Expr, timezone: str) -> pl.Expr:
    """Naive local times as UTC.

    The hour that comes twice in autumn is its first coming. An hour that does not exist in spring is read with the
    offset that held before the clocks moved, so 01:30 on the last Sunday of March in London is 01:30 UTC.

    Example:
        >>> from datetime import datetime
        >>> times = pl.Series([datetime(2010, 3, 28, 1, 30), datetime(2010, 10, 31, 1, 30), datetime(2010, 7, 1, 12)])
        >>> pl.select(local_to_utc(pl.lit(times), "Europe/London").dt.to_string("%d. %H:%M")).to_series().to_list()
        ['28. 01:30', '31. 00:30', '01. 11:00']
    """

    def utc(times: pl.Expr) -> pl.Expr:
        zoned = times.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
        return zoned.dt.convert_time_zone("UTC")

    local = local.cast(pl.Datetime("us"))
    before_the_gap = pl.duration(hours=3)
    return utc(local).fill_null(utc(local - before_the_gap) + before_the_gap)


def narrowest(column: pl.Series) -> pl.DataType:
    """The type of an own column of a csv file: the narrowest that all its values have.

    Example:
        >>> narrowest(pl.Series(["1", "2.5"])), narrowest(pl.Series(["007", "1"])), narrowest(pl.Series(["yes", "no"]))
        (Float64, String, Boolean)
    """
    text = column.drop_nulls().str.strip_chars()
    text = text.filter(text != "").unique()
    if text.is_empty() or text.str.contains(r"^[+-]?0\d").any():  # leading zeros belong to a name
        return pl.String()
    for dtype in (pl.Float64(), pl.Boolean(), pl.Date()):
        typed = pl.select(to(pl.lit(text), pl.String(), dtype, "UTC")).to_series()
        if typed.null_count() == 0:
            return dtype
    return pl.String()


def _number(value: pl.Expr, source: pl.DataType, target: pl.DataType) -> pl.Expr:
    if source == pl.String:
        value = value.str.strip_chars()
    elif not (source.is_numeric() or source == pl.Boolean):
        return pl.lit(None, dtype=target)
    number = value.cast(pl.Float64, strict=False).fill_nan(None)
    if target.is_integer():
        exact = value.cast(pl.Int64, strict=False) if source.is_integer() or source == pl.String else None
        whole: pl.Expr = pl.when((number == number.round()) & (number.abs() < _WHOLE_NUMBERS)).then(number)
        whole = whole.cast(pl.Int64, strict=False)
        return (exact.fill_null(whole) if exact is not None else whole).cast(target, strict=False)
    return number.cast(target)


def _truth(value: pl.Expr, source: pl.DataType) -> pl.Expr:
    if source == pl.Boolean:
        return value
    text = as_text(value, source).str.to_lowercase()
    return pl.when(text.is_in(TRUE)).then(True).when(text.is_in(FALSE)).then(False)


def _date(value: pl.Expr, source: pl.DataType, timezone: str) -> pl.Expr:
    if source == pl.Date:
        return value
    if isinstance(source, pl.Datetime):
        return (value.dt.convert_time_zone(timezone) if source.time_zone else value).dt.date()
    if source == pl.String:
        return value.str.strip_chars().str.extract(_DAY).str.to_date("%Y-%m-%d", strict=False)
    return pl.lit(None, dtype=pl.Date)


def _time(value: pl.Expr, source: pl.DataType, timezone: str) -> pl.Expr:
    if isinstance(source, pl.Datetime):
        if source.time_zone:
            return value.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
        return local_to_utc(value.dt.cast_time_unit("us"), timezone)
    if source == pl.Date:
        return local_to_utc(value, timezone)
    if source != pl.String:
        return pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    text = value.str.strip_chars().str.replace(r"^(\d{4}-\d{2}-\d{2})[ T]+", "${1}T")
    # Chrono wants an offset where a pattern names one, so zoned times are tried on their own.
    zoned = pl.coalesce(
        text.str.replace(r"[zZ]$", "+00:00").str.to_datetime(pattern, strict=False, time_unit="us", time_zone="UTC")
        for pattern in _ZONED_FORMATS
    )
    naive = pl.coalesce(text.str.to_datetime(pattern, strict=False, time_unit="us") for pattern in _TIME_FORMATS)
    return zoned.fill_null(local_to_utc(naive, timezone))


def _refused(frame: pl.DataFrame, typed: pl.DataFrame, name: str, dtype: pl.DataType) -> pl.DataFrame:
    before = frame[name]
    given = before.is_not_null()
    if before.dtype.is_float():
        given &= before.is_not_nan().fill_null(value=False)
    lost = given & typed[name].is_null()
    if not lost.any():
        return pl.DataFrame(schema={"_row": pl.Int64, "reason": pl.String})
    rows = frame.filter(lost).select("_row", value=as_text(pl.col(name), before.dtype))
    shown = pl.col("value").str.slice(0, 60)
    return rows.filter(pl.col("value").is_not_null()).select(
        "_row", reason=pl.format("{} '{}' is not {}", pl.lit(name), shown, pl.lit(_asked_for(dtype)))
    )


def _asked_for(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "a whole number"
    if dtype.is_float():
        return "a number"
    if dtype == pl.Boolean:
        return "true or false (1/0, yes/no)"
    if dtype == pl.Date:
        return "a date as in 2024-01-31"
    if isinstance(dtype, pl.Datetime):
        return "a time as in 2024-01-31 13:45"
    return "text"
