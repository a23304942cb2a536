"""What a supplier's terms make of the quantity one would like to order.

Applied in one fixed order (maximum, minimum order quantity, multiple); the one that decided is named. With a cost to
weigh, a minimum above the wish is bought or waited for and a multiple is rounded up or down, whichever costs less; the
cost is convex in the quantity, so the neighbours of the wish on the supplier's grid are the only candidates. With a
service target to meet, the quantity only goes up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.supply.paths import Array

# The first that applied names the line; "none" when the wish could be ordered as it was.
NAMES = ("none", "multiple", "moq", "moq_wait", "maximum")
_EXACT = 1e-9


@dataclass(frozen=True)
class Terms:
    """What the supplier allows, line by line, shape (n,), units.

    Attributes:
        moq: Minimum order quantity; 0 for none.
        multiple: Orders come in multiples of this; 0 for any quantity.
        maximum: Most that can be ordered at once; infinite for no limit.
    """

    moq: Array
    multiple: Array
    maximum: Array

    def lowest(self) -> Array:
        """The smallest quantity above zero that can be ordered."""
        step = np.where(self.multiple > 0, self.multiple, 1.0)
        packs = np.maximum(np.ceil(self.moq / step - _EXACT), 1.0)
        return np.where(self.multiple > 0, packs * self.multiple, self.moq)

    def highest(self) -> Array:
        """The largest quantity that can be ordered; 0 where nothing satisfies all three terms."""
        step = np.where(self.multiple > 0, self.multiple, 1.0)
        whole = np.floor(self.maximum / step + _EXACT) * step
        highest = np.where(self.multiple > 0, whole, self.maximum)
        return np.where(highest + _EXACT >= self.lowest(), highest, 0.0)

    def round_to_multiple(self, quantity: Array, to: Callable[[Array], Array]) -> Array:
        """A quantity on the grid of multiples; `to` is np.floor or np.ceil."""
        nudge = _EXACT if to is np.floor else -_EXACT
        step = np.where(self.multiple > 0, self.multiple, 1.0)
        return np.where(self.multiple > 0, to(quantity / step + nudge) * step, quantity)


@dataclass(frozen=True)
class Constrained:
    """The quantity to order and why it is not the one wished for.

    Attributes:
        quantity: Units, shape (n,): 0, or a quantity that satisfies every term.
        binding: What decided, one of `NAMES`, shape (n,).
    """

    quantity: Array
    binding: npt.NDArray[np.str_]


def constrain(wish: Array, terms: Terms, cost: Callable[[Array], Array] | None) -> Constrained:
    """The quantity the terms allow.

    Args:
        wish: Units one would order without any terms, shape (n,).
        terms: The supplier's terms.
        cost: Cost of each line for a quantity a line, convex in it and lowest at the wish. None: the wish is the
            least that meets a target, so a quantity below it is taken only where the maximum forces it.
    """
    lowest, highest = terms.lowest(), terms.highest()
    binding = np.zeros(len(wish), dtype=np.int64)

    at_most = np.minimum(wish, highest)
    binding = np.where(at_most < wish - _EXACT, NAMES.index("maximum"), binding)

    lifted = (at_most > _EXACT) & (at_most < lowest - _EXACT)
    up = np.where(at_most > _EXACT, np.maximum(terms.round_to_multiple(at_most, np.ceil), lowest), 0.0)
    up = np.minimum(up, highest)
    down = np.where(lifted, 0.0, np.minimum(terms.round_to_multiple(at_most, np.floor), up))
    down = np.where(down < lowest - _EXACT, 0.0, down)
    quantity = up if cost is None else np.where(_cheaper(cost(up), cost(down)), up, down)

    below_moq = lifted & (at_most < terms.moq - _EXACT) & (highest > 0)
    waits = below_moq & (quantity < _EXACT)
    rounded = np.abs(quantity - at_most) > 1e-6
    reason = np.where(waits, NAMES.index("moq_wait"), np.where(below_moq, NAMES.index("moq"), NAMES.index("multiple")))
    binding = np.where((binding == 0) & rounded, reason, binding)
    return Constrained(quantity=quantity, binding=np.array(NAMES)[binding])


def _cheaper(more: Array, less: Array) -> npt.NDArray[np.bool_]:
    """Whether the larger order is worth it: equal costs, to rounding, go to the smaller one."""
    return np.asarray(more < less - _EXACT * np.maximum(np.abs(less), 1.0))
