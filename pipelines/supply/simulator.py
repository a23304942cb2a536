"""Inventory walked through time: every item at once, period by period.

What happens in a period, in this order: open orders arrive → customers ask → what is not there is lost or waits → what
has reached its age is thrown out → holding is charged on what is left → stock is reviewed → an order is placed. An
order placed at the end of period t with lead time L arrives at the start of period t + 1 + L, so L whole periods pass
without it (L = 0 is the newsvendor; Zipkin 2008, doi:10.1287/opre.1070.0471, counts alike).

A policy knows net inventory and what it has ordered that has not come; it does not know when an order with a random
lead time, or one that may never come, will. Randomness is drawn before the walk and is part of the scenario, so that
policies are compared on the same demand and the same lead times (common random numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from pipelines.supply.flow import Pipeline, Shelf
from pipelines.supply.ordering import Ordering
from pipelines.supply.scenario import Scenario, Units

# order(inventory (n,), pipeline (n, L), period) → units to order now, shape (n,). Inventory is stock less backlog;
# pipeline is what was ordered and has not come, oldest order first: column L − k was ordered k periods ago.
Order = Callable[[Units, Units, int], Units]

_ITEMS_AT_ONCE = 4096  # one period of them stays in the processor's cache
_Parts = TypeVar("_Parts", "History", "Totals")


@runtime_checkable
class Divisible(Protocol):
    """A policy that decides item by item, so that blocks of items can be walked apart."""

    def __call__(self, inventory: Units, pipeline: Units, period: int) -> Units:
        """Units to order now, shape (n,)."""
        ...

    def rows(self, chosen: slice) -> Order:
        """The policy of some of the items."""
        ...


@dataclass(frozen=True)
class History:
    """What happened, item by item and period by period, each of shape (n, T), units.

    Attributes:
        received: Arrived at the start of the period.
        unmet: Asked for in the period and not there: lost, or made to wait.
        expired: Thrown out at its end.
        stock: On the shelf at its end.
        backlog: Waiting at its end; zero where unmet demand is lost.
        ordered: Ordered at its end.
    """

    received: Units
    unmet: Units
    expired: Units
    stock: Units
    backlog: Units
    ordered: Units


@dataclass(frozen=True)
class Totals:
    """Sums over the periods that count, each of shape (n,).

    Attributes:
        periods: How many periods count.
        demand: Units asked for.
        unmet: Units not there when asked for.
        expired: Units thrown out.
        stock: Units on the shelf at the end of each period, summed.
        backlog: Units waiting at the end of each period, summed.
        ordered: Units ordered.
        order_lines: Orders placed.
        cycles: Times between two receipts; the first begins with the first period, the last is cut off.
        short_cycles: Those in which something was missing.
        demand_squares: Squared units of demand, summed.
        ordered_squares: Squared units ordered, summed.
    """

    periods: int
    demand: Units
    unmet: Units
    expired: Units
    stock: Units
    backlog: Units
    ordered: Units
    order_lines: Units
    cycles: Units
    short_cycles: Units
    demand_squares: Units
    ordered_squares: Units


@dataclass(frozen=True)
class Outcome:
    """What a walk came to.

    Attributes:
        totals: Sums over the periods that count.
        history: Every period; None unless asked for.
    """

    totals: Totals
    history: History | None = None


def simulate(scenario: Scenario, order: Order, *, record: bool = False, threads: int = 1) -> Outcome:
    """Walk a policy through a scenario.

    Args:
        scenario: The world.
        order: The policy. One that is `Divisible` is walked in blocks of items, unless a budget ties them together.
        record: Whether to keep every period.
        threads: Blocks walked at once; the outcome does not depend on it.

    Example:
        >>> from pipelines.supply.policies.rules import OrderUpTo
        >>> steady = Scenario(np.full((1, 4), 2.0), np.array([1]), on_hand=4, holding_cost=1, shortage_cost=9)
        >>> simulate(steady, OrderUpTo(np.array([6.0])), record=True).history.stock
        array([[2., 0., 2., 2.]])
    """
    if scenario.budget is None and isinstance(order, Divisible):
        starts = range(0, max(scenario.items, 1), _ITEMS_AT_ONCE)
        blocks = [slice(start, start + _ITEMS_AT_ONCE) for start in starts]
    else:
        blocks = [slice(None)]

    def walk(chosen: slice) -> Outcome:
        whole = len(blocks) == 1
        part = scenario if whole else scenario.rows(chosen)
        demand = np.ascontiguousarray(part.demand.T)
        history = _walk(part, demand, order if whole or not isinstance(order, Divisible) else order.rows(chosen))
        return Outcome(_totals(demand, history, part.warm_up), _turned(history) if record else None)

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(walk, blocks))
    return Outcome(
        totals=_joined([part.totals for part in parts]),
        history=_joined([part.history for part in parts if part.history is not None]) if record else None,
    )


def _walk(scenario: Scenario, demand: Units, order: Order) -> History:
    """The walk itself; arrays here are of shape (T, n): a period of all items is a row."""
    pipeline, shelf, ordering = Pipeline(scenario, demand.dtype), Shelf(scenario, demand.dtype), Ordering(scenario)
    inventory = shelf.opening
    unmet, stock = np.empty_like(demand), np.empty_like(demand)
    backlog = _nothing(demand) if scenario.lost else np.empty_like(demand)
    expired = _nothing(demand) if scenario.shelf_life is None else np.empty_like(demand)
    for period, asked in enumerate(demand):
        received = pipeline.received[period]
        inventory += received
        inventory -= asked
        left, missing = np.maximum(inventory, 0, out=stock[period]), unmet[period]
        np.subtract(left, inventory, out=missing)
        if scenario.lost:
            inventory[:] = left
        else:
            backlog[period] = missing
            np.minimum(missing, asked, out=missing)
        outdated = shelf.outdated(period, left, received)
        if outdated is not None:
            expired[period] = outdated
            left -= outdated
            inventory -= outdated
        wish = order(inventory, pipeline.outstanding(period), period)
        pipeline.place(period, ordering.allowed(wish, period))
    return History(
        received=pipeline.received[: len(demand)],
        unmet=unmet,
        expired=expired,
        stock=stock,
        backlog=backlog,
        ordered=pipeline.placed[pipeline.longest :],
    )


def _nothing(like: Units) -> Units:
    """Zeros that take no memory."""
    return np.broadcast_to(np.zeros((), like.dtype), like.shape)


def _totals(demand: Units, history: History, warm_up: int) -> Totals:
    asked, ordered = demand[warm_up:], history.ordered[warm_up:]
    cycles, short_cycles = _cycles(history.received[warm_up:] > 0, history.unmet[warm_up:] > 0)
    return Totals(
        periods=len(asked),
        demand=_sum(asked),
        unmet=_sum(history.unmet[warm_up:]),
        expired=_sum(history.expired[warm_up:]),
        stock=_sum(history.stock[warm_up:]),
        backlog=_sum(history.backlog[warm_up:]),
        ordered=_sum(ordered),
        order_lines=np.count_nonzero(ordered, axis=0).astype(np.float64),
        cycles=cycles,
        short_cycles=short_cycles,
        demand_squares=np.einsum("tn,tn->n", asked, asked, dtype=np.float64),
        ordered_squares=np.einsum("tn,tn->n", ordered, ordered, dtype=np.float64),
    )


def _sum(values: Units) -> Units:
    if not any(values.strides):  # zeros that take no memory
        return np.zeros(values.shape[1])
    return np.asarray(values.sum(axis=0, dtype=np.float64))


def _cycles(received: npt.NDArray[np.bool_], short: npt.NDArray[np.bool_]) -> tuple[Units, Units]:
    """Cycles between receipts, and those in which something was missing; shapes (T, n) → (n,)."""
    cycles = 1.0 + np.count_nonzero(received[1:], axis=0)
    marked, short_cycles = short[0].copy(), short[0].astype(np.int32)
    for arrived, missing in zip(received[1:], short[1:], strict=True):
        marked &= ~arrived
        short_cycles += missing & ~marked
        marked |= missing
    return cycles, short_cycles.astype(np.float64)


def _turned(history: History) -> History:
    """Shape (T, n) → (n, T)."""
    return History(**{f.name: getattr(history, f.name).T for f in fields(history)})


def _joined(parts: Sequence[_Parts]) -> _Parts:
    """Blocks of items as one."""
    blocks = {f.name: [getattr(part, f.name) for part in parts] for f in fields(parts[0])}
    whole: dict[str, Any] = {
        name: values[0] if np.ndim(values[0]) == 0 else np.concatenate(values) for name, values in blocks.items()
    }
    return replace(parts[0], **whole)
