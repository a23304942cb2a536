"""Stock on several stages in a row: echelon base-stock levels, and what they cost.

Numbered sections are those of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition (2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from pipelines.supply.paths import Array

_SPREAD = 8  # standard deviations of lead-time demand that are looked at
_FINE = 100  # grid points in one standard deviation


@dataclass(frozen=True)
class Series:
    """Stages that supply each other in a row; the last one serves normal demand, backorders.

    Attributes:
        echelon_holding_cost: Value added at each stage per unit and period, from upstream to downstream, shape (n,).
        lead_time: From the stage before, the first from outside, shape (n,), periods, above 0.
        backorder_cost: Per unit that waits at the last stage and period.
        mean: Of demand in one period, units.
        deviation: Its standard deviation, units.
    """

    echelon_holding_cost: Array
    lead_time: Array
    backorder_cost: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class EchelonPolicy:
    """Echelon base-stock levels.

    Attributes:
        levels: What each stage orders the stock of itself and all below up to, shape (n,), units.
        cost: Expected cost per period.
    """

    levels: Array
    cost: float


def clark_scarf(series: Series) -> EchelonPolicy:
    """The optimal levels, stage by stage from downstream (Clark & Scarf 1960, doi:10.1287/mnsc.6.4.475; section 6.2).

    Each stage pays its own echelon stock and, where it could not send all that the stage below wants, what that costs
    below. Functions are kept on a grid of a hundredth of a standard deviation.
    """
    step = series.deviation * math.sqrt(float(series.lead_time.min())) / _FINE
    reach = series.mean * series.lead_time.sum() + _SPREAD * series.deviation * np.sqrt(series.lead_time).sum()
    stock = np.arange(-math.ceil(reach / step), math.ceil(1.5 * reach / step) + 1) * step
    passed = (series.backorder_cost + series.echelon_holding_cost.sum()) * np.maximum(-stock, 0)
    levels = np.empty(len(series.lead_time))
    for stage in reversed(range(len(levels))):
        demand, chance = _lead_time_demand(series, float(series.lead_time[stage]), step)
        cost = np.convolve(series.echelon_holding_cost[stage] * stock + passed, chance, "valid")
        stock = stock[len(chance) - 1 :] + demand[0]
        best = int(cost.argmin())
        levels[stage] = stock[best]
        passed = cost[np.minimum(np.arange(len(cost)), best)]
    return EchelonPolicy(levels, float(cost.min()))


def newsvendor_levels(series: Series) -> Array:
    """Near-optimal levels, each the mean of two newsvendors (Shang & Song 2003, doi:10.1287/mnsc.49.5.618.15147).

    Returns:
        Echelon base-stock levels from upstream to downstream, shape (n,), units.
    """
    holding = series.echelon_holding_cost
    above = np.cumsum(holding) - holding
    downstream = np.cumsum(series.lead_time[::-1])[::-1]
    wanted = series.backorder_cost + above
    low, high = wanted / (series.backorder_cost + holding.sum()), wanted / (wanted + holding)
    z = (ndtri(low) + ndtri(high)) / 2
    return np.asarray(series.mean * downstream + z * series.deviation * np.sqrt(downstream))


def _lead_time_demand(series: Series, lead_time: float, step: float) -> tuple[Array, Array]:
    """Demand over a lead time on the grid, and the probability of each, summing to 1."""
    mean, deviation = series.mean * lead_time, series.deviation * math.sqrt(lead_time)
    low, high = (round((mean + side * _SPREAD * deviation) / step) for side in (-1, 1))
    demand = np.arange(low, high + 1).astype(np.float64) * step
    edges = (np.append(demand, demand[-1] + step) - step / 2 - mean) / deviation
    chance = np.diff(ndtr(edges))
    return demand, chance / chance.sum()
