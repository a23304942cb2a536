"""What demand reads from the lake: the panel of a shop, from order lines or from a table of totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import polars as pl

from features import windows
from features.calendar import Grid, holidays_between
from features.lifecycle import cycle, joined, linked, replaced_column
from features.orders import demand_from_orders
from features.panel import Panel
from features.versions import every_version
from pipelines.errors import ConfigError, DataError, NotEnoughDataError
from pipelines.lake import Lake
from pipelines.settings import Settings

READ = ("demand", "demand_revisions", "series", "products", "locations", "covariates")


def open_panel(
    settings: Settings, lake: Lake, *, cutoff: date | None = None, opening: date | None = None, fresh: bool = False
) -> Panel:
    """The shop's demand panel, up to a cutoff or to the newest known period.

    Without a cutoff everything the lake holds counts at the newest period, whenever it was learned; with one, and at
    every earlier period, only what was known by then.

    Args:
        settings: The shop.
        lake: Its tables.
        cutoff: Any date in the last period that may be held.
        opening: In place of a cutoff the day that opens: the last period is the newest of the record that was over.
        fresh: Build demand from the newest order lines, whatever `purvey features` has written.

    Raises:
        ConfigError: A configured series column, level of the hierarchy or holiday calendar is unknown, or the cutoff is
            outside the record.
        DataError: A period does not lie on the grid of the others, or series replace each other in a circle.
        NotEnoughDataError: There is no demand at all.
    """
    _check_holidays(settings)
    demand, revisions = _tables(settings, lake, fresh)
    keys = settings.demand.series
    for key in keys:
        if key not in demand.columns:
            raise ConfigError("A column of demand.series is not in the demand table.", file="demand", column=key)
    if demand["quantity"].null_count() == demand.height:
        raise NotEnoughDataError("There is no known demand in the lake.", remedy="run `purvey ingest` first")
    grid = grid_of(settings, demand)
    if opening is not None:
        cutoff = _last_over(grid, demand, opening)
    if cutoff is None:
        demand = _with_planned(lake, demand, keys, grid, settings.demand.horizon)
    attributes = _attributes(lake, demand.select(keys).unique().sort(keys), keys)
    named = [source for source in settings.sources if source.table == "covariates"]
    panel = Panel.build(
        demand,
        keys,
        grid,
        revisions=revisions,
        covariates=lake.read("covariates") if lake.exists("covariates") else None,
        known_ahead=[name for source in named for name in source.known_ahead],
        observed=[name for source in named for name in source.observed],
        attributes=attributes,
        last=None if cutoff is None else _number(grid, demand, cutoff),
    )
    for column in (name for level in settings.demand.hierarchy for name in level if name not in panel.series.columns):
        raise ConfigError(
            "A column of demand.hierarchy is neither a series key nor an attribute of series, products or locations.",
            file="demand",
            column=column,
            remedy=f"use some of: {', '.join(panel.series.columns)}",
        )
    return panel


def one_series(panel: Panel, named: Mapping[str, str]) -> pl.DataFrame:
    """The key of the one series of a panel that is named so, as a frame of one row.

    Args:
        panel: The panel.
        named: Key column → value as text; some may be left out where the others are enough.

    Raises:
        ConfigError: A name is no key column, or no series or several are named so.
    """
    keys = panel.series.select(panel.keys)
    known = ", ".join(panel.keys)
    for name in named:
        if name not in panel.keys:
            raise ConfigError(f"{name!r} does not name a series.", rule=f"columns that name a series: {known}")
    found = keys.filter(pl.col(name).cast(pl.String) == value for name, value in named.items())
    if found.height != 1:
        said = " ".join(f"{name}={value}" for name, value in named.items()) or "nothing"
        some = " ".join(
            f"{name}={value}" for name, value in (found if found.height else keys).row(0, named=True).items()
        )
        raise ConfigError(f"{found.height:,} series fit {said}.", remedy=f"name one by {known}, such as {some}")
    return found


def demand_from_lines(settings: Settings, lake: Lake) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `demand` and `demand_revisions` of a shop that brings order lines.

    Raises:
        ConfigError: A configured series column is not in the order lines.
        NotEnoughDataError: Not a single whole period of sales.
    """
    lines = every_version(lake.read("order_lines"), lake.read_or_empty("superseded_lines"))
    for key in settings.demand.series:
        if key not in lines.columns:
            raise ConfigError("A column of demand.series is not in the order lines.", file="order_lines", column=key)
    grid = Grid.starting_monday(settings.demand.frequency)
    demand, revisions = demand_from_orders(lines, settings.demand.series, grid, settings.timezone)
    if demand.is_empty():
        raise NotEnoughDataError(
            f"The order lines do not cover one whole {settings.demand.frequency}.",
            remedy="ingest more history, or choose a shorter demand.frequency",
        )
    return demand, revisions


def _tables(settings: Settings, lake: Lake, fresh: bool) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    if not settings.has("demand") and (fresh or not lake.exists("demand")):
        return demand_from_lines(settings, lake)
    return lake.read("demand"), lake.read("demand_revisions") if lake.exists("demand_revisions") else None


def grid_of(settings: Settings, demand: pl.DataFrame) -> Grid:
    """The grid of a shop's periods.

    Raises:
        DataError: A period does not lie on the grid of the others.
    """
    if not settings.has("demand"):
        return Grid.starting_monday(settings.demand.frequency)
    grid = Grid.from_labels(settings.demand.frequency, demand["period"], settings.demand.period_label)
    off = demand.filter(~grid.on_grid(pl.col("period")))
    if off.height:
        raise DataError(
            f"{off.height} periods are not on the {grid.frequency} grid of the others, the first: {off['period'][0]}.",
            file="demand",
            column="period",
            rule=f"one row a series and {grid.frequency}, all labels on one regular grid",
            remedy="mend the dates in the source, or set demand.frequency to what they are",
        )
    return grid


