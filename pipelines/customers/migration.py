"""Who moved between two scorings: how many between which segments, and each customer's change in words."""

from __future__ import annotations

from datetime import date

import polars as pl

from features.tables import TABLES
from pipelines.lake import Lake

OUTSIDE = "outside"  # where customers come from who are new, and go to who are no longer on record
SCHEMES = {"kmeans": "segment", "rfm": "rfm_segment"}
SLIPPED_BY = 0.15  # rise of the churn probability from which an active customer is slipping
_FACTS = ("customer_id", *SCHEMES.values(), "status", "churn_probability", "value", "orders", "spend")


def earlier_scores(lake: Lake, as_of: date) -> pl.DataFrame | None:
    """The newest scores of a day before `as_of`; None where there are none."""
    if not lake.exists("customer_scores"):
        return None
    known = lake.scan("customer_scores").filter(pl.col("as_of") < as_of)
    newest = known.filter(pl.col("as_of") == pl.col("as_of").max()).collect()
    return None if newest.is_empty() else newest


def segment_migration(now: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Table segment_migration: customers and value by the segment they were in and the one they are in.

    Args:
        now: Table customer_scores, of one day.
        before: The same, of an earlier day.

    Returns:
        A row a scheme and pair of segments that has customers; entrants come from `outside`, and who is no longer on
        record goes there. The rows from a segment add up to who was in it, the rows to a segment to who is in it.
    """
    pairs = _paired(now, before)
    frames = []
    for scheme, column in SCHEMES.items():
        counted = pairs.group_by(
            from_segment=pl.col(f"{column}_before").fill_null(OUTSIDE), to_segment=pl.col(column).fill_null(OUTSIDE)
        ).agg(
            customers=pl.len().cast(pl.Int64),
            value_before=pl.col("value_before").fill_null(0).sum(),
            value_now=pl.col("value").fill_null(0).sum(),
        )
        share = pl.col("customers") / pl.col("customers").sum().over("from_segment")
        frames.append(counted.with_columns(scheme=pl.lit(scheme), share_of_from_segment=share))
    return (
        pl.concat(frames)
        .with_columns(as_of=pl.lit(now["as_of"][0]), previous_as_of=pl.lit(before["as_of"][0]))
        .select(TABLES["segment_migration"].schema.column_names())
        .sort("scheme", "from_segment", "to_segment")
    )


def customer_changes(now: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Table customer_changes: who entered, left, moved or is slipping since the scores before, and why.

    Slipping is who was active and either has lapsed, or moved to a segment of lower mean value and is more likely to
    leave than before, or is at least `SLIPPED_BY` more likely to leave. Who moved otherwise has moved.

    Args:
        now: Table customer_scores, of one day.
        before: The same, of an earlier day.

    Returns:
        One row a customer who changed, sorted by customer_id.
    """
    worth = now.group_by("segment").agg(worth=pl.col("value").mean())
    pairs = (
        _paired(now, before)
        .join(worth, on="segment", how="left")
        .join(worth.rename({"segment": "segment_before", "worth": "worth_before"}), on="segment_before", how="left")
    )
    both = pl.col("segment").is_not_null() & pl.col("segment_before").is_not_null()
    moved = both & (pl.col("segment") != pl.col("segment_before"))
    lapsed = pl.col("status") == "lapsed"
    lower = moved & (pl.col("worth") < pl.col("worth_before")).fill_null(False)
    rise = pl.col("churn_probability") - pl.col("churn_probability_before")
    slipping = both & (pl.col("status_before") == "active") & (lapsed | (lower & (rise > 0)) | (rise >= SLIPPED_BY))
    change = (
        pl.when(pl.col("segment_before").is_null())
        .then(pl.lit("entered"))
        .when(pl.col("segment").is_null())
        .then(pl.lit("left"))
        .when(slipping)
        .then(pl.lit("slipping"))
        .when(moved)
        .then(pl.lit("moved"))
    )
    since = before["as_of"][0]
    return (
        pairs.with_columns(change=change)
        .filter(pl.col("change").is_not_null())
        .select(
            "customer_id",
            "change",
            as_of=pl.lit(now["as_of"][0]),
            previous_as_of=pl.lit(since),
            from_segment="segment_before",
            to_segment="segment",
            churn_probability_before="churn_probability_before",
            churn_probability="churn_probability",
            value_before="value_before",
            value="value",
            why=_why(since),
        )
        .select(TABLES["customer_changes"].schema.column_names())
        .sort("customer_id")
    )


def _paired(now: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Both days beside each other; who is missing on one of them has nulls there."""
    was = before.select("customer_id", *(pl.col(name).alias(f"{name}_before") for name in _FACTS[1:]))
    is_now = now.select(*_FACTS, "days_since_last_order")
    return is_now.join(was, on="customer_id", how="full", coalesce=True).sort("customer_id")


def _why(since: date) -> pl.Expr:
    """What happened to a customer between the two days, in words."""
    orders = pl.col("orders") - pl.col("orders_before")
    spend = pl.col("spend") - pl.col("spend_before")
    silent = pl.format("No order for {} days", "days_since_last_order")
    lapsed = (pl.col("status") == "lapsed") & (pl.col("status_before") == "active")
    return (
        pl.when(pl.col("segment_before").is_null())
        .then(pl.format("First known order after {}.", pl.lit(str(since))))
        .when(pl.col("segment").is_null())
        .then(pl.lit("No longer on record: the orders were corrected or removed."))
        .when(orders > 0)
        .then(pl.format("Orders since {}: {}, spend {}.", pl.lit(str(since)), orders, spend.round(2)))
        .when(spend < 0)
        .then(pl.format("Returns since {}: {}, and no order.", pl.lit(str(since)), -spend.round(2)))
        .when(lapsed)
        .then(silent + pl.lit(", longer than active customers wait."))
        .otherwise(silent + pl.lit("."))
    )
