"""A made-up shop whose customers buy till they die, with seasons and money."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest


@pytest.fixture(scope="session")
def shop_lines() -> pl.DataFrame:
    """Order lines of about 700 customers over 500 days; each buys at a rate of their own until they leave."""
    rng = np.random.default_rng(8)
    frames = []
    for customer in range(700):
        now, rate, leave, level = rng.uniform(0, 300), rng.gamma(0.9, 0.03), rng.beta(0.8, 4.0), rng.lognormal(3, 0.6)
        days = [now]
        while rng.random() > leave:
            now += rng.exponential(1 / max(rate, 1e-4))
            if now >= 500:
                break
            days.append(now)
        frames.append(
            pl.DataFrame({"customer": customer, "day": days, "unit_price": level * rng.lognormal(0, 0.3, len(days))})
        )
    start = pl.lit(datetime(2022, 1, 3, tzinfo=UTC)).cast(pl.Datetime("us", "UTC"))
    orders = pl.concat(frames).with_row_index("order")
    ordered_at = start + pl.duration(minutes=(pl.col("day") * 1440).cast(pl.Int64))
    text = [pl.lit(None, dtype=pl.String).alias(name) for name in ("channel", "cancels_order_id")]
    return orders.select(
        order_id=pl.col("order").cast(pl.String),
        line_no=pl.lit(1, dtype=pl.Int64),
        ordered_at=ordered_at,
        customer_id=pl.format("c{}", pl.col("customer").cast(pl.String).str.zfill(4)),
        product_id=pl.format("p{}", pl.col("order") % 17),
        location_id=pl.lit("all"),
        kind=pl.lit("sale"),
        quantity=pl.lit(1.0),
        unit_price="unit_price",
        known_at=ordered_at,
    ).with_columns(text)