def _number(grid: Grid, demand: pl.DataFrame, cutoff: date) -> int:
    number = grid.number_containing(cutoff)
    first, last = demand.select(first=pl.col("period").min(), last=pl.col("period").max()).row(0)
    if not grid.number(first) <= number <= grid.number(last):
        raise ConfigError(
            f"The cutoff {cutoff} is outside the record.",
            rule=f"a period from {first} to {last}",
            remedy="name a period of the demand table with --cutoff",
        )
    return number


def _last_over(grid: Grid, demand: pl.DataFrame, opening: date) -> date:
    """The newest period of the record that was over when a day opened."""
    newest: date = demand["period"].max()  # type: ignore[assignment]
    return min(grid.name(grid.number_containing(opening) - 1), newest)


def notes_on_covariates(panel: Panel, horizon: int) -> list[str]:
    """What has to be said of covariates known ahead that do not reach as far ahead as forecasts do.

    Args:
        panel: The panel; forecasts start after its last period.
        horizon: Periods ahead.
    """
    ahead = np.arange(horizon) + panel.quantity.shape[1]
    notes = []
    for name, values in panel.ahead.items():
        known = ~np.isnan(windows.take(values, ahead)).all(axis=0)
        if not known.all():
            notes.append(
                f"Covariate {name!r} has no value for {int((~known).sum())} of the {horizon} periods ahead: "
                "forecasts there go by its absence. Bring its plan, or list it under `observed`."
            )
    return notes


def notes_on_lifecycle(lake: Lake, panel: Panel) -> list[str]:
    """What the shop says of series that have no demand: nothing can be carried over from them."""
    notes = []
    for table, key in _attribute_tables(lake, panel.keys):
        attributes = lake.read(table)
        if "replaces" not in attributes.columns:
            continue
        column = replaced_column(key)
        known = panel.series[column].cast(pl.String).unique().to_list()
        said = attributes.filter(pl.col("replaces").is_not_null(), ~pl.col("replaces").is_in(known)).sort(key)
        if said.height:
            first = said.row(0, named=True)
            row = " ".join(str(first[part]) for part in key) + (f" and {said.height - 1} more" * (said.height > 1))
            notes.append(
                f"Table {table}, row {row}: replaces {first['replaces']!r}, a {column} without demand. "
                "Nothing is carried over; correct `replaces` if it is misspelt."
            )
    return notes


def _attribute_tables(lake: Lake, keys: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The tables that say something of these series, and their keys."""
    tables = (("series", list(keys)), ("products", ["product_id"]), ("locations", ["location_id"]))
    return [(table, key) for table, key in tables if lake.exists(table) and set(key) <= set(keys)]


def _attributes(lake: Lake, series: pl.DataFrame, keys: list[str]) -> pl.DataFrame | None:
    """What the shop says of its series, products and locations, by series key; free of columns named twice.

    Raises:
        DataError: Series replace each other in a circle.
    """
    found = series
    for table, key in _attribute_tables(lake, keys):
        found = joined(found, lake.read(table), key, keys)
    circle = cycle(linked(found, keys))
    if circle:
        names = ", ".join(" ".join(str(part) for part in row) for row in found.select(keys)[circle].rows())
        raise DataError(
            f"These series replace each other in a circle: {names}.",
            file=", ".join(table for table, _ in _attribute_tables(lake, keys)),
            column="replaces",
            rule="a series replaces an older one",
            remedy="empty `replaces` of the oldest of them in the source and ingest it again",
        )
    return found if found.width > series.width else None


def planned(lake: Lake, demand: pl.DataFrame, keys: list[str], after: date, until: date = date.max) -> pl.DataFrame:
    """Keys of the series the shop is going to launch, as far as they have no demand yet.

    Args:
        lake: The shop's tables.
        demand: Table `demand`.
        keys: Series key columns.
        after: The last day whose demand is known.
        until: The last day of a launch.
    """
    types = {name: demand.schema[name] for name in keys}
    found = [pl.DataFrame(schema=types)]
    for table, key in _attribute_tables(lake, keys):
        attributes = lake.read(table)
        if set(key) == set(keys) and "launched_on" in attributes.columns:
            ahead = attributes.filter(pl.col("launched_on") > after, pl.col("launched_on") <= until)
            found.append(ahead.select(keys).cast(types))  # type: ignore[arg-type]
    return pl.concat(found).unique(maintain_order=True).join(demand, on=keys, how="anti", maintain_order="left")


def _with_planned(lake: Lake, demand: pl.DataFrame, keys: list[str], grid: Grid, horizon: int) -> pl.DataFrame:
    """Demand with one unknown period for each series that is going to be launched within the horizon."""
    newest: date = demand.drop_nulls("quantity")["period"].max()  # type: ignore[assignment]
    last = grid.number(newest)
    new = planned(lake, demand, keys, grid.last_day(last), grid.last_day(last + horizon))
    return pl.concat([demand, new.with_columns(period=pl.lit(newest))], how="diagonal")


def _check_holidays(settings: Settings) -> None:
    try:
        holidays_between(settings.demand.holidays, date(2024, 1, 1), date(2024, 1, 2))
    except ValueError as error:
        raise ConfigError(f"The configuration asks for {error}.", rule="demand.holidays") from error
