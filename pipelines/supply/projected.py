"""The rule of replenishment as a policy for the simulator: bring the stock an order will find up to a quantile.

The same rule as in `projection`, for demand whose distribution stays what it is: stock is rolled along sample paths to
the period in which an order placed now arrives, and the order is the quantile, at the ratio, of what is missing until
the next one could arrive (van Jaarsveld & Arts 2024, doi:10.1287/opre.2021.0032).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipelines.supply.scenario import Units

_ROWS_AT_ONCE = 256  # their paths stay in the processor's cache
_EXACT = 1e-6  # of a rank, in float32


@dataclass(frozen=True)
class ProjectedInventory:
    """Order what is missing at the ratio when the order arrives. All items share lead time and review interval.

    Attributes:
        paths: Demand of each of the next lead + review periods on P sample paths, shape (lead + review, n, P), units;
            n may be 1 for items alike.
        ratio: Shortage cost ÷ (shortage cost + holding cost over the review interval), or what was tuned in place of
            it, shape (n,).
        review: Periods between reviews.
        lost: Whether unmet demand is lost.
        multiple: Orders come in multiples of this, shape (n,); 0 for any quantity. Whether to round up or down is
            decided by expected cost.
    """

    paths: Units
    ratio: Units
    review: int
    lost: bool
    multiple: Units

    def __call__(self, inventory: Units, pipeline: Units, period: int) -> Units:
        """Units to order now, shape (n,)."""
        if period % self.review:
            return np.zeros_like(inventory)
        blocks = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, len(inventory), _ROWS_AT_ONCE)]
        return np.concatenate([self.rows(rows).decide(inventory[rows], pipeline[rows]) for rows in blocks])

    def rows(self, chosen: slice) -> ProjectedInventory:
        """The policy of some of the items."""
        paths = self.paths if self.paths.shape[1] == 1 else self.paths[:, chosen]
        return replace(self, paths=paths, ratio=self.ratio[chosen], multiple=self.multiple[chosen])

    def decide(self, inventory: Units, pipeline: Units) -> Units:
        """Units to order for each state of inventory and pipeline, as if now were a review."""
        need = self._needed(self._found(inventory, pipeline))
        wish = _quantile(need, self.ratio)
        return self._rounded(wish, need).astype(inventory.dtype)

    def _found(self, inventory: Units, pipeline: Units) -> Units:
        """Net inventory an order placed now will find when it arrives, shape (n, P)."""
        lead = len(self.paths) - self.review
        found: Units = np.repeat(inventory[:, None], self.paths.shape[2], axis=1)
        for step in range(lead):
            found += pipeline[:, step, None]
            found -= self.paths[step]
            if self.lost:
                np.maximum(found, 0, out=found)
        return found

    def _needed(self, found: Units) -> Units:
        """What an order must bring for nothing to be missing by the end of each step, shape (n, review, P)."""
        need: Units = np.empty((len(found), self.review, found.shape[1]), found.dtype)
        missing = -found
        for step, demand in enumerate(self.paths[len(self.paths) - self.review :]):
            missing += demand
            need[:, step] = missing
            if self.lost and step:  # what was lost on the way is still on the shelf
                np.maximum(need[:, step - 1], missing, out=need[:, step])
        return need

    def _rounded(self, wish: Units, need: Units) -> Units:
        """The neighbour of the wish on the grid of multiples that costs less.

        A unit more costs (1 − ratio) where it is left and saves the ratio where it is asked for; between the two
        neighbours that adds up to their difference in cost, without costing either.
        """
        step = np.where(self.multiple > 0, self.multiple, 1)
        down = np.floor(wish / step + _EXACT) * step
        up = np.ceil(wish / step - _EXACT) * step
        inside = np.clip(need, down[:, None, None], up[:, None, None])
        left = up - inside.mean(axis=(1, 2))
        asked = inside[:, -1].mean(axis=1) - down
        rounded = np.where((1 - self.ratio) * left < self.ratio * asked, up, down)
        return np.asarray(np.where(self.multiple > 0, rounded, wish))


def _quantile(need: Units, ratio: Units) -> Units:
    """The smallest order at which one unit more no longer pays; see `projection.Projection.cheapest`, shape (n,)."""
    items, steps, paths = need.shape
    if steps == 1:
        place = np.clip(np.ceil(ratio * paths - _EXACT).astype(np.int64) - 1, 0, paths - 1)
        ordered = np.sort(need[:, 0], axis=1)
        return np.asarray(np.maximum(ordered[np.arange(items), place], 0))
    flat = need.reshape(items, -1)
    order = np.argsort(flat, axis=1)
    weights = (1 - ratio[:, None]) / (steps * paths) + ratio[:, None] / paths * (order >= (steps - 1) * paths)
    first = (np.cumsum(weights, axis=1) >= ratio[:, None] - _EXACT).argmax(axis=1)
    chosen = flat[np.arange(items), order[np.arange(items), first]]
    return np.where(ratio > 0, np.maximum(chosen, 0), 0)
