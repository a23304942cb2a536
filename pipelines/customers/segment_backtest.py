"""How good segments are: how reliably they come back, and how much of the next quarter's spend they explain."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.customers import labels
from features.tables import MEAN
from pipelines.customers import rfm
from pipelines.customers.metrics import variance_explained
from pipelines.customers.segments import K_RANGE, QUARTER_DAYS, SegmentsModel, fit_at, quarter_ago
from pipelines.settings import Settings

CAPABILITY = "segments"
_SCHEMA = dict.fromkeys(("capability", "model", "metric", "slice", "cut"), pl.String)


def run(ledger: pl.DataFrame, last: date, settings: Settings, model: SegmentsModel) -> pl.DataFrame:
    """Figures of the segments learned at `last`, and of those a quarter earlier against what was spent since.

    The share of the variance of the next quarter's spend that groups explain (η²) stands beside that of the ten RFM
    rules and of the 25 cells of recency and money quintiles, for spend itself and for its logarithm.

    Args:
        ledger: The shop's ledger.
        last: The last whole day on record.
        settings: The shop's settings.
        model: The segments learned at `last`.

    Returns:
        capability, model, metric, slice, cut, value, as in table evaluation; each cut and the mean over cuts.
    """
    stability = model.stability.get(model.k, {})
    figures = [("segments", metric, str(last), value) for metric, value in stability.items() if value is not None]
    figures.append(("segments", "segments", str(last), float(model.k)))
    day = last - timedelta(days=QUARTER_DAYS)
    rows = quarter_ago(ledger, last, settings.customers.period_days)
    if rows is not None and rows.height >= K_RANGE.start:
        came = labels(ledger, day, QUARTER_DAYS, complete_through=last)
        spend = rows.select("customer_id").join(came, on="customer_id", maintain_order="left")["spend"].clip(0)
        for name, groups in _groups(rows, fit_at(ledger, day, settings)).items():
            for metric, amount in (("spend_explained", spend), ("log_spend_explained", spend.log1p())):
                figures.append((name, metric, str(day), variance_explained(amount.to_numpy(), groups)))
    keyed = [(CAPABILITY, model, metric, "all", cut, value) for model, metric, cut, value in figures]
    frame = pl.DataFrame(keyed, schema={**_SCHEMA, "value": pl.Float64}, orient="row").with_columns(
        pl.col("value").fill_nan(None)
    )
    return pl.concat([frame, frame.with_columns(cut=pl.lit(MEAN))])


def headline(evaluation: pl.DataFrame) -> dict[str, float]:
    """The figures of segments a person asks for first."""
    rows = evaluation.filter(pl.col("value").is_not_null(), capability=CAPABILITY, cut=MEAN)
    named = rows.select(
        pl.when(pl.col("model") == CAPABILITY).then("metric").otherwise(pl.col("model") + "_" + pl.col("metric")),
        "value",
    )
    return {name if name == CAPABILITY else f"segments_{name}": value for name, value in named.iter_rows()}


def _groups(rows: pl.DataFrame, model: SegmentsModel) -> dict[str, NDArray[np.int64]]:
    recency, _, monetary = rfm.quintiles(rows, model.edges)
    return {
        "segments": model.places(rows),
        "rfm_rules": rfm.segments(rows, model.edges).rank("dense").to_numpy().astype(np.int64),
        "rfm_quintiles": recency * 5 + monetary,
    }
