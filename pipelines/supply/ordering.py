"""What the terms of a scenario make of the orders a policy wishes for."""

from __future__ import annotations

import numpy as np

from pipelines.supply.scenario import Scenario, Units


class Ordering:
    """Review calendar, minimum, multiple, maximum and budget, in this order; terms that nobody has cost nothing."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        kind = scenario.demand.dtype
        self._exact = 1e-9 if kind == np.float64 else 1e-5  # what rounding may add to a whole number of multiples
        self._review = scenario.review if (scenario.review != 1).any() else None
        self._moq = np.asarray(scenario.moq, kind) if (scenario.moq > 0).any() else None
        self._stepped = bool((scenario.multiple > 0).any())
        self._whole = bool((scenario.multiple == 1).all())
        self._step = np.where(scenario.multiple > 0, scenario.multiple, 1).astype(kind)
        self._maximum = np.asarray(self._largest(), kind) if np.isfinite(scenario.maximum).any() else None

    def _largest(self) -> Units:
        """The largest order that satisfies all terms; 0 where none does."""
        maximum: Units = np.asarray(self._scenario.maximum)
        most = self._rounded(maximum, np.floor)
        return np.where(most + self._exact >= self._scenario.moq, most, 0)

    def _rounded(self, quantity: Units, to: np.ufunc) -> Units:
        """A quantity on the grid of multiples; `to` is np.floor or np.ceil."""
        if not self._stepped:
            return quantity
        nudge = self._exact if to is np.floor else -self._exact
        whole: Units = to(quantity + nudge) if self._whole else to(quantity / self._step + nudge) * self._step
        return whole if self._whole else np.where(self._scenario.multiple > 0, whole, quantity)

    def allowed(self, wish: Units, period: int) -> Units:
        """Units ordered for units wished for, shape (n,)."""
        quantity = wish
        if self._review is not None:
            quantity = np.where(period % self._review == 0, quantity, 0)
        if self._moq is not None:
            quantity = np.where(quantity > 0, np.maximum(quantity, self._moq), 0)
        quantity = self._rounded(quantity, np.ceil)
        if self._maximum is not None:
            quantity = np.minimum(quantity, self._maximum)
        if self._scenario.budget is not None:
            quantity = self._affordable(quantity, float(self._scenario.budget[period]))
        return quantity

    def _affordable(self, quantity: Units, budget: float) -> Units:
        spent = float((quantity * self._scenario.unit_cost).sum(dtype=np.float64))
        if spent <= budget:
            return quantity
        cut = self._rounded(quantity * (budget / spent), np.floor)
        return np.where(cut >= self._scenario.moq, cut, 0)
