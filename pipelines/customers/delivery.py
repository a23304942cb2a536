"""A list as it is handed over: who may still be contacted today, with what the caller needs to know."""

from __future__ import annotations

from datetime import date

import polars as pl

REASONS = 3
_COLUMNS = (
    "list_id", "campaign", "as_of", "rank", "customer_id", "action", "channel", "owner", "churn_probability",
    "churn_band", "value", "value_low", "value_high", "value_at_risk", "cost", "expected_profit", "response_rate",
    "response_basis", "segment", "previous_segment", "next_order_on", "consent_basis", "expires_on", "change",
    "model_version",
)  # fmt: skip


def decide(judged: pl.DataFrame, day: date) -> pl.DataFrame:
    """The rows of a list with the state they have once it is exported on a day.

    Args:
        judged: Table lists with `reason` (`suppression.judge`).
        day: The day of the export; whoever was handed over before keeps the day of that.

    Returns:
        The rows, with `now`: whether they belong into the file. Who was exported or held out before stays so,
        although they may not be contacted any more: for the measurement they were.
    """
    free = pl.col("reason").is_null()
    state = (
        pl.when(pl.col("state").is_in(["exported", "held_out"]))
        .then("state")
        .when(~free)
        .then(pl.lit("suppressed"))
        .when(pl.col("control_group"))
        .then(pl.lit("held_out"))
        .otherwise(pl.lit("exported"))
    )
    handed_over = state.is_in(["exported", "held_out"])
    on = pl.when(handed_over).then(pl.col("exported_on").fill_null(pl.lit(day)))
    return judged.with_columns(now=free & ~pl.col("control_group"), state=state, exported_on=on)


def sheet(rows: pl.DataFrame, reasons: pl.DataFrame | None, offers: pl.DataFrame | None = None) -> pl.DataFrame:
    """What is handed over: one row a customer, best first, with three reasons in English and Chinese and one offer.

    Args:
        rows: Rows of table lists, of one list.
        reasons: Table customer_reasons; those of the newest day up to the list's are taken.
        offers: Table next_products, likewise; `best_offer` is the first new product.
    """
    out = rows.select(_COLUMNS)
    told = _newest(reasons, rows)
    for rank in range(1, REASONS + 1):
        names = f"reason_{rank}_en", f"reason_{rank}_zh"
        if told is None:
            out = out.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in names)
        else:
            texts = told.filter(pl.col("rank") == rank).select(
                "customer_id", pl.col("text_en").alias(names[0]), pl.col("text_zh").alias(names[1])
            )
            out = out.join(texts, on="customer_id", how="left", maintain_order="left")
    offered = _newest(offers, rows)
    if offered is None:
        return out.with_columns(best_offer=pl.lit(None, dtype=pl.String)).sort("rank")
    best = offered.filter(kind="new", rank=1).select("customer_id", best_offer="product_id")
    return out.join(best, on="customer_id", how="left").sort("rank")


def _newest(table: pl.DataFrame | None, rows: pl.DataFrame) -> pl.DataFrame | None:
    """What a table said on its newest day up to that of a list."""
    if table is None or not rows.height:
        return None
    said = table.filter(pl.col("as_of") <= rows["as_of"][0])
    return said.filter(pl.col("as_of") == pl.col("as_of").max())
