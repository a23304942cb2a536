"""What must be on record for customers to be judged, and how it is said that it is not."""

from __future__ import annotations

from datetime import date

import polars as pl

from pipelines.errors import NotEnoughDataError


def too_little(message: str, *, column: str | None = None, rule: str | None = None, remedy: str) -> NotEnoughDataError:
    """The order lines do not hold enough for customers to be judged; a shop can always do without.

    Args:
        message: What is missing.
        column: The column of `order_lines` it concerns.
        rule: What would be enough.
        remedy: What would bring it.
    """
    remedy = f"{remedy}, or set customers.enabled: false to do without them"
    return NotEnoughDataError(message, file="order_lines", column=column, rule=rule, remedy=remedy)


def first_and_last(ledger: pl.DataFrame) -> tuple[date, date]:
    """The first and the last day of a ledger on which something was sold or returned.

    Raises:
        NotEnoughDataError: There is none.
    """
    traded = ledger.filter((pl.col("lines") != 0) | (pl.col("returned") != 0))["day"]
    first, last = traded.min(), traded.max()
    if not isinstance(first, date) or not isinstance(last, date):
        raise too_little(
            "There is no order of a known customer on record.",
            column="customer_id",
            remedy="map the column that names the customer",
        )
    return first, last
