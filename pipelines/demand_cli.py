"""Commands about demand: they parse and print, nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from pipelines.options import HERE, Config, Json, Out, Sample, day, shop, show


def forecast(
    out: Out,
    config: Config = HERE,
    sample: Sample = False,
    cutoff: Annotated[
        datetime | None, typer.Option("--cutoff", formats=["%Y-%m-%d"], help="The last period whose demand is known.")
    ] = None,
    horizon: Annotated[int | None, typer.Option("--horizon", min=1, help="Periods ahead.")] = None,
    as_json: Json = False,
) -> None:
    """Forecast for the occasion: fits on what was known at the cutoff and writes one file, nothing else."""
    from pipelines.demand import jobs

    opened = shop(config, sample, as_json)
    show(jobs.forecast(opened.settings, opened.lake, cutoff=day(cutoff), horizon=horizon, out=out), as_json)


def explain(
    series: Annotated[list[str], typer.Argument(help="KEY=VALUE for the columns that name the series.")],
    config: Config = HERE,
    sample: Sample = False,
    cutoff: Annotated[
        datetime | None, typer.Option("--cutoff", formats=["%Y-%m-%d"], help="The last period whose demand is known.")
    ] = None,
    horizon: Annotated[int | None, typer.Option("--horizon", min=1, help="Periods ahead.")] = None,
    as_json: Json = False,
) -> None:
    """Say why the champion forecasts what it does for one series: its drivers in units and words."""
    from pipelines.demand import jobs
    from pipelines.demand.planning import pairs
    from pipelines.printing import print_drivers

    opened, wanted = shop(config, sample, as_json), pairs(series)
    summary = jobs.explain(opened.settings, opened.lake, opened.tracker, wanted, cutoff=day(cutoff), horizon=horizon)
    show(summary, as_json) if as_json else print_drivers(summary, opened.settings.demand.series)


def tune(
    what: Annotated[str, typer.Argument(help="demand")] = "demand",
    config: Config = HERE,
    sample: Sample = False,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.1, help="Time to look, 30 by default.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Stop after so many.")] = None,
    metric: Annotated[str, typer.Option("--metric", help="scaled_pinball, wql, wape or rmsse")] = "scaled_pinball",
    origins: Annotated[int | None, typer.Option("--origins", min=1, help="How many past cutoffs.")] = None,
    as_json: Json = False,
) -> None:
    """Look for trees that suit the shop better (Optuna); prints what to put into the configuration."""
    from pipelines.demand import trials as demand_trials
    from pipelines.demand.tuning import as_metric
    from pipelines.errors import ConfigError

    if what != "demand":
        raise ConfigError(f"There is nothing called {what!r} to tune.", remedy="say demand")
    opened, aim = shop(config, sample, as_json), as_metric(metric)
    minutes = 30 if minutes is None and trials is None else minutes
    found = demand_trials.tune(
        opened.settings, opened.lake, opened.tracker, metric=aim, origins=origins, trials=trials, minutes=minutes
    )
    show(found, as_json)


def changes(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Show how far the newest forecasts moved since the issue before, and why: data, model or planners."""
    from pipelines.demand import planning

    opened = shop(config, sample, as_json)
    show(planning.newest_changes(opened.settings, opened.lake), as_json)
