"""Jobs on customers: train and register the models, score everyone, and the two that write one file only."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from features.customers import FEATURES, ledger
from features.ledger import KEY, OPTIONAL
from features.tables import TABLES
from features.versions import every_version
from pipelines.accuracy import wide
from pipelines.customers import (
    audit,
    contract_jobs,
    figures,
    models,
    offer_backtest,
    offer_jobs,
    segment_backtest,
    segments,
)
from pipelines.customers import backtest as judging
from pipelines.customers import reasons as explaining
from pipelines.customers.boosting import NAMES
from pipelines.customers.grade import grade
from pipelines.customers.lists import draw
from pipelines.customers.migration import customer_changes, earlier_scores, segment_migration
from pipelines.customers.moments import Past
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
_READ = ("order_lines", "superseded_lines", "feedback")
QUIET_DAYS = 7  # a shop may be closed for so long; beyond that, silence means a missing file
UNREGISTERED = "for the occasion"
EXAMPLE_ROWS = 1_000
_STEPS = 3  # one a model
TOP = 20  # customers explained unless some are named


def train(settings: Settings, lake: Lake, tracker: Tracker) -> Summary:
    """Judge the models on past cuts, fit them on everything known, register them, and promote the good ones.

    Raises:
        NotEnoughDataError: The record is too short, or nobody has bought twice.
    """
    if settings.customers.kind == "contractual":
        return contract_jobs.train(settings, lake, tracker)
    _accept(settings)
    book, last = _book(settings, lake)
    book = drawn(book, settings.customers.most_learned_from)
    judged = judging.run(book, last, settings)
    graded = grade(judged.churn, seed=settings.seed)
    if graded is not None:
        judged = replace(judged, evaluation=pl.concat([judged.evaluation, graded.rows()]))
    groups = _audit(judged, settings, lake)
    headline = figures.headline(judged.evaluation)
    before = models.segments_in_use(tracker, settings)
    findings = assess(settings, lake)
    parameters = {"cut": last.isoformat(), **settings.customers.model_dump(mode="json", exclude={"campaigns"})}
    with (
        progress("customers: fit and register", 2 * _STEPS) as advance,
        tracker.run("train customers", parameters) as run,
        tempfile.TemporaryDirectory() as scratch,
    ):
        fitted, past = models.fit(book, last, settings, advance, before=before)
        grouped = segment_backtest.run(book, last, settings, fitted.segments)
        offered = offer_jobs.judge(settings, lake, cuts=1)  # more of them take `purvey backtest customers`
        headline |= segment_backtest.headline(grouped) | offer_backtest.headline(offered)
        evaluation = pl.concat([judged.evaluation, grouped, groups, offered])
        run.log_data(lake, [name for name in _READ if lake.exists(name)])
        run.log_features(NAMES)
        run.log_metrics(headline)
        run.log_table("evaluation", evaluation)
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
        notes.append(
            "No complete window had both: customers who came back and others. Buy-till-you-die alone says who leaves."
        )
    return Summary(
        "train customers",
        read={"order_lines": lake.version("order_lines")},
        wrote={
            "evaluation": _keep(lake, evaluation.with_columns(run=pl.lit(run.id))),
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
        earlier = earlier_scores(lake, last)
        scores = with_previous_segment(score_customers(book, last, champions, settings, version), earlier)
        advance()
        labels = settings.customers.segment_names
        tables = {"customer_scores": scores, "segments": describe_segments(scores, labels)}
        if earlier is not None:
            tables["segment_migration"] = segment_migration(scores, earlier)
            tables["customer_changes"] = customer_changes(scores, earlier)
        written = [lake.replace_where(table, frame, {"as_of": last}) for table, frame in tables.items()]
        advance()
    counts = dict(scores.group_by("churn_band").len().sort("churn_band").iter_rows())
    changes = tables["customer_changes"].group_by("change").len().sort("change") if earlier is not None else None
    unknown = sorted(set(labels) - set(tables["segments"]["segment"]))
    return Summary(
        "score customers",
        read={"order_lines": lake.version("order_lines"), "models": version},
        wrote={table: frame.height for table, frame in tables.items()},
        figures={"as_of": last.isoformat(), "customers": scores.height, **{f"{k}_churn": v for k, v in counts.items()}},
        tables={} if changes is None else {"changes since the scores before": changes},
        notes=[f"No customer is in {', '.join(unknown)}, which customers.segment_names renames."] if unknown else [],
        changed=any(table.changed for table in written),
    )


def explain(
    settings: Settings,
    lake: Lake,
    tracker: Tracker,
    customers: Sequence[str] = (),
    *,
    top: int = TOP,
    as_of: date | None = None,
) -> Summary:
    """Why the champion gives customers the probability of leaving that it does; their reasons of the day are replaced.

    Args:
        settings: The shop's settings.
        lake: Its tables.
        tracker: Its registered models.
        customers: Whom to explain; those likeliest to leave unless said.
        top: How many of those, among active customers.
        as_of: The day at whose end customers are looked at; the last day with orders unless said.

    Raises:
        ConfigError: A customer has not ordered by then, or customers have contracts.
        NotEnoughDataError: There is no customer by then.
        TrackingError: The models have not been trained yet, or for other settings.
    """
    if settings.customers.kind == "contractual":
        raise ConfigError(
            "Reasons are told of customers who order; those of this shop have contracts.",
            file=settings.file,
            rule="customers.kind: transactional",
            remedy="what the model goes by in general is the table importances of the run in MLflow",
        )
    book, last = _book(settings, lake)
    if as_of is not None and as_of != last:
        book, last = _book(settings, lake, as_of)
    champions, version = models.champions(tracker, settings)
    leaving = champions.churn
    past = Past(book, last, horizon_days=leaving.horizon_days, period_days=leaving.expectation.period_days)
    said = explaining.chances(past, leaving, customers, active_days=champions.segments.active_days, top=top)
    found = explaining.explain(past, champions, said["customer_id"].to_list(), version)
    table = "customer_reasons"
    others = lake.read_or_empty(table).filter(as_of=last, model_version=version)
    others = others.join(said, on="customer_id", how="anti")
    written = lake.replace_where(table, pl.concat([others, found]).sort("customer_id", "rank"), {"as_of": last})
    return Summary(
        "reasons",
        read={"order_lines": lake.version("order_lines"), "models": version},
        wrote={table: found.height},
        figures={"as_of": last.isoformat(), "customers": said.height},
        tables={"customers": said, "reasons": found},
        changed=bool(written.changed),
    )


def customers(settings: Settings, lake: Lake, *, as_of: date | None, out: Path) -> Summary:
    """Fit for the occasion on what was known by `as_of`, score, and write one file; nothing else is kept."""
    if settings.customers.kind == "contractual":
        return contract_jobs.customers(settings, lake, as_of=as_of, out=out)
    _accept(settings)
    book, last = _book(settings, lake, as_of)
    with progress("customers", _STEPS) as advance:
        fitted, _ = models.fit(drawn(book, settings.customers.most_learned_from), last, settings, advance)
    scores = score_customers(book, last, fitted, settings, UNREGISTERED)
    write_frame(scores, out)
    return Summary("customers", {"order_lines": lake.version("order_lines")}, {str(out): scores.height})


def backtest(settings: Settings, lake: Lake, *, out: Path | None = None) -> Summary:
    """Judge the models on past cuts; the predictions behind the figures go to a file if one is named.

    Of a shop with more customers than it learns from, those are judged that were drawn.
    """
    if settings.customers.kind == "contractual":
        return contract_jobs.backtest(settings, lake, out=out)
    _accept(settings)
    book, last = _book(settings, lake)
    book = drawn(book, settings.customers.most_learned_from)
    judged = judging.run(book, last, settings)
    wrote = {}
    if out is not None:
        write_frame(judged.churn, out)
        wrote[str(out)] = judged.churn.height
    means = judged.evaluation.filter(pl.col("cut") == judging.MEAN).drop("cut")
    tables = {"mean over the cuts": means.pivot("metric", index=["capability", "model", "slice"], values="value")}
    groups = _audit(judged, settings, lake).filter(pl.col("cut") == judging.MEAN)
    if groups.height:
        tables["audit of protected columns"] = groups.pivot("metric", index=["slice"], values="value")
    grouped = segment_backtest.run(book, last, settings, segments.fit_at(book, last, settings))
    offered = offer_jobs.judge(settings, lake, settings.customers.cuts)
    headline = figures.headline(judged.evaluation) | segment_backtest.headline(grouped)
    headline |= offer_backtest.headline(offered)
    return Summary(
        "backtest customers",
        {"order_lines": lake.version("order_lines")},
        wrote,
        figures={name: round(value, 4) for name, value in headline.items()},
        tables=tables | ({"offers": wide(offered, offer_backtest.METRICS)} if offered.height else {}),
        changed=False,
    )


def drawn(book: pl.DataFrame, most: int) -> pl.DataFrame:
    """The ledger of about so many customers, drawn by their own names; of all where there are fewer."""
    customers = book[KEY].unique().sort()
    if customers.len() <= most:
        return book
    kept = customers.filter(draw(customers, "learn") < most / customers.len()).to_frame()
    return book.join(kept, on=KEY, how="semi", maintain_order="left")


def _book(settings: Settings, lake: Lake, as_of: date | None = None) -> tuple[pl.DataFrame, date]:
    """The ledger, and the day the customers are looked at: the last one with orders unless said.

    On a day that is named only what was known by then counts; unless one is, all that is known now. Columns that are
    protected are not even read.
    """
    there = set(lake.scan("order_lines").collect_schema()) - set(settings.customers.protected)
    columns = [*_COLUMNS, *(name for name in OPTIONAL if name in there)]
    lines = every_version(lake.read("order_lines", columns=columns), lake.read_or_empty("superseded_lines"))
    book = ledger(lines, lake.read_or_empty("feedback"), timezone=settings.timezone, as_known_now=as_of is None)
    _, last = first_and_last(book)
    if as_of is not None and as_of > last + timedelta(days=QUIET_DAYS):
        raise NotEnoughDataError(
            f"Customers cannot be looked at as of {as_of}: the newest order on record is of {last}.",
            file="order_lines",
            remedy=f"ingest newer orders, or name a day up to {last} with --as-of",
        )
    return book, as_of or last


def _audit(judged: judging.Backtest, settings: Settings, lake: Lake) -> pl.DataFrame:
    """How the groups of protected columns of the customers table fare."""
    return audit.evaluation(judged.churn, lake.read_or_empty("customers"), settings.customers.protected)


def _example(rows: pl.DataFrame) -> pl.DataFrame:
    """Enough customers to shape a signature, all numbers as floats: those may be missing, whole numbers may not."""
    return rows.head(EXAMPLE_ROWS).with_columns(pl.col(list(FEATURES)).cast(pl.Float64))


def _keep(lake: Lake, evaluation: pl.DataFrame) -> int:
    """Replace what the last training said of each capability; returns the number of rows."""
    for capability in ("customers", "value", "segments", "offers"):
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
