"""The life of a series: its launch, its end, and the series whose place it takes.

A shop says so in `launched_on`, `discontinued_on` and `replaces` (tables series, products, locations). None of these
carries the moment it was learned. Past origins therefore know of dates that had passed and of nothing later; the
newest period knows everything the tables say, plans too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from features.calendar import Grid
from features.windows import Float64Array, FloatArray, Int64Array

LIFECYCLE = ("launched_on", "discontinued_on", "replaces")
_NONE = -1
_BOTH: dict[str, Callable[..., pl.Expr]] = {
    "launched_on": pl.max_horizontal,
    "discontinued_on": pl.min_horizontal,
    "replaces": pl.coalesce,
}


@dataclass(frozen=True)
class Life:
    """Every series' life as known at one moment.

    Attributes:
        series: Keys and attributes; `launched_on` and `discontinued_on` as known, the latter also the eve of a
            successor's start, `replaces` the row of the series whose history is carried over, null for none.
        start: Column at which each series' own history begins; 0 where nothing says otherwise.
        links: Rows of successors and of those they replace, a pair of arrays a generation, the oldest first.
    """

    series: pl.DataFrame
    start: Int64Array
    links: tuple[tuple[Int64Array, Int64Array], ...]

    @classmethod
    def of(cls, series: pl.DataFrame, quantity: FloatArray, grid: Grid, first: int) -> Life:
        """Read what the dates and links of some series say.

        A series starts in the period of `launched_on`; without one, a successor starts with its first sale. A
        successor that has not started changes nothing.

        Args:
            series: One row a series; dates as known (`as_known`), `replaces` a row of the same frame.
            quantity: Their own demand up to that moment (series × period).
            grid: The periods.
            first: Number of the first column.
        """
        if not set(LIFECYCLE) & set(series.columns):
            return cls(series, np.zeros(series.height, dtype=np.int64), ())
        series = _completed(series)
        launched = (grid.containing(pl.col("launched_on")) - first).fill_null(0).cast(pl.Int64)
        start = np.maximum(series.select(launched).to_series().to_numpy(), 0)
        has_date, old = series["launched_on"].is_not_null().to_numpy(), _rows(series["replaces"])
        sold = quantity > 0
        by_sale = (old != _NONE) & ~has_date & sold.any(axis=1)
        start[by_sale] = np.argmax(sold[by_sale], axis=1)
        old = np.where(has_date | by_sale, old, _NONE)
        begun = pl.when(pl.Series(by_sale)).then(grid.first_days(pl.Series(start + first).cast(pl.Int32)))
        series = series.with_columns(pl.coalesce("launched_on", begun), replaces=_as_column(old))
        return cls(_succeeded(series, old), start, _generations(old))

    def carried(self, values: FloatArray) -> FloatArray:
        """Values (series × period) of each series' own life, those of the series it replaces before it.

        Example:
            >>> old_and_new = np.array([[5, 6, 0, 0], [0, 0, 8, 9]], dtype=np.float32)
            >>> series = pl.DataFrame({"replaces": [None, 0]})
            >>> weeks = Grid("week", date(2024, 1, 1))
            >>> Life.of(series, old_and_new, weeks, 0).carried(old_and_new)[1].tolist()
            [5.0, 6.0, 8.0, 9.0]
        """
        if not self.links and not self.start.any():
            return values
        before = np.arange(values.shape[1]) < self.start[:, None]
        own = np.where(before, np.float32(np.nan), values)
        for new, old in self.links:
            own[new] = np.where(before[new], own[old], own[new])
        return own


def joined(series: pl.DataFrame, table: pl.DataFrame, key: Sequence[str], keys: Sequence[str]) -> pl.DataFrame:
    """Series with one table's attributes added; what an earlier table said of the same name stays.

    A series lives from the last launch to the first end of all its parts: a product in a location from the day both
    are there. `replaces` becomes the keys of the series that is meant: the same but for the product, or else for the
    last column of the table's key.

    Args:
        series: One row a series.
        table: Attributes by `key`.
        key: Key columns of the table, all of them columns of `series`.
        keys: Key columns of a series.
    """
    said = [name for name in table.columns if name in LIFECYCLE or name not in series.columns]
    one = table.select(*key, *said).unique(key, keep="last", maintain_order=True)
    found = series.join(one, on=key, how="left", maintain_order="left", suffix="_here")
    twice = [name for name in said if name in series.columns]
    if "replaces" in said:
        name = "replaces_here" if "replaces" in twice else "replaces"
        found = found.with_columns(_meant(found, name, replaced_column(key), keys))
    both = {name: _BOTH[name](name, f"{name}_here") for name in twice}
    return found.with_columns(**both).drop(f"{name}_here" for name in twice)


def replaced_column(key: Sequence[str]) -> str:
    """The column of a table's key whose values `replaces` names."""
    return "product_id" if "product_id" in key else key[-1]


