"""The quantity that costs least, or that meets the service target, for many lines at once: arrays in, one frame out.

Demand over the protection interval (lead time + review) comes as sample paths; stock is projected along each of them;
the order is chosen on all of them together and then fitted to the supplier's terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.settings import Supply
from pipelines.summary import progress
from pipelines.supply.constraints import Terms, constrain
from pipelines.supply.outlook import Outlook
from pipelines.supply.paths import Array, draws, lead_times
from pipelines.supply.projection import Position, project

PATHS = 256
_LINES_AT_ONCE = 512


@dataclass(frozen=True)
class Lines:
    """Lines to decide, as arrays of shape (n,) unless said. Times in periods since the forecast was issued.

    Attributes:
        on_hand: Units at the opening of the decision day.
        receipts: Units of each open order, shape (n, s).
        due: When each arrives, shape (n, s).
        now: The decision day.
        lead: Mean lead time, periods.
        lead_sd: Its standard deviation, periods.
        review: Periods between reviews.
        holding_cost: Per unit and period.
        shortage_cost: Per unit.
        service_target: Probability that nothing is missing between two receipts.
        moq: Minimum order quantity.
        multiple: Order multiple.
        maximum: Largest order.
        lead_observed: Lead times at evenly spread levels, rising, periods, shape (n, m); not-a-number in rows for which
            `lead` and `lead_sd` say it all; None where they do for every line. All lead times count from the decision
            and hold the wait for the order day and the delivery day.
        confidence: Probability that each open order comes at all, shape (n, s); None where all do.
        lots: Units of the stock by lot, the oldest first, shape (n, l); None where nothing expires.
        lot_expiry: When each can no longer be sold, shape (n, l); infinite for what keeps.
        shelf_life: Periods that what is ordered now can be sold after it arrives; infinite for what keeps.
        backorder_cost: Per unit and period that it waits.
        service_kind: What the target is of: 0 none, cost decides; 1 cycles without stock-out; 2 units met from stock.
        fixed_cost: Of one order, whatever its quantity.
        storage_maximum: Most on hand and on order together; infinite for no limit.
        unit_cost: What a unit costs.
        break_quantity: Quantities from which a unit costs less, rising, infinite where a line has fewer, shape (n, b).
        break_cost: What it costs then, shape (n, b).
        rounding: To the multiple: 0 whatever costs least, 1 up, 2 down, 3 to the nearest.
    """

    on_hand: Array
    receipts: Array
    due: Array
    now: Array
    lead: Array
    lead_sd: Array
    review: Array
    holding_cost: Array
    shortage_cost: Array
    service_target: Array
    moq: Array
    multiple: Array
    maximum: Array
    lead_observed: Array | None = None
    confidence: Array | None = None
    lots: Array | None = None
    lot_expiry: Array | None = None
    shelf_life: Array | None = None
    backorder_cost: Array | None = None
    service_kind: Array | None = None
    fixed_cost: Array | None = None
    storage_maximum: Array | None = None
    unit_cost: Array | None = None
    break_quantity: Array | None = None
    break_cost: Array | None = None
    rounding: Array | None = None

    def rows(self, chosen: npt.NDArray[np.intp]) -> Lines:
        """Some of the lines."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Lines(**{name: value[chosen] for name, value in values.items() if value is not None})


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
    drawn = draws(PATHS if ahead.joint is None else ahead.joint.shape[2], ahead.horizon, seed)
    blocks = list(_blocks(lines))
    frames = []
    with ThreadPoolExecutor(threads) as pool, progress("replenish", len(blocks)) as advance:
        decisions = pool.map(lambda rows: _decide_block(lines.rows(rows), ahead.rows(rows), supply, drawn), blocks)
        for rows, frame in zip(blocks, decisions, strict=True):
            frames.append(frame.with_columns(line=pl.Series(rows)))
            advance()
    if not frames:
        return pl.DataFrame()
    return pl.concat(frames).sort("line").drop("line")


def _blocks(lines: Lines) -> Iterator[npt.NDArray[np.intp]]:
    """Row numbers of lines that can be worked on together: equal steps, and lead times that vary or do not."""
    kind = np.column_stack([_steps(lines.review), lines.lead_sd > 0])
    for one in np.unique(kind, axis=0):
        rows = np.flatnonzero((kind == one).all(axis=1))
        yield from (rows[start : start + _LINES_AT_ONCE] for start in range(0, len(rows), _LINES_AT_ONCE))


def _steps(review: Array) -> npt.NDArray[np.int64]:
    """Steps of about one period in a review interval."""
    return np.maximum(np.rint(review), 1).astype(np.int64)


def _decide_block(lines: Lines, ahead: Outlook, supply: Supply, drawn: Array) -> pl.DataFrame:
    lead = lines.lead[:, None]
    if (lines.lead_sd > 0).any():
        lead = lead_times(drawn[0], lines.lead, lines.lead_sd)
    position = Position(
        on_hand=lines.on_hand,
        receipts=lines.receipts,
        due=lines.due,
        now=lines.now[:, None],
        arrival=lines.now[:, None] + lead,
        review=lines.review[:, None],
        steps=int(_steps(lines.review)[0]),
        lost=supply.unmet_demand == "lost",
    )
    end = position.arrival + position.review
    horizon = min(ahead.horizon, max(int(np.ceil(end.max())), 1))
    projection = project(ahead.paths(drawn, horizon), position)
    holding = lines.holding_cost * lines.review
    ratio = _ratio(lines.shortage_cost, holding) * (1 if supply.effective_ratio == "auto" else supply.effective_ratio)

    def regret(quantity: Array) -> Array:
        return (1 - ratio) * projection.held(quantity) + ratio * projection.missing(quantity)

    def cost(quantity: Array) -> Array:
        return holding * projection.held(quantity) + lines.shortage_cost * projection.missing(quantity)

    by_cost = supply.objective == "cost"
    wish = projection.cheapest(ratio) if by_cost else projection.safest(lines.service_target)
    fitted = constrain(wish, Terms(lines.moq, lines.multiple, lines.maximum), regret if by_cost else None)
    on_order = position.supply_before(end).mean(axis=1) - lines.on_hand
    zero = np.zeros_like(wish)
    middle, high = np.quantile(projection.demand, [0.5, 0.9], axis=1)
    return pl.DataFrame(
        {
            "quantity": fitted.quantity,
            "on_hand": lines.on_hand,
            "on_order": on_order,
            "demand_mean": projection.demand.mean(axis=1),
            "demand_p50": middle,
            "demand_p90": high,
            "order_up_to": lines.on_hand + on_order + wish,
            "unconstrained_quantity": wish,
            "expected_cost_at_zero": cost(zero),
            "expected_cost": cost(fitted.quantity),
            "expected_cost_unconstrained": cost(wish),
            "stock_out_risk_before": projection.stock_out_risk(zero),
            "stock_out_risk": projection.stock_out_risk(fitted.quantity),
            "binding_constraint": fitted.binding,
        }
    )


def _ratio(shortage_cost: Array, holding_cost: Array) -> Array:
    """Critical ratio, 0 where neither costs anything, shape (n,)."""
    both = shortage_cost + holding_cost
    return np.where(both > 0, shortage_cost / np.where(both > 0, both, 1.0), 0.0)
