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
from features.notation import numbers
from pipelines.demand.occasion import issue as issue_demand
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary
from pipelines.supply import jobs as supply_jobs
from pipelines.supply.situation import Issue, issue_for
from pipelines.supply.terms import valid_terms

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
    """Periods until an order placed at the next review could arrive, for the slowest supplier.

    Terms left open count as the defaults that `complete_terms` gives them; the longest lead time seen counts, and where
    orders or deliveries have their days, up to six days of waiting: for this order, the next one, and its delivery.
    """
    supply = settings.supply
    farthest = supply.lead_time_days + 2 * supply.lead_time_sd_days + supply.review_days
    if lake.exists("supply_terms"):
        terms = valid_terms(lake.read("supply_terms"), None)
        asked = lake.read_or_empty("suppliers").select("supplier_id", _days="order_days", _review="reviewed_every_days")
        seen = numbers("lead_times_days").list.max()
        stated = pl.when(seen.is_null() | pl.col("lead_time_days").is_not_null()).then(
            pl.col("lead_time_days").fill_null(supply.lead_time_days)
            + 2 * pl.col("lead_time_sd_days").fill_null(supply.lead_time_sd_days)
        )
        order_days = pl.coalesce("order_days", "_days").is_not_null()
        every_order_day = pl.when(order_days).then(1)
        review = pl.coalesce("review_days", "_review", every_order_day, pl.lit(supply.review_days))
        waits = 12 * order_days.cast(pl.Int64) + 6 * pl.col("delivery_days").is_not_null().cast(pl.Int64)
        longest = terms.join(asked, on="supplier_id", how="left").select(
            (pl.max_horizontal(stated, seen) + review + waits).max()
        )
        farthest = longest.item() if longest.item() is not None else farthest
    return min(max(math.ceil(farthest / days_a_period + 1e-9), 1) + 1, _FARTHEST)
