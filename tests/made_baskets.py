"""Random problems of ordering together, from a seed, and the cost of their best plan by a program of another make.

The oracle knows no menus: packs of a line are one whole number, its cost lies above two straight lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import optimize, sparse, stats

from pipelines.supply.menu import Menu
from pipelines.supply.suppliers import MEASURES, Suppliers

FILL = 0.9
_COLUMNS = 24  # of a menu made from a normal
_P90 = float(stats.norm.ppf(0.9))


@dataclass(frozen=True)
class Problem:
    """Lines with a wish, costs of missing it either way, packs and a minimum; rules and capacities over them."""

    wish: np.ndarray
    holding: np.ndarray
    shortage: np.ndarray
    pack: np.ndarray
    least: np.ndarray  # packs
    most: np.ndarray  # packs
    uses: np.ndarray
    suppliers: Suppliers
    capacities: dict[str, float]

    def menu(self) -> Menu:
        """Nothing, and every number of packs from the least to the most."""
        width = int((self.most - self.least).max()) + 2
        packs = np.minimum(self.least[:, None] + np.arange(width - 1), self.most[:, None])
        quantity = np.column_stack([np.zeros(len(self.pack)), packs * self.pack[:, None]])
        over = quantity - self.wish[:, None]
        return Menu(quantity, np.maximum(self.holding[:, None] * over, -self.shortage[:, None] * over))

    def broken(self, quantity: np.ndarray) -> list[str]:
        """Rules that quantities break, in words."""
        loads = {name: self.uses[:, d] * quantity for d, name in enumerate(MEASURES)}
        words = [name for name, most in self.capacities.items() if loads[name].sum() > most * (1 + 1e-6)]
        for s in range(len(self.suppliers.fixed_cost)):
            mine = self.suppliers.of_line == s
            if not quantity[mine].any():
                continue
            for d, name in enumerate(MEASURES):
                if loads[name][mine].sum() < self.suppliers.minimum[s, d] * (1 - 1e-6):
                    words.append(f"minimum of {s}")
            trucks = max(loads[name][mine].sum() / self.suppliers.truck[s, d] for d, name in enumerate(MEASURES))
            if trucks > 0 and trucks % 1 > 1e-5 and trucks % 1 < FILL - 1e-5:
                words.append(f"truck of {s}")
        return words

    def cost(self, quantity: np.ndarray) -> float:
        """Of the lines and of the suppliers' orders."""
        over = quantity - self.wish
        lines = np.maximum(self.holding * over, -self.shortage * over).sum()
        fixed = self.suppliers.fixed_cost
        return float(lines + sum(fixed[s] for s in range(len(fixed)) if quantity[self.suppliers.of_line == s].any()))


def problem(seed: int, *, lines: tuple[int, int] = (4, 25)) -> Problem:
    """A random problem: minima, trucks, a budget, a volume, or several of them."""
    rng = np.random.default_rng(seed)
    n, count = int(rng.integers(*lines)), int(rng.integers(1, 4))
    wish = np.round(rng.gamma(1.0, 40.0, n) * (rng.random(n) < 0.7), 1)
    pack = np.maximum(rng.integers(1, 20, n), np.ceil(wish / 5))
    least = rng.choice([1, 1, 1, 3], n)
    uses = np.column_stack(
        [
            rng.uniform(1, 20, n),
            np.ones(n),
            1 / rng.integers(20, 100, n),
            rng.uniform(0.01, 0.1, n),
            rng.uniform(0.1, 2, n),
        ]
    )
    of_line = np.arange(n) % count
    load = np.array([uses[of_line == s].T @ wish[of_line == s] for s in range(count)])
    minimum, truck = np.zeros((count, 5)), np.full((count, 5), np.inf)
    for s in range(count):
        kind = rng.integers(0, 4)
        if kind in (1, 3):
            minimum[s, rng.integers(0, 2)] = 1.0
            minimum[s] *= load[s] * rng.uniform(0.5, 2.5)
        if kind in (2, 3):
            truck[s, 2] = max(load[s, 2] / rng.uniform(0.3, 4), 0.2)
    scarce = [name for name in ("value", "volume") if rng.random() < 0.5]
    capacities = {name: float(rng.uniform(0.2, 1.1) * load[:, MEASURES.index(name)].sum()) for name in scarce}
    return Problem(
        wish=wish,
        holding=rng.uniform(0.05, 0.5, n),
        shortage=rng.uniform(0.5, 4, n),
        pack=pack,
        least=least,
        most=np.maximum(np.ceil(2.5 * wish / pack), least + 2).astype(int),
        uses=uses,
        suppliers=Suppliers(of_line, minimum, truck, rng.choice([0.0, 15.0], count), FILL),
        capacities=capacities,
    )


