"""A supplier's minimum value is met at the price really paid, against every plan there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.supply.allocation import Prices, together
from pipelines.supply.menu import Menu


def shop(seed: int, lines: int = 4, choices: int = 4) -> tuple[pl.DataFrame, Menu, float]:
    rng = np.random.default_rng(seed)
    quantity = np.arange(choices) * rng.integers(1, 9, (lines, 1)) * 1.0
    cost = rng.uniform(0.2, 2, (lines, 1)) * np.abs(quantity - rng.uniform(0, quantity.max(), (lines, 1)))
    base = rng.integers(2, 9, lines) * 1.0
    breaks = [f"{q[2]:.0f}:{p / 2}" for q, p in zip(quantity, base, strict=True)]
    frame = pl.DataFrame(
        {
            "supplier_id": ["S"] * lines,
            "quantity": quantity[np.arange(lines), cost.argmin(axis=1)],
            "binding_constraint": ["none"] * lines,
            "unit_cost": base,
            "price_breaks": breaks,
        }
    )
    return frame, Menu(quantity, cost), float(rng.uniform(0.1, 0.6) * (base @ quantity[:, -1]))


def paid(frame: pl.DataFrame, units: np.ndarray) -> float:
    """What the lines cost, read from the text of their price breaks."""
    total = 0.0
    for cost, text, bought in zip(frame["unit_cost"], frame["price_breaks"], units, strict=True):
        start, price = (float(part) for part in text.split(":"))
        total += bought * (price if bought >= start else cost)
    return total


@given(st.integers(0, 10_000))
def test_an_order_is_never_below_the_minimum_at_the_price_paid_nor_cheaper_than_the_best_plan(seed):
    frame, menu, least = shop(seed)
    suppliers = pl.DataFrame({"supplier_id": ["S"], "minimum_value": [least]})
    fitted, _ = together(frame, menu, suppliers, {})
    units = fitted["quantity"].to_numpy()
    assert not units.any() or paid(frame, units) >= least - 1e-6
    rows, best = np.arange(len(units)), np.inf
    for columns in product(range(menu.quantity.shape[1]), repeat=len(units)):
        column = np.array(columns)
        bought = menu.quantity[rows, column]
        if not bought.any() or paid(frame, bought) >= least - 1e-6:
            best = min(best, float(menu.cost[rows, column].sum()))
    found = sum(np.interp(q, m, c) for q, m, c in zip(units, menu.quantity, menu.cost, strict=True))
    assert found >= best - 1e-6
    assert found <= menu.cost[:, 0].sum() + 1e-6


def test_a_discount_that_breaks_the_minimum_is_made_up_for():
    frame = pl.DataFrame(
        {
            "supplier_id": ["S", "S"], "quantity": [10.0, 0.0], "binding_constraint": ["none", "none"],
            "unit_cost": [10.0, 10.0], "price_breaks": ["10:5", None],
        }
    )  # fmt: skip
    menu = Menu(np.array([[0.0, 10, 20], [0, 5, 10]]), np.array([[900.0, 0, 50], [0, 1, 60]]))
    suppliers = pl.DataFrame({"supplier_id": ["S"], "minimum_value": [100.0]})
    fitted, _ = together(frame, menu, suppliers, {})
    assert fitted["quantity"].to_list() == [10.0, 5.0]  # 10 at 5 and 5 at 10; at first prices 10 would have done
    assert Prices.of(frame).at(np.array([10.0, 5.0])).tolist() == pytest.approx([5.0, 10.0])
