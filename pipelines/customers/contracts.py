"""Customers on contracts: who taught, who is scored, out-of-fold evaluation, and scores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from features.tables import TABLES
from pipelines.customers import audit, subscription
from pipelines.customers.attributes import Encoder, as_number, describe, leaks
from pipelines.customers.backtest import CHURN_METRICS, MEAN, Backtest
from pipelines.customers.folds import fold_of
from pipelines.customers.subscription import ContractChurnModel
from pipelines.errors import NotEnoughDataError
from pipelines.settings import Customers, Settings
from pipelines.summary import progress

Floats = NDArray[np.float64]

REPEATS, FOLDS = 3, 10
_MANY_ROWS = 10_000  # beyond, five folds once say as much
LEAST_OUTCOMES = 10  # contracts that ended, and that did not
MONTH_DAYS = 365.25 / 12
FEES = ("monthlyfee", "monthlycharge", "monthlycharges")
LOW, HIGH = 1 / 3, 2 / 3
SEGMENTS = {
    "secure": "Contracts that are likely to go on.",
    "watch": "Contracts of which one to two thirds are expected to end.",
    "at_risk": "Contracts of which more than two thirds are expected to end.",
    "left": "Contracts that have ended.",
}


@dataclass(frozen=True)
class Cases:
    """Contracts whose outcome is known.

    Attributes:
        rows: Rows of `attributes.describe`, sorted by customer.
        churned: 0 or 1 a row.
        encoder: The attributes learned from.
        notes: What was left out, and why.
    """

    rows: pl.DataFrame
    churned: Floats
    encoder: Encoder
    notes: list[str]


def cases(contracts: pl.DataFrame, settings: Settings) -> Cases:
    """The contracts that teach.

    Raises:
        NotEnoughDataError: Too few contracts have ended, or too few have not, or nothing is known about them.
    """
    flagged = contracts.filter(pl.col("churned").is_not_null()).sort("customer_id")
    churned = flagged["churned"].cast(pl.Float64).to_numpy()
    ended = int(churned.sum())
    if min(ended, len(churned) - ended) < LEAST_OUTCOMES:
        raise NotEnoughDataError(
            f"Of {len(churned)} contracts whose outcome is known {ended} have ended: too few to learn from.",
            file="contracts",
            column="churned",
            rule=f"at least {LEAST_OUTCOMES} that ended and {LEAST_OUTCOMES} that did not",
            remedy="map the column that says who left to `churned`, or set customers.enabled: false to do without",
        )
    rows = describe(flagged, settings.customers.protected)
    encoder = Encoder.fit(rows)
    found = leaks(rows, encoder, churned)
    encoder = encoder.without(list(found))
    if not encoder.names:
        raise NotEnoughDataError(
            "The contracts have no attribute to learn from.",
            file="contracts",
            remedy="bring columns that describe them",
        )
    notes = [
        f"Leak alarm: {name} alone tells who left (AUC {value:.3f}); it is left out. Leave it out of the "
        "source if it is recorded only when a contract ends."
        for name, value in found.items()
    ]
    absent = sorted(set(settings.customers.protected) - set(contracts.columns))
    if absent:
        notes.append(
            f"customers.protected names {', '.join(absent)}, which no contract has: nothing is kept out by that. "
            "Name columns as they are in the table contracts."
        )
    return Cases(rows, churned, encoder, notes)


def fit(known: Cases, settings: Settings) -> ContractChurnModel:
    """The model of all contracts whose outcome is known."""
    return subscription.fit(
        known.rows,
        known.encoder,
        known.churned,
        horizon_days=settings.customers.churn_horizon_days,
        seed=settings.seed,
        threads=settings.threads,
    )


def out_of_fold(known: Cases, contracts: pl.DataFrame, settings: Settings) -> Backtest:
    """Repeated stratified folds: each contract is judged by models that have not seen it, nor its twins.

    Args:
        known: The contracts whose outcome is known.
        contracts: Table contracts, for the groups of the audit.
        settings: The shop's settings.

    Returns:
        Figures a repeat (`cut`) and their means; one row a contract with the mean of its probabilities.
    """
    repeats, folds = (REPEATS, FOLDS) if len(known.churned) <= _MANY_ROWS else (1, FOLDS // 2)
    said = {name: np.zeros((repeats, len(known.churned))) for name in ("churn", "trees", "logistic")}
    with progress("customers: out of fold", repeats * folds) as advance:
        for repeat in range(repeats):
            fold = fold_of(known.rows, known.churned, folds=folds, seed=settings.seed + repeat)
            for held_out in range(folds):
                unseen = fold == held_out
                taught = Cases(known.rows.filter(~unseen), known.churned[~unseen], known.encoder, [])
                model, asked = fit(taught, settings), known.rows.filter(unseen)
                trees, logistic = model.members(asked)
                said["churn"][repeat, unseen] = model.predict(asked)["churn_probability"].to_numpy()
                said["trees"][repeat, unseen], said["logistic"][repeat, unseen] = expit(trees), expit(logistic)
                advance()
    figures = [
        ("customers", model, metric, "all", f"repeat {repeat + 1}", measure(known.churned, rows[repeat]))
        for model, rows in said.items()
        for repeat in range(repeats)
        for metric, measure in CHURN_METRICS.items()
    ]
    means = {name: rows.mean(axis=0) for name, rows in said.items()}
    groups = known.rows.select("customer_id").join(
        audit.groups(contracts, settings.customers.protected), on="customer_id", how="left", maintain_order="left"
    )
    figures += [
        ("customers", "churn", metric, group, "out of fold", value)
        for metric, group, value in audit.figures(means["churn"], known.churned, groups)
    ]
    evaluation = pl.DataFrame(figures, schema=_FIGURES, orient="row").with_columns(pl.col("value").fill_nan(None))
    keys = ["capability", "model", "metric", "slice"]
    mean = evaluation.filter(pl.col("cut") != MEAN).group_by(keys, maintain_order=True).agg(pl.col("value").mean())
    evaluation = pl.concat([evaluation, mean.with_columns(cut=pl.lit(MEAN)).select(evaluation.columns)])
    churn = pl.DataFrame(
        {"cut": "out of fold", "customer_id": known.rows["customer_id"], "churned": known.churned == 1}
    )
    churn = churn.with_columns(
        churn_probability=pl.Series(means["churn"]), **{k: pl.Series(v) for k, v in means.items()}
    )
    return Backtest(evaluation, churn, pl.DataFrame())


def score(
    contracts: pl.DataFrame, model: ContractChurnModel, as_of: date, settings: Settings, version: str
) -> pl.DataFrame:
    """Table customer_scores of contracts: churn, band, and the fees expected over the value horizon."""
    terms = settings.customers
    contracts = contracts.sort("customer_id")
    probability = model.predict(describe(contracts, terms.protected))["churn_probability"]
    left = contracts["churned"].fill_null(False)
    rows = pl.DataFrame(
        {
            "customer_id": contracts["customer_id"],
            "churn_probability": probability,
            "left": left,
            "value": _value(contracts, probability.to_numpy(), left.to_numpy(), terms),
        }
    )
    words = {"low": "secure", "medium": "watch", "high": "at_risk", "churned": "left"}
    low = pl.when(pl.col("churn_probability") < LOW).then(pl.lit("low"))
    band = low.when(pl.col("churn_probability") < HIGH).then(pl.lit("medium")).otherwise(pl.lit("high"))
    scored = rows.with_columns(
        as_of=pl.lit(as_of),
        status=pl.when("left").then(pl.lit("churned")).otherwise(pl.lit("active")),
        churn_band=pl.when("left").then(pl.lit("churned")).otherwise(band),
        model_version=pl.lit(version),
    ).with_columns(segment=pl.col("churn_band").replace_strict(words, return_dtype=pl.String))
    return _whole("customer_scores", scored).sort("customer_id")


def describe_segments(scores: pl.DataFrame) -> pl.DataFrame:
    """Table segments of contracts (scheme `risk`): size and means of each."""
    described = scores.group_by("as_of", "model_version", "segment").agg(
        customers=pl.len().cast(pl.Int64),
        share_of_customers=pl.len() / scores.height,
        mean_churn_probability=pl.col("churn_probability").mean(),
        mean_value=pl.col("value").mean(),
    )
    described = described.with_columns(
        scheme=pl.lit("risk"),
        name=pl.col("segment").str.replace_all("_", " ").str.to_titlecase(),
        description=pl.col("segment").replace_strict(SEGMENTS, return_dtype=pl.String),
    )
    return _whole("segments", described).sort("segment")


def fee_column(contracts: pl.DataFrame, terms: Customers) -> str | None:
    """The column of the fee a month: the configured one, else one whose name says so."""
    if terms.fee_column is not None:
        return terms.fee_column if terms.fee_column in contracts.columns else None
    plain = {name.lower().replace("_", "").replace(" ", ""): name for name in sorted(contracts.columns)}
    return next((plain[name] for name in FEES if name in plain), None)


def _value(contracts: pl.DataFrame, probability: Floats, left: NDArray[np.bool_], terms: Customers) -> pl.Series:
    """Fees expected over the value horizon, if a contract ends at the same rate in every part of it.

    The share still there after t days is (1 − p)^(t / horizon); its integral over the value horizon, in months.
    """
    column = fee_column(contracts, terms)
    if column is None:
        return pl.Series([None] * contracts.height, dtype=pl.Float64)
    survival = np.clip(1 - probability, 1e-9, 1 - 1e-9)
    discount = np.log1p(terms.discount_rate_a_year) / 365.25
    rate_a_day = -np.log(survival) / terms.churn_horizon_days + discount
    days = -np.expm1(-rate_a_day * terms.value_horizon_days) / rate_a_day
    kept = terms.margin_rate if terms.value == "margin" else 1.0
    fees = as_number(contracts[column])
    return fees * pl.Series(np.where(left, 0.0, kept * days / MONTH_DAYS))


def _whole(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """All columns of a table; null where contracts have nothing to say."""
    empty = TABLES[table].schema.create_empty()
    return pl.concat([empty, rows.select(name for name in empty.columns if name in rows.columns)], how="diagonal")


_FIGURES = {**dict.fromkeys(("capability", "model", "metric", "slice", "cut"), pl.String), "value": pl.Float64}
