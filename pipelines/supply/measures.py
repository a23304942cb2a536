"""What a walk through a scenario is judged by: cost, service, stock, calm, and how surely one policy beats another.

Fill rate counts units served from stock at once ÷ units asked for; cycle service counts times between two receipts in
which nothing was missing. They are never mixed (Snyder & Shen 2019, section 4.3.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from pipelines.supply.policies.rules import OrderUpTo
from pipelines.supply.scenario import Scenario, Units
from pipelines.supply.simulator import Totals, simulate

_LEVELS = 12  # tried at a time for each item
_NARROWINGS = 4


@dataclass(frozen=True)
class Measures:
    """One policy in one scenario, all items together.

    Attributes:
        cost: Money a period.
        fill_rate: Units served from stock at once ÷ units asked for; 1 where none were.
        cycle_service: Share of times between two receipts in which nothing was missing.
        average_stock: Units on the shelf at the end of a period.
        order_lines_a_week: Orders placed in seven days.
        bullwhip: Variance of orders ÷ variance of demand, period by period, summed over items (Chen et al. 2000,
            doi:10.1287/mnsc.46.3.436.12069); not-a-number where demand never varies.
        expired: Units thrown out in a period.
    """

    cost: float
    fill_rate: float
    cycle_service: float
    average_stock: float
    order_lines_a_week: float
    bullwhip: float
    expired: float


def measure(scenario: Scenario, totals: Totals, *, days_a_period: float) -> Measures:
    """Judge a walk.

    Args:
        scenario: What was walked through.
        totals: What it came to.
        days_a_period: Mean length of a period, days.
    """
    asked, periods = totals.demand.sum(), totals.periods
    varied = _variance(totals.demand, totals.demand_squares, periods).sum()
    orders_varied = _variance(totals.ordered, totals.ordered_squares, periods).sum()
    return Measures(
        cost=float(cost(scenario, totals).sum()),
        fill_rate=float(1 - totals.unmet.sum() / asked) if asked > 0 else 1.0,
        cycle_service=float(1 - totals.short_cycles.sum() / totals.cycles.sum()),
        average_stock=float(totals.stock.sum() / periods),
        order_lines_a_week=float(totals.order_lines.sum() / periods * 7 / days_a_period),
        bullwhip=float(orders_varied / varied) if varied > 0 else float("nan"),
        expired=float(totals.expired.sum() / periods),
    )


def cost(scenario: Scenario, totals: Totals) -> Units:
    """Holding, shortage, ordering and expiry, money a period, shape (n,)."""
    short = totals.unmet if scenario.lost else totals.backlog
    money = scenario.holding_cost * totals.stock + scenario.shortage_cost * short
    money = money + scenario.order_cost * totals.order_lines + scenario.expiry_cost * totals.expired
    return np.asarray(money / totals.periods)


def best_static(scenario: Scenario, *, whole: bool = True, threads: int = 1) -> Units:
    """The order-up-to level of each item that would have cost least, known only in hindsight, units, shape (n,).

    Levels are tried on a grid that narrows around the cheapest, from none to the most that was asked for in any
    stretch of lead time and review; the last grid has a level for every unit or is finer than the items need.

    Args:
        scenario: What is walked through, without a budget (a budget ties the items together).
        whole: Whether levels are whole units.
        threads: Blocks of items walked at once.

    Raises:
        ValueError: The scenario has a budget.
    """
    if scenario.budget is not None:
        raise ValueError("with a budget no item has a best level of its own")
    low, high = np.zeros(scenario.items), _most_asked(scenario)
    best, least = low.copy(), np.full(scenario.items, np.inf)
    for _ in range(_NARROWINGS):
        for part in np.linspace(0, 1, _LEVELS):
            level = low + (high - low) * part
            level = np.rint(level) if whole else level
            spent = cost(scenario, simulate(scenario, OrderUpTo(level), threads=threads).totals)
            better = spent < least
            best, least = np.where(better, level, best), np.where(better, spent, least)
        step = (high - low) / (_LEVELS - 1)
        low, high = np.maximum(best - step, 0), best + step
    return best


def regret(scenario: Scenario, totals: Totals, *, threads: int = 1) -> Units:
    """Cost above that of the best static order-up-to level in hindsight, money a period, shape (n,).

    Negative where a policy that looks ahead beats every level that stays the same.
    """
    static = simulate(scenario, OrderUpTo(best_static(scenario, threads=threads)), threads=threads).totals
    return np.asarray(cost(scenario, totals) - cost(scenario, static))


def compare(costs: Mapping[str, Units], baseline: str) -> pl.DataFrame:
    """Policies beside a baseline on the same draws: common random numbers make the differences much surer.

    Args:
        costs: Money of each policy in each independent draw (replications, or items), shape (m,), all in one order.
        baseline: The policy the others are compared with.

    Returns:
        `policy`, `cost` (mean), `saving` (mean of baseline less policy), `saving_se` (its standard error, from the
        paired differences), `saving_share` (of the baseline's cost); cheapest first.

    Example:
        >>> compare({"old": np.array([4.0, 9.0]), "new": np.array([3.0, 7.0])}, "old").rows()
        [('new', 5.0, 1.5, 0.5, 0.23076923076923078), ('old', 6.5, 0.0, 0.0, 0.0)]
    """
    base = costs[baseline]
    rows = []
    for policy, spent in costs.items():
        saved = base - spent
        error = float(saved.std(ddof=1) / np.sqrt(len(saved))) if len(saved) > 1 else float("nan")
        rows.append((policy, float(spent.mean()), float(saved.mean()), error, float(saved.mean() / base.mean())))
    columns = ["policy", "cost", "saving", "saving_se", "saving_share"]
    return pl.DataFrame(rows, schema=columns, orient="row").sort("cost", "policy")


def _most_asked(scenario: Scenario) -> Units:
    """The most units asked for in any stretch of lead time and review, shape (n,)."""
    lead = scenario.lead if scenario.lead.ndim == 1 else scenario.lead.max(axis=1)
    stretch = np.minimum(lead + scenario.review, scenario.periods)
    asked = np.concatenate(
        [np.zeros((scenario.items, 1)), np.cumsum(scenario.demand, axis=1, dtype=np.float64)], axis=1
    )
    start = np.arange(scenario.periods)
    end = np.minimum(start + stretch[:, None], scenario.periods)
    return np.asarray((np.take_along_axis(asked, end, axis=1) - asked[:, :-1]).max(axis=1))


def _variance(total: Units, squares: Units, periods: int) -> Units:
    return np.asarray(np.maximum(squares / periods - (total / periods) ** 2, 0))
