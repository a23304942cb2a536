"""How much to have when demand is uncertain and one decision must do: the newsvendor, and base stock made of it.

Numbered equations and examples are those of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition (2019),
chapter 4. Costs are positive.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri, pdtr, pdtrik

from pipelines.supply.paths import Array
from pipelines.supply.policies.parameters import Policy


def newsvendor_normal(
    holding_cost: float, shortage_cost: float, mean: float, deviation: float, *, level: float | None = None
) -> Policy:
    """One period, normal demand (section 4.3.2).

    Args:
        holding_cost: Per unit left at the end.
        shortage_cost: Per unit of unmet demand.
        mean: Of demand, units.
        deviation: Standard deviation of demand, units.
        level: Cost this level instead of the best one.
    """
    best = mean + deviation * float(ndtri(_ratio(holding_cost, shortage_cost))) if level is None else level
    z = (best - mean) / deviation
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return _costed(holding_cost, shortage_cost, mean, best, deviation * (density - z * float(ndtr(-z))))


def newsvendor_lognormal(
    holding_cost: float, shortage_cost: float, log_mean: float, log_deviation: float, *, level: float | None = None
) -> Policy:
    """One period, lognormal demand (problem 4.8b).

    Args:
        holding_cost: Per unit left at the end.
        shortage_cost: Per unit of unmet demand.
        log_mean: Mean of the logarithm of demand.
        log_deviation: Its standard deviation.
        level: Cost this level instead of the best one.
    """
    ratio = _ratio(holding_cost, shortage_cost)
    best = math.exp(log_mean + log_deviation * float(ndtri(ratio))) if level is None else level
    mean = math.exp(log_mean + log_deviation**2 / 2)
    z = (math.log(best) - log_mean) / log_deviation
    missing = mean * float(ndtr(log_deviation - z)) - best * float(ndtr(-z))
    return _costed(holding_cost, shortage_cost, mean, best, missing)


def newsvendor_poisson(holding_cost: float, shortage_cost: float, mean: float, *, level: float | None = None) -> Policy:
    """One period, Poisson demand: the smallest level whose distribution reaches the critical ratio (section 4.3.2.7).

    Args:
        holding_cost: Per unit left at the end.
        shortage_cost: Per unit of unmet demand.
        mean: Of demand, units.
        level: Cost this level instead of the best one.
    """
    ratio = _ratio(holding_cost, shortage_cost)
    best = math.ceil(float(pdtrik(ratio, mean)) - 1e-9) if level is None else math.floor(level)
    # E(S − D)⁺ = S·F(S) − mean·F(S − 1)
    below = float(pdtr(best - 1, mean)) if best >= 1 else 0.0
    held = best * float(pdtr(best, mean)) - mean * below
    return _costed(holding_cost, shortage_cost, mean, float(best), mean - best + held)


def newsvendor_discrete(
    holding_cost: float, shortage_cost: float, demand: Array, probability: Array, *, level: float | None = None
) -> Policy:
    """One period, any discrete demand (section 4.3.2.6).

    Args:
        holding_cost: Per unit left at the end.
        shortage_cost: Per unit of unmet demand.
        demand: Possible values in ascending order, shape (n,), units.
        probability: Of each value, shape (n,).
        level: Cost this level instead of the best one.
    """
    reached = np.cumsum(probability) >= _ratio(holding_cost, shortage_cost) - 1e-12
    best = float(demand[int(reached.argmax())]) if level is None else level
    missing = float(np.maximum(demand - best, 0) @ probability)
    return _costed(holding_cost, shortage_cost, float(demand @ probability), best, missing)


def newsvendor_profit(
    revenue: float, purchase_cost: float, salvage_value: float, mean: float, deviation: float
) -> Policy:
    """One period, normal demand, prices in place of costs (section 4.3.1): what a unit short or left over forgoes.

    Args:
        revenue: Per unit sold.
        purchase_cost: Per unit bought, below `revenue`.
        salvage_value: Per unit left at the end, below `purchase_cost`.
        mean: Of demand, units.
        deviation: Standard deviation of demand, units.

    Returns:
        The level, and as its cost the expected profit with the sign turned.

    Example:
        >>> newsvendor_profit(1, 0.3, 0.12, 50, 8)
        Policy(level=56.6039..., cost=-33.0023...)
    """
    costed = newsvendor_normal(purchase_cost - salvage_value, revenue - purchase_cost, mean, deviation)
    return Policy(costed.level, costed.cost - (revenue - purchase_cost) * mean)


def base_stock_normal(
    holding_cost: float, shortage_cost: float, mean: float, deviation: float, *, lead_time: int, review: int = 1
) -> Policy:
    """Order up to a level every period, backorders, normal demand (section 4.3.4.1).

    The newsvendor over the protection interval of lead time + review. Not for lost sales: there it orders too much.

    Args:
        holding_cost: Per unit and period.
        shortage_cost: Per unit backordered and period.
        mean: Of demand in one period, units.
        deviation: Its standard deviation, units; periods are independent.
        lead_time: Whole periods.
        review: Periods between orders.
    """
    interval = lead_time + review
    return newsvendor_normal(holding_cost, shortage_cost, mean * interval, deviation * math.sqrt(interval))


def _ratio(holding_cost: float, shortage_cost: float) -> float:
    """The critical ratio: how often demand should be met in full."""
    return shortage_cost / (shortage_cost + holding_cost)


def _costed(holding_cost: float, shortage_cost: float, mean: float, level: float, missing: float) -> Policy:
    """A level with its expected cost, from the expected units missing at it."""
    return Policy(level, holding_cost * (level - mean + missing) + shortage_cost * missing)
