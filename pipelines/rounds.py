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
from pipelines.supply.situation import Issue, issue_for

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
    supply = settings.supply
    lead, spread, review = supply.lead_time_days, supply.lead_time_sd_days, float(supply.review_days)
    if lake.exists("supply_terms"):
        lead, spread, review = (
            float(longest if longest is not None else default)
            for longest, default in zip(
                lake.scan("supply_terms")
                .select(pl.col("lead_time_days", "lead_time_sd_days", "review_days").max())
                .collect()
                .row(0),
                (lead, spread, review),
                strict=True,
            )
        )
    return min(max(math.ceil((lead + 2 * spread + review) / days_a_period + 1e-9), 1) + 1, _FARTHEST)
