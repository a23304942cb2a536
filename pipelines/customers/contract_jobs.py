"""Jobs on customers with contracts: train and register, score, judge, and the one that writes a file only."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from features.tables import TABLES
from pipelines.customers import contracts, figures
from pipelines.customers.backtest import MEAN
from pipelines.customers.models import contract_champion
from pipelines.customers.promotion import promote
from pipelines.customers.usability import assess, notes
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.files import write_frame
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary

if TYPE_CHECKING:
    from pipelines.tracking import Tracker

UNREGISTERED = "for the occasion"
EXAMPLE_ROWS = 1_000


def train(settings: Settings, lake: Lake, tracker: Tracker) -> Summary:
    """Judge the model out of fold, fit it on all contracts whose outcome is known, register and promote it."""
    table = read(settings, lake)
    known = contracts.cases(table, settings)
    judged = contracts.out_of_fold(known, table, settings)
    headline = figures.headline(judged.evaluation)
    findings = assess(settings, lake)
    with (
        tracker.run("train customers", settings.customers.model_dump(mode="json")) as run,
        tempfile.TemporaryDirectory() as scratch,
    ):
        model = contracts.fit(known, settings)
        run.log_data(lake, ["contracts"])
        run.log_features(known.encoder.names)
        run.log_metrics(headline)
        run.log_table("evaluation", judged.evaluation)
        run.log_table("usability", findings)
        run.log_table("importances", model.importances())
        run.log_figure("calibration", figures.calibration(judged.churn, ("churn", "trees", "logistic")))
        model.to_dir(Path(scratch) / "churn")
        version = run.register("churn", Path(scratch) / "churn", known.rows.head(EXAMPLE_ROWS))
    evaluation = judged.evaluation.with_columns(run=pl.lit(run.id))
    lake.replace_where(
        "evaluation", evaluation.select(TABLES["evaluation"].schema.column_names()), {"capability": "customers"}
    )
    return Summary(
        "train customers",
        read={"contracts": lake.version("contracts")},
        wrote={"evaluation": evaluation.height, "model churn": version},
        figures={name: round(value, 4) for name, value in headline.items()},
        notes=notes(findings) + known.notes + promote(tracker, {"churn": version}, judged.evaluation, settings),
    )


def score(settings: Settings, lake: Lake, tracker: Tracker, *, as_of: date | None = None) -> Summary:
    """Score every contract with the champion; what was said of the same day before goes."""
    table = read(settings, lake)
    model, version = contract_champion(tracker, settings)
    day = as_of or _day(table, lake)
    scores = contracts.score(table, model, day, settings, version)
    tables = {"customer_scores": scores, "segments": contracts.describe_segments(scores)}
    written = [lake.replace_where(name, frame, {"as_of": day}) for name, frame in tables.items()]
    return Summary(
        "score customers",
        read={"contracts": lake.version("contracts"), "models": version},
        wrote={name: frame.height for name, frame in tables.items()},
        figures={"as_of": day.isoformat(), "customers": scores.height},
        changed=any(one.changed for one in written),
    )


def customers(settings: Settings, lake: Lake, *, as_of: date | None, out: Path) -> Summary:
    """Fit for the occasion, score every contract, and write one file; nothing else is kept."""
    table = read(settings, lake)
    known = contracts.cases(table, settings)
    day = as_of or _day(table, lake)
    scores = contracts.score(table, contracts.fit(known, settings), day, settings, UNREGISTERED)
    write_frame(scores, out)
    return Summary("customers", {"contracts": lake.version("contracts")}, {str(out): scores.height}, notes=known.notes)


def backtest(settings: Settings, lake: Lake, *, out: Path | None = None) -> Summary:
    """Judge the model out of fold; the predictions behind the figures go to a file if one is named."""
    table = read(settings, lake)
    known = contracts.cases(table, settings)
    judged = contracts.out_of_fold(known, table, settings)
    wrote = {}
    if out is not None:
        write_frame(judged.churn, out)
        wrote[str(out)] = judged.churn.height
    means = judged.evaluation.filter(pl.col("cut") == MEAN).drop("cut")
    whole = means.filter(pl.col("slice") == "all").pivot("metric", index=["model", "slice"], values="value")
    tables = {"mean over the repeats": whole}
    audit = means.filter(pl.col("slice") != "all")
    if audit.height:
        tables["audit of protected columns"] = audit.pivot("metric", index=["slice"], values="value")
    return Summary(
        "backtest customers",
        {"contracts": lake.version("contracts")},
        wrote,
        figures={name: round(value, 4) for name, value in figures.headline(judged.evaluation).items()},
        tables=tables,
        notes=known.notes,
        changed=False,
    )


def read(settings: Settings, lake: Lake) -> pl.DataFrame:
    """Table contracts, with `churned` also where the shop has no such column.

    Raises:
        ConfigError: The column of the fee is not among its columns.
        NotEnoughDataError: It has not been taken in yet.
    """
    if not lake.exists("contracts"):
        raise NotEnoughDataError(
            "There are no contracts in the lake.",
            file="contracts",
            remedy="bring a source of table contracts and run `purvey ingest`",
        )
    table = lake.read("contracts")
    fee = settings.customers.fee_column
    if fee is not None and fee not in table.columns:
        raise ConfigError(
            f"The contracts have no column {fee!r}, which should hold the fee a month.",
            file=settings.file,
            rule="customers.fee_column",
            remedy=f"one of {', '.join(sorted(table.columns))}",
        )
    return table if "churned" in table.columns else table.with_columns(churned=pl.lit(None, dtype=pl.Boolean))


def _day(table: pl.DataFrame, lake: Lake) -> date:
    """The day that contracts describe: the newest start, else the day they were taken in, else today."""
    newest = table["started_on"].max() if "started_on" in table.columns else None
    if isinstance(newest, date):
        return newest
    batches = lake.read_or_empty("batches").filter(table="contracts")
    taken_in = batches["ingested_at"].max()
    return (taken_in if isinstance(taken_in, datetime) else datetime.now(UTC)).date()
