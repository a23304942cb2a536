"""How fast orders are put together: greedy increments, a budget over a million lines, exact baskets.

python tests/bench/baskets.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from measuring import answer, child, measured, seconds

from pipelines.supply.allotment import allot
from pipelines.supply.increments import Increments, increments
from pipelines.supply.menu import Menu


def greedy(folder: Path, count: int) -> dict:
    """Take increments in the order of their worth until a budget is spent."""
    rng = np.random.default_rng(1)
    line, cost, units = np.arange(count) // 4, -rng.gamma(1.0, 10.0, count), rng.integers(1, 20, count) * 1.0
    column = np.tile(np.arange(4), count // 4)
    steps = Increments(line, column, column + 1, units, cost)
    price = rng.uniform(1, 20, count // 4)
    figures: dict = {}
    with measured(figures):
        order, _ = steps.by_worth(price)
        spent = np.cumsum(units[order] * price[line[order]])
        taken = order[: np.searchsorted(spent, spent[-1] / 2)]
    return figures | {"taken": len(taken)}


def budget(folder: Path, lines: int) -> dict:
    """Share out half the money that all lines ask for."""
    menu, uses = _menu(lines)
    asked = float(uses[:, 0] @ menu.quantity[np.arange(lines), menu.cost.argmin(axis=1)])
    figures: dict = {}
    with measured(figures):
        plan = allot(menu, uses, {"value": asked / 2})
    return figures | {"gap": plan.gap, "used": plan.used["value"] / (asked / 2)}


def hulls(folder: Path, lines: int) -> dict:
    """The increments of menus."""
    menu, _ = _menu(lines)
    figures: dict = {}
    with measured(figures):
        steps = increments(menu)
    return figures | {"increments": len(steps.line)}


def _menu(lines: int) -> tuple[Menu, np.ndarray]:
    rng = np.random.default_rng(2)
    quantity = np.arange(8) * rng.integers(1, 12, (lines, 1)) * 1.0
    over = quantity - rng.gamma(1.0, 40.0, (lines, 1))
    cost = np.maximum(0.2 * over, -rng.uniform(0.5, 4, (lines, 1)) * over)
    uses = np.column_stack([rng.uniform(1, 20, lines), np.ones(lines), np.zeros((lines, 3))])
    return Menu(quantity, cost), uses


TASKS = {task.__name__: task for task in (greedy, budget, hulls)}


def main() -> None:
    """Print every figure."""
    found = child(greedy, Path(), count=1_000_000)
    print(f"1,000,000 greedy increments: {seconds(found)}")
    found = child(hulls, Path(), lines=1_000_000)
    print(f"hulls of 1,000,000 menus of 8: {seconds(found)}, {found['increments']:,} increments")
    found = child(budget, Path(), lines=1_000_000)
    print(f"a budget over 1,000,000 lines: {seconds(found)}, gap {found['gap']:.1e}, {found['used']:.4%} used")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        answer(sys.argv[2], TASKS)
    else:
        main()
