"""A made shop that knows its true demand, and sells what its stock lets it: it runs out when demand is high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shelf:
    """Weeks of many series (series × week).

    Attributes:
        rate: Expected demand.
        demand: What customers wanted.
        sales: What they got.
        share: Share of the week in stock.
    """

    rate: Array
    demand: Array
    sales: Array
    share: Array

    @property
    def flag(self) -> Array:
        """1 where stock lasted the week, 0 where it ran out, whatever was sold before."""
        return (self.share >= 1).astype(float)


def shelves(series: int, weeks: int, cover: float, lead: int = 1, seed: int = 0) -> Shelf:
    """Seasonal negative binomial demand, .5 to 20 a week, served from stock that is ordered up to a fixed target.

    Args:
        series: How many.
        weeks: How many.
        cover: Target stock, in lead times of mean demand.
        lead: Weeks from order to delivery; unmet demand is lost.
        seed: Seed.
    """
    rng = np.random.default_rng(seed)
    level = np.exp(rng.uniform(np.log(0.5), np.log(20), series))[:, None]
    swing, peak = rng.uniform(0.2, 0.6, series)[:, None], rng.normal(0, 3, series)[:, None]
    rate = level * (1 + swing * np.sin(2 * np.pi * (np.arange(weeks) - peak) / 52))
    shape = 1 / rng.uniform(0.2, 1.0, series)[:, None]
    demand = rng.poisson(rng.gamma(shape, rate / shape)).astype(float)
    target = np.ceil(cover * lead * level[:, 0])
    sales, share = np.zeros_like(demand), np.ones_like(demand)
    stock, due = target.copy(), [np.zeros(series)] * (lead - 1)
    for week in range(weeks):
        wanted, got = demand[:, week], np.minimum(demand[:, week], stock)
        # the last piece of stock goes when the got-th of the wanted ones, spread evenly over the week, is asked for
        gone = np.where(got > 0, rng.beta(np.maximum(got, 1), np.maximum(wanted - got + 1, 1)), 0)
        sales[:, week], share[:, week] = got, np.where(got >= stock, gone, 1)
        due = [*due, target - (stock - got) - sum(due)]
        stock = stock - got + due.pop(0)
    return Shelf(rate, demand, sales, share)
