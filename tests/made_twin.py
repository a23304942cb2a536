"""A seeded twin of the public VN2 inventory contest: slow grocery products of many stores, week by week.

Rules (VN2 inventory planning challenge, 2025): 599 store-products, weekly sales with in-stock flags of about three
years; an order placed at the opening of a week can be sold two weeks later; a unit left at the end of a week costs 0.2,
a sale lost 1; six orders, and the weeks they reach are what counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

Array = npt.NDArray[np.float64]
ITEMS, HISTORY_WEEKS, ROUNDS, LEAD_WEEKS = 599, 157, 6, 2
HOLDING_COST, SHORTAGE_COST = 0.2, 1.0
FIRST_WEEK = date(2021, 4, 12)
KEYS = ["location_id", "product_id"]
_STORES, _PRODUCTS, _DEPARTMENTS = 67, 296, 22

# order(round, on hand, coming next week) → units to order, all of shape (items,)
Player = Callable[[int, Array, Array], Array]


@dataclass(frozen=True)
class Result:
    """What a game came to, over the weeks that orders could reach.

    Attributes:
        cost: Money.
        fill_rate: Units sold ÷ units asked for.
        stock: Units at the end of a week, mean.
    """

    cost: float
    fill_rate: float
    stock: float


@dataclass(frozen=True)
class Twin:
    """One shop.

    Attributes:
        series: location_id, product_id, department and format of each item.
        demand: What customers want, the history and then the weeks of the game, shape (items, weeks).
        in_stock: Whether each week had stock, same shape; the weeks of the game are told in full.
        history_weeks: Weeks before the game.
        on_hand: Units at the opening of the first week of the game.
        coming: Units that arrive at the opening of the second.
    """

    series: pl.DataFrame
    demand: Array
    in_stock: npt.NDArray[np.bool_]
    history_weeks: int
    on_hand: Array
    coming: Array

    def opening(self, week: int) -> date:
        """The first day of a week of the game, counted from 0."""
        return FIRST_WEEK + timedelta(weeks=self.history_weeks + week)

    def known(self, week: int) -> Array:
        """Demand known at the opening of a week of the game, not-a-number where out of stock."""
        until = self.history_weeks + week
        return np.where(self.in_stock[:, :until], self.demand[:, :until], np.nan)

    def table(self, week: int) -> pl.DataFrame:
        """Table demand as it is known at the opening of a week of the game."""
        items, until = len(self.demand), self.history_weeks + week
        known = self.in_stock[:, :until]
        return self.series.select(KEYS)[np.repeat(np.arange(items), until)].with_columns(
            period=pl.lit(FIRST_WEEK) + pl.duration(weeks=pl.Series(np.tile(np.arange(until), items))),
            quantity=pl.Series(np.where(known, self.demand[:, :until], 0.0).ravel()),
            available=pl.Series(known.ravel().astype(np.float64)),
        )

    def play(self, player: Player) -> Result:
        """Play the game: receive → demand, what is not there is lost → holding; orders at each opening."""
        stock, coming = self.on_hand.copy(), self.coming.copy()
        cost = asked = lost_units = held = 0.0
        for week in range(ROUNDS + LEAD_WEEKS):
            later = player(week, stock, coming) if week < ROUNDS else np.zeros_like(stock)
            demand = self.demand[:, self.history_weeks + week]
            lost, stock = np.maximum(demand - stock, 0), np.maximum(stock - demand, 0)
            if week >= LEAD_WEEKS:
                cost += HOLDING_COST * stock.sum() + SHORTAGE_COST * lost.sum()
                asked, lost_units, held = asked + demand.sum(), lost_units + lost.sum(), held + stock.sum()
            stock, coming = stock + coming, later
        return Result(float(cost), float(1 - lost_units / asked), float(held / ROUNDS))


def made_twin(seed: int, items: int = ITEMS, history_weeks: int = HISTORY_WEEKS) -> Twin:
    """Draw a shop: negative binomial demand, one week in ten out of stock."""
    rng = np.random.default_rng(seed)
    weeks = history_weeks + ROUNDS + LEAD_WEEKS
    store, product = rng.integers(0, _STORES, items), rng.integers(0, _PRODUCTS, items)
    department = product % _DEPARTMENTS
    level = np.exp(rng.normal(0.35, 0.95, items) + rng.normal(0, 0.25, _STORES)[store])
    swing, peak = rng.uniform(0, 0.5, _DEPARTMENTS), rng.uniform(0, 52, _DEPARTMENTS)
    season = 1 + swing[department, None] * np.cos(2 * np.pi * (np.arange(weeks) - peak[department, None]) / 52)
    drift = np.exp(np.cumsum(rng.normal(0, 0.035, (items, weeks)), axis=1))
    rate = np.clip(level[:, None] * season * drift, 0.02, 150)
    shape = rng.uniform(0.7, 4.0, items)[:, None]
    demand = rng.poisson(rng.gamma(shape, rate / shape)).astype(np.float64)
    in_stock = rng.random((items, weeks)) > 0.1
    in_stock[:, history_weeks:] = True
    recent = demand[:, history_weeks - 13 : history_weeks].mean(axis=1)
    series = pl.DataFrame(
        {
            "location_id": [f"L{number:02d}" for number in store],
            "product_id": [f"P{number:03d}-{item:03d}" for item, number in enumerate(product)],
            "department": [f"D{number:02d}" for number in department],
            "format": [f"F{number % 3}" for number in store],
        }
    )
    return Twin(series, demand, in_stock, history_weeks, np.maximum(np.rint(1.5 * recent), 1.0), np.rint(recent))
