"""Jobs on customers: train and register the models, score everyone, and the two that write one file only."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from features.customers import FEATURES, ledger
from features.tables import TABLES
from pipelines.customers import backtest as judging
from pipelines.customers import churn, segments
from pipelines.customers.churn import ChurnModel
from pipelines.customers.moments import BTYD_FEATURES, Past, Shared
from pipelines.customers.segments import RFM_DESCRIPTIONS, SegmentsModel
from pipelines.customers.value import ValueModel
from pipelines.errors import ConfigError, NotEnoughDataError, TrackingError
from pipelines.files import write_frame
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary, progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipelines.tracking import Tracker

_COLUMNS = ("order_id", "product_id", "customer_id", "kind", "quantity", "unit_price", "ordered_at", "known_at")
LOW, HIGH = 1 / 3, 2 / 3
QUIET_DAYS = 7  # a shop may be closed for so long; beyond that, silence means a missing file
UNREGISTERED = "for the occasion"


@dataclass(frozen=True)
class Models:
    """The three models of customers, fitted at the same cut."""

    churn: ChurnModel
    value: ValueModel
    segments: SegmentsModel

    def by_name(self) -> dict[str, ChurnModel | ValueModel | SegmentsModel]:
        """Registered name → model."""
        return {"churn": self.churn, "value": self.value, "segments": self.segments}


def train(settings: Settings, lake: Lake, tracker: Tracker) -> Summary:
    """Judge the models on past cuts, fit them on everything known, and register them as champions.

    Raises:
        NotEnoughDataError: The record is too short, or nobody has bought twice.
    """
    _transactional(settings)
    book, last = _book(settings, lake)
    judged = judging.run(book, last, settings)
    with progress("customers: fit", 3) as advance:
        models, past = _fit(book, last, settings)
        advance(3)
    rows = past.moment(last).rows
    with tracker.run("train customers", {"cut": last.isoformat(), **settings.customers.model_dump(mode="json")}) as run:
        run.log_data(lake, ["order_lines"])
        run.log_features([*FEATURES, *BTYD_FEATURES])
        run.log_metrics(_headline(judged.evaluation))
        run.log_table("evaluation", judged.evaluation)
        run.log_table("importances", models.churn.importances())
        run.log_figure("calibration", _calibration_figure(judged.churn))
        versions = {}
        with tempfile.TemporaryDirectory() as scratch:
            for name, model in models.by_name().items():
                model.to_dir(Path(scratch) / name)
                versions[name] = run.register(name, Path(scratch) / name, rows.head(5))
        evaluation = judged.evaluation.with_columns(run=pl.lit(run.id))
    for name, version in versions.items():
        tracker.promote(name, version)
    wrote = lake.merge("evaluation", evaluation, TABLES["evaluation"].keys())
    return Summary(
        "train customers",
        read={"order_lines": lake.version("order_lines")},
        wrote={"evaluation": wrote.changed, **{f"model {name}": version for name, version in versions.items()}},
        figures={name: round(value, 4) for name, value in _headline(judged.evaluation).items()},
        notes=_notes(models, judged),
    )


def score(settings: Settings, lake: Lake, tracker: Tracker, *, as_of: date | None = None) -> Summary:
    """Score every customer with the champions, and describe the segments.

    Args:
        settings: The shop's settings.
        lake: Its tables.
        tracker: Its registered models.
        as_of: The day at whose end customers are scored; the last day with orders unless said.

    Raises:
        TrackingError: The models have not been trained yet.
    """
    book, last = _book(settings, lake, as_of)
    models, version = _champions(tracker)
    scores = _score(book, last, models, settings, version)
    scores = _with_previous(scores, lake)
    described = describe_segments(scores)
    wrote = {
        table: lake.merge(table, frame, TABLES[table].keys()).changed
        for table, frame in (("customer_scores", scores), ("segments", described))
    }
    counts = dict(scores.group_by("churn_band").len().sort("churn_band").iter_rows())
    return Summary(
        "score customers",
        read={"order_lines": lake.version("order_lines"), "models": version},
        wrote=wrote,
        figures={"as_of": last.isoformat(), "customers": scores.height, **{f"{k}_churn": v for k, v in counts.items()}},
        changed=any(wrote.values()),
    )


def customers(settings: Settings, lake: Lake, *, as_of: date | None, out: Path) -> Summary:
    """Fit for the occasion on what was known by `as_of`, score, and write one file; nothing else is kept."""
    _transactional(settings)
    book, last = _book(settings, lake, as_of)
    with progress("customers: fit", 3) as advance:
        models, _ = _fit(book, last, settings)
        advance(3)
    scores = _score(book, last, models, settings, UNREGISTERED)
    write_frame(scores, out)
    return Summary("customers", {"order_lines": lake.version("order_lines")}, {str(out): scores.height})


def backtest(settings: Settings, lake: Lake, *, out: Path | None = None) -> Summary:
    """Judge the models on past cuts; the predictions behind the figures go to a file if one is named."""
    _transactional(settings)
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
        figures={name: round(value, 4) for name, value in _headline(judged.evaluation).items()},
        tables={"mean over the cuts": table},
        changed=False,
    )


def describe_segments(scores: pl.DataFrame) -> pl.DataFrame:
    """One row a segment of each scheme (`kmeans`, `rfm`): size, shares and means."""
    frames = []
    for scheme, column in (("kmeans", "segment"), ("rfm", "rfm_segment")):
        described = scores.group_by("as_of", "model_version", segment=column).agg(
            customers=pl.len().cast(pl.Int64),
            share_of_customers=pl.len() / scores.height,
            share_of_spend=pl.col("spend").sum(),
            mean_days_since_last_order=pl.col("days_since_last_order").mean(),
            mean_orders=pl.col("orders").mean(),
            mean_spend=pl.col("spend").mean(),
            mean_churn_probability=pl.col("churn_probability").mean(),
            mean_value=pl.col("value").mean(),
        )
        frames.append(described.with_columns(scheme=pl.lit(scheme)))
    total = scores["spend"].sum()
    words = pl.format(
        "Last order {} days ago, {} orders and a spend of {} on average.",
        pl.col("mean_days_since_last_order").round(0).cast(pl.Int64),
        pl.col("mean_orders").round(1),
        pl.col("mean_spend").round(0).cast(pl.Int64),
    )
    rules = pl.col("segment").replace_strict(RFM_DESCRIPTIONS, default="", return_dtype=pl.String)
    return (
        pl.concat(frames)
        .with_columns(
            share_of_spend=pl.col("share_of_spend") / total if total else pl.lit(None, dtype=pl.Float64),
            name=pl.col("segment").str.replace_all("_", " ").str.to_titlecase(),
            description=pl.when(pl.col("scheme") == "rfm").then(rules + pl.lit(" ")).otherwise(pl.lit("")) + words,
        )
        .select(TABLES["segments"].schema.column_names())
        .sort("scheme", "share_of_spend", "segment", descending=[False, True, False])
    )


def _book(settings: Settings, lake: Lake, as_of: date | None = None) -> tuple[pl.DataFrame, date]:
    """The ledger, and the day the customers are looked at: the last one with orders unless said."""
    book = ledger(lake.read("order_lines", columns=_COLUMNS), timezone=settings.timezone)
    last: date | None = book["day"].max()  # type: ignore[assignment]
    if last is None:
        raise NotEnoughDataError(
            "There is no order of a known customer on record.",
            file="order_lines",
            column="customer_id",
            remedy="map the column that names the customer, or leave `customers` out of the configuration",
        )
    if as_of is not None and as_of > last + timedelta(days=QUIET_DAYS):
        raise NotEnoughDataError(
            f"Customers cannot be looked at as of {as_of}: the newest order on record is of {last}.",
            file="order_lines",
            remedy=f"ingest newer orders, or name a day up to {last} with --as-of",
        )
    return book, as_of or last


def _fit(book: pl.DataFrame, cut: date, settings: Settings) -> tuple[Models, Past]:
    terms = settings.customers
    shared: Shared = {}
    past = Past(book, cut, horizon_days=terms.churn_horizon_days, period_days=terms.period_days, shared=shared)
    leaving = churn.fit(past, trees=terms.trees, seed=settings.seed, threads=settings.threads)
    worth, _ = judging.fit_value(past.ledger, cut, settings, horizon_days=terms.value_horizon_days, shared=shared)
    return Models(leaving, worth, segments.fit(past.moment(cut).rows, seed=settings.seed)), past


def _score(book: pl.DataFrame, as_of: date, models: Models, settings: Settings, version: str) -> pl.DataFrame:
    terms = settings.customers
    past = Past(book, as_of, horizon_days=models.churn.horizon_days, period_days=models.churn.period_days)
    rows = past.moment(as_of).rows
    leaving = models.churn if models.churn.anchored_on == as_of else models.churn.anchored(past)
    limit = judging.active_days(past.ledger, as_of, terms)
    scores = (
        rows.select("customer_id", "days_since_last_order", "orders", "spend")
        .join(leaving.predict(rows), on="customer_id")
        .join(models.value.predict(rows), on="customer_id")
        .join(models.segments.predict(rows), on="customer_id")
    )
    active = pl.col("days_since_last_order") <= limit
    low = pl.when(pl.col("churn_probability") < LOW).then(pl.lit("low"))
    band = low.when(pl.col("churn_probability") < HIGH).then(pl.lit("medium")).otherwise(pl.lit("high"))
    return (
        scores.with_columns(
            as_of=pl.lit(as_of),
            status=pl.when(active).then(pl.lit("active")).otherwise(pl.lit("lapsed")),
            churn_band=pl.when(active).then(band).otherwise(pl.lit("lapsed")),
            next_order_on=pl.lit(as_of) + pl.duration(days="next_order_in_days"),
            previous_segment=pl.lit(None, dtype=pl.String),
            model_version=pl.lit(version),
        )
        .select(TABLES["customer_scores"].schema.column_names())
        .sort("customer_id")
    )


def _with_previous(scores: pl.DataFrame, lake: Lake) -> pl.DataFrame:
    """The segment each customer had in the newest earlier scores."""
    if not lake.exists("customer_scores"):
        return scores
    known = lake.read("customer_scores", columns=["as_of", "customer_id", "segment"])
    earlier = known.filter(pl.col("as_of") < scores["as_of"][0])
    newest = earlier.filter(pl.col("as_of") == pl.col("as_of").max())
    before = newest.select("customer_id", previous_segment="segment")
    return scores.drop("previous_segment").join(before, on="customer_id", how="left").select(scores.columns)


def _champions(tracker: Tracker) -> tuple[Models, str]:
    champions = {name: tracker.champion(name) for name in ("churn", "value", "segments")}
    missing = [name for name, champion in champions.items() if champion is None]
    if missing:
        raise TrackingError(
            f"There is no champion of {', '.join(missing)} yet.", remedy="run `purvey train customers` first"
        )
    folders = {name: tracker.model_folder(name) for name in champions}
    models = Models(
        ChurnModel.from_dir(folders["churn"]),
        ValueModel.from_dir(folders["value"]),
        SegmentsModel.from_dir(folders["segments"]),
    )
    return models, " ".join(f"{name} {champion.version}" for name, champion in champions.items() if champion)


def _headline(evaluation: pl.DataFrame) -> dict[str, float]:
    """The figures a person asks for first, means over the cuts."""
    wanted = {
        f"{model}_{metric}_{part}": judging.figure(evaluation, model, metric, part)
        for part in ("all", "active")
        for model in ("churn", "recency_rule", "bg_nbd")
        for metric in ("auc", "ece")
    }
    parts = evaluation.filter(pl.col("capability") == "value")["slice"].unique(maintain_order=True)
    wanted |= {
        f"value_{metric}_{part}": judging.figure(evaluation, "value", metric, part)
        for part in parts
        for metric in ("gini", "total_ratio")
    }
    return {name: value for name, value in wanted.items() if not math.isnan(value)}


def _notes(models: Models, judged: judging.Backtest) -> list[str]:
    notes = []
    if models.churn.booster is None:
        notes.append("No label window was complete: churn probabilities are those of MBG/NBD alone.")
    said, rule = (judging.figure(judged.evaluation, model, "auc", "all") for model in ("churn", "recency_rule"))
    if said <= rule:
        notes.append(f"The churn model ranks no better (AUC {said:.3f}) than days since the last order ({rule:.3f}).")
    return notes


def _calibration_figure(churned: pl.DataFrame) -> Figure:
    """Said against came true, in ten bins of equal count a model."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(5, 5))
    axes = canvas.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for model in ("churn", "recency_rule", "bg_nbd"):
        known = churned.select(said=model, came=pl.col("churned").cast(pl.Float64)).filter(pl.col("said").is_not_nan())
        bins = known.sort("said").with_columns(bin=pl.int_range(pl.len()) * 10 // pl.len()).group_by("bin").mean()
        bins = bins.sort("bin")
        axes.plot(bins["said"].to_list(), bins["came"].to_list(), marker="o", label=model)
    axes.set_xlabel("probability of no order, said")
    axes.set_ylabel("share without an order, came true")
    axes.legend()
    return canvas


def _transactional(settings: Settings) -> None:
    if settings.customers.kind == "contractual":
        raise ConfigError(
            "Customers on contracts are not judged yet.",
            file=settings.file,
            rule="customers.kind: contractual",
            remedy="bring order lines and set customers.kind: transactional",
        )
