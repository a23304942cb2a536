"""How much to order at a time when demand is known: fixed ordering cost against holding cost.

Numbered equations and examples are those of Snyder & Shen, Fundamentals of Supply Chain Theory, 2nd edition (2019),
chapter 3. All costs and rates are positive; demand and holding cost refer to the same unit of time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.supply.paths import Array
from pipelines.supply.policies.parameters import Policy


def economic_order_quantity(
    fixed_cost: float, holding_cost: float, demand_rate: float, *, quantity: float | None = None
) -> Policy:
    """The order quantity that balances ordering and holding (Harris 1913; eqs. 3.4 and 3.5).

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


@dataclass(frozen=True)
class BackorderPolicy:
    """An order quantity of which a planned part is late.

    Attributes:
        quantity: Units an order.
        backordered: Share of demand that waits.
        cost: Expected cost per unit of time.
    """

    quantity: float
    backordered: float
    cost: float


def economic_order_quantity_with_backorders(
    fixed_cost: float, holding_cost: float, backorder_cost: float, demand_rate: float
) -> BackorderPolicy:
    """The order quantity when demand may wait at a price (section 3.5, eqs. 3.27 to 3.29).

    Args:
        fixed_cost: Per order.
        holding_cost: Per unit and unit of time.
        backorder_cost: Per unit that waits and unit of time.
        demand_rate: Units per unit of time.
    """
    waiting = holding_cost / (holding_cost + backorder_cost)
    cheaper = holding_cost * (1 - waiting)  # what a unit of lot size costs once part of it is sold before it comes
    lot = economic_order_quantity(fixed_cost, cheaper, demand_rate)
    return BackorderPolicy(lot.level, waiting, lot.cost)


def economic_production_quantity(
    fixed_cost: float, holding_cost: float, demand_rate: float, production_rate: float
) -> Policy:
    """The lot size when a lot arrives at a rate, not at once (section 3.6).

    Args:
        fixed_cost: Per set-up.
        holding_cost: Per unit and unit of time.
        demand_rate: Units per unit of time.
        production_rate: Units per unit of time, above `demand_rate`.
    """
    return economic_order_quantity(fixed_cost, holding_cost * (1 - demand_rate / production_rate), demand_rate)


@dataclass(frozen=True)
class DiscountPolicy:
    """An order quantity and the price it is bought at.

    Attributes:
        quantity: Units an order.
        region: Place of its price among the prices, counted from 0.
        cost: Per unit of time, purchases included.
    """

    quantity: float
    region: int
    cost: float


def all_units_discount(
    fixed_cost: float, holding_rate: float, demand_rate: float, breaks: Sequence[float], prices: Sequence[float]
) -> DiscountPolicy:
    """The order quantity when reaching a break lowers the price of all units (section 3.4.1).

    Within a price the cost is that of an EOQ; its best feasible quantity is the EOQ or the break, if below it. An EOQ
    beyond the next break is dominated by that break, so it may be costed at the dearer price without harm.

    Args:
        fixed_cost: Per order.
        holding_rate: Share of the price per unit of time.
        demand_rate: Units per unit of time.
        breaks: From how many units each price holds, ascending, the first 0.
        prices: Per unit, descending.
    """
    found = []
    for region, (least, price) in enumerate(zip(breaks, prices, strict=True)):
        holding = holding_rate * price
        free = economic_order_quantity(fixed_cost, holding, demand_rate).level
        lot = economic_order_quantity(fixed_cost, holding, demand_rate, quantity=max(free, least))
        found.append(DiscountPolicy(lot.level, region, price * demand_rate + lot.cost))
    return min(found, key=lambda policy: policy.cost)


