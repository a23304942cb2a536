"""Supply that fails: how much more to order when the supplier may be down, or delivers not quite what was ordered.

Numbered equations and examples are those of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition (2019),
chapter 9.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar

from pipelines.supply.policies.lot_sizing import economic_order_quantity
from pipelines.supply.policies.parameters import Policy


def economic_order_quantity_with_disruptions(
    fixed_cost: float,
    holding_cost: float,
    shortage_cost: float,
    demand_rate: float,
    disruption_rate: float,
    recovery_rate: float,
) -> Policy:
    """The order quantity when the supplier is up and down for exponential times; sales are lost meanwhile.

    Parlar & Berkin (1991, doi:10.1002/1520-6750(199102)38:1<107::AID-NAV3220380108>3.0.CO;2-4) as corrected by Berk &
    Arreola-Risa (1994); eq. 9.3. A cycle lasts until stock is gone and, if the supplier is down then, until it is back.

    Args:
        fixed_cost: Per order.
        holding_cost: Per unit and unit of time.
        shortage_cost: Per unit of lost demand.
        demand_rate: Units per unit of time.
        disruption_rate: Disruptions per unit of time that the supplier is up.
        recovery_rate: Recoveries per unit of time that it is down.
    """
    both = disruption_rate + recovery_rate

    def cost(quantity: float) -> float:
        stocked = quantity / demand_rate
        # probability that the supplier is down when stock runs out, times the mean time until it is back
        down = disruption_rate / both * -math.expm1(-both * stocked) / recovery_rate
        cycle = fixed_cost + holding_cost * quantity * stocked / 2 + shortage_cost * demand_rate * down
        return cycle / (stocked + down)

    start = economic_order_quantity(fixed_cost, holding_cost, demand_rate).level
    # Enough to dwarf both: the EOQ, and what the lost margin of the longest wait would justify holding.
    most = (
        start
        + demand_rate / recovery_rate
        + math.sqrt(2 * shortage_cost * demand_rate**2 / recovery_rate / holding_cost)
    )
    found = minimize_scalar(cost, bounds=(start * 1e-3, most), method="bounded", options={"xatol": 1e-9 * start})
    return Policy(float(found.x), float(found.fun))


def newsvendor_with_disruptions(
    holding_cost: float,
    backorder_cost: float,
    demand: float,
    disruption_probability: float,
    recovery_probability: float,
) -> Policy:
    """The base stock for certain demand when in any period the supplier may go down or come back (section 9.3).

    All uncertainty is how many periods in a row nothing came; demand over those is what stock must cover.

    Args:
        holding_cost: Per unit and period.
        backorder_cost: Per unit and period.
        demand: Units in each period.
        disruption_probability: That an up supplier is down in the next period.
        recovery_probability: That a down supplier is up in the next period, above 0.
    """
    down = disruption_probability / (disruption_probability + recovery_probability)
    ratio = backorder_cost / (backorder_cost + holding_cost)
    if 1 - down >= ratio:
        without = 0
    else:  # smallest n with 1 − down (1 − recovery)ⁿ ≥ ratio
        without = math.ceil(math.log((1 - ratio) / down) / math.log1p(-recovery_probability) - 1e-12)
    level = demand * (without + 1)
    late = np.arange(without + 1)
    probability = np.where(
        late == 0, 1 - down, down * recovery_probability * (1 - recovery_probability) ** (late - 1.0)
    )
    held = float(probability @ (level - demand * (late + 1)))
    mean_late = down / recovery_probability
    missing = held - (level - demand * (1 + mean_late))
    return Policy(level, holding_cost * held + backorder_cost * missing)


def economic_order_quantity_with_yield(
    fixed_cost: float, holding_cost: float, demand_rate: float, yield_mean: float, yield_deviation: float
) -> Policy:
    """The order quantity when what arrives is the order plus a random number of units (section 9.2.3).

    Args:
        fixed_cost: Per order.
        holding_cost: Per unit and unit of time.
        demand_rate: Units per unit of time.
        yield_mean: Mean of what is added to the order, units; below 0 where units go missing.
        yield_deviation: Its standard deviation, units.
    """
    received = math.sqrt(2 * fixed_cost * demand_rate / holding_cost + yield_deviation**2)
    cost = (fixed_cost * demand_rate + holding_cost * (received**2 + yield_deviation**2) / 2) / received
    return Policy(received - yield_mean, cost)
