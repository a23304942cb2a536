"""Who counts as active: whoever has not been silent for longer than the shop's customers are between orders."""

from __future__ import annotations

from datetime import date

import polars as pl

from features.customers import gaps
from pipelines.settings import Customers

ACTIVE_QUANTILE = 0.9


def active_days(ledger: pl.DataFrame, as_of: date, terms: Customers) -> int:
    """Days without an order after which a customer counts as lapsed.

    `customers.active_days`, or the 90th percentile of the shop's own gaps between purchase days.
    """
    if terms.active_days is not None:
        return terms.active_days
    known = gaps(ledger, as_of)
    quantile = known.quantile(ACTIVE_QUANTILE, interpolation="higher") if known.len() else None
    return int(quantile) if quantile is not None else terms.churn_horizon_days
