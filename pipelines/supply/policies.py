"""Textbook policies with closed forms or short exact sums: the yardsticks replenishment is measured against.

Numbered equations and examples are those of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition (2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, pdtr, pdtrik

from pipelines.supply.paths import Array


@dataclass(frozen=True)
class Policy:
    """A quantity or level, and what it is expected to cost.

    Attributes:
        level: Order quantity or order-up-to level, units.
        cost: Expected cost per unit of time (EOQ) or per period.
    """

    level: float
    cost: float


def economic_order_quantity(
    fixed_cost: float, holding_cost: float, demand_rate: float, *, quantity: float | None = None
) -> Policy:
    """The order quantity that balances ordering and holding (Harris 1913; Snyder & Shen, eqs. 3.4 and 3.5).

    Args:
        fixed_cost: Per order.
        holding_cost: Per unit and unit of time.
        demand_rate: Units per unit of time.
        quantity: Cost this quantity instead of the best one.

    Example:
        >>> economic_order_quantity(8, 0.225, 1300)
        Policy(level=304.0467..., cost=68.4105...)
    """
    best = math.sqrt(2 * fixed_cost * demand_rate / holding_cost) if quantity is None else quantity
    return Policy(best, fixed_cost * demand_rate / best + holding_cost * best / 2)


def newsvendor_normal(
    holding_cost: float, shortage_cost: float, mean: float, deviation: float, *, level: float | None = None
) -> Policy:
    """One period, normal demand (Snyder & Shen, section 4.3.2).

    Args:
        holding_cost: Per unit left at the end.
        shortage_cost: Per unit of unmet demand.
        mean: Of demand, units.
        deviation: Standard deviation of demand, units.
        level: Cost this level instead of the best one.
    """
    ratio = shortage_cost / (shortage_cost + holding_cost)
    best = mean + deviation * float(ndtri(ratio)) if level is None else level
    z = (best - mean) / deviation
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    missing = deviation * (density - z * float(ndtr(-z)))
    return Policy(best, holding_cost * (best - mean + missing) + shortage_cost * missing)


def newsvendor_poisson(holding_cost: float, shortage_cost: float, mean: float, *, level: float | None = None) -> Policy:
    """One period, Poisson demand: the smallest level whose distribution reaches the critical ratio (section 4.3.2.7).

    Args:
        holding_cost: Per unit left at the end.
        shortage_cost: Per unit of unmet demand.
        mean: Of demand, units.
        level: Cost this level instead of the best one.
    """
    ratio = shortage_cost / (shortage_cost + holding_cost)
    best = math.ceil(float(pdtrik(ratio, mean)) - 1e-9) if level is None else math.floor(level)
    # E(S − D)⁺ = S·F(S) − mean·F(S − 1)
    below = float(pdtr(best - 1, mean)) if best >= 1 else 0.0
    held = best * float(pdtr(best, mean)) - mean * below
    return Policy(float(best), holding_cost * held + shortage_cost * (mean - best + held))


def newsvendor_discrete(
    holding_cost: float, shortage_cost: float, demand: Array, probability: Array, *, level: float | None = None
) -> Policy:
    """One period, any discrete demand (Snyder & Shen, section 4.3.2.6).

    Args:
        holding_cost: Per unit left at the end.
        shortage_cost: Per unit of unmet demand.
        demand: Possible values in ascending order, shape (n,), units.
        probability: Of each value, shape (n,).
        level: Cost this level instead of the best one.
    """
    ratio = shortage_cost / (shortage_cost + holding_cost)
    reached = np.cumsum(probability) >= ratio - 1e-12
    best = float(demand[int(reached.argmax())]) if level is None else level
    held = float(np.maximum(best - demand, 0) @ probability)
    missing = float(np.maximum(demand - best, 0) @ probability)
    return Policy(best, holding_cost * held + shortage_cost * missing)


def base_stock_normal(
    holding_cost: float, shortage_cost: float, mean: float, deviation: float, *, lead_time: int, review: int = 1
) -> Policy:
    """Order up to a level every period, backorders, normal demand (Snyder & Shen, section 4.3.4.1).

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