def incremental_discount(
    fixed_cost: float, holding_rate: float, demand_rate: float, breaks: Sequence[float], prices: Sequence[float]
) -> DiscountPolicy:
    """The order quantity when only the units beyond a break are cheaper (section 3.4.2).

    What the units below the break cost more acts as a further fixed cost of the order. The lowest of the EOQs so found
    lies within its region.

    Args:
        fixed_cost: Per order.
        holding_rate: Share of the value per unit of time.
        demand_rate: Units per unit of time.
        breaks: From how many units each price holds, ascending, the first 0.
        prices: Per unit, descending.
    """
    found, dearer = [], 0.0
    for region, (least, price) in enumerate(zip(breaks, prices, strict=True)):
        if region > 0:
            dearer += (prices[region - 1] - price) * least
        lot = economic_order_quantity(fixed_cost + dearer, holding_rate * price, demand_rate)
        if lot.level >= least:
            cost = price * demand_rate + holding_rate * dearer / 2 + lot.cost
            found.append(DiscountPolicy(lot.level, region, cost))
    return min(found, key=lambda policy: policy.cost)


@dataclass(frozen=True)
class Schedule:
    """What to order in each period.

    Attributes:
        quantities: Shape (periods,), units.
        cost: Of the whole horizon.
    """

    quantities: Array
    cost: float


def wagner_whitin(fixed_cost: float, holding_cost: float, demand: Array) -> Schedule:
    """The cheapest orders for known demand that varies (Wagner & Whitin 1958, doi:10.1287/mnsc.5.1.89; section 3.7).

    Each order covers whole periods up to the next one, so the horizon is a shortest path from order to order.

    Args:
        fixed_cost: Per order.
        holding_cost: Per unit held from one period to the next.
        demand: Of each period, shape (periods,), units.
    """
    periods = len(demand)
    rest = np.zeros(periods + 1)
    upto = np.zeros(periods, dtype=np.int64)
    for t in reversed(range(periods)):
        held = np.cumsum(holding_cost * np.arange(periods - t) * demand[t:])
        costs = np.where(np.cumsum(demand[t:]) > 0, fixed_cost, 0.0) + held + rest[t + 1 :]
        upto[t] = t + 1 + int(costs.argmin())
        rest[t] = costs.min()
    quantities, t = np.zeros(periods), 0
    while t < periods:
        quantities[t] = demand[t : upto[t]].sum()
        t = int(upto[t])
    return Schedule(quantities, float(rest[0]))


@dataclass(frozen=True)
class JointPolicy:
    """Items ordered together every so often.

    Attributes:
        interval: Time between joint orders.
        multiples: Each item takes part in every so-manieth order, shape (items,).
        cost: Per unit of time.
    """

    interval: float
    multiples: Array
    cost: float


def joint_replenishment(
    fixed_cost: float, item_fixed_cost: Array, holding_cost: Array, demand_rate: Array
) -> JointPolicy:
    """How often to order items that share an order's fixed cost (Silver 1976, doi:10.1287/mnsc.22.12.1351).

    The item that by itself would be ordered most often comes every time; the others at the whole multiple nearest, in
    cost, to their own best interval.

    Args:
        fixed_cost: Per joint order.
        item_fixed_cost: Per order an item takes part in, shape (items,).
        holding_cost: Per unit and unit of time, shape (items,).
        demand_rate: Units per unit of time, shape (items,).
    """
    weight = holding_cost * demand_rate
    often = int((item_fixed_cost / weight).argmin())
    base = (fixed_cost + item_fixed_cost[often]) / weight[often]
    wished = np.where(np.arange(len(weight)) == often, 0.0, item_fixed_cost / weight / base)
    # smallest whole m with m(m + 1) ≥ the squared multiple: there one more no longer lowers the cost
    multiples = np.maximum(np.ceil(np.sqrt(0.25 + wished) - 0.5), 1.0)
    fixed = fixed_cost + float((item_fixed_cost / multiples).sum())
    lot = economic_order_quantity(fixed, float((multiples * weight).sum()), 1.0)
    return JointPolicy(lot.level, multiples, lot.cost)
