"""The demand panel: every series in every period as dense arrays, and what of it was known at one moment.

`Panel.known(origin)` is the one place where time is cut: whatever is computed for an origin is computed from that view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from features import lifecycle
from features.calendar import Grid
from features.censoring import unconstrained
from features.windows import FloatArray, IntArray

_YEARS_AHEAD = 2  # of covariates that are kept: nobody forecasts farther, and a slip of a date costs memory
_OBSERVED_WITH_DEMAND = ("price", "promotion", "available")
_CELLS_AT_ONCE = 200_000  # a table of a shop can hold three hundred times as many


@dataclass(frozen=True)
class Panel:
    """Demand of many series on one grid of periods.

    Columns of the arrays are periods: column `j` is period number `first + j`. NaN means not known: before a series
    was listed, out of stock without a sale, or simply absent. Where stock ran out, demand is what would have been sold.

    Attributes:
        grid: The periods.
        series: Key columns and attributes, one row a series, sorted by key; `replaces` is a row of the same frame.
        keys: Names of the key columns.
        first: Period number of the first column.
        quantity: Demand (series × period), units, as known at the end of each period itself.
        listed: Column at which each series was first heard of; in what was known at one moment: at which it begins.
        revisions: What became known later: `row`, `column`, `known` (columns, Int32) and `quantity` to add. Where
            they reach back before a series was listed, its demand is known from there on.
        observed: Values known once their period is over (series × period).
        ahead: Values known ahead (series × period); they may reach beyond the last period of demand.
        position: Row of each series in the panel this view was cut from.
        censored: Where stock ran out (series × period): demand there is at least what was sold, and `quantity` its
            expectation. None as long as the shop does not say what is in stock.
    """

    grid: Grid
    series: pl.DataFrame
    keys: tuple[str, ...]
    first: int
    quantity: FloatArray
    listed: IntArray
    revisions: pl.DataFrame
    observed: Mapping[str, FloatArray]
    ahead: Mapping[str, FloatArray]
    position: IntArray
    censored: npt.NDArray[np.bool_] | None = None

    @property
    def last(self) -> int:
        """Number of the last period."""
        return int(self.first + self.quantity.shape[1] - 1)

    def known(self, origin: int) -> Panel:
        """What was known once period `origin` was over: series heard of, periods past, revisions learned by then.

        Args:
            origin: A period number. Values known ahead are kept for later periods too.
        """
        columns = min(max(origin - self.first + 1, 0), self.quantity.shape[1])
        rows = np.flatnonzero(self.listed < columns)
        learned = self.revisions
        if learned.height:
            learned = learned.filter(pl.col("known") <= origin - self.first, pl.col("column") < columns)
        row, column = learned["row"].to_numpy(), learned["column"].to_numpy()
        begins = self.listed.copy()
        np.minimum.at(begins, row, column)
        quantity = self.quantity[:, :columns]
        if learned.height:
            quantity, periods = quantity.copy(), np.arange(columns)[None, :]
            quantity[(periods >= begins[:, None]) & (periods < self.listed[:, None])] = 0
            np.add.at(quantity, (row, column), learned["quantity"].to_numpy().astype(np.float32))
        then = replace(
            self,
            quantity=quantity,
            listed=begins,
            revisions=self.revisions.clear(),
            observed={name: values[:, :columns] for name, values in self.observed.items()},
            censored=None if self.censored is None else self.censored[:, :columns],
        )
        then = then if len(rows) == len(begins) else then.part(rows)
        if then.censored is not None and np.isnan(then.observed["available"]).all():
            then = replace(then, censored=None)  # whether a shop tells what is in stock is itself known from then on
        own = np.maximum(then.quantity, 0)  # NaN stays NaN
        series = lifecycle.among(self.series, rows)
        if origin < self.last:
            series = lifecycle.as_known(series, self.grid.last_day(origin))
        life = lifecycle.Life.of(series, own, self.grid, self.first)
        return replace(
            then,
            series=life.series,
            quantity=life.carried(own),
            listed=np.maximum(then.listed, life.start).astype(np.int32),
            observed={name: life.carried(values) for name, values in then.observed.items()},
            ahead={name: life.carried(values) for name, values in then.ahead.items()},
            censored=None if then.censored is None else life.carried(then.censored.astype(np.float32)) > 0,
        )

    def part(self, rows: slice | npt.NDArray[np.int64]) -> Panel:
        """Some series of what was known at one moment. A slice copies nothing.

        Arrays stay in C order, so that sums over a row do not depend on how many rows there are.
        """
        return replace(
            self,
            series=self.series[rows],
            quantity=self.quantity[rows],
            listed=self.listed[rows],
            observed={name: values[rows] for name, values in self.observed.items()},
            ahead={name: values[rows] for name, values in self.ahead.items()},
            position=self.position[rows],
            censored=None if self.censored is None else self.censored[rows],
        )

    @classmethod
    def build(
        cls,
        demand: pl.DataFrame,
        keys: Sequence[str],
        grid: Grid,
        *,
        revisions: pl.DataFrame | None = None,
        covariates: pl.DataFrame | None = None,
        known_ahead: Sequence[str] = (),
        observed: Sequence[str] = (),
        attributes: pl.DataFrame | None = None,
        last: int | None = None,
    ) -> Panel:
        """Lay tables out as arrays.

        Args:
            demand: Table `demand`; absent rows are unknown, and so is a period with `available` = 0 and no sale.
                Other periods with `available` < 1 are made what they would have been (`features.censoring`).
            keys: Key columns of a series.
            grid: The periods.
            revisions: Table `demand_revisions`.
            covariates: Table `covariates`, keyed by some or all of the keys and period.
            known_ahead: Its columns that are known for future periods too.
            observed: Its columns that are known once the period is over.
            attributes: What does not change, by all of the keys; `replaces` as a struct of the keys it names.
            last: The last period number to hold; what became known after it is left out. By default the newest period
                in which any demand is known; whatever became known after that counts as known at its end.
        """
        names = list(keys)
        values = ["quantity", *(name for name in _OBSERVED_WITH_DEMAND if name in demand.columns)]
        cells = demand.select(*names, *values, _number=grid.index(pl.col("period")))
        if "available" in cells.columns:
            told = pl.col("available").is_null() | (pl.col("available") > 0) | (pl.col("quantity") > 0)
            cells = cells.with_columns(pl.when(told).then("quantity"))
        newest = int(cells.select(pl.col("_number").filter(pl.col("quantity").is_not_null()).max()).item() or 0)
        late = _late(revisions, grid, newest if last is None else None)
        whole = last is None
        last = newest if last is None else last
        late = late.filter(pl.max_horizontal("_number", "_known") <= last)
        if cells.select((pl.col("_number") > last).any()).item():  # a copy of all cells, where there is need for one
            cells = cells.filter(pl.col("_number") <= last)
        numbers = pl.concat([cells["_number"], late["_number"]])
        first = int(numbers.min() or last)  # type: ignore[arg-type]
        index = _distinct(cells.select(names)).with_row_index("_row")
        cells = cells.select(*values, "_number", _row=_rows_of(cells.select(names), index))
        listed = np.full(index.height, last - first, dtype=np.int32)
        np.minimum.at(listed, cells["_row"].to_numpy(), cells["_number"].to_numpy() - np.int32(first))
        side, fits = _covariates(covariates, index, names, grid)
        future = max([last, *(int(frame["_number"].max() or 0) for frame in side.values())])  # type: ignore[arg-type]
        future = min(future, last + _YEARS_AHEAD * round(grid.periods_a_year))
        series = lifecycle.linked(_with_attributes(index.drop("_row"), attributes, names), names)
        spread = _Spread((index.height, last - first + 1), first)
        past, wide = (_Spread((fits.max(initial=0) + 1, end - first + 1), first) for end in (last, future))
        seen = {name: spread(cells, name) for name in values[1:]}
        quantity, censored = spread(cells, "quantity"), None
        if "available" in seen and not np.isnan(seen["available"]).all():
            censored = seen["available"] < 1
            quantity = unconstrained(quantity, seen["available"], grid.season, round(grid.periods_a_year))
        return cls(
            grid=grid,
            series=series if whole else lifecycle.as_known(series, grid.last_day(last)),
            keys=tuple(names),
            first=first,
            quantity=quantity,
            listed=listed,
            revisions=_revisions(late, index, names, first),
            observed=seen | {name: _in_life(past(side[name], name)[fits], listed) for name in observed if name in side},
            ahead={name: _in_life(wide(side[name], name)[fits], listed) for name in known_ahead if name in side},
            position=np.arange(index.height, dtype=np.int32),
            censored=censored,
        )


def _distinct(keys: pl.DataFrame) -> pl.DataFrame:
    """Each combination of values once, sorted."""
    parts = [block.unique() for block in keys.iter_slices(_CELLS_AT_ONCE)]
    return pl.concat(parts or [keys]).unique().sort(keys.columns)


def _rows_of(keys: pl.DataFrame, index: pl.DataFrame) -> pl.Series:
    """Where each row of `keys` stands in `index` (`_row`), −1 where it does not."""
    found = np.empty(keys.height, dtype=np.int32)
    for start in range(0, keys.height, _CELLS_AT_ONCE):
        block = keys.slice(start, _CELLS_AT_ONCE).join(index, on=keys.columns, how="left", maintain_order="left")
        found[start : start + block.height] = block["_row"].cast(pl.Int32).fill_null(-1).to_numpy()
    return pl.Series(found)


def _with_attributes(series: pl.DataFrame, attributes: pl.DataFrame | None, keys: list[str]) -> pl.DataFrame:
    if attributes is None:
        return series
    one = attributes.unique(keys, keep="last", maintain_order=True)
    return series.join(one, on=keys, how="left", maintain_order="left")


@dataclass(frozen=True)
class _Spread:
    """Long cells (`_row`, `_number`, value) into one dense array."""

    shape: tuple[int, int]
    first: int

    def __call__(self, cells: pl.DataFrame, name: str) -> FloatArray:
        dense = np.full(self.shape, np.nan, dtype=np.float32)
        inside = pl.col("_number").is_between(self.first, self.first + self.shape[1] - 1)
        for block in cells.select("_row", "_number", name).iter_slices(_CELLS_AT_ONCE):
            held = block.filter(inside)
            values = held[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
            dense[held["_row"].to_numpy(), held["_number"].to_numpy() - self.first] = values
        return dense


def _in_life(values: FloatArray, listed: IntArray) -> FloatArray:
    """What a covariate was before the series was heard of says nothing about it."""
    values[np.arange(values.shape[1])[None, :] < listed[:, None]] = np.nan
    return values


def _covariates(
    covariates: pl.DataFrame | None, index: pl.DataFrame, keys: list[str], grid: Grid
) -> tuple[dict[str, pl.DataFrame], IntArray]:
    """Each covariate as long cells, and the row of them that holds for each series.

    A table keyed by part of the series keys holds for every series it fits.
    """
    if covariates is None:
        return {}, np.zeros(index.height, dtype=np.int32)
    shared = [key for key in keys if key in covariates.columns]
    names = [name for name in covariates.columns if name not in (*shared, "period")]
    frame = covariates.with_columns(_number=grid.index(pl.col("period")))
    if shared:
        parts = _distinct(index.select(shared)).with_row_index("_row")
        fits = _rows_of(index.select(shared), parts).to_numpy()
        frame = frame.with_columns(_row=_rows_of(frame.select(shared), parts)).filter(pl.col("_row") >= 0)
    else:
        fits = np.zeros(index.height, dtype=np.int32)
        frame = frame.with_columns(_row=pl.lit(0, pl.Int32))
    return {name: _numeric(frame.select("_row", "_number", name), name) for name in names}, fits


def _numeric(cells: pl.DataFrame, name: str) -> pl.DataFrame:
    """Numbers as they are, dates as days, text as codes in order of first appearance (what comes later adds codes)."""
    dtype = cells.schema[name]
    if dtype.is_temporal():
        return cells.with_columns(pl.col(name).cast(pl.Date).cast(pl.Int32).cast(pl.Float32))
    if dtype.is_numeric() or dtype == pl.Boolean:
        return cells.with_columns(pl.col(name).cast(pl.Float32))
    seen = cells.drop_nulls(name).group_by(name).agg(pl.col("_number").min()).sort("_number", name)
    codes = seen.select(name, _code=pl.int_range(pl.len(), dtype=pl.Int32).cast(pl.Float32))
    coded = cells.join(codes, on=name, how="left", maintain_order="left")
    return coded.select("_row", "_number", pl.col("_code").alias(name))


def _late(revisions: pl.DataFrame | None, grid: Grid, newest: int | None) -> pl.DataFrame:
    """Revisions with `_number` and `_known` as period numbers; those known after the newest one are known with it."""
    if revisions is None:
        return pl.DataFrame(schema={"_number": pl.Int32, "_known": pl.Int32})
    known = grid.index(pl.col("known_period"))
    if newest is not None:
        known = known.clip(upper_bound=newest)
    return revisions.with_columns(_number=grid.index(pl.col("period")), _known=known)


def _revisions(late: pl.DataFrame, index: pl.DataFrame, keys: list[str], first: int) -> pl.DataFrame:
    schema = {"row": pl.UInt32, "column": pl.Int32, "known": pl.Int32, "quantity": pl.Float64}
    if late.is_empty():
        return pl.DataFrame(schema=schema)
    numbers = {"column": pl.col("_number") - first, "known": pl.col("_known") - first}
    return (
        late.join(index, on=keys, how="inner")
        .select(pl.col("_row").alias("row"), **numbers, quantity="quantity")
        .cast(schema)  # type: ignore[arg-type]
        .sort("row", "column", "known")
    )
