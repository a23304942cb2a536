"""Orders of one round put together: from the tables of suppliers and terms to an allotment, and back to the lines.

The decision a line was given stays its own choice: what it holds beyond the costs of the menu (a service target, an
effective ratio) counts as a price on every unit of departure from it, the lowest at which the decision is the
cheapest column of its menu.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from pipelines.settings import Supply
from pipelines.supply.allotment import Allotment, allot
from pipelines.supply.lines import price_breaks_of
from pipelines.supply.menu import Menu
from pipelines.supply.paths import Array
from pipelines.supply.suppliers import MEASURES, Suppliers

_MINIMUM = {"value": "minimum_value", "units": "minimum_units"}
_VALUE = MEASURES.index("value")
_ATTEMPTS = 5  # at a plan whose orders are paid in full; the last one cannot fail
_EXACT = 1e-9
_TRUCK = {"pallets": "truck_pallets", "volume": "truck_volume", "weight": "truck_weight"}


def together(
    lines: pl.DataFrame, menu: Menu, suppliers: pl.DataFrame, capacities: Mapping[str, float]
) -> tuple[pl.DataFrame, Allotment]:
    """Fit the orders of a round to suppliers' minima and trucks, and to budget and capacity.

    Args:
        lines: One row a line with `supplier_id`, `quantity`, `binding_constraint`, `unit_cost`, and where known
            `pallet_units`, `volume` and `weight`; a line that lacks one takes none of that measure.
        menu: What each line could order, in the same order.
        suppliers: Table suppliers.
        capacities: Most of a measure (`MEASURES`; value is the budget) that all orders may take.

    Returns:
        Columns `quantity` and `binding_constraint`, a row a line, and the allotment they come from.
    """
    wanted = lines["quantity"].cast(pl.Float64).to_numpy()
    choices = anchored(menu, wanted)
    uses = uses_of(lines)
    rules = _measurable(rules_of(lines["supplier_id"], suppliers), uses)
    plan = paid_in_full(choices, uses, dict(capacities), rules, Prices.of(lines))
    stays = plan.binding == "none"
    quantity = np.where(stays, wanted, choices.quantity[np.arange(len(wanted)), plan.column])
    binding = np.where(stays, lines["binding_constraint"].to_numpy().astype(str), plan.binding)
    return pl.DataFrame({"quantity": quantity, "binding_constraint": binding}), plan


@dataclass(frozen=True)
class Prices:
    """What a unit of each line costs, by the quantity bought (all-units discounts).

    Attributes:
        base: Below the first break, shape (n,).
        start: Quantities from which each break holds, ascending, padded with infinity, shape (n, b).
        cost: What a unit costs from there on, shape (n, b).
    """

    base: Array
    start: Array
    cost: Array

    @classmethod
    def of(cls, lines: pl.DataFrame) -> Prices:
        """From `unit_cost` and, where there are some, `price_breaks`."""
        base = _numbers(lines, "unit_cost", 0.0)
        start, cost = price_breaks_of(lines) if "price_breaks" in lines.columns else (None, None)
        none = np.empty((len(base), 0))
        return cls(base, none if start is None else start, none if cost is None else cost)

    def at(self, quantity: Array) -> Array:
        """Of one unit where so many are bought, shape (n,)."""
        reached = (self.start <= quantity[:, None] + _EXACT).sum(axis=1)
        return np.asarray(np.column_stack([self.base, self.cost])[np.arange(len(reached)), reached])

    def deepest(self) -> Array:
        """The lowest price as a share of the first, shape (n,)."""
        cost = np.where(np.isfinite(self.start), self.cost, np.inf)
        lowest = np.minimum(cost.min(axis=1, initial=np.inf), self.base)
        return np.asarray(np.divide(lowest, self.base, out=np.ones_like(lowest), where=self.base > 0))


def paid_in_full(
    choices: Menu, uses: Array, capacities: dict[str, float], rules: Suppliers, prices: Prices
) -> Allotment:
    """An allotment whose orders reach each supplier's minimum value at the prices really paid.

    Values are counted at first prices, which no discount exceeds: budgets hold all the same, a minimum may not. Where
    an order falls short, its supplier's minimum is raised by what lacks and all is shared out anew; the last time to
    where the deepest discount of all of its lines still leaves enough.

    Args:
        choices: Choices of all lines.
        uses: What one unit of each line takes of each of `MEASURES`, at first prices, shape (n, 5).
        capacities: As for `allot`.
        rules: Rules per supplier.
        prices: By the quantity bought.
    """
    asked_for, minimum = rules.minimum[:, _VALUE], rules.minimum.copy()
    share = np.ones(len(asked_for))
    np.minimum.at(share, rules.of_line, prices.deepest())
    enough = np.divide(asked_for, share, out=np.full_like(asked_for, np.inf), where=share > 0)
    enough = np.where(asked_for > 0, enough, 0.0)
    for attempt in range(_ATTEMPTS):
        plan = allot(choices, uses, capacities, replace(rules, minimum=minimum))
        units = choices.quantity[np.arange(len(uses)), plan.column]
        paid = np.bincount(rules.of_line, prices.at(units) * units, minlength=len(asked_for))
        ordered = np.bincount(rules.of_line, units, minlength=len(asked_for)) > 0
        lacks = np.where(ordered, asked_for - paid, 0.0)
        short = lacks > _EXACT * np.maximum(asked_for, 1.0)
        if not short.any():
            break
        raised = enough if attempt == _ATTEMPTS - 2 else np.minimum(minimum[:, _VALUE] + lacks, enough)
        minimum = minimum.copy()
        minimum[:, _VALUE] = np.where(short | (minimum[:, _VALUE] > asked_for), raised, minimum[:, _VALUE])
    return plan


def capacities_of(supply: Supply) -> dict[str, float]:
    """Budget and capacities that are set, by measure."""
    said = {"value": supply.budget, **supply.capacity.model_dump()}
    return {name: most for name, most in said.items() if most is not None}


def asked(suppliers: pl.DataFrame, capacities: Mapping[str, float]) -> bool:
    """Whether anything holds lines together, so that `together` could change an order."""
    rules = [name for name in (*_MINIMUM.values(), *_TRUCK.values(), "fixed_order_cost") if name in suppliers.columns]
    stated = suppliers.select(pl.any_horizontal(pl.col(name).fill_null(0) > 0 for name in rules)) if rules else None
    return bool(capacities) or (stated is not None and bool(stated.to_series().any()))


def uses_of(lines: pl.DataFrame) -> Array:
    """What one unit of each line takes of each of `MEASURES`, shape (n, 5)."""
    pallets = np.divide(1.0, _numbers(lines, "pallet_units", np.inf))
    volume, weight = _numbers(lines, "volume", 0.0), _numbers(lines, "weight", 0.0)
    return np.column_stack([_numbers(lines, "unit_cost", 0.0), np.ones(lines.height), pallets, volume, weight])


def rules_of(of_line: pl.Series, suppliers: pl.DataFrame) -> Suppliers:
    """The rules of the suppliers that the lines name; who is not in the table asks nothing.

    Args:
        of_line: `supplier_id` of each line.
        suppliers: Table suppliers.
    """
    named = pl.DataFrame({"supplier_id": of_line.unique().sort()}).with_row_index("number")
    rules = named.join(suppliers, on="supplier_id", how="left", maintain_order="left")
    number = of_line.to_frame("supplier_id").join(named, on="supplier_id", how="left", maintain_order="left")["number"]
    none, no_limit = np.zeros(named.height), np.full(named.height, np.inf)
    return Suppliers(
        of_line=number.cast(pl.Int64).to_numpy(),
        minimum=np.column_stack([_numbers(rules, _MINIMUM[m], 0.0) if m in _MINIMUM else none for m in MEASURES]),
        truck=np.column_stack([_numbers(rules, _TRUCK[m], np.inf) if m in _TRUCK else no_limit for m in MEASURES]),
        fixed_cost=_numbers(rules, "fixed_order_cost", 0.0),
    )


def _measurable(rules: Suppliers, uses: Array) -> Suppliers:
    """Rules without trucks in measures that none of a supplier's lines is known to take: no load could fill them."""
    known = rules.loads((uses > 0).astype(np.float64), np.ones(len(uses))) > 0
    return replace(rules, truck=np.where(known, rules.truck, np.inf))


