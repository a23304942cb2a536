"""Jobs on customers: train and register the models, score everyone, and the two that write one file only."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from features.customers import FEATURES, ledger
from features.tables import TABLES
from features.versions import every_version
from pipelines.customers import backtest as judging
from pipelines.customers import contract_jobs, figures, models
from pipelines.customers.boosting import NAMES
from pipelines.customers.grade import grade
from pipelines.customers.outputs import describe_segments, score_customers, with_previous_segment
from pipelines.customers.promotion import promote
from pipelines.customers.record import first_and_last
from pipelines.customers.usability import assess
from pipelines.customers.usability import notes as as_notes
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.files import write_frame
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary, progress

if TYPE_CHECKING:
    from pipelines.tracking import Tracker

_COLUMNS = (
    "order_id",
    "line_no",
    "product_id",
    "customer_id",
    "kind",
    "quantity",
    "unit_price",
    "ordered_at",
    "known_at",
)
QUIET_DAYS = 7  # a shop may be closed for so long; beyond that, silence means a missing file
UNREGISTERED = "for the occasion"
EXAMPLE_ROWS = 1_000
_STEPS = 3  # one a model


def train(settings: Settings, lake: Lake, tracker: Tracker) -> Summary:
    """Judge the models on past cuts, fit them on everything known, register them, and promote the good ones.

    Raises:
        NotEnoughDataError: The record is too short, or nobody has bought twice.
    """
    if settings.customers.kind == "contractual":
        return contract_jobs.train(settings, lake, tracker)
    _accept(settings)
    book, last = _book(settings, lake)
    judged = judging.run(book, last, settings)
    graded = grade(judged.churn, seed=settings.seed)
    if graded is not None:
        judged = replace(judged, evaluation=pl.concat([judged.evaluation, graded.rows()]))
    headline = figures.headline(judged.evaluation)
    findings = assess(settings, lake)
    parameters = {"cut": last.isoformat(), **settings.customers.model_dump(mode="json")}
    with (
        progress("customers: fit and register", 2 * _STEPS) as advance,
        tracker.run("train customers", parameters) as run,
        tempfile.TemporaryDirectory() as scratch,
    ):
        fitted, past = models.fit(book, last, settings, advance)
        run.log_data(lake, [name for name in ("order_lines", "superseded_lines") if lake.exists(name)])
        run.log_features(NAMES)
        run.log_metrics(headline)
        run.log_table("evaluation", judged.evaluation)
        run.log_table("usability", findings)
        run.log_table("importances", fitted.churn.importances())
        run.log_figure("calibration", figures.calibration(judged.churn))
        versions = {}
        for name, model in fitted.by_name().items():
            model.to_dir(Path(scratch) / name)
            versions[name] = run.register(name, Path(scratch) / name, _example(past.moment(last).rows))
            advance()
    notes = as_notes(findings) + promote(tracker, versions, judged.evaluation, settings)
    if fitted.churn.booster is None:
        notes.append("No complete window had both: customers who came back and others. MBG/NBD alone says who leaves.")
    return Summary(
        "train customers",
        read={"order_lines": lake.version("order_lines")},
        wrote={
            "evaluation": _keep(lake, judged.evaluation.with_columns(run=pl.lit(run.id))),
            **{f"model {name}": version for name, version in versions.items()},
        },
        figures={name: round(value, 4) for name, value in headline.items()}
        | ({"churn_grade": graded.letter} if graded else {}),
        notes=notes,
    )


def score(settings: Settings, lake: Lake, tracker: Tracker, *, as_of: date | None = None) -> Summary:
    """Score every customer with the champions, and describe the segments; what was said of the same day before goes.

    Args:
        settings: The shop's settings.
        lake: Its tables.
        tracker: Its registered models.
        as_of: The day at whose end customers are scored; the last day with orders unless said.

    Raises:
        NotEnoughDataError: There is no customer by then.
        TrackingError: The models have not been trained yet, or for other settings.
    """
    if settings.customers.kind == "contractual":
        return contract_jobs.score(settings, lake, tracker, as_of=as_of)
    with progress("score customers", 4) as advance:
        book, last = _book(settings, lake, as_of)
        advance()
        champions, version = models.champions(tracker, settings)
        advance()
        scores = with_previous_segment(score_customers(book, last, champions, settings, version), lake)
        advance()
        tables = {"customer_scores": scores, "segments": describe_segments(scores)}
        written = [lake.replace_where(table, frame, {"as_of": last}) for table, frame in tables.items()]
        advance()
    counts = dict(scores.group_by("churn_band").len().sort("churn_band").iter_rows())
    return Summary(
        "score customers",
        read={"order_lines": lake.version("order_lines"), "models": version},
        wrote={table: frame.height for table, frame in tables.items()},
        figures={"as_of": last.isoformat(), "customers": scores.height, **{f"{k}_churn": v for k, v in counts.items()}},
        changed=any(table.changed for table in written),
    )


def customers(settings: Settings, lake: Lake, *, as_of: date | None, out: Path) -> Summary:
    """Fit for the occasion on what was known by `as_of`, score, and write one file; nothing else is kept."""
    if settings.customers.kind == "contractual":
        return contract_jobs.customers(settings, lake, as_of=as_of, out=out)
    _accept(settings)
    book, last = _book(settings, lake, as_of)
    with progress("customers", _STEPS) as advance:
        fitted, _ = models.fit(book, last, settings, advance)
    scores = score_customers(book, last, fitted, settings, UNREGISTERED)
    write_frame(scores, out)
    return Summary("customers", {"order_lines": lake.version("order_lines")}, {str(out): scores.height})


def backtest(settings: Settings, lake: Lake, *, out: Path | None = None) -> Summary:
    """Judge the models on past cuts; the predictions behind the figures go to a file if one is named."""
    if settings.customers.kind == "contractual":
        return contract_jobs.backtest(settings, lake, out=out)
    _accept(settings)
    book, last = _book(settings, lake)
    judged = judging.run(book, last, settings)
    wrote = {}
    if out is not None:
        write_frame(judged.churn, out)
        wrote[str(out)] = judged.churn.height
    means = judged.evaluation.filter(pl.col("cut") == judging.MEAN).drop("cut")
    table = means.pivot("metric", index=["capability", "model", "slice"], values="value")
    return Summary(
        "backtest customers",
        {"order_lines": lake.version("order_lines")},
        wrote,
        figures={name: round(value, 4) for name, value in figures.headline(judged.evaluation).items()},
        tables={"mean over the cuts": table},
        changed=False,
    )


def _book(settings: Settings, lake: Lake, as_of: date | None = None) -> tuple[pl.DataFrame, date]:
    """The ledger, and the day the customers are looked at: the last one with orders unless said.

    On a day that is named only what was known by then counts; unless one is, all that is known now.
    """
    lines = every_version(lake.read("order_lines", columns=_COLUMNS), lake.read_or_empty("superseded_lines"))
    book = ledger(lines, timezone=settings.timezone, as_known_now=as_of is None)
    _, last = first_and_last(book)
    if as_of is not None and as_of > last + timedelta(days=QUIET_DAYS):
        raise NotEnoughDataError(
            f"Customers cannot be looked at as of {as_of}: the newest order on record is of {last}.",
            file="order_lines",
            remedy=f"ingest newer orders, or name a day up to {last} with --as-of",
        )
    return book, as_of or last


def _example(rows: pl.DataFrame) -> pl.DataFrame:
    """Enough customers to shape a signature, all numbers as floats: those may be missing, whole numbers may not."""
    return rows.head(EXAMPLE_ROWS).with_columns(pl.col(list(FEATURES)).cast(pl.Float64))


def _keep(lake: Lake, evaluation: pl.DataFrame) -> int:
    """Replace what the last training said of both capabilities; returns the number of rows."""
    for capability in ("customers", "value"):
        rows = evaluation.filter(capability=capability).select(TABLES["evaluation"].schema.column_names())
        lake.replace_where("evaluation", rows, {"capability": capability})
    return evaluation.height


def _accept(settings: Settings) -> None:
    """Refuse settings that these models cannot answer.

    Raises:
        ConfigError: The shop protects a column that every model is made from.
    """
    learned = [column for column in settings.customers.protected if column in FEATURES]
    if learned:
        raise ConfigError(
            f"The models of customers are made from {', '.join(learned)}, which the configuration protects.",
            file=settings.file,
            rule="customers.protected: never a feature",
            remedy="take it out of customers.protected; columns of the customers table are never learned from",
        )
