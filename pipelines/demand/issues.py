"""Issues of forecasts: which model makes one and from what, how it is kept, and how far it moved since the last."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from features.panel import Panel
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import forecast_rows
from pipelines.demand.outputs import decide
from pipelines.demand.vintages import changes
from pipelines.errors import TrackingError
from pipelines.lake import Lake
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.tracking import Registered, Tracker


def champion_of(tracker: Tracker) -> tuple[Registered, DemandModel]:
    """The champion and its model.

    Raises:
        TrackingError: No demand model has been promoted yet, or an older program wrote it.
    """
    champion = tracker.champion("demand")
    if champion is None:
        raise TrackingError("There is no champion demand model yet.", remedy="run `purvey train demand`")
    return champion, DemandModel.from_dir(tracker.model_folder("demand"))


def rows_for(settings: Settings, panel: Panel, model: DemandModel) -> pl.DataFrame:
    """What a model forecasts from, at the end of the panel.

    Raises:
        TrackingError: It was fitted for another configuration, or the data no longer gives what it needs.
    """
    demand, vocabulary = settings.demand, model.vocabulary
    fitted = model.series, model.frequency, model.horizon, model.quantiles
    if fitted != (list(demand.series), demand.frequency, demand.horizon, list(demand.quantiles)):
        raise TrackingError(
            "The champion demand model was fitted for other series columns or quantiles, another frequency or horizon.",
            remedy="run `purvey train demand` after changing them",
        )
    known = {*panel.series.columns, *panel.ahead}
    _refuse_without(name for name in (*vocabulary.codes, *vocabulary.numbers, *vocabulary.alike) if name not in known)
    rows = forecast_rows(panel, panel.last, demand.horizon, vocabulary, settings)
    _refuse_without(name for name in model.trees.features if name not in rows.columns)
    return rows


def _refuse_without(missing: Iterable[str]) -> None:
    for name in missing:
        raise TrackingError(
            f"The champion demand model needs {name!r}, which the data no longer gives.",
            remedy="run `purvey train demand` to fit a model to the data as it is now",
        )


def write(lake: Lake, table: str, frame: pl.DataFrame, issued_on: date) -> bool:
    """Make this the newest issue, whole: of later ones (other periods, data taken back) nothing stays current."""
    if lake.exists(table):
        newest = lake.scan(table).select(pl.col("issued_on").max()).collect().item()
        if newest is not None and newest > issued_on:
            lake.replace(table, lake.scan(table).filter(pl.col("issued_on") <= issued_on).collect())
    return lake.replace_where(table, frame, {"issued_on": issued_on}).changed > 0


def moves(
    settings: Settings, lake: Lake, tracker: Tracker, panel: Panel, forecasts: pl.DataFrame
) -> tuple[pl.DataFrame, list[str]]:
    """How far this issue moved from the one before, and what has to be said about it."""
    keys = settings.demand.series
    before = _issue_before(lake, forecasts)
    former = before["model_version"][0] if before.height else None
    if former in (None, forecasts["model_version"].item(0)):
        return changes(before, forecasts, keys), []
    try:
        model = _former_model(tracker, former)
        today, _ = decide(model, rows_for(settings, panel, model), panel, settings)
    except TrackingError as error:
        note = f"What model {former} would say today is not known: {error.message} Its part is told as new data."
        return changes(before, forecasts, keys), [note]
    return changes(before, forecasts, keys, today), []


def _issue_before(lake: Lake, forecasts: pl.DataFrame) -> pl.DataFrame:
    """The newest earlier issue; empty where there is none, or none whose series were named alike."""
    earlier = lake.scan("forecasts") if lake.exists("forecasts") else forecasts.clear().lazy()
    if not set(forecasts.columns) <= set(earlier.collect_schema()):
        return forecasts.clear()
    earlier = earlier.filter(pl.col("issued_on") < forecasts["issued_on"].item(0))
    return earlier.filter(pl.col("issued_on") == pl.col("issued_on").max()).collect()


def _former_model(tracker: Tracker, version: str) -> DemandModel:
    """A model of an earlier issue.

    Raises:
        TrackingError: It is gone, or written in a way this program no longer reads.
    """
    folder = tracker.version_folder("demand", version)
    try:
        return DemandModel.from_dir(folder)
    except Exception as error:
        raise TrackingError(f"Its files cannot be read any more: {error!r}.", file=folder) from error
