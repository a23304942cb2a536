"""How long stock lasts: what is on hand and on order, walked along sample paths of demand with no new orders.

Between two receipts nothing but demand moves stock, so it is lowest just before a receipt or at the moment asked for:
no path has to be walked step by step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipelines.supply.decision import PATHS
from pipelines.supply.line_arrays import Lines
from pipelines.supply.outlook import Outlook
from pipelines.supply.paths import Array, draws, until

NEVER = 1e9  # periods: later than any window
_LINES_AT_ONCE = 512
_EXACT = 1e-9


@dataclass(frozen=True)
class Runway:
    """Stock and demand of n lines. Times in periods since the forecast was issued.

    Attributes:
        paths: Cumulative demand since the forecast was issued, shape (n, K + 1, paths), units.
        now: The day looked from, at its opening, shape (n, 1).
        on_hand: Units, shape (n,).
        receipts: Units that come (or leave: below zero), those unsure at their expectation, shape (n, s).
        due: When they do, shape (n, s).
        lost: Whether unmet demand is lost; otherwise it waits.
    """

    paths: Array
    now: Array
    on_hand: Array
    receipts: Array
    due: Array
    lost: bool

    def rows(self, chosen: npt.NDArray[np.intp]) -> Runway:
        """Some lines, or some several times."""
        return replace(
            self,
            paths=self.paths[chosen],
            now=self.now[chosen],
            on_hand=self.on_hand[chosen],
            receipts=self.receipts[chosen],
            due=self.due[chosen],
        )

    def moved(self, units: Array, before: Array, after: Array) -> Runway:
        """The same with some units of each line coming at another time; all shapes (n,)."""
        return replace(
            self,
            receipts=np.column_stack([self.receipts, -units, units]),
            due=np.column_stack([self.due, before, after]),
        )

    def demand(self, time: Array) -> Array:
        """Demand from now to a time of shape (n, 1), shape (n, paths), units."""
        return until(self.paths, time) - self._already

    def supply_before(self, time: Array) -> Array:
        """Units on hand or received strictly before a time, shape (n, 1)."""
        received = np.where(self.due < time, self.receipts, 0.0).sum(axis=1)
        return np.asarray((self.on_hand + received)[:, None])

    def missing(self, time: Array) -> Array:
        """The most that has been missing at any moment up to a time of shape (n, 1), shape (n, paths), units.

        Where unmet demand is lost this is all that was lost by then.
        """
        most = self.demand(time) - self.supply_before(time)
        for due, excess in zip(self.due.T[:, :, None], self._before_receipts, strict=True):
            most = np.where(due < time, np.maximum(most, excess), most)
        return np.maximum(most, 0.0)

    def held(self, time: Array, missing: Array) -> Array:
        """Expected stock just before a time, shape (n,), units.

        Args:
            time: Shape (n, 1).
            missing: What `missing` says of that time.
        """
        left = self.supply_before(time) - self.demand(time)
        return np.asarray((left + missing if self.lost else np.maximum(left, 0.0)).mean(axis=1))

    def stock_out_risk(self, time: Array) -> Array:
        """Probability that anything has been missing by a time of shape (n, 1), shape (n,)."""
        return np.asarray((self.missing(time) > _EXACT).mean(axis=1))

    @cached_property
    def _already(self) -> Array:
        return until(self.paths, self.now)

    @cached_property
    def _before_receipts(self) -> list[Array]:
        """Demand less supply just before each receipt."""
        return [
            self.demand(np.minimum(due, NEVER)) - self.supply_before(due)
            for due in np.moveaxis(self.due, 1, 0)[:, :, None]
        ]


def runways(lines: Lines, ahead: Outlook, *, lost: bool, seed: int) -> Iterator[tuple[npt.NDArray[np.intp], Runway]]:
    """The runway of every line, some lines at a time.

    Args:
        lines: What is there and what comes.
        ahead: Demand ahead of the same lines; no not-a-number.
        lost: Whether unmet demand is lost.
        seed: Seed of the draws that all lines share.

    Yields:
        Row numbers and their runway.
    """
    drawn = draws(PATHS if ahead.joint is None else ahead.joint.shape[2], ahead.horizon, seed)
    sure = lines.receipts if lines.confidence is None else lines.receipts * lines.confidence
    count = len(lines.on_hand)
    for start in range(0, count, _LINES_AT_ONCE):
        rows = np.arange(start, min(start + _LINES_AT_ONCE, count))
        yield (
            rows,
            Runway(
                paths=ahead.rows(rows).paths(drawn, ahead.horizon),
                now=lines.now[rows, None],
                on_hand=lines.on_hand[rows],
                receipts=sure[rows],
                due=lines.due[rows],
                lost=lost,
            ),
        )
