"""Customers as others read them: scores with status and bands, segments with names and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from features.tables import TABLES
from pipelines.customers.models import Models
from pipelines.customers.moments import Past
from pipelines.customers.rfm import DESCRIPTIONS
from pipelines.settings import Settings

LOW, HIGH = 1 / 3, 2 / 3


def score_customers(
    ledger: pl.DataFrame, as_of: date, models: Models, settings: Settings, version: str
) -> pl.DataFrame:
    """Table customer_scores at the end of a day, but for the segments the customers were in before."""
    past = Past(ledger, as_of, horizon_days=models.churn.horizon_days, period_days=models.churn.expectation.period_days)
    rows = past.moment(as_of).rows
    leaving = models.churn if models.churn.expectation.as_of == as_of else models.churn.anchored(past)
    scores = (
        rows.select("customer_id", "days_since_last_order", "orders", "spend")
        .join(leaving.predict(rows), on="customer_id")
        .join(models.value.seen_from(as_of).predict(rows), on="customer_id")
        .join(models.segments.predict(rows), on="customer_id")
    )
    active = pl.col("days_since_last_order") <= models.segments.active_days
    low = pl.when(pl.col("churn_probability") < LOW).then(pl.lit("low"))
    band = low.when(pl.col("churn_probability") < HIGH).then(pl.lit("medium")).otherwise(pl.lit("high"))
    return (
        scores.with_columns(
            as_of=pl.lit(as_of),
            status=pl.when(active).then(pl.lit("active")).otherwise(pl.lit("lapsed")),
            churn_band=pl.when(active).then(band).otherwise(pl.lit("lapsed")),
            next_order_on=pl.lit(as_of) + pl.duration(days="next_order_in_days"),
            next_order_from=pl.when(active).then(pl.lit(as_of) + pl.duration(days="next_order_from_days")),
            next_order_to=pl.when(active).then(pl.lit(as_of) + pl.duration(days="next_order_to_days")),
            previous_segment=pl.lit(None, dtype=pl.String),
            model_version=pl.lit(version),
        )
        .select(TABLES["customer_scores"].schema.column_names())
        .sort("customer_id")
    )


def with_previous_segment(scores: pl.DataFrame, earlier: pl.DataFrame | None) -> pl.DataFrame:
    """The segment each customer had in the newest earlier scores, where there are any."""
    if earlier is None:
        return scores
    before = earlier.select("customer_id", previous_segment="segment")
    return scores.drop("previous_segment").join(before, on="customer_id", how="left").select(scores.columns)


def describe_segments(scores: pl.DataFrame, labels: Mapping[str, str] | None = None) -> pl.DataFrame:
    """One row a segment of each scheme (`kmeans`, `rfm`): size, shares and means.

    Args:
        scores: Table customer_scores, of one day.
        labels: Segment → the name people call it by; others are called by their key in words.
    """
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
    rules = pl.col("segment").replace_strict(DESCRIPTIONS, default="", return_dtype=pl.String)
    return (
        pl.concat(frames)
        .with_columns(
            share_of_spend=pl.col("share_of_spend") / total if total else pl.lit(None, dtype=pl.Float64),
            name=pl.col("segment").replace_strict(
                dict(labels or {}),
                default=pl.col("segment").str.replace_all("_", " ").str.to_titlecase(),
                return_dtype=pl.String,
            ),
            description=pl.when(pl.col("scheme") == "rfm").then(rules + pl.lit(" ")).otherwise(pl.lit("")) + words,
        )
        .select(TABLES["segments"].schema.column_names())
        .sort("scheme", "share_of_spend", "segment", descending=[False, True, False])
    )
