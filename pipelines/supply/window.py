"""The window that an order placed now is for: what any quantity leads to there, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipelines.supply.paths import Array


class Prospect(Protocol):
    """Stock in the window between the arrival of an order placed now and of the next one, for any quantity of it.

    All take and return arrays of shape (n,). `held`: mean stock at the end of a step; `missing`: units of unmet demand,
    lost or owed at the end; `owed`: mean units owed at the end of a step (none where unmet demand is lost); `wasted`:
    units that expire; `stock_out_risk`: probability that anything is missing. `cheapest`, `safest` and `filling` are
    the smallest orders that cost least, that leave nothing missing with a probability, and that leave no more than
    1 − target of the demand of the window unmet.
    """

    def held(self, quantity: Array) -> Array: ...  # noqa: D102

    def missing(self, quantity: Array) -> Array: ...  # noqa: D102

    def owed(self, quantity: Array) -> Array: ...  # noqa: D102

    def wasted(self, quantity: Array) -> Array: ...  # noqa: D102

    def stock_out_risk(self, quantity: Array) -> Array: ...  # noqa: D102

    def cheapest(self, costs: Costs) -> Array: ...  # noqa: D102

    def safest(self, service: Array) -> Array: ...  # noqa: D102

    def filling(self, target: Array) -> Array: ...  # noqa: D102


@dataclass(frozen=True)
class View:
    """Lines looked at ahead: what any quantity would lead to, and the figures that explain it.

    Attributes:
        prospect: Stock in the window for any quantity.
        on_order: Expected units received before the next order could arrive, shape (n,).
        demand_mean: Expected demand over the protection interval, shape (n,), units.
        demand_p50: Its median.
        demand_p90: Its 90 % quantile.
        in_window: Expected demand of the window, shape (n,), units.
    """

    prospect: Prospect
    on_order: Array
    demand_mean: Array
    demand_p50: Array
    demand_p90: Array
    in_window: Array


@dataclass(frozen=True)
class Costs:
    """Costs of a window, shape (n,), money.

    Attributes:
        holding: Of one unit on hand all through the window.
        shortage: Of one unit of unmet demand.
        waiting: Of one unit owed all through the window; nothing where unmet demand is lost.
        wasted: Of one unit that expires.
    """

    holding: Array
    shortage: Array
    waiting: Array
    wasted: Array

    def of(self, prospect: Prospect, quantity: Array) -> Array:
        """Expected cost of the window for an order of `quantity` units, shape (n,)."""
        cost = self.holding * prospect.held(quantity) + self.shortage * prospect.missing(quantity)
        if self.waiting.any():
            cost = cost + self.waiting * prospect.owed(quantity)
        if self.wasted.any():
            cost = cost + self.wasted * prospect.wasted(quantity)
        return np.asarray(cost)

    @property
    def ratio(self) -> Array:
        """Critical ratio, 0 where nothing costs anything, shape (n,)."""
        under = self.shortage + self.waiting
        both = under + self.holding
        return np.where(both > 0, under / np.where(both > 0, both, 1.0), 0.0)

    def weighed(self, effective: Array) -> Costs:
        """The costs by which to decide: the critical ratio times the effective ratio, the sum of the costs kept.

        What a window sees is not all: a unit left over is worth something in the next one, a lost sale ends there.
        The effective ratio, tuned on a simulator, stands for it.

        Args:
            effective: Shape (n,), in [0, 1].
        """
        under = self.shortage + self.waiting
        total = under + self.holding
        ratio = self.ratio * effective
        scale = np.divide(ratio * total, under, out=np.zeros_like(total), where=under > 0)
        return Costs((1 - ratio) * total, self.shortage * scale, self.waiting * scale, self.wasted)
