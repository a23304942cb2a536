"""What a policy comes down to: the numbers it orders by, and what following them is expected to cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """A quantity or level, and what it is expected to cost.

    Attributes:
        level: Order quantity or order-up-to level, units.
        cost: Expected cost per unit of time (EOQ) or per period.
    """

    level: float
    cost: float


@dataclass(frozen=True)
class ReorderPolicy:
    """Order when the inventory position falls to a reorder point.

    Attributes:
        reorder_point: r or s: the position at or below which an order is placed, units.
        quantity: Q of (r, Q): how much is ordered; S − s of (s, S), units.
        cost: Expected cost per unit of time or per period; not-a-number where the method states none.
    """

    reorder_point: float
    quantity: float
    cost: float

    @property
    def order_up_to(self) -> float:
        """S of (s, S): the level an order raises the inventory position to, units."""
        return self.reorder_point + self.quantity