def linked(series: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Series with `replaces` as the row of the series it names (null where that is not among them), not its keys."""
    if "replaces" not in series.columns:
        return series
    rows = series.select(replaces=pl.struct(keys)).with_row_index("_row")
    return (
        series.join(rows, on="replaces", how="left", maintain_order="left")
        .with_columns(replaces=pl.col("_row").cast(pl.Int32))
        .drop("_row")
    )


def cycle(series: pl.DataFrame) -> list[int]:
    """Rows of one circle of series that replace each other; empty where there is none.

    Example:
        >>> cycle(pl.DataFrame({"replaces": [1, 2, 1, None]}))
        [1, 2]
    """
    if "replaces" not in series.columns:
        return []
    old = _rows(series["replaces"])
    reached = old
    for _ in range(len(old).bit_length()):
        reached = np.where(reached == _NONE, _NONE, reached[reached])
    on = reached[reached != _NONE]
    if not len(on):
        return []
    circle = [int(on.min())]
    while (following := int(old[circle[-1]])) not in circle:
        circle.append(following)
    return sorted(circle[circle.index(following) :])


def as_known(series: pl.DataFrame, until: date) -> pl.DataFrame:
    """Series without launches and ends later than a day."""
    dates = [name for name in LIFECYCLE[:2] if name in series.columns]
    return series.with_columns(pl.when(pl.col(name) <= until).then(name) for name in dates)


def among(series: pl.DataFrame, rows: Int64Array) -> pl.DataFrame:
    """Some rows, with `replaces` as a place among them; a link to a row that is not there is none."""
    chosen = series[rows]
    if "replaces" not in series.columns:
        return chosen
    place = np.full(series.height + 1, _NONE, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return chosen.with_columns(replaces=_as_column(place[_rows(chosen["replaces"])]))


def shares(series: pl.DataFrame, grid: Grid, origin: int, horizon: int) -> tuple[Float64Array, Float64Array]:
    """Share of each of the next periods from the launch on, and up to the end (each series × `horizon`).

    Args:
        series: `Life.series`.
        grid: The periods.
        origin: Number of the last period that is over.
        horizon: Periods ahead.

    Example:
        >>> tea = pl.DataFrame({"discontinued_on": [date(2024, 1, 10)]})
        >>> weeks = Grid("week", date(2024, 1, 1))
        >>> shares(tea, weeks, weeks.number(date(2024, 1, 1)) - 1, 3)[1].round(2).tolist()
        [[1.0, 0.43, 0.0]]
    """
    days = [grid.first_day(origin + step) for step in range(1, horizon + 2)]
    opened = np.array(days, dtype="datetime64[D]").astype(np.int64)
    length = np.diff(opened)
    series = _completed(series)
    launched, ended = (
        _days(series[name], default) for name, default in (("launched_on", -(10**6)), ("discontinued_on", 10**6))
    )
    from_launch = np.clip((opened[1:] - launched[:, None]) / length, 0, 1)
    to_end = np.clip((ended[:, None] + 1 - opened[:-1]) / length, 0, 1)
    return from_launch, to_end


def _completed(series: pl.DataFrame) -> pl.DataFrame:
    types = dict(zip(LIFECYCLE, (pl.Date, pl.Date, pl.Int32), strict=True))
    missing = [pl.lit(None, dtype=types[name]).alias(name) for name in LIFECYCLE if name not in series.columns]
    return series.with_columns(missing)


def _meant(found: pl.DataFrame, replaces: str, column: str, keys: Sequence[str]) -> pl.Expr:
    named = pl.col(replaces).cast(found.schema[column], strict=False).alias(column)
    key = pl.struct(named if column == part else pl.col(part) for part in keys)
    return pl.when(pl.col(replaces).is_not_null()).then(key).alias(replaces)


def _succeeded(series: pl.DataFrame, old: Int64Array) -> pl.DataFrame:
    """What is replaced ends the day before its first successor starts."""
    eves = pl.DataFrame({"_row": old, "_eve": series["launched_on"].dt.offset_by("-1d")}).filter(
        pl.col("_row") != _NONE
    )
    first = eves.group_by("_row").agg(pl.col("_eve").min())
    ends = (
        series.with_row_index("_row").cast({"_row": pl.Int64}).join(first, on="_row", how="left", maintain_order="left")
    )
    return ends.with_columns(discontinued_on=pl.min_horizontal("discontinued_on", "_eve")).drop("_row", "_eve")


def _generations(old: Int64Array) -> tuple[tuple[Int64Array, Int64Array], ...]:
    """Successors by how many series stand behind them, so that each carries what its predecessor has carried."""
    depth, behind = np.zeros(len(old), dtype=np.int64), old
    while (behind != _NONE).any():
        depth += behind != _NONE
        behind = np.where(behind == _NONE, _NONE, old[behind])
        if depth.max(initial=0) > len(old):
            raise ValueError("series replace each other in a circle")
    generations = (np.flatnonzero(depth == one) for one in range(1, int(depth.max(initial=0)) + 1))
    return tuple((new, old[new]) for new in generations)


def _rows(replaces: pl.Series) -> Int64Array:
    return replaces.cast(pl.Int64).fill_null(_NONE).to_numpy()


def _as_column(rows: Int64Array) -> pl.Series:
    column = pl.Series(rows, dtype=pl.Int32)
    return column.set(column == _NONE, None)


def _days(dates: pl.Series, default: int) -> Int64Array:
    return dates.cast(pl.Int32).cast(pl.Int64).fill_null(default).to_numpy()
