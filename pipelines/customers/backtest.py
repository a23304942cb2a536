"""Honest evaluation: at each cut, models fitted on what was known then, judged on the window that followed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.customers import labels
from pipelines.customers import churn, metrics, value
from pipelines.customers.activity import active_days
from pipelines.customers.btyd import fit_beta_geometric
from pipelines.customers.models import fit_value
from pipelines.customers.moments import Past, Shared
from pipelines.customers.pareto import fit_pareto
from pipelines.customers.record import first_and_last, too_little
from pipelines.errors import NotEnoughDataError
from pipelines.settings import Customers, Settings
from pipelines.summary import Advance, progress

Floats = NDArray[np.float64]
MEAN = "mean"
LEAST_CUSTOMERS = 20  # of a slice at a cut, below which its figures say nothing

CHURN_METRICS: dict[str, Callable[[Floats, Floats], float]] = {
    "auc": metrics.auc,
    "ece": metrics.calibration_error,
    "brier": metrics.brier,
    "lift_10": metrics.lift,
}
VALUE_METRICS: dict[str, Callable[[Floats, Floats], float]] = {
    "gini": metrics.gini,
    "spearman": metrics.spearman,
    "total_ratio": metrics.total_ratio,
}


@dataclass(frozen=True)
class Backtest:
    """Figures, and the predictions they were taken from.

    Attributes:
        evaluation: capability, model, metric, slice, cut, value: a row a figure, each cut and the mean over cuts.
        churn: cut, customer_id, active, churned and the probability of each model.
        value: cut, horizon_days, customer_id, actual and the value of each model; empty where no window was complete.
    """

    evaluation: pl.DataFrame
    churn: pl.DataFrame
    value: pl.DataFrame


def run(ledger: pl.DataFrame, last: date, settings: Settings) -> Backtest:
    """Backtest churn and value.

    Args:
        ledger: The shop's ledger (`features.customers.ledger`).
        last: The last whole day on record.
        settings: The shop's settings.

    Raises:
        NotEnoughDataError: Not a single cut has a complete window after it and enough before it.
    """
    terms = settings.customers
    first, _ = first_and_last(ledger)
    record_days = (last - first).days
    churn_cuts = _cuts(first, last, terms.churn_horizon_days, terms)
    if not churn_cuts:
        shorter = f"set customers.churn_horizon_days to {record_days // 2} or less, " if record_days >= 14 else ""
        raise too_little(
            f"No cut leaves {terms.churn_horizon_days} days after it and as many before it: the record runs from "
            f"{first} to {last}.",
            rule="customers.churn_horizon_days",
            remedy=f"{shorter}bring a longer record of orders",
        )
    judge_days = value.teaching_days(record_days, terms.value_horizon_days)
    value_cuts = [(cut, judge_days) for cut in _cuts(first, last, judge_days, terms)]
    if judge_days < terms.value_horizon_days <= record_days // 2:
        value_cuts.append((last - timedelta(days=terms.value_horizon_days), terms.value_horizon_days))
    shared = Shared()
    with progress("customers: backtest", len(churn_cuts) + len(value_cuts)) as advance:
        churns, lacking = _each(
            [partial(churn_at, ledger, cut, last, settings, shared=shared) for cut in churn_cuts], advance
        )
        values, _ = _each(
            [partial(value_at, ledger, cut, last, days, settings, shared=shared) for cut, days in value_cuts], advance
        )
    if not churns:
        raise lacking[0]
    churned, valued = pl.concat(churns), pl.concat(values) if values else pl.DataFrame()
    return Backtest(evaluate(churned, valued), churned, valued)


def churn_at(
    ledger: pl.DataFrame, cut: date, last: date, settings: Settings, *, shared: Shared | None = None
) -> pl.DataFrame:
    """What each model said at a cut, and what came true; nothing known after the cut goes into a model."""
    terms = settings.customers
    past = Past(ledger, cut, horizon_days=terms.churn_horizon_days, period_days=terms.period_days, shared=shared)
    rows = past.moment(cut).rows
    model = churn.fit(past, trees=terms.trees, seed=settings.seed, threads=settings.threads)
    own = past.moment(cut).expectation.ages(rows)
    bg = fit_beta_geometric(rows["frequency"], rows["recency"], rows["T"])
    pareto = fit_pareto(*(rows[name] for name in ("frequency", "recency", "T")))
    days = past.training_days(1)
    rule = churn.fit_recency_rule(past) if days else None
    came = labels(ledger, cut, terms.churn_horizon_days, complete_through=last)
    said = pl.DataFrame(
        {
            "customer_id": rows["customer_id"],
            "days_since_last_order": churn.recency_score(rows),
            "churn": model.predict(rows)["churn_probability"],
            "recency_rule": rule.predict(churn.recency_score(rows)) if rule else np.full(rows.height, np.nan),
            "bg_nbd": bg.p_no_purchase(past.horizon_days / past.period_days, *own),
            "pareto_nbd": pareto.p_no_purchase(past.horizon_days / past.period_days, *own),
        }
    )
    limit = active_days(past.ledger, cut, terms)
    return said.join(came.select("customer_id", "churned"), on="customer_id").select(
        pl.lit(cut).alias("cut"), pl.all(), active=pl.col("days_since_last_order") <= limit
    )


def value_at(
    ledger: pl.DataFrame, cut: date, last: date, horizon_days: int, settings: Settings, *, shared: Shared | None = None
) -> pl.DataFrame:
    """Expected and actual revenue of a window after a cut."""
    model, past = fit_value(ledger, cut, settings, horizon_days=horizon_days, as_revenue=True, shared=shared)
    rows = past.moment(cut).rows
    came = labels(ledger, cut, horizon_days, complete_through=last)
    said = (
        model.predict(rows)
        .select("customer_id", "value_low", "value_high", value="value")
        .with_columns(btyd=pl.Series(model.expected_revenue(rows)), past_spend=rows["spend"].clip(0))
    )
    return said.join(came.select("customer_id", actual=pl.col("spend").clip(0)), on="customer_id").select(
        pl.lit(cut).alias("cut"), pl.lit(horizon_days).alias("horizon_days"), pl.all()
    )


def evaluate(churned: pl.DataFrame, valued: pl.DataFrame) -> pl.DataFrame:
    """Figures of every model, slice and cut, and their means over the cuts.

    The recency rule ranks by days since the last order itself: its curve may only add ties.
    """
    figures: list[tuple[str, str, str, str, str, float]] = []
    for cut in churned["cut"].unique(maintain_order=True):
        whole = churned.filter(pl.col("cut") == cut)
        for name, part in (("all", whole), ("active", whole.filter("active"))):
            if part.height < LEAST_CUSTOMERS:
                continue
            happened = part["churned"].cast(pl.Float64).to_numpy()
            for model in ("churn", "recency_rule", "bg_nbd", "pareto_nbd"):
                for metric, measure in CHURN_METRICS.items():
                    ranks = model == "recency_rule" and metric in ("auc", "lift_10")
                    said = part["days_since_last_order" if ranks else model].to_numpy()
                    figures.append(("customers", model, metric, name, str(cut), measure(happened, said)))
    windows = valued.select("cut", "horizon_days").unique(maintain_order=True).rows() if valued.height else []
    for cut, days in windows:
        part = valued.filter((pl.col("cut") == cut) & (pl.col("horizon_days") == days))
        actual = part["actual"].to_numpy()
        for model, column in (("value", "value"), ("btyd", "btyd"), ("past_spend", "past_spend")):
            for metric, measure in VALUE_METRICS.items():
                if not (model == "past_spend" and metric == "total_ratio"):
                    said = part[column].to_numpy()
                    figures.append(("value", model, metric, f"{days}_days", str(cut), measure(actual, said)))
        covered = part.select(pl.col("actual").is_between("value_low", "value_high").mean()).item()
        figures.append(("value", "value", "interval_coverage", f"{days}_days", str(cut), float(covered)))
    keys = ["capability", "model", "metric", "slice"]
    schema = {**dict.fromkeys((*keys, "cut"), pl.String), "value": pl.Float64}
    frame = pl.DataFrame(figures, schema=schema, orient="row")
    frame = frame.with_columns(pl.col("value").fill_nan(None))
    means = frame.group_by(keys, maintain_order=True).agg(pl.col("value").mean()).with_columns(cut=pl.lit(MEAN))
    return pl.concat([frame, means.select(frame.columns)])


def figure(evaluation: pl.DataFrame, model: str, metric: str, part: str) -> float:
    """One mean over the cuts; NaN where it was not measured."""
    row = evaluation.filter(model=model, metric=metric, slice=part, cut=MEAN)["value"]
    return float(row[0]) if row.len() and row[0] is not None else math.nan


def _cuts(first: date, last: date, horizon_days: int, terms: Customers) -> list[date]:
    """The newest cut with a complete window and those before it, as far as there is as long a record before them."""
    newest = last - timedelta(days=horizon_days)
    cuts = [newest - timedelta(days=terms.cut_step_days * back) for back in range(terms.cuts)]
    return [cut for cut in cuts if (cut - first).days >= horizon_days]


def _each(
    judges: Sequence[Callable[[], pl.DataFrame]], advance: Advance
) -> tuple[list[pl.DataFrame], list[NotEnoughDataError]]:
    """What the cuts give, and what was lacking at those where a young shop had too little to learn from."""
    frames, lacking = [], []
    for judge in judges:
        try:
            frames.append(judge())
        except NotEnoughDataError as error:
            lacking.append(error)
        advance()
    return frames, lacking
