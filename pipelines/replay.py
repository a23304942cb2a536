"""`purvey simulate`: ordering policies on the shop's own past, with the forecasts it would have had at each review."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from features.calendar import Grid
from pipelines.demand.inputs import open_panel
from pipelines.demand.occasion import issues
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.files import whole, write_frame
from pipelines.lake import Lake
from pipelines.rounds import horizon_of
from pipelines.settings import Settings
from pipelines.summary import Summary, progress
from pipelines.supply import backtest, targets
from pipelines.supply.frontier import figure as figure_of
from pipelines.supply.illustration import illustrate
from pipelines.supply.outlook import Outlook, outlook
from pipelines.supply.prices import selling_prices
from pipelines.supply.terms import complete_terms

PERIODS, REFIT_EVERY = 26, 13


def simulate(
    settings: Settings,
    lake: Lake,
    *,
    policies: Sequence[str] = (),
    periods: int = PERIODS,
    refit_every: int = REFIT_EVERY,
    out: Path | None = None,
    figure: Path | None = None,
) -> Summary:
    """Replay ordering policies on the last periods of the record.

    Args:
        settings: The shop.
        lake: Its tables; nothing is written there.
        policies: Names of `supply.backtest.NAMES`; all where none is named. The first is what others are compared with.
        periods: How many periods, a review in each that the calendar of the terms allows.
        refit_every: Periods for which a model of demand is kept.
        out: Parquet file of what every policy cost every series.
        figure: Picture (SVG or PNG) of fill rate against stock, for policies that can be set from careless to careful.

    Raises:
        ConfigError: There is no policy of a name.
        NotEnoughDataError: The record is too short.
    """
    chosen = list(dict.fromkeys(policies)) or list(backtest.NAMES)
    for name in chosen:
        if name not in backtest.NAMES:
            known = ", ".join(backtest.NAMES)
            raise ConfigError(f"There is no policy called {name!r}.", remedy=f"name some of: {known}")
    series, past = past_of(settings, lake, periods=periods, refit_every=refit_every)
    walks = {}
    with progress("simulate", len(chosen)) as advance:
        for name in chosen:
            walks[name] = backtest.walk(past, name, settings.supply, seed=settings.seed, threads=settings.threads)
            advance()
    judged = backtest.judge(past, walks)
    summary = Summary("simulate", read=lake.versions(("demand", "order_lines", "supply_terms")))
    summary.figures = {
        "periods": periods,
        "warm_up_periods": past.scenario().warm_up,
        "series": series.height,
        "units_asked_for": round(float(past.scenario().demand.sum()), 1),
    }
    summary.tables["policies on the same demand, money and units a period"] = judged
    summary.notes.append(
        f"Extra cost is against {chosen[0]}, its standard error over series; regret is cost above the order-up-to "
        "levels that would have been best in hindsight."
    )
    if not (lake.exists("supply_terms") and settings.has("supply_terms")):
        summary.notes.append("Supply terms are an illustration made from a seed, not records.")
    if out is not None:
        write_frame(backtest.by_series(series, past, walks), out)
        summary.wrote[str(out)] = series.height * len(chosen)
    if figure is not None:
        points = backtest.frontier_of(past, settings.supply, seed=settings.seed, threads=settings.threads)
        with whole(figure) as unfinished:
            figure_of(points).savefig(unfinished, format=figure.suffix.removeprefix(".") or "svg")
        summary.tables["fill rate against stock"] = points.select("policy", "setting", "fill_rate", "average_stock")
        summary.wrote[str(figure)] = points.height
    return summary


def check_target(
    settings: Settings, lake: Lake, *, target: str, periods: int = PERIODS, refit_every: int = REFIT_EVERY
) -> Summary:
    """Hold a service target, and demand over the lead time as forecast, against the last periods of the record.

    Args:
        settings: The shop.
        lake: Its tables; nothing is written there.
        target: `fill_rate=LEVEL` or `service=LEVEL`: what every line aims at, whatever its terms say.
        periods: How many periods.
        refit_every: Periods for which a model of demand is kept.

    Raises:
        ConfigError: The target is none.
        NotEnoughDataError: The record is too short.
    """
    kind, level = targets.target(target)
    series, past = past_of(settings, lake, periods=periods, refit_every=refit_every)
    past, supply = targets.aimed(past, settings.supply, kind, level)
    walked = backtest.walk(past, "paths", supply, seed=settings.seed, threads=settings.threads)
    summary = Summary("simulate", read=lake.versions(("demand", "order_lines", "supply_terms")))
    summary.figures = {"periods": periods, "warm_up_periods": past.scenario().warm_up, "series": series.height}
    summary.tables["what was aimed at and what came of it"] = targets.reached(past, walked, kind, level)
    summary.tables["demand over the lead time against its quantiles"] = targets.coverage(past)
    return summary


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
    if series is None:
        raise NotEnoughDataError("There is no period to replay.", remedy="ask for at least one with --origins")
    known = np.logical_and.reduce([ahead.known() for ahead in outlooks])
    series, rows = series.filter(pl.Series(known)), np.flatnonzero(known)
    panel = open_panel(settings, lake, fresh=True)
    whole = complete_terms(
        series,
        terms,
        selling_prices(settings, lake, first),
        settings.supply,
        keys=keys,
        periods_a_year=365.25 / days,
        suppliers=lake.read_or_empty("suppliers"),
        as_of=opened,  # the terms of the last review: what rules would cost under those that orders meet now
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
