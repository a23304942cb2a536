"""A made backtest: a panel, and what three models would have said of it at two cutoffs."""

from __future__ import annotations

import numpy as np
import polars as pl

from features.panel import Panel
from features.tables import quantile_column
from pipelines.demand.facts import facts_at
from tests.made_panel import panel_of, tables

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
HORIZON = 4
MODELS = {"demand": 0.2, "tsb": 0.5, "seasonal_naive": 0.9}  # the spread of their errors


def made_panel() -> Panel:
    return panel_of("week", tables("week"))


def made_backtest(panel: Panel, horizon: int = HORIZON, cutoffs: int = 2, seed: int = 5) -> pl.DataFrame:
    """Forecasts that miss what came true by noise of a size of the model's own."""
    rng = np.random.default_rng(seed)
    parts = []
    for cutoff in (panel.last - horizon * back for back in range(cutoffs, 0, -1)):
        facts = facts_at(panel, cutoff)
        position = facts["series"].to_numpy()
        column = cutoff - panel.first + np.arange(1, horizon + 1)
        actual = panel.quantity[np.ix_(position, column)].ravel().astype(np.float64)
        for model, spread in MODELS.items():
            mean = np.abs(np.nan_to_num(actual, nan=3.0) + spread * rng.normal(1, 3, len(actual)))
            fan = {quantile_column(level): mean * 2 * level for level in QUANTILES}
            keys = {
                "model": [model] * len(actual),
                "series": np.repeat(position, horizon),
                "cutoff": np.full(len(actual), cutoff, dtype=np.int32),
                "horizon": np.tile(np.arange(1, horizon + 1, dtype=np.int32), len(position)),
            }
            frame = pl.DataFrame(keys | {"actual": actual, "mean": mean} | fan)
            parts.append(frame.join(facts, on="series", how="left", maintain_order="left"))
    return pl.concat(parts)
