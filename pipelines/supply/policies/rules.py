"""Rules that turn what is there and on its way into an order: the shapes all ERP policies share.

A rule is called with net inventory (stock less backlog), what was ordered and has not come, and the period; it answers
with the units to order now. Minimum, multiple and calendar are terms of the supplier and are applied to its answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Units = npt.NDArray[np.floating[Any]]


class Rule(Protocol):
    """A policy for many items."""

    def __call__(self, inventory: Units, pipeline: Units, period: int) -> Units:
        """Units to order now, shape (n,).

        Args:
            inventory: Stock less backlog, shape (n,), units.
            pipeline: Ordered and not yet come, shape (n, L), units; L may be 0.
            period: Counted from the first that is ordered in.
        """
        ...

    def rows(self, chosen: slice) -> Rule:
        """The rule of some of the items."""
        ...


@dataclass(frozen=True)
class OrderUpTo:
    """At each review, order what the position lacks to a level.

    Attributes:
        level: Order-up-to level, shape (n,), units.
        rounded: Whether to order the nearest whole number of units.

    Example:
        >>> OrderUpTo(np.array([10.0, 10.0]))(np.array([3.0, 9.0]), np.array([[2.0], [4.0]]), 0).tolist()
        [5.0, 0.0]
    """

    level: Units
    rounded: bool = False

    def __call__(self, inventory: Units, pipeline: Units, period: int) -> Units:
        """Units to order now, shape (n,)."""
        lacking: Units = self.level - inventory
        lacking -= pipeline.sum(axis=1)
        np.maximum(lacking, 0, out=lacking)
        return np.rint(lacking, out=lacking) if self.rounded else lacking

    def rows(self, chosen: slice) -> OrderUpTo:
        """The rule of some of the items."""
        return replace(self, level=self.level[chosen])


@dataclass(frozen=True)
class MinMax:
    """When the position is below a minimum, order up to a maximum.

    Attributes:
        minimum: Shape (n,), units.
        maximum: Shape (n,), units; where it is below the minimum, the minimum counts.

    Example:
        >>> rule = MinMax(minimum=np.array([5.0, 5.0]), maximum=np.array([20.0, 20.0]))
        >>> rule(np.array([4.0, 5.0]), np.zeros((2, 0)), 0).tolist()
        [16.0, 0.0]
    """

    minimum: Units
    maximum: Units

    def __call__(self, inventory: Units, pipeline: Units, period: int) -> Units:
        """Units to order now, shape (n,)."""
        position = _position(inventory, pipeline)
        return np.where(position < self.minimum, np.maximum(self.maximum, self.minimum) - position, 0)

    def rows(self, chosen: slice) -> MinMax:
        """The rule of some of the items."""
        return MinMax(self.minimum[chosen], self.maximum[chosen])


@dataclass(frozen=True)
class ReorderLevel:
    """When the position is at or below a level, order a fixed quantity, or what is missing to the level if more.

    Attributes:
        level: Shape (n,), units.
        quantity: Shape (n,), units.

    Example:
        >>> rule = ReorderLevel(level=np.array([5.0, 5.0]), quantity=np.array([8.0, 8.0]))
        >>> rule(np.array([5.0, -9.0]), np.zeros((2, 0)), 0).tolist()
        [8.0, 14.0]
    """

    level: Units
    quantity: Units

    def __call__(self, inventory: Units, pipeline: Units, period: int) -> Units:
        """Units to order now, shape (n,)."""
        position = _position(inventory, pipeline)
        return np.where(position <= self.level, np.maximum(self.quantity, self.level - position), 0)

    def rows(self, chosen: slice) -> ReorderLevel:
        """The rule of some of the items."""
        return ReorderLevel(self.level[chosen], self.quantity[chosen])


def _position(inventory: Units, pipeline: Units) -> Units:
    """The inventory position: what is there, less what is owed, plus what is on its way, shape (n,)."""
    return np.asarray(inventory + pipeline.sum(axis=1))
