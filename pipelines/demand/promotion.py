"""Which new version becomes champion: one that no baseline beats, and one that has no champion to stand back for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.panel import Panel
from pipelines.demand.backtest import BASELINES, MODEL
from pipelines.demand.evaluation import JUDGED_BY
from pipelines.demand.issues import rows_for
from pipelines.demand.model import DemandModel
from pipelines.errors import TrackingError
from pipelines.settings import Settings
from pipelines.summary import Summary

if TYPE_CHECKING:
    from pipelines.tracking import Tracker


def has_champion(settings: Settings, panel: Panel, tracker: Tracker, summary: Summary) -> bool:
    """Whether some champion can score the shop as it is configured now; if not, the summary is told why."""
    if tracker.champion("demand") is None:
        return False
    try:
        rows_for(settings, panel, DemandModel.from_dir(tracker.model_folder("demand")))
    except TrackingError as error:
        summary.notes.append(f"{error.message} It counts as none.")
        return False
    return True


def is_promoted(stands_back: bool, overall: pl.DataFrame, summary: Summary, optimise_for: str) -> bool:
    """Promote the new version unless a baseline loses less of what the shop optimises for.

    Args:
        stands_back: Whether there is a champion that can do the work; without one the new version is promoted anyway.
        overall: Means over the cutoffs of every model's figures over all cells.
        summary: Is told.
        optimise_for: `demand.optimise_for`.
    """
    metric = JUDGED_BY[optimise_for]
    loss = dict(overall.filter(metric=metric).select("model", "value").drop_nulls().iter_rows())
    best = min((loss[name] for name in BASELINES if name in loss), default=None)
    good = best is None or loss.get(MODEL, np.inf) <= best
    if not loss:
        summary.notes.append("The record is too short for a backtest: nothing is known yet of how good the model is.")
    elif not good:
        kept = "The previous champion stays." if stands_back else "It is champion only because there is no other."
        summary.notes.append(f"A baseline has the lower {metric} ({best:.3f} against {loss[MODEL]:.3f}). {kept}")
    promoted = good or not stands_back
    summary.figures["promoted"] = promoted
    return promoted
