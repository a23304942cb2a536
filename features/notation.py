"""How a list is written in one cell of a table: `12;14;21`, `mon;thu`, `100:0.95;500:0.90`.

Every expression gives null where the cell is empty, and a null in the list for each part that cannot be read.
"""

from __future__ import annotations

import polars as pl

SEPARATOR = ";"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBER_OF_DAY = {name: day for day, full in enumerate(WEEKDAYS) for name in (full, full[:3])}
_PAIR = r"^([0-9.eE+]+)\s*:\s*([0-9.eE+]+)$"
_CLOCK = r"^([01]?\d|2[0-3]):([0-5]\d)$"


def numbers(column: str) -> pl.Expr:
    """Numbers, List[Float64].

    Example:
        >>> pl.DataFrame({"days": ["12; 14;21", "12;soon"]}).select(numbers("days"))["days"].to_list()
        [[12.0, 14.0, 21.0], [12.0, None]]
    """
    return _parts(column, pl.element().cast(pl.Float64, strict=False))


def weekdays(column: str) -> pl.Expr:
    """Days of the week from 0 = Monday, List[Int64]; full English names or their first three letters.

    Example:
        >>> pl.DataFrame({"on": ["mon; Thursday", "mo"]}).select(weekdays("on"))["on"].to_list()
        [[0, 3], [None]]
    """
    day = pl.element().str.to_lowercase().replace_strict(_NUMBER_OF_DAY, default=None, return_dtype=pl.Int64)
    return _parts(column, day)


def break_quantities(column: str) -> pl.Expr:
    """Quantities from which each price holds, List[Float64].

    Example:
        >>> rows = pl.DataFrame({"breaks": ["100:0.95;500:0.90"]})
        >>> rows.select(units=break_quantities("breaks"), cost=break_costs("breaks")).row(0)
        ([100.0, 500.0], [0.95, 0.9])
    """
    return _parts(column, pl.element().str.extract(_PAIR, 1).cast(pl.Float64, strict=False))


def break_costs(column: str) -> pl.Expr:
    """Costs of a unit from each quantity on, List[Float64]; see `break_quantities`."""
    return _parts(column, pl.element().str.extract(_PAIR, 2).cast(pl.Float64, strict=False))


def minutes(column: str) -> pl.Expr:
    """A time of day in minutes since midnight, Int64.

    Example:
        >>> pl.DataFrame({"cut_off": ["14:30", "25:00"]}).select(minutes("cut_off"))["cut_off"].to_list()
        [870, None]
    """
    hours, rest = (pl.col(column).str.extract(_CLOCK, part).cast(pl.Int64) for part in (1, 2))
    return hours * 60 + rest


def _parts(column: str, read: pl.Expr) -> pl.Expr:
    trimmed = pl.col(column).str.split(SEPARATOR).list.eval(pl.element().str.strip_chars())
    return trimmed.list.eval(read)
