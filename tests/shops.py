"""Small shops made from a seed, for tests that need whole files rather than frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

TEA: dict[str, Any] = {
    "shop": "tea",
    "data_dir": "data",
    "timezone": "Europe/Berlin",
    "sources": [{"table": "order_lines", "format": "csv", "path": "orders*.csv"}],
    "demand": {"horizon": 3, "backtest_origins": 1, "trees": 10},
    "customers": {"churn_horizon_days": 56, "value_horizon_days": 112, "cuts": 2, "trees": 10},
    "supply": {"illustrative": {"seed": 1}},
}


def orders(seed: int = 7, *, products: int = 20, customers: int = 250, weeks: int = 70) -> pl.DataFrame:
    """Order lines of a made tea shop: customers with rates of their own who leave one day, products that differ."""
    rng = np.random.default_rng(seed)
    rate_a_week = rng.gamma(0.8, 0.35, customers)
    joined = rng.uniform(0, weeks * 0.7, customers)
    left = joined + rng.exponential(45, customers)
    rows = []
    popularity = rng.dirichlet(np.full(products, 0.6))
    price = np.round(rng.lognormal(1.2, 0.5, products), 2)
    for customer in range(customers):
        alive = min(left[customer], weeks) - joined[customer]
        times = joined[customer] + np.sort(rng.uniform(0, alive, rng.poisson(rate_a_week[customer] * alive) + 1))
        for time in times:
            basket = np.unique(rng.choice(products, rng.integers(1, 4), p=popularity))
            rows += [(customer, time, product, 1 + rng.poisson(2)) for product in basket]
    frame = pl.DataFrame(rows, schema=["customer", "week", "product", "quantity"], orient="row")
    frame = frame.sort("week", "customer", "product")
    at = pl.datetime(2023, 1, 2, 9) + pl.duration(seconds=(pl.col("week") * 7 * 86_400).round(0).cast(pl.Int64))
    return frame.select(
        order_id=pl.format("{}-{}", "customer", (pl.col("week") * 1000).round(0).cast(pl.Int64)),
        ordered_at=at.dt.strftime("%Y-%m-%d %H:%M:%S"),
        customer_id=pl.format("C{}", "customer"),
        product_id=pl.format("T{}", "product"),
        quantity="quantity",
        unit_price=pl.col("product").replace_strict(dict(enumerate(price.tolist())), return_dtype=pl.Float64),
    )


def tea_shop(folder: Path, **changes: Any) -> Path:
    """Write the tea shop's files; returns its configuration file."""
    folder.mkdir(parents=True, exist_ok=True)
    orders().write_csv(folder / "orders.csv")
    file = folder / "shop.yaml"
    file.write_text(yaml.safe_dump(TEA | changes))
    return file