def best(made: Problem) -> float:
    """Cost of the best plan: variables packs, orders, costs of lines; orders and trucks of suppliers."""
    n, count = len(made.wish), len(made.suppliers.fixed_cost)
    packs, some, cost = np.arange(n), n + np.arange(n), 2 * n + np.arange(n)
    order, trucks = 3 * n + np.arange(count), 3 * n + count + np.arange(count)
    size = 3 * n + 2 * count
    rows: list[tuple[dict[int, float], float, float]] = []
    for i in range(n):
        units = made.pack[i]
        rows.append(({packs[i]: 1.0, some[i]: -float(made.least[i])}, 0.0, np.inf))
        rows.append(({packs[i]: 1.0, some[i]: -float(made.most[i])}, -np.inf, 0.0))
        rows.append(({some[i]: 1.0, order[made.suppliers.of_line[i]]: -1.0}, -np.inf, 0.0))
        rows.append(({cost[i]: 1.0, packs[i]: -made.holding[i] * units}, -made.holding[i] * made.wish[i], np.inf))
        rows.append(({cost[i]: 1.0, packs[i]: made.shortage[i] * units}, made.shortage[i] * made.wish[i], np.inf))
    for s in range(count):
        mine = np.flatnonzero(made.suppliers.of_line == s)
        for d in range(len(MEASURES)):
            load = {packs[i]: made.uses[i, d] * made.pack[i] for i in mine}
            if made.suppliers.minimum[s, d] > 0:
                rows.append((load | {order[s]: -made.suppliers.minimum[s, d]}, 0.0, np.inf))
            holds = made.suppliers.truck[s, d]
            if np.isfinite(holds):
                rows.append((load | {trucks[s]: -holds}, -holds * (1 - FILL), 0.0))
    for name, most in made.capacities.items():
        rows.append(({packs[i]: made.uses[i, MEASURES.index(name)] * made.pack[i] for i in range(n)}, -np.inf, most))
    matrix = sparse.dok_array((len(rows), size))
    for r, (entries, _, _) in enumerate(rows):
        for c, value in entries.items():
            matrix[r, c] = value
    objective = np.zeros(size)
    objective[cost] = 1.0
    objective[order] = made.suppliers.fixed_cost
    upper = np.full(size, np.inf)
    upper[some] = upper[order] = 1.0
    whole = np.ones(size)
    whole[cost] = 0
    found = optimize.milp(
        objective,
        integrality=whole,
        bounds=optimize.Bounds(np.zeros(size), upper),
        constraints=optimize.LinearConstraint(
            matrix.tocsr(), [low for _, low, _ in rows], [high for _, _, high in rows]
        ),
        options={"mip_rel_gap": 1e-4},
    )
    return float(found.fun)


def normal_menu(lines: pl.DataFrame) -> Menu:
    """Menus of lines whose demand over the protection interval is taken as normal.

    Cost of q units: holding · E[(stock + q − demand)⁺] + shortage · E[(demand − stock − q)⁺] (Snyder & Shen 2019,
    section 4.3), the standard deviation from the distance of mean and 90 % quantile.

    Args:
        lines: `on_hand`, `on_order`, `demand_mean`, `demand_p90`, `quantity`, `unconstrained_quantity`,
            `window_holding_cost` (per unit through a review), `shortage_cost`, `moq`, `multiple`, `maximum`.
    """
    number = {name: lines[name].cast(pl.Float64).to_numpy() for name in lines.columns if lines[name].dtype.is_numeric()}
    step = np.maximum(number["multiple"], 0.0)
    most = np.maximum(2 * np.maximum(number["unconstrained_quantity"], number["quantity"]), number["demand_mean"])
    lowest = np.where(
        step > 0, np.maximum(np.ceil(number["moq"] / np.where(step > 0, step, 1)), 1) * step, number["moq"]
    )
    stride = np.maximum(most - lowest, 0.0) / (_COLUMNS - 2)
    stride = np.where(step > 0, np.maximum(np.ceil(stride / np.where(step > 0, step, 1)), 1) * step, stride)
    above = lowest[:, None] + stride[:, None] * np.arange(_COLUMNS - 1)
    highest = np.where(above <= number["maximum"][:, None], above, -np.inf).max(axis=1)
    above = np.minimum(above, np.maximum(highest, 0.0)[:, None])
    quantity = np.column_stack([np.zeros(lines.height), above])
    stock = (number["on_hand"] + number["on_order"])[:, None] + quantity
    spread = np.maximum((number["demand_p90"] - number["demand_mean"]) / _P90, 1e-9)[:, None]
    z = (stock - number["demand_mean"][:, None]) / spread
    short = spread * (stats.norm.pdf(z) - z * stats.norm.sf(z))
    held = spread * z + short
    return Menu(quantity, number["window_holding_cost"][:, None] * held + number["shortage_cost"][:, None] * short)
