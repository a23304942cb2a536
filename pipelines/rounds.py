"""A round of replenishment for the occasion: fit on what was known when the day opened, forecast, decide, one file.

Programs that play round by round bring new demand, stock and open supply as files each time, and take the orders from
the file. Nothing is written to the lake.
"""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path

import polars as pl

from features.calendar import Grid
from pipelines.demand.occasion import issue as issue_demand
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary
from pipelines.supply import jobs as supply_jobs
from pipelines.supply.schedule import longest_cover_days
from pipelines.supply.situation import Issue, issue_for
from pipelines.supply.terms import complete_offers, valid_terms

_TIMES = (
    "supplier_id", "lead_time_days", "lead_time_sd_days", "lead_times_days", "review_days",
    "order_days", "delivery_days", "cut_off",
)  # fmt: skip
_FARTHEST = 53  # periods; beyond, demand goes on at its mean rate


def play(settings: Settings, lake: Lake, *, as_of: date, out: Path) -> Summary:
    """Decide what to order at the opening of a day, from nothing but what was known by then.

    Forecasts of the lake that were issued for that very period serve as they are; otherwise a model is fitted, just
    as far ahead as the slowest supplier needs.

    Args:
        settings: The shop.
        lake: Its tables; nothing is written there.
        as_of: The day.
        out: The file of orders: parquet, with the columns of table replenishment.
    """
    days_a_period = Grid(settings.demand.frequency, date(1970, 1, 1)).days_a_period
    issue = issue_for(lake, as_of, days_a_period)
    if issue is None:
        horizon = horizon_of(settings, lake, days_a_period)
        issue = Issue(**issue_demand(settings, lake, opening=as_of, horizon=horizon))
    return supply_jobs.replenish(settings, lake, as_of=as_of, out=out, issue=issue)


def horizon_of(settings: Settings, lake: Lake, days_a_period: float) -> int:
    """Periods until an order placed at the next review could arrive, for the slowest supplier."""
    kinds = _kinds_of_terms(lake)
    whole = complete_offers(
        kinds.select("kind"),
        kinds,
        pl.DataFrame(schema={"kind": pl.UInt32, "price": pl.Float64}),
        settings.supply,
        keys=["kind"],
        periods_a_year=365.25 / days_a_period,
        suppliers=lake.read_or_empty("suppliers"),
    )
    days = float(longest_cover_days(whole, kinds, settings.supply.orders_placed_at).max())
    return min(max(math.ceil(days / days_a_period + 1e-9), 1) + 1, _FARTHEST)


def _kinds_of_terms(lake: Lake) -> pl.DataFrame:
    """Table supply_terms, one row for each way in which time passes, numbered `kind`; without terms one of nulls."""
    terms = valid_terms(pl.DataFrame({"supplier_id": [None]}, schema={"supplier_id": pl.String}), None)
    if lake.exists("supply_terms"):
        told = lake.scan("supply_terms")
        there = [name for name in _TIMES if name in told.collect_schema()]
        kinds = told.select(there).unique().collect().sort(there)
        terms = valid_terms(kinds, None) if kinds.height else terms
    return terms.with_row_index("kind")
