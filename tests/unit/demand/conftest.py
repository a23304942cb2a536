"""A made shop of totals with a promotion that doubles demand, and one of order lines; trees kept few."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.calendar import Grid
from pipelines.lake import Lake
from pipelines.settings import Settings

WEEKS = Grid("week", date(1970, 1, 5))
START = WEEKS.number(date(2022, 1, 3))


@dataclass
class MadeShop:
    settings: Settings
    lake: Lake
    home: Path


def settings_for(home: Path, **demand: object) -> Settings:
    covariates = {"table": "covariates", "path": "x.parquet", "known_ahead": ["promotion"]}
    plan = {"series": ["store", "item"], "horizon": 4, "backtest_origins": 2, "trees": 40, "holidays": "GB"} | demand
    sources = [{"table": "demand", "path": "x.parquet"}, covariates]
    return Settings(shop="made", data_dir=str(home), sources=sources, demand=plan)


def totals(series: int = 24, weeks: int = 110, seed: int = 2) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Demand and covariates: level × season × 2 in promoted weeks, Poisson."""
    rng = np.random.default_rng(seed)
    keys = pl.DataFrame({"store": [f"S{i % 4}" for i in range(series)], "item": list(range(series))})
    n = np.arange(weeks + 8)
    promoted = rng.random((series, len(n))) < 0.25
    level = rng.gamma(3, 6, series)[:, None] * (1 + 0.4 * np.sin(2 * np.pi * n / 52)) * (1 + promoted)
    long = keys.join(pl.DataFrame({"n": n.astype(np.int32)}), how="cross").with_columns(
        period=WEEKS.labels(pl.col("n") + START),
        promotion=pl.Series(promoted.ravel().astype(float)),
        quantity=pl.Series(rng.poisson(level).ravel().astype(float)),
    )
    covariates = long.select("store", "item", "period", "promotion")
    return long.filter(pl.col("n") < weeks).select("store", "item", "period", "quantity"), covariates


def make_shop(home: Path) -> MadeShop:
    settings = settings_for(home)
    lake = Lake(settings.lake_url)
    demand, covariates = totals()
    lake.replace("demand", demand)
    lake.replace("covariates", covariates)
    return MadeShop(settings, lake, home)


@pytest.fixture
def shop(tmp_path: Path) -> MadeShop:
    return make_shop(tmp_path)
