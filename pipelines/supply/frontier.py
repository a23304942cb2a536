"""The frontier of service and stock: how much stock each policy needs for each fill rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipelines.supply.measures import measure
from pipelines.supply.scenario import Scenario
from pipelines.supply.simulator import Order, simulate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def frontier(
    scenario: Scenario,
    policies: Mapping[str, Callable[[float], Order]],
    settings: Sequence[float],
    *,
    days_a_period: float,
    threads: int = 1,
) -> pl.DataFrame:
    """Walk each policy at each setting through the same scenario.

    Args:
        scenario: The world.
        policies: Name → the policy at a setting (a ratio, a service level, a number of weeks of cover).
        settings: From careless to careful.
        days_a_period: Mean length of a period, days.
        threads: Blocks of items walked at once.

    Returns:
        `policy`, `setting` and the columns of `measures.Measures`, in the order of policies and settings.
    """
    rows = []
    for name, policy in policies.items():
        for setting in settings:
            totals = simulate(scenario, policy(setting), threads=threads).totals
            found = asdict(measure(scenario, totals, days_a_period=days_a_period))
            rows.append({"policy": name, "setting": float(setting), **found})
    return pl.DataFrame(rows)


def stock_at_fill_rate(points: pl.DataFrame, fill_rate: float) -> dict[str, float]:
    """Average stock each policy needs for a fill rate, between its two nearest points; nothing beyond its range.

    Args:
        points: From `frontier`.
        fill_rate: Units served from stock at once ÷ units asked for.

    Example:
        >>> points = {"policy": ["a", "a"], "setting": [0.5, 0.9], "fill_rate": [0.5, 1.0], "average_stock": [4.0, 8.0]}
        >>> stock_at_fill_rate(pl.DataFrame(points), 0.75)
        {'a': 6.0}
    """
    needed = {}
    for (name,), own in points.sort("fill_rate", "average_stock").group_by("policy", maintain_order=True):
        filled, stock = own["fill_rate"].to_numpy(), own["average_stock"].to_numpy()
        if filled[0] <= fill_rate <= filled[-1]:
            needed[str(name)] = float(np.interp(fill_rate, filled, stock))
    return dict(sorted(needed.items()))


def figure(points: pl.DataFrame) -> Figure:
    """The frontier as a figure: a policy whose line runs further to the left needs less stock for the same service.

    Args:
        points: From `frontier`.
    """
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(7, 4.5), layout="constrained")
    drawn.suptitle("Fill rate against stock (further up and to the left is better)")
    axes = drawn.add_subplot()
    for (name,), own in points.group_by("policy", maintain_order=True):
        own = own.sort("average_stock", "fill_rate")
        axes.plot(own["average_stock"], own["fill_rate"], marker="o", markersize=3, label=str(name).replace("_", " "))
    axes.set_xlabel("average stock, units")
    axes.set_ylabel("fill rate")
    axes.legend(loc="lower right")
    return drawn
