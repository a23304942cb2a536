"""`purvey simulate`: ordering policies on the shop's own past, with the forecasts it would have had at each review."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

from features.calendar import Grid
from pipelines.demand.inputs import open_panel
from pipelines.demand.occasion import issues
from pipelines.lake import Lake
from pipelines.rounds import horizon_of
from pipelines.settings import Settings
from pipelines.summary import progress
from pipelines.supply import backtest
from pipelines.supply.illustration import illustrate
from pipelines.supply.outlook import Outlook, outlook
from pipelines.supply.prices import selling_prices
from pipelines.supply.terms import complete_terms


def past_of(settings: Settings, lake: Lake, *, periods: int, refit_every: int) -> tuple[pl.DataFrame, backtest.Past]:
    """The last periods of a shop, ready to be replayed.

    Args:
        settings: The shop.
        lake: Its tables; nothing is written there.
        periods: How many.
        refit_every: Periods for which a model is kept.

    Returns:
        Key columns of the series replayed (those that were forecast throughout), and their past.
    """
    keys = list(settings.demand.series)
    days = Grid(settings.demand.frequency, date(1970, 1, 1)).days_a_period
    horizon = horizon_of(settings, lake, days)
    series = None
    outlooks: list[Outlook] = []
    with progress("replay", periods) as advance:
        for opened, issue in issues(settings, lake, periods=periods, horizon=horizon, refit_every=refit_every):
            if series is None:
                first, series = opened, issue["forecasts"].select(keys).unique().sort(keys)
                terms = _terms(settings, lake, issue["forecasts"], first, days)
            outlooks.append(outlook(series, issue["forecasts"], issue["lead_time_demand"], keys, issue["path_ranks"]))
            advance()
    assert series is not None
    known = np.logical_and.reduce([ahead.known() for ahead in outlooks])
    series, rows = series.filter(pl.Series(known)), np.flatnonzero(known)
    panel = open_panel(settings, lake, fresh=True)
    whole = complete_terms(
        series, terms, selling_prices(settings, lake, first), settings.supply, keys=keys, periods_a_year=365.25 / days
    )
    place = panel.series.select(keys).with_row_index("place")
    places = series.join(place, on=keys, how="left", maintain_order="left")["place"].to_numpy()
    past = backtest.Past(
        demand=panel.quantity[places].astype(np.float64),
        outlooks=[ahead.rows(rows) for ahead in outlooks],
        terms=whole,
        days_a_period=days,
        lost=settings.supply.unmet_demand == "lost",
    )
    return series, past


def _terms(settings: Settings, lake: Lake, forecasts: pl.DataFrame, first: date, days: float) -> pl.DataFrame:
    if lake.exists("supply_terms") and settings.has("supply_terms"):
        return lake.read("supply_terms")
    made_up = illustrate(forecasts, settings.supply, keys=settings.demand.series, as_of=first, days_a_period=days)
    return made_up.supply_terms