def anchored(menu: Menu, wanted: Array) -> Menu:
    """A menu that holds a quantity a line, at the least cost of all.

    Args:
        menu: Quantities and costs.
        wanted: The quantity each line was given, shape (n,).

    Example:
        >>> menu = anchored(Menu(np.array([[0.0, 10, 20]]), np.array([[8.0, 4, 6]])), np.array([15.0]))
        >>> menu.quantity.tolist(), menu.cost.argmin(axis=1).tolist()
        ([[0.0, 10.0, 15.0, 20.0]], [2])
    """
    at = np.minimum((menu.quantity < wanted[:, None]).sum(axis=1), menu.quantity.shape[1] - 1)
    rows, before = np.arange(len(wanted)), np.maximum(at - 1, 0)
    low, high = menu.quantity[rows, before], menu.quantity[rows, at]
    part = np.divide(wanted - low, high - low, out=np.ones_like(wanted), where=high > low).clip(0, 1)
    cost = np.where(part == 1, menu.cost[rows, at], (1 - part) * menu.cost[rows, before] + part * menu.cost[rows, at])
    quantity, costs = np.column_stack([menu.quantity, wanted]), np.column_stack([menu.cost, cost])
    away = np.abs(quantity - wanted[:, None])
    dearer = np.divide(cost[:, None] - costs, away, out=np.zeros_like(costs), where=away > 0).max(axis=1)
    # a little more, so that rounding and columns of equal cost do not win
    tilt = 1.001 * dearer + 1e-9 * (1 + np.abs(cost)) / (1 + away.max(axis=1))
    costs = costs + tilt[:, None] * away
    order = np.argsort(quantity, axis=1, kind="stable")
    return Menu(np.take_along_axis(quantity, order, axis=1), np.take_along_axis(costs, order, axis=1))


def _numbers(frame: pl.DataFrame, column: str, otherwise: float) -> Array:
    if column not in frame.columns:
        return np.full(frame.height, otherwise)
    return frame[column].cast(pl.Float64).fill_null(otherwise).to_numpy()
