"""The job of tuning: a search of which every trial is a run of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipelines.demand.inputs import READ, open_panel
from pipelines.demand.jobs import parameters
from pipelines.demand.origins import Origins
from pipelines.demand.tuning import Metric, Trial, as_yaml, search
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary, progress

if TYPE_CHECKING:
    from pipelines.tracking import Tracker

_SHOWN = 5  # trials in a summary


def tune(
    settings: Settings,
    lake: Lake,
    tracker: Tracker,
    *,
    metric: Metric = "scaled_pinball",
    origins: int | None = None,
    trials: int | None = None,
    minutes: float | None = None,
) -> Summary:
    """Look for trees that suit the shop better; nothing is changed: what is found is printed and kept in MLflow.

    Args:
        settings: The shop; its own settings are trial 0.
        lake: Its tables; nothing is written there.
        tracker: One run, with a nested one a trial.
        metric: What to make small, the mean over past cutoffs.
        origins: How many of them, one horizon apart; by default as configured for backtests.
        trials: Stop after so many.
        minutes: Start no new trial after so many minutes.

    Raises:
        ConfigError: Optuna is not installed.
        NotEnoughDataError: There is no cutoff with a whole horizon after it.
    """
    panel = open_panel(settings, lake, fresh=True)
    count = origins or settings.demand.backtest_origins
    told_of = parameters(settings, panel) | {"metric": metric, "origins": count, "trials": trials}
    with progress("tune demand", trials or 0) as advance, tracker.run("tune demand", told_of) as run:

        def told(trial: Trial) -> None:
            with tracker.run(f"trial {trial.number}", trial.parameters, nested=True) as nested:
                nested.log_metrics({metric: trial.loss, "origins": len(trial.losses)})
            advance()

        shared = Origins(panel, settings, settings.demand.horizon)
        found = search(shared, metric, count=count, trials=trials, minutes=minutes, told=told)
        gain, error = found.gain
        run.log_metrics({metric: found.best.loss, "gain_share": gain, "gain_standard_error": error})
    complete = [trial for trial in found.trials if not trial.pruned]
    best_first = sorted(complete, key=lambda trial: (trial.loss, trial.number))[:_SHOWN]
    return Summary(
        "tune demand",
        read=lake.versions((*READ, "order_lines")),
        figures={"trials": len(found.trials), "pruned": len(found.trials) - len(complete), metric: found.best.loss},
        tables={
            "the best trials (0 = your settings)": pl.DataFrame(
                [{"trial": trial.number, metric: trial.loss, **trial.parameters} for trial in best_first]
            )
        },
        notes=[found.verdict, *([f"To use it:\n{as_yaml(found.best.parameters)}"] if found.best.number else [])],
        changed=False,
    )
