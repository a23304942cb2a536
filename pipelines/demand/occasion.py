"""Forecasts for the occasion, as tables: fitted on what was known when a day opened, and not kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time

import polars as pl

from pipelines.demand.inputs import open_panel
from pipelines.demand.model import STEPS, DemandModel
from pipelines.demand.origins import Origins
from pipelines.demand.outputs import ASIDE, decide
from pipelines.demand.overrides import apply
from pipelines.errors import NotEnoughDataError
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import progress


def issue(settings: Settings, lake: Lake, *, opening: date, horizon: int) -> dict[str, pl.DataFrame]:
    """Forecasts for the occasion as tables: fit on what was known when a day opened; nothing is written.

    Args:
        settings: The shop.
        lake: Its tables.
        opening: The day; the last period that counts is the newest of the record that was over.
        horizon: Periods ahead.

    Returns:
        One issue of `forecasts`, `lead_time_demand` and `path_ranks`.
    """
    panel, said = open_panel(settings, lake, opening=opening, fresh=True), _overrides(lake)
    origins = Origins(panel, settings, horizon)
    with progress("forecast", STEPS) as advance:
        model = DemandModel.fit(origins, panel.last, settings.demand.quantiles, advance)
    return _issued(model, origins, panel.last, settings, said)


def issues(
    settings: Settings, lake: Lake, *, periods: int, horizon: int, refit_every: int
) -> Iterator[tuple[date, dict[str, pl.DataFrame]]]:
    """What would have been forecast at the end of each of the last periods but one, to replay decisions with.

    Args:
        settings: The shop.
        lake: Its tables; nothing is written there.
        periods: How many.
        horizon: Periods ahead of each.
        refit_every: Periods for which a model is kept; it never knows anything later than the first of them.

    Yields:
        The day of each issue and its tables, as `issue` returns them, oldest first; the first is issued on the day the
        first of the periods begins.

    Raises:
        NotEnoughDataError: There is no record before those periods.
    """
    panel, said = open_panel(settings, lake, fresh=True), _overrides(lake)
    origins = Origins(panel, settings, horizon)
    first = panel.last - periods
    if first <= panel.first:
        raise NotEnoughDataError(
            f"{panel.last - panel.first + 1} periods are too few to replay {periods} of them.",
            remedy="replay fewer, or ingest more history",
        )
    for cutoff in range(first, panel.last):
        if (cutoff - first) % refit_every == 0:
            model = DemandModel.fit(origins, cutoff, settings.demand.quantiles)
        yield panel.grid.first_day(cutoff + 1), _issued(model, origins, cutoff, settings, said)


def _issued(
    model: DemandModel, origins: Origins, cutoff: int, settings: Settings, said: pl.DataFrame | None
) -> dict[str, pl.DataFrame]:
    """The tables a model issues once a period is over, with what planners had said by then."""
    panel, keys = origins.panel, settings.demand.series
    first_day = panel.grid.first_day(cutoff + 1)
    forecasts, lead_time = decide(model, origins.rows(cutoff), panel, settings)
    asked_at = datetime.combine(first_day, time.min, settings.zone)
    forecasts, lead_time = apply(forecasts, lead_time, said, asked_at, keys, whole=model.whole)
    stamp = {"issued_on": pl.lit(first_day), "model_version": pl.lit(f"fitted to {panel.grid.last_day(cutoff)}")}
    return {
        "forecasts": forecasts.drop(ASIDE).with_columns(**stamp),
        "lead_time_demand": lead_time.with_columns(**stamp),
        "path_ranks": model.joint.table().with_columns(issued_on=stamp["issued_on"]),
    }


def _overrides(lake: Lake) -> pl.DataFrame | None:
    return lake.read("overrides") if lake.exists("overrides") else None
