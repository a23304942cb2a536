"""A made-up shop for the supply tests: tables that are valid under the schemas of features.tables."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from features.tables import TABLES
from pipelines.lake import Lake
from pipelines.settings import Settings

ISSUED = date(2024, 4, 15)
LEVELS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
NAMES = [f"p{round(level * 100):02d}" for level in LEVELS]
DAYS = {"day": 1, "week": 7, "month": 30}


class Shop:
    """Settings, a lake with forecasts, and the frames behind them."""

    def __init__(self, folder, *, series=("product_id",), frequency="week", products=6, **supply):
        self.settings = Settings(
            shop="made_up",
            data_dir=str(folder),
            sources=[{"table": table, "path": f"{table}.parquet"} for table in ("demand", "stock")],
            demand={"series": list(series), "frequency": frequency},
            supply=supply,
        )
        self.lake = Lake(self.settings.lake_url)
        self.series = list(series)
        self.products = products

    def keys(self):
        return pl.DataFrame({name: [f"{name[0].upper()}{i:03d}" for i in range(self.products)] for name in self.series})

    def forecast(self, issued=ISSUED, horizon=8):
        """Write forecasts and lead_time_demand of independent gamma periods."""
        means = 2.0 + 3.0 * np.arange(self.products)
        frames = []
        for table, step in (("forecasts", "horizon"), ("lead_time_demand", "periods")):
            parts = []
            for k in range(1, horizon + 1):
                together = 1 if table == "forecasts" else k
                values = stats.gamma.ppf(LEVELS[None, :], 6.0 * together, scale=means[:, None] / 6)
                parts.append(
                    pl.concat([self.keys(), pl.DataFrame(values, schema=NAMES)], how="horizontal").with_columns(
                        pl.lit(k, dtype=pl.Int32).alias(step),
                        issued_on=pl.lit(issued),
                        mean=pl.Series(means * together),
                        mean_model=pl.Series(means * together),
                        override_id=pl.lit(None, dtype=pl.String),
                        model_version=pl.lit("1"),
                        period=pl.lit(issued + timedelta(days=DAYS[self.settings.demand.frequency] * (k - 1))),
                        members=pl.lit("gamma"),
                        flags=pl.lit(""),
                        p_zero=pl.lit(0.0),
                        pool=pl.lit(None, dtype=pl.Int32),
                    )
                )
            frame = pl.concat(parts)
            known = TABLES[table]
            columns = [*self.series, *known.schema.column_names(), *NAMES]
            frame = frame.select(columns)
            known.schema_with(dict(frame.schema), tuple(self.series)).validate(frame)
            self.lake.merge(table, frame, known.keys(tuple(self.series)))
            frames.append(frame)
        return frames

    def stock(self, on_hand, as_of=ISSUED, keys=None):
        keys = self.keys() if keys is None else keys
        frame = keys.with_columns(as_of=pl.lit(as_of), on_hand=pl.lit(float(on_hand)), illustrative=pl.lit(False))
        self.lake.replace("stock", frame)
        return frame

    def terms(self, **given):
        named = {"supplier_id": "S1", "lead_time_days": 14.0, "holding_cost": 0.2, "shortage_cost": 1.0} | given
        frame = self.keys().with_columns(**{name: pl.lit(value) for name, value in named.items()})
        self.lake.replace("supply_terms", frame)
        return frame


@pytest.fixture
def shop(tmp_path):
    """Build a shop: `shop(series=…, frequency=…, **supply)`."""
    return lambda **given: Shop(tmp_path, **given)
