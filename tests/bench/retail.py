"""A made chain of shops, any size, from a seed: what the demand engine is timed on.

Every series has a level of its own (log-normal, with a long tail that sells rarely), a trend, a weekly and a yearly
season, sells more in the promotions of its item and counts of sales scatter more than a Poisson's. A third is launched
on the way: before, its rows are absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

STORES = 10
KEYS = ["store_id", "item_id"]
_SERIES_AT_ONCE = 2_000
_STARTS = {"day": date(2019, 1, 1), "week": date(2019, 1, 7)}
_DAYS = {"day": 1, "week": 7}


def write(folder: Path, frequency: str, series: int, periods: int, ahead: int, seed: int = 1) -> None:
    """Write `demand.parquet` and `covariates.parquet`: promotions of every item, `ahead` periods beyond demand."""
    items = -(-series // STORES)
    rng = np.random.default_rng([seed, 0])
    promoted = np.repeat(rng.random((items, -(-(periods + ahead) // 7))) < 0.06, 7, axis=1)[:, : periods + ahead]
    labels = pl.Series("period", np.arange(periods + ahead) * _DAYS[frequency]).cast(pl.Int32)
    labels = (labels + (_STARTS[frequency] - date(1970, 1, 1)).days).cast(pl.Date)
    folder.mkdir(parents=True, exist_ok=True)
    grid = pl.DataFrame({"item_id": [f"I{i:05d}" for i in range(items)]}).join(labels.to_frame(), how="cross")
    grid.with_columns(promotion=pl.Series(promoted.ravel())).write_parquet(folder / "covariates.parquet")
    blocks = folder / "demand"
    blocks.mkdir(exist_ok=True)
    for number, frame in enumerate(_blocks(frequency, series, periods, promoted, labels, seed)):
        frame.write_parquet(blocks / f"{number:04d}.parquet")


def _blocks(
    frequency: str, series: int, periods: int, promoted: np.ndarray, labels: pl.Series, seed: int
) -> Iterator[pl.DataFrame]:
    day = np.arange(periods) * _DAYS[frequency]
    for start in range(0, series, _SERIES_AT_ONCE):
        rng = np.random.default_rng([seed, 1, start])
        number = np.arange(start, min(start + _SERIES_AT_ONCE, series))
        size = (len(number), 1)
        level = rng.lognormal(0.0, 1.3, size) * _DAYS[frequency] ** 0.8
        trend = np.exp(rng.normal(0, 0.15, size) * day / 365)
        year = 1 + 0.3 * rng.random(size) * np.sin(2 * np.pi * (day / 365.25 + 0.1 * rng.normal(size=size)))
        week = 1 + 0.4 * np.isin(day % 7, (5, 6)) if frequency == "day" else 1.0
        uplift = 1 + rng.uniform(0.3, 2.0, size) * promoted[number // STORES, :periods]
        scatter = rng.gamma(2.0, 0.5, (len(number), periods))
        quantity = rng.poisson(level * trend * year * week * uplift * scatter).astype(np.float32)
        launch = np.where(rng.random(size) < 1 / 3, rng.integers(0, int(periods * 0.9), size), 0)
        row, column = np.nonzero(np.arange(periods) >= launch)
        store = pl.Series([f"S{i % STORES}" for i in number])
        item = pl.Series([f"I{i // STORES:05d}" for i in number])
        yield pl.DataFrame(
            {"store_id": store[row], "item_id": item[row], "period": labels[column], "quantity": quantity[row, column]}
        )
