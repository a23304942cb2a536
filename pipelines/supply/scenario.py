"""The world a policy is walked through: demand, lead times, costs and the supplier's terms, all drawn beforehand."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Units = npt.NDArray[np.floating[Any]]
Whole = npt.NDArray[np.integer[Any]]

_PER_ITEM = (
    "on_hand", "holding_cost", "shortage_cost", "moq", "multiple", "maximum", "review", "shelf_life", "order_cost",
    "unit_cost", "expiry_cost",
)  # fmt: skip


# Defaults that stand for every item; `Scenario` spreads them.
_NONE: Any = 0.0
_ENDLESS: Any = np.inf
_EVERY: Any = 1


@dataclass(frozen=True)
class Scenario:
    """A world to walk through: n items, T periods. Where a shape is (n,), a number stands for all items.

    Attributes:
        demand: Units asked for in each period, shape (n, T). Its type (float32, float64) is the type of the walk.
        lead: Lead time, whole periods: shape (n,), or (n, T) for the lead time of an order placed in each period;
            orders may overtake each other.
        on_hand: Opening stock, units, shape (n,).
        holding_cost: Per unit left at the end of a period, shape (n,).
        shortage_cost: Per unit lost, or per unit that waits and period, shape (n,).
        lost: Whether unmet demand is lost; otherwise it waits.
        receipts: Orders open at the start, shape (n, k): column j comes at the start of period j; none later than an
            order placed now would come. None for none.
        moq: Minimum order quantity, units, shape (n,): a smaller order is raised to it.
        multiple: Orders are rounded up to multiples of this, shape (n,); 0 for any quantity.
        maximum: Largest order, units, shape (n,): more is cut to the largest quantity allowed.
        review: An order can be placed every so many periods, the first at the end of period 0, shape (n,).
        arriving: Share of an order placed in each period that arrives, shape (n, T): 0 for one that never comes. None
            for all of it.
        shelf_life: Periods a received unit can be sold in, shape (n,); the oldest is sold first. None for ever.
        opening_lots: Opening stock by age, in place of `on_hand`, units, shape (n, m): column j can be sold in j + 1
            more periods, at most `shelf_life`. None: the opening stock is fresh.
        order_cost: Per order line, shape (n,).
        unit_cost: Per unit ordered, shape (n,): what a budget is spent on.
        expiry_cost: Per unit thrown out, shape (n,).
        budget: Money that can be ordered in each period, shape (T,): where the orders cost more, all are cut by the
            same share and rounded down. None for no limit.
        warm_up: Periods at the start that count in no measure.
    """

    demand: Units
    lead: Whole
    on_hand: Units
    holding_cost: Units
    shortage_cost: Units
    lost: bool = True
    receipts: Units | None = None
    moq: Units = _NONE
    multiple: Units = _NONE
    maximum: Units = _ENDLESS
    review: Whole = _EVERY
    arriving: Units | None = None
    shelf_life: Whole | None = None
    opening_lots: Units | None = None
    order_cost: Units = _NONE
    unit_cost: Units = _NONE
    expiry_cost: Units = _NONE
    budget: Units | None = None
    warm_up: int = 0

    def __post_init__(self) -> None:
        items, periods = self.demand.shape
        lead = np.asarray(self.lead)
        object.__setattr__(self, "lead", lead if lead.ndim == 2 else np.broadcast_to(lead, items))
        for name in _PER_ITEM:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.broadcast_to(np.asarray(value), items))
        if self.lost and self.on_hand.min(initial=0) < 0:
            raise ValueError("where unmet demand is lost nobody waits: opening stock cannot be negative")
        if not np.issubdtype(lead.dtype, np.integer) or lead.min(initial=0) < 0:
            raise ValueError("lead times are whole periods, none negative")
        if not 0 <= self.warm_up < max(periods, 1):
            raise ValueError(f"a warm-up of {self.warm_up} periods leaves nothing of {periods}")
        if self.receipts is not None:
            usual = self.lead if self.lead.ndim == 1 else np.full(items, lead.max(initial=0))
            late = np.arange(self.receipts.shape[1]) > usual[:, None]
            if (self.receipts[late] > 0).any():
                raise ValueError("an order open at the start comes later than one placed now would")
        if self.opening_lots is not None:
            if self.shelf_life is None:
                raise ValueError("opening lots need a shelf life")
            too_fresh = np.arange(self.opening_lots.shape[1]) >= self.shelf_life[:, None]
            if (self.opening_lots[too_fresh] > 0).any():
                raise ValueError("an opening lot has more periods left than the shelf life")

    @property
    def items(self) -> int:
        """How many items."""
        return int(self.demand.shape[0])

    @property
    def periods(self) -> int:
        """How many periods."""
        return int(self.demand.shape[1])

    def rows(self, chosen: slice) -> Scenario:
        """Some of the items."""
        whole = ("lost", "budget", "warm_up")
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in whole}
        some: dict[str, Any] = {name: None if value is None else value[chosen] for name, value in values.items()}
        return replace(self, **some)
