"""The quantity that costs least, or that meets the service target, for many lines at once: arrays in, one frame out.

Demand over the protection interval (lead time + review) comes as sample paths, or as quantiles where there is no more;
stock is projected through it; the order is chosen on the whole distribution and then fitted to the supplier's terms.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.settings import Supply
from pipelines.summary import progress
from pipelines.supply.closed_form import from_quantiles
from pipelines.supply.constraints import STEPS, PriceBreaks, Terms, constrain
from pipelines.supply.line_arrays import COST, CYCLE, Lines
from pipelines.supply.outlook import Outlook
from pipelines.supply.paths import Array, comes, draws, lead_times
from pipelines.supply.perishables import Shelf, age
from pipelines.supply.projection import Position, project
from pipelines.supply.window import Costs, View

__all__ = ["PATHS", "Lines", "decide"]

PATHS = 256
_PATHS_AT_ONCE, _QUANTILES_AT_ONCE = 512, 16_384


def decide(lines: Lines, ahead: Outlook, supply: Supply, *, seed: int, threads: int = 1) -> pl.DataFrame:
    """Decide every line.

    Args:
        lines: What is there, what comes, and the terms.
        ahead: Demand ahead of the same lines; no not-a-number.
        supply: Objective, what happens to unmet demand, effective ratio.
        seed: Seed of the draws that all lines share.
        threads: Blocks of lines at work at once; the result does not depend on it.

    Returns:
        One row a line in the same order: quantity, unconstrained_quantity, order_up_to, binding_constraint, the
        expected costs, the stock-out risks, on_order, demand_mean, demand_p50 and demand_p90.
    """
    decided = across(
        lines, ahead, supply, lambda _, some, view: _decided(some, view, supply), seed=seed, threads=threads
    )
    return pl.DataFrame(decided)


def across(
    lines: Lines,
    ahead: Outlook,
    supply: Supply,
    answer: Callable[[npt.NDArray[np.intp], Lines, View], dict[str, Array]],
    *,
    seed: int,
    threads: int = 1,
) -> dict[str, Array]:
    """Answer a question about every line, block by block.

    Args:
        lines: What is there, what comes, and the terms.
        ahead: Demand ahead of the same lines.
        supply: What happens to unmet demand, and how to look ahead.
        answer: From the numbers of a block of lines, these lines, completed, and the view of them: arrays with one
            row a line.
        seed: Seed of the draws that all lines share.
        threads: Blocks at work at once; the result does not depend on it.

    Returns:
        The arrays by name, one row a line in the order of `lines`.
    """
    lines = lines.completed(supply)
    view, at_once = _views(ahead, supply, seed)
    blocks = list(lines.blocks(ahead.pool, at_once=at_once))
    answers: dict[str, Array] = {}

    def work(rows: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], dict[str, Array]]:
        some = lines.rows(rows)
        return rows, answer(rows, some, view(some, ahead.rows(rows)))

    with ThreadPoolExecutor(threads) as pool, progress("replenish", len(blocks)) as advance:
        for rows, figures in pool.map(work, blocks):
            for name, values in figures.items():
                if name not in answers:
                    answers[name] = np.empty((len(lines.on_hand), *values.shape[1:]), dtype=values.dtype)
                answers[name][rows] = values
            advance()
    return answers


def _views(ahead: Outlook, supply: Supply, seed: int) -> tuple[Callable[[Lines, Outlook], View], int]:
    """How to look ahead, along paths or from quantiles, and how many lines at once the caches of a processor hold."""
    lost = supply.unmet_demand == "lost"
    if ahead.periods is None or supply.method == "quantiles":
        return (lambda lines, ahead: from_quantiles(lines, ahead, lost=lost)), _QUANTILES_AT_ONCE
    drawn = draws(PATHS if ahead.joint is None else ahead.joint.shape[2], ahead.horizon, seed)
    return (lambda lines, ahead: from_paths(lines, ahead, drawn, lost=lost, seed=seed)), _PATHS_AT_ONCE


def from_paths(lines: Lines, ahead: Outlook, drawn: Array, *, lost: bool, seed: int) -> View:
    """Look ahead along sample paths.

    Args:
        lines: One block (`Lines.blocks`), completed.
        ahead: Demand ahead of the same lines.
        drawn: From `paths.draws`.
        lost: Whether unmet demand is lost; otherwise it waits.
        seed: Seed of the draws that say which doubtful receipts come.
    """
    lead = lines.lead[:, None]
    if lines.lead_varies().any():
        lead = lead_times(drawn[0], lines.lead, lines.lead_sd, lines.lead_observed)
    receipts = lines.receipts[:, :, None]
    if lines.may_fail().any():
        receipts = receipts * comes(lines.confidence, drawn.shape[1], seed)
    position = Position(
        on_hand=lines.on_hand,
        receipts=receipts,
        due=lines.due,
        now=lines.now[:, None],
        arrival=lines.now[:, None] + lead,
        review=lines.review[:, None],
        steps=int(lines.steps()[0]),
        lost=lost,
    )
    perishable = bool(lines.perishable().any())
    horizon = ahead.horizon if perishable else min(ahead.horizon, max(int(np.ceil(position.end.max())), 1))
    paths = ahead.paths(drawn, horizon)
    projection = project(paths, position)
    middle, high = _quantiles(projection.demand, 0.5, 0.9)
    shelf = Shelf(lines.lots, lines.lot_expiry, lines.shelf_life)
    return View(
        prospect=age(paths, position, shelf, projection.in_window) if perishable else projection,
        on_order=position.received_before(position.end).mean(axis=1),
        demand_mean=projection.demand.mean(axis=1),
        demand_p50=middle,
        demand_p90=high,
        in_window=projection.in_window,
    )


def _quantiles(values: Array, *levels: float) -> list[Array]:
    """Quantiles of each row, linear between order statistics."""
    ordered = np.sort(values, axis=1)
    found = []
    for level in levels:
        place = level * (values.shape[1] - 1)
        low = int(place)
        high = min(low + 1, values.shape[1] - 1)
        found.append(ordered[:, low] + (ordered[:, high] - ordered[:, low]) * (place - low))
    return found


def costs_of(lines: Lines, supply: Supply) -> Costs:
    """What the window of each line costs; `lines` completed."""
    waits = supply.unmet_demand == "backorder"
    return Costs(
        holding=lines.holding_cost * lines.review,
        shortage=lines.shortage_cost,
        waiting=lines.backorder_cost * lines.review * waits,
        wasted=lines.unit_cost * lines.perishable(),
    )


def valued(
    lines: Lines, ahead: Outlook, supply: Supply, quantity: Array, *, seed: int, threads: int = 1
) -> dict[str, Array]:
    """Expected cost and risk of stock-out of orders that were settled elsewhere, shape (n,) each.

    Args:
        lines: What is there, what comes, and the terms.
        ahead: Demand ahead of the same lines.
        supply: As `decide`.
        quantity: Units ordered, shape (n,).
        seed: The one of `decide`.
        threads: Blocks of lines at work at once.
    """

    def value(rows: npt.NDArray[np.intp], some: Lines, view: View) -> dict[str, Array]:
        ordered = quantity[rows]
        return {
            "expected_cost": costs_of(some, supply).of(view.prospect, ordered) + some.fixed_cost * (ordered > 0),
            "stock_out_risk": view.prospect.stock_out_risk(ordered),
        }

    return across(lines, ahead, supply, value, seed=seed, threads=threads)


def _terms(lines: Lines, view: View) -> Terms:
    """What the supplier, the shelf and the space allow; `lines` completed."""
    rate = view.in_window / lines.review
    sold_in_time = rate * np.where(np.isinf(lines.shelf_life), 0.0, lines.now + lines.lead + lines.shelf_life)
    there = lines.on_hand + view.on_order
    keeps = np.isinf(lines.shelf_life)
    return Terms(
        moq=lines.moq,
        multiple=lines.multiple,
        maximum=lines.maximum,
        cover=np.where(keeps, np.inf, np.maximum(sold_in_time - there, 0.0)),
        rounding=lines.rounding.astype(np.int64),
        room=np.maximum(lines.storage_maximum - lines.on_hand - lines.due_by_arrival(), 0.0),
        breaks=price_breaks(lines, view) if np.isfinite(lines.break_quantity).any() else None,
    )


def price_breaks(lines: Lines, view: View) -> PriceBreaks:
    """The discounts of each line, and what buying more than the window needs costs; `lines` completed."""
    return PriceBreaks(
        quantity=lines.break_quantity,
        unit_cost=lines.break_cost,
        base_cost=lines.unit_cost,
        holding_cost=lines.holding_cost * lines.review,
        net_need=view.demand_mean - lines.on_hand - view.on_order,
        demand=view.in_window,
    )


def _decided(lines: Lines, view: View, supply: Supply) -> dict[str, Array]:
    prospect, costs = view.prospect, costs_of(lines, supply)
    weighed = costs.weighed(lines.ratio)
    wish = _wish(lines, view, weighed)
    by_cost = lines.service_kind[0] == COST
    fitted = constrain(
        wish, _terms(lines, view), (lambda quantity: weighed.of(prospect, quantity)) if by_cost else None
    )
    zero = np.zeros_like(wish)
    at_zero, at_quantity = costs.of(prospect, zero), costs.of(prospect, fitted.quantity)
    at_wish = costs.of(prospect, wish) + lines.fixed_cost * (wish > 0)
    # A service target is met whatever an order costs; only least cost weighs it.
    waits = by_cost & (fitted.quantity > 0) & (at_zero - at_quantity <= _saved_by_waiting(lines, view, fitted.quantity))
    quantity = np.where(waits, 0.0, fitted.quantity)
    binding = np.where(waits, "fixed_cost", fitted.binding)
    return {
        "quantity": quantity,
        "on_hand": lines.on_hand,
        "on_order": view.on_order,
        "demand_mean": view.demand_mean,
        "demand_p50": view.demand_p50,
        "demand_p90": view.demand_p90,
        "order_up_to": lines.on_hand + view.on_order + wish,
        "unconstrained_quantity": wish,
        "expected_cost_at_zero": at_zero,
        "expected_cost": np.where(waits, at_zero, at_quantity + lines.fixed_cost * (quantity > 0)),
        "expected_cost_unconstrained": at_wish,
        "stock_out_risk_before": prospect.stock_out_risk(zero),
        "stock_out_risk": prospect.stock_out_risk(quantity),
        "binding_constraint": binding,
        **{f"after_{step}": passed for step, passed in zip(STEPS, fitted.passed.T, strict=True)},
    }


def _wish(lines: Lines, view: View, weighed: Costs) -> Array:
    """Units one would order without any terms of the supplier, shape (n,).

    Where each order costs something whatever its size, one that is placed brings at least the economic order quantity
    √(2 · fixed cost · demand rate ÷ holding cost) (Snyder & Shen 2019, section 3.2).
    """
    kind = lines.service_kind[0]
    if kind == COST:
        wish = view.prospect.cheapest(weighed)
    elif kind == CYCLE:
        wish = view.prospect.safest(lines.service_target)
    else:
        wish = view.prospect.filling(lines.service_target)
    return np.asarray(np.where(wish > 0, np.maximum(wish, _economic(lines, view)), 0.0))


def _economic(lines: Lines, view: View) -> Array:
    """Economic order quantity, zero without a fixed cost; never more than sells in the shelf life, shape (n,)."""
    rate = view.in_window / lines.review
    priced = lines.holding_cost > 0
    economic = np.sqrt(2 * lines.fixed_cost * rate / np.where(priced, lines.holding_cost, 1.0)) * priced
    keeps = np.isinf(lines.shelf_life)
    in_shelf_life = rate * np.where(keeps, 0.0, lines.shelf_life)
    return np.asarray(np.where(keeps, economic, np.minimum(economic, in_shelf_life)))


def _saved_by_waiting(lines: Lines, view: View, quantity: Array) -> Array:
    """What ordering at the next review instead of now saves, shape (n,): the fixed cost, over the reviews it lasts."""
    reviews = np.divide(quantity, view.in_window, out=np.full_like(quantity, np.inf), where=view.in_window > 0)
    return np.where(lines.fixed_cost > 0, lines.fixed_cost / np.maximum(reviews, 1.0), -np.inf)
