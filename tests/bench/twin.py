"""A seeded twin of the public VN2 inventory contest: slow grocery products of many stores, week by week.

Rules (VN2 inventory planning challenge, 2025): 599 store-products, weekly sales with in-stock flags of about three
years; an order placed at the opening of a week can be sold two weeks later; a unit left at the end of a week costs 0.2,
a sale lost 1; six orders, and the weeks they reach are what counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

Array = npt.NDArray[np.float64]
ITEMS, HISTORY_WEEKS, ROUNDS, LEAD_WEEKS = 599, 157, 6, 2
WEEKS = ROUNDS + LEAD_WEEKS
HOLDING_COST, SHORTAGE_COST = 0.2, 1.0
FIRST_WEEK = date(2021, 4, 12)
_STORES, _PRODUCTS, _DEPARTMENTS = 67, 296, 22


@dataclass(frozen=True)
class Twin:
    """One shop.

    Attributes:
        series: location_id, product_id, department and format of each item.
        demand: What customers want, history and then the weeks of the game, shape (ITEMS, HISTORY_WEEKS + WEEKS).
        in_stock: Whether the history's weeks had stock, same shape; the game's weeks do.
        on_hand: Units at the opening of the first week of the game.
        coming: Units that arrive at the opening of the second.
    """

    series: pl.DataFrame
    demand: Array
    in_stock: npt.NDArray[np.bool_]
    on_hand: Array
    coming: Array

    def opening(self, game_week: int) -> date:
        """The first day of a week of the game, counted from 0."""
        return FIRST_WEEK + timedelta(weeks=HISTORY_WEEKS + game_week)

    def table(self, game_week: int) -> pl.DataFrame:
        """Table demand as it is known at the opening of a week of the game."""
        weeks = HISTORY_WEEKS + game_week
        rows = np.repeat(np.arange(ITEMS), weeks)
        known = self.in_stock[:, :weeks]
        return self.series.select("location_id", "product_id")[rows].with_columns(
            period=pl.lit(FIRST_WEEK) + pl.duration(weeks=pl.Series(np.tile(np.arange(weeks), ITEMS))),
            quantity=pl.Series(np.where(known, self.demand[:, :weeks], 0.0).ravel()),
            available=pl.Series(known.ravel().astype(np.float64)),
        )


def twin(seed: int) -> Twin:
    """Draw a shop: negative binomial demand around level × department's season × drift, one week in ten out of stock."""
    rng = np.random.default_rng(seed)
    weeks = HISTORY_WEEKS + WEEKS
    store, product = rng.integers(0, _STORES, ITEMS), rng.integers(0, _PRODUCTS, ITEMS)
    department = product % _DEPARTMENTS
    level = np.exp(rng.normal(0.35, 0.95, ITEMS) + rng.normal(0, 0.25, _STORES)[store])
    swing, peak = rng.uniform(0, 0.5, _DEPARTMENTS), rng.uniform(0, 52, _DEPARTMENTS)
    season = 1 + swing[department, None] * np.cos(2 * np.pi * (np.arange(weeks) - peak[department, None]) / 52)
    drift = np.exp(np.cumsum(rng.normal(0, 0.035, (ITEMS, weeks)), axis=1))
    rate = np.clip(level[:, None] * season * drift, 0.02, 150)
    shape = rng.uniform(0.7, 4.0, ITEMS)[:, None]
    demand = rng.poisson(rng.gamma(shape, rate / shape)).astype(np.float64)
    in_stock = rng.random((ITEMS, weeks)) > 0.1
    in_stock[:, HISTORY_WEEKS:] = True
    recent = demand[:, HISTORY_WEEKS - 13 : HISTORY_WEEKS].mean(axis=1)
    series = pl.DataFrame(
        {
            "location_id": [f"L{number:02d}" for number in store],
            "product_id": [f"P{number:03d}-{item:03d}" for item, number in enumerate(product)],
            "department": [f"D{number:02d}" for number in department],
            "format": [f"F{number % 3}" for number in store],
        }
    )
    return Twin(series, demand, in_stock, np.maximum(np.rint(1.5 * recent), 1.0), np.rint(recent))
