"""Everything a round of replenishment looks at, read from the lake once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from features.calendar import Grid
from features.tables import TABLES
from pipelines.errors import NotEnoughDataError
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.supply.illustration import illustrate
from pipelines.supply.prices import selling_prices

ISSUED = ("forecasts", "lead_time_demand", "path_ranks")
SNAPSHOTS = ("stock", "stock_lots", "open_supply", "open_demand", "supply_terms")
STATES = ("suppliers",)


def _none_of(table: str) -> pl.DataFrame:
    return TABLES[table].schema.create_empty()


@dataclass(frozen=True)
class Issue:
    """Forecasts issued on one day, as tables; of joint ranks there may be none."""

    forecasts: pl.DataFrame
    lead_time_demand: pl.DataFrame
    path_ranks: pl.DataFrame


@dataclass(frozen=True)
class Situation:
    """Everything a round of replenishment looks at.

    Attributes:
        as_of: The day of the decision, at its opening.
        forecasts: One issue of table forecasts, issued on or before that day.
        lead_time_demand: The same issue of table lead_time_demand.
        stock: Table stock.
        open_supply: Table open_supply.
        supply_terms: Table supply_terms.
        prices: Key columns and `price` (selling price per unit); may be empty.
        path_ranks: The same issue of table path_ranks; None or empty where there is none.
        stock_lots: Table stock_lots; empty where nothing perishes.
        open_demand: Table open_demand.
        suppliers: Table suppliers.
        versions: Version of each table that was read.
        illustrative: Whether stock, open supply and terms are made up.
    """

    as_of: date
    forecasts: pl.DataFrame
    lead_time_demand: pl.DataFrame
    stock: pl.DataFrame
    open_supply: pl.DataFrame
    supply_terms: pl.DataFrame
    prices: pl.DataFrame
    path_ranks: pl.DataFrame | None = None
    stock_lots: pl.DataFrame = field(default_factory=lambda: _none_of("stock_lots"))
    open_demand: pl.DataFrame = field(default_factory=lambda: _none_of("open_demand"))
    suppliers: pl.DataFrame = field(default_factory=lambda: _none_of("suppliers"))
    versions: Mapping[str, int] = field(default_factory=dict)
    illustrative: bool = False

    @property
    def issued_on(self) -> date:
        """The day the forecasts were issued."""
        issued: date = self.lead_time_demand["issued_on"].item(0)
        return issued

    @property
    def data_versions(self) -> str:
        """The versions in words: `stock 12, forecasts 7`."""
        return ", ".join(f"{table} {version}" for table, version in self.versions.items())


def read_situation(settings: Settings, lake: Lake, as_of: date | None = None, issue: Issue | None = None) -> Situation:
    """What is known at the opening of a day, with the newest forecasts issued on or before it.

    A shop without stock records whose configuration says so gets illustrative ones; nothing is written.

    Args:
        settings: The shop.
        lake: Its tables.
        as_of: The day; default: the day the newest forecasts were issued.
        issue: Forecasts to decide from; by default the newest of the lake.

    Raises:
        NotEnoughDataError: There are no forecasts that old, or no stock to replenish.
    """
    read = () if issue is not None else ISSUED
    issue = issue or newest_issue(lake, as_of)
    forecasts = issue.forecasts
    day: date = as_of or forecasts["issued_on"].item(0)
    made_up = settings.illustrates_supply
    if made_up:
        tables = illustrate(
            forecasts,
            settings.supply,
            keys=settings.demand.series,
            as_of=day,
            days_a_period=Grid(settings.demand.frequency, date(1970, 1, 1)).days_a_period,
        )
        types = {key: forecasts.schema[key] for key in settings.demand.series}
        snapshots = {"stock_lots": _keyed("stock_lots", types), "open_demand": _keyed("open_demand", types)}
        snapshots |= {"stock": tables.stock, "open_supply": tables.open_supply, "supply_terms": tables.supply_terms}
    else:
        snapshots = _snapshots(settings, lake)
    return Situation(
        as_of=day,
        forecasts=forecasts,
        lead_time_demand=issue.lead_time_demand,
        prices=selling_prices(settings, lake, day),
        path_ranks=issue.path_ranks,
        suppliers=lake.read_or_empty("suppliers"),
        versions=lake.versions([*(() if made_up else SNAPSHOTS), *STATES, *read]),
        illustrative=made_up,
        **snapshots,
    )


def newest_issue(lake: Lake, as_of: date | None) -> Issue:
    """The newest issue of the lake on or before a day.

    Raises:
        NotEnoughDataError: There are no forecasts that old.
    """
    remedy = "`purvey run`, or `purvey train demand` and `purvey score demand`, first"
    if not lake.exists("forecasts") or not lake.exists("lead_time_demand"):
        raise NotEnoughDataError("There are no forecasts to replenish from.", file=lake.url, remedy=remedy)
    sums = lake.scan("lead_time_demand")
    if as_of is not None:
        sums = sums.filter(pl.col("issued_on") <= as_of)
    newest = sums.select(pl.col("issued_on").max()).collect().item()
    if newest is None:
        raise NotEnoughDataError(f"No forecasts were issued on or before {as_of}.", file=lake.url, remedy=remedy)
    tables = (lake.scan(name) if lake.exists(name) else _none_of(name).lazy() for name in ISSUED)
    return Issue(*(table.filter(pl.col("issued_on") == newest).collect() for table in tables))


def issue_for(lake: Lake, as_of: date, days_a_period: float) -> Issue | None:
    """The lake's newest issue, if it was issued for the very period that holds the day."""
    if not lake.exists("forecasts") or not lake.exists("lead_time_demand"):
        return None
    sums = lake.scan("lead_time_demand").filter(pl.col("issued_on") <= as_of)
    newest = sums.select(pl.col("issued_on").max()).collect().item()
    if newest is None or (as_of - newest).days >= math.floor(days_a_period):
        return None
    return newest_issue(lake, as_of)


def _snapshots(settings: Settings, lake: Lake) -> dict[str, pl.DataFrame]:
    """Every snapshot; one that was never brought is empty, with the key columns of stock."""
    there = next((name for name in ("stock", "stock_lots") if lake.exists(name)), None)
    if there is None:
        raise NotEnoughDataError(
            "There is no stock to replenish.",
            file=lake.url,
            remedy="name a stock table under `sources` and run `purvey ingest`, or set supply.illustrative",
        )
    known = lake.scan(there).collect_schema()
    types = {key: known[key] for key in settings.demand.series}
    return {name: lake.read(name) if lake.exists(name) else _keyed(name, types) for name in SNAPSHOTS}


def _keyed(table: str, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A table without rows, the shop's key columns among its own."""
    return _none_of(table).with_columns(pl.lit(None, dtype=dtype).alias(key) for key, dtype in types.items())
