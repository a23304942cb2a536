"""What a planner knows of many items when the parameters of their policies are set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.quantiles import demand_at
from pipelines.supply.paths import Array


@dataclass(frozen=True)
class Forecast:
    """The distribution forecast for demand over the protection interval of each item.

    Attributes:
        levels: Levels of the quantiles, ascending, shape (q,).
        quantiles: Shape (n, q), units.
        mean: Shape (n,), units.
    """

    levels: Array
    quantiles: Array
    mean: Array


@dataclass(frozen=True)
class Known:
    """What is known of n items, in periods of the demand history.

    Attributes:
        history: Demand of past periods, oldest first, shape (n, T), units; not-a-number where it is unknown because the
            item was out of stock.
        lead_time: Whole periods that pass without an order placed now, shape (n,).
        review: Periods between orders, shape (n,).
        holding_cost: Per unit and period, shape (n,).
        shortage_cost: Per unit of unmet demand, shape (n,).
        fixed_cost: Per order, shape (n,).
        service_target: Probability that nothing is missing over the protection interval, shape (n,).
        effective_ratio: What the critical ratio is multiplied by in the static policy: tuned, one for all.
        season: Place in the year of each past period and then of the coming ones, shape (T + ahead,); None where no
            season is looked at.
        forecast: Of demand over the protection interval; None where history is all there is.
    """

    history: Array
    lead_time: Array
    review: Array
    holding_cost: Array
    shortage_cost: Array
    fixed_cost: Array
    service_target: Array
    effective_ratio: float = 1.0
    season: npt.NDArray[np.integer[Any]] | None = None
    forecast: Forecast | None = None

    @property
    def interval(self) -> Array:
        """The protection interval, shape (n,), periods: an order must last until the next one can arrive."""
        return np.asarray(self.lead_time + self.review, np.float64)

    @property
    def critical_ratio(self) -> Array:
        """Shortage ÷ (shortage + holding over a review interval), shape (n,); 0 where neither costs anything."""
        both = self.shortage_cost + self.holding_cost * self.review
        return np.asarray(np.where(both > 0, self.shortage_cost / np.where(both > 0, both, 1), 0.0))

    @property
    def mean(self) -> Array:
        """Of demand in one period of the known history, shape (n,), units; 0 where nothing is known."""
        known = np.isfinite(self.history)
        return np.asarray(np.where(known, self.history, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))

    @property
    def deviation(self) -> Array:
        """Standard deviation of demand in one period of the known history, shape (n,), units."""
        known = np.isfinite(self.history)
        squares = np.where(known, self.history - self.mean[:, None], 0) ** 2
        return np.asarray(np.sqrt(squares.sum(axis=1) / np.maximum(known.sum(axis=1) - 1, 1)))

    def demand_at(self, probability: Array) -> Array:
        """Demand over the protection interval at a probability of each item, shape (n,), units.

        From the forecast where there is one, from history otherwise.
        """
        if self.forecast is None:
            return self.history_at(probability)
        ahead = self.forecast
        rank = np.clip(probability, 1e-9, 1 - 1e-9)[:, None]
        return demand_at(rank, ahead.levels, ahead.quantiles, ahead.mean)[:, 0]

    def history_at(self, probability: Array) -> Array:
        """The same from history alone: periods independent, each negative binomial, or Poisson if it varies less."""
        from scipy.stats import nbinom, poisson

        mean = self.mean * self.interval
        variance = self.deviation**2 * self.interval
        spread = variance > mean * (1 + 1e-9)
        share = np.where(spread, mean / np.where(spread, variance, 1), 0.5)
        wide = nbinom.ppf(probability, np.maximum(mean * share / (1 - share), 1e-12), share)
        level = np.where(spread, wide, poisson.ppf(probability, mean))
        return np.asarray(np.where((mean > 0) & (probability > 0), np.maximum(level, 0), 0.0))
