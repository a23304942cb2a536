"""Which new versions become champions: those no baseline beats, and those that have no champion to stand back for.

Segments have no truth to be measured against: the newest describe the customers of today best, and are promoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from pipelines.customers.backtest import MEAN
from pipelines.customers.models import fits
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.tracking import Tracker


@dataclass(frozen=True)
class Contest:
    """A figure on which a model must not lose to its baselines.

    Attributes:
        model: The registered name.
        metric: The figure.
        baselines: Whom it is compared with.
        lower_is_better: Which way is better.
        ahead_by: Share by which a baseline has to be ahead to have won; less is chance.
    """

    model: str
    metric: str
    baselines: tuple[str, ...]
    lower_is_better: bool = False
    ahead_by: float = 0.001

    def lost(self, evaluation: pl.DataFrame) -> str | None:
        """In words, the baseline that won on the mean over the cuts; None where none did."""
        own, *others = (_figures(evaluation, name, self.metric) for name in (self.model, *self.baselines))
        for baseline, theirs in zip(self.baselines, others, strict=True):
            both = own.join(theirs, on=["slice", "cut"], suffix="_theirs").drop_nulls()
            if both.is_empty():
                continue
            mine, other = float(both["value"].to_numpy().mean()), float(both["value_theirs"].to_numpy().mean())
            ahead = mine - other if self.lower_is_better else other - mine
            if ahead > self.ahead_by * abs(mine):
                return (
                    f"{self.model.capitalize()}: the baseline {baseline} has the better {self.metric} "
                    f"({other:.3f} against {mine:.3f})."
                )
        return None


@dataclass(frozen=True)
class Gain:
    """A gain over the simplest rule whose lower bound must not be below nothing (`grade`).

    Attributes:
        model: The registered name.
        metric: The lower bound of the gain.
        baseline: Whom it is a gain over.
    """

    model: str
    metric: str
    baseline: str

    def lost(self, evaluation: pl.DataFrame) -> str | None:
        """In words, that the gain is not sure; None where it is, or was not measured."""
        found = evaluation.filter(model=self.model, metric=self.metric, cut=MEAN)["value"].drop_nulls()
        if found.is_empty() or found[0] >= 0:
            return None
        return (
            f"{self.model.capitalize()}: it is not surely better than the baseline {self.baseline} "
            f"(lower 90 % bound of the gain in AUC {found[0]:.4f})."
        )


_OF_CHURN = ("recency_rule", "bg_nbd", "pareto_nbd")
CONTESTS = (
    Contest("churn", "auc", _OF_CHURN),
    Contest("churn", "brier", _OF_CHURN, lower_is_better=True, ahead_by=0.02),
    Contest("value", "gini", ("past_spend",)),
)
GAINS = (Gain("churn", "auc_gain_low", "recency_rule"),)


def promote(tracker: Tracker, versions: Mapping[str, str], evaluation: pl.DataFrame, settings: Settings) -> list[str]:
    """Promote the versions that deserve it.

    A version that lost to a baseline is promoted only where there is no champion that answers what the configuration
    asks now (none at all, or one of another kind or horizon).

    Args:
        tracker: The registry.
        versions: Registered name → new version.
        evaluation: Rows of table evaluation, of the new versions and their baselines.
        settings: The shop's settings.

    Returns:
        Notes for people.
    """
    notes = []
    for name, version in versions.items():
        contests = [contest for contest in CONTESTS if contest.model == name]
        trials: list[Contest | Gain] = [*contests, *(gain for gain in GAINS if gain.model == name)]
        lost = next((words for trial in trials if (words := trial.lost(evaluation)) is not None), None)
        if lost is not None and _has_champion(tracker, name, settings):
            notes.append(f"{lost} The champion so far stays.")
            continue
        tracker.promote(name, version)
        if lost is not None:
            notes.append(f"{lost} It is champion only because there is no other.")
        elif contests and _figures(evaluation, name, contests[0].metric).is_empty():
            notes.append(f"{name.capitalize()}: there are too few customers to know how good it is.")
    return notes


def _has_champion(tracker: Tracker, name: str, settings: Settings) -> bool:
    return tracker.champion(name) is not None and fits(name, tracker.model_folder(name), settings)


def _figures(evaluation: pl.DataFrame, model: str, metric: str) -> pl.DataFrame:
    """Slice, cut and value of a figure, of all customers of each cut."""
    rows = evaluation.filter(pl.col("cut") != MEAN, pl.col("slice") != "active", model=model, metric=metric)
    return rows.select("slice", "cut", "value")
