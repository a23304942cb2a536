"""Units in motion during a walk: orders on their way, and how old what has arrived is.

Arrays here are of shape (periods, n): a period is a row, so that a period of all items is one piece of memory.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipelines.supply.scenario import Scenario, Units, Whole


class Pipeline:
    """Orders on their way.

    Attributes:
        longest: The longest lead time, periods.
        placed: Row longest + t: what was ordered at the end of period t, units; rows before are orders open at the
            start.
        received: Row t: what arrives at the start of period t, units.
    """

    def __init__(self, scenario: Scenario, kind: npt.DTypeLike) -> None:
        self.longest = int(scenario.lead.max(initial=0))
        self.placed: Units = np.zeros((self.longest + scenario.periods, scenario.items), kind)
        self.received: Units = np.zeros((scenario.periods + self.longest + 1, scenario.items), kind)
        self._even = scenario.lead.ndim == 1 and bool((scenario.lead == self.longest).all())
        self._arriving = None if scenario.arriving is None else np.ascontiguousarray(scenario.arriving.T)
        lead = np.ascontiguousarray(scenario.lead.T)
        usual = lead if lead.ndim == 1 else np.full(scenario.items, self.longest)
        self._place = lead * scenario.items + np.arange(scenario.items)  # in `received`, counted from the next row on
        self._ages = np.arange(self.longest, 0, -1, dtype=np.int16)[:, None]
        self._lead = lead.astype(np.int16)
        if lead.ndim == 2:  # orders open at the start count as orders with the longest lead time
            self._lead = np.concatenate([np.tile(usual.astype(np.int16), (self.longest, 1)), self._lead])
        if scenario.receipts is not None:
            self._open(scenario.receipts, usual)

    def _open(self, receipts: Units, usual: Whole) -> None:
        for period, units in enumerate(receipts.T[: len(self.received)]):
            self.received[period] += units
            if period > 0:  # what comes before the first decision is never on its way in anybody's eyes
                seen = np.flatnonzero(units)
                self.placed[(self.longest + period - 1 - usual)[seen], seen] += units[seen]

    def outstanding(self, period: int) -> Units:
        """What was ordered before a period and has not come by its end, oldest order first, shape (n, longest)."""
        placed = self.placed[period : period + self.longest]
        if self._even:
            return placed.T
        lead = self._lead if self._lead.ndim == 1 else self._lead[period : period + self.longest]
        coming: Units = placed * (lead >= self._ages)
        return coming.T

    def place(self, period: int, quantity: Units) -> None:
        """Order at the end of a period."""
        self.placed[self.longest + period] = quantity
        coming = quantity if self._arriving is None else quantity * self._arriving[period]
        if self._even:
            self.received[period + 1 + self.longest] += coming
        else:
            place = self._place if self._place.ndim == 1 else self._place[period]
            self.received[period + 1 :].reshape(-1)[place] += coming


class Shelf:
    """How old the stock is. The oldest is sold first, so what is on the shelf is always what came last.

    Attributes:
        opening: Net inventory before the first period, units, shape (n,).
    """

    def __init__(self, scenario: Scenario, kind: npt.DTypeLike) -> None:
        self.opening: Units = np.array(scenario.on_hand, kind)
        self._life = scenario.shelf_life
        if self._life is None:
            return
        lots = scenario.opening_lots
        if lots is not None:
            self.opening = np.asarray(lots.sum(axis=1), kind)
        self._items = np.arange(scenario.items)
        self._first = int(self._life.max(initial=1)) - 1  # row of period 0; rows before: when opening lots came
        self._came: Units = np.zeros((self._first + scenario.periods, scenario.items), kind)
        if lots is None:
            self._came[self._first] = np.maximum(self.opening, 0)
        else:
            for left, units in enumerate(lots.T):  # left + 1 periods to sell them in: received when the rest had passed
                seen = np.flatnonzero(units)
                self._came[(self._first + left + 1 - self._life)[seen], seen] += units[seen]
        np.cumsum(self._came[: self._first + 1], axis=0, out=self._came[: self._first + 1])

    def outdated(self, period: int, stock: Units, received: Units) -> Units | None:
        """Units for which a period was the last to be sold in, shape (n,); None where nothing grows old.

        Args:
            period: The period; they are asked for in order.
            stock: On the shelf at its end.
            received: Arrived at its start.
        """
        if self._life is None:
            return None
        now = self._first + period
        self._came[now] = (self._came[now - 1] if period else self._came[now]) + received
        fresh = self._came[now] - self._came[now - self._life + 1, self._items]
        return np.asarray(np.maximum(stock - fresh, 0))
