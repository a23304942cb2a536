"""Made-up shops for the supply tests: frames that are valid under the schemas of features.tables."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
from scipy import stats

ISSUED = date(2024, 4, 15)
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
NAMES = [f"p{round(level * 100):02d}" for level in LEVELS]


def forecast_tables(levels_of_demand, deviation=0.4, horizon=8, keys=("product_id",)):
    """forecasts and lead_time_demand of independent gamma periods with these means."""
    means = np.asarray(levels_of_demand, dtype=float)
    n = len(means)
    frames = []
    for column, shape_of in (("horizon", lambda k: 1), ("periods", lambda k: k)):
        parts = []
        for k in range(1, horizon + 1):
            sums = shape_of(k)
            shape = sums / deviation**2
            values = stats.gamma.ppf(np.array(LEVELS)[None, :], shape, scale=means[:, None] * deviation**2)
            part = pl.DataFrame(values, schema=NAMES).with_columns(
                **{keys[0]: pl.Series([f"P{i:05d}" for i in range(n)])},
                **{name: pl.lit("all") for name in keys[1:]},
                issued_on=pl.lit(ISSUED),
                mean=pl.Series(means * sums),
                model_version=pl.lit("1"),
            )
            part = part.with_columns(pl.lit(k, dtype=pl.Int32).alias(column))
            if column == "horizon":
                part = part.with_columns(
                    period=pl.lit(ISSUED + timedelta(days=7 * (k - 1))),
                    p_zero=pl.lit(None, dtype=pl.Float64),
                    members=pl.lit("gamma"),
                    flags=pl.lit(""),
                )
            parts.append(part)
        frames.append(pl.concat(parts))
    return frames[0], frames[1]
