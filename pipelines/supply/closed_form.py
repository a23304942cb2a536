"""Stock in the window from the quantiles of demand alone, without paths: a closed form for very many lines.

Net need (demand less supply up to the end of the window, less what was lost before the arrival) is taken to have the
shape of demand over the protection interval, moved and stretched to the mean and the variance of the need. Where unmet
demand waits that is demand over the interval itself. Where it is lost, what the order finds is the part of the supply
that demand during the lead time leaves over, E[(supply − demand)⁺] rather than supply − E[demand]: its mean and
variance replace those of the lead time's demand. Expected shortages are loss integrals of the quantile function
(`features.quantiles.Curve.excess`). Receipts inside the window count from its start. The quantities cost within about
two per cent of those chosen on paths; the costs told may be up to a tenth too high where sales are lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.quantiles import Curve
from pipelines.supply.line_arrays import Lines
from pipelines.supply.outlook import Outlook
from pipelines.supply.paths import Array
from pipelines.supply.window import Costs, View

_RANKS = (np.arange(32) + 0.5)[None, :] / 32
_HIGHEST = 0.999  # rank beyond which a quantile forecast says nothing
_HALVINGS = 24


@dataclass(frozen=True)
class Need:
    """Demand less supply up to one moment of the window, as demand stretched and moved.

    Attributes:
        demand: Demand from the decision to that moment.
        stretch: Standard deviation of the need ÷ that of the demand, above zero, shape (n,).
        shift: Expected need less the stretched mean of demand, shape (n,), units.
        mean: Expected need, shape (n,), units.
    """

    demand: Curve
    stretch: Array
    shift: Array
    mean: Array

    def at(self, rank: Array) -> Array:
        """Quantile of the need at a rank a line, shape (n,), units."""
        return self.shift + self.stretch * self.demand.at(np.clip(rank, 0.0, _HIGHEST)[:, None])[:, 0]

    def risk(self, quantity: Array) -> Array:
        """P(need > quantity), shape (n,)."""
        return np.asarray(1 - self.demand.rank((quantity - self.shift) / self.stretch))

    def excess(self, quantity: Array) -> Array:
        """E[(need − quantity)⁺], shape (n,), units."""
        return self.stretch * self.demand.excess((quantity - self.shift) / self.stretch)

    def left(self, quantity: Array) -> Array:
        """E[(quantity − need)⁺], shape (n,), units."""
        return quantity - self.mean + self.excess(quantity)


@dataclass(frozen=True)
class NetNeed:
    """Stock in the window for any quantity; the methods are those of `window.Prospect`.

    Attributes:
        ends: Need by the end of the first step and of the last; one where there is one step. What is held in between
            lies on a line.
        start: Need just after the arrival; what is owed there is not missing anew. None where unmet demand is lost.
        in_window: Expected demand in the window, shape (n,), units.
    """

    ends: tuple[Need, ...]
    start: Need | None
    in_window: Array

    def held(self, quantity: Array) -> Array:
        """Expected stock at the end of a step, mean over steps, shape (n,)."""
        return np.asarray(sum(end.left(quantity) for end in self.ends) / len(self.ends))

    def missing(self, quantity: Array) -> Array:
        """Expected units of unmet demand, lost in the window or owed at its end, shape (n,)."""
        return self.ends[-1].excess(quantity)

    def owed(self, quantity: Array) -> Array:
        """Expected units owed at the end of a step, mean over steps, shape (n,)."""
        if self.start is None:
            return np.zeros_like(quantity)
        return np.asarray(sum(end.excess(quantity) for end in self.ends) / len(self.ends))

    def wasted(self, quantity: Array) -> Array:
        """Nothing: expiry needs paths."""
        return np.zeros_like(quantity)

    def stock_out_risk(self, quantity: Array) -> Array:
        """Probability that anything is missing at the end of the window, shape (n,)."""
        return self.ends[-1].risk(quantity)

    def cheapest(self, costs: Costs) -> Array:
        """The smallest order at which one unit more no longer pays, shape (n,); see `Projection.cheapest`."""
        low, high = self.ends[0].at(costs.ratio), self.ends[-1].at(costs.ratio)
        if len(self.ends) > 1:
            total = costs.holding + costs.waiting + costs.shortage
            once = np.divide(costs.shortage, total, out=np.zeros_like(total), where=total > 0)
            low, high = np.minimum(low, high), np.maximum(low, high)
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                short = [end.risk(middle) for end in self.ends]
                enough = (1 - once) * (1 - sum(short) / len(short)) + once * (1 - short[-1]) >= costs.ratio
                low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.where(costs.ratio > 0, np.maximum(high, 0.0), 0.0)

    def safest(self, service: Array) -> Array:
        """The smallest order with which nothing is missing with probability `service`, shape (n,)."""
        return np.where(service > 0, np.maximum(self.ends[-1].at(service), 0.0), 0.0)

    def filling(self, target: Array) -> Array:
        """The smallest order with which a share `target` of the demand of the window is met from stock, shape (n,)."""
        allowed = (1 - target) * self.in_window
        low, high = np.zeros(len(target)), np.maximum(self.ends[-1].at(np.ones(len(target))), 0.0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            enough = self._missing_anew(middle) <= allowed
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.where(self._missing_anew(np.zeros_like(high)) <= allowed, 0.0, high)

    def _missing_anew(self, quantity: Array) -> Array:
        missing = self.missing(quantity)
        return missing if self.start is None else missing - self.start.excess(quantity)


@dataclass(frozen=True)
class Coming:
    """Supply before one moment: expected units and their variance, shape (n,)."""

    mean: Array
    variance: Array

    @classmethod
    def before(cls, lines: Lines, moment: Array) -> Coming:
        """On hand or received strictly before a moment, periods, shape (n,)."""
        mean, variance = lines.on_hand, np.zeros_like(lines.on_hand)
        for units, due, sure in zip(lines.receipts.T, lines.due.T, lines.confidence.T, strict=True):
            mean = mean + units * sure * (due < moment)
            variance = variance + units**2 * sure * (1 - sure) * (due < moment)
        return cls(mean, variance)


def curve_until(ahead: Outlook, now: Array, moment: Array) -> Curve:
    """Demand from the decision to a moment, both in periods since the issue, shape (n,).

    Quantiles of sums are linear between whole periods and grow in proportion beyond the last. Demand from a day within
    the issue on has the distribution of as many periods from its start, scaled to the mean of those that are left.
    """
    length = moment - now
    quantiles, mean = _sums(ahead, length)
    if (now > 0).any():
        left = _sums(ahead, moment)[1] - _sums(ahead, now)[1]
        scale = np.divide(left, mean, out=np.ones_like(mean), where=mean > 0)
        quantiles, mean = quantiles * scale[:, None], mean * scale
    return Curve.through(ahead.levels, quantiles, mean)


def _sums(ahead: Outlook, length: Array) -> tuple[Array, Array]:
    """Quantiles and mean of demand summed over a number of periods, whole or not, shapes (n, q) and (n,)."""
    rows, horizon = np.arange(len(length)), ahead.horizon
    whole = np.minimum(length.astype(np.int64), horizon - 1)
    part, beyond = np.minimum(length, horizon) - whole, np.maximum(length / horizon, 1.0)

    def between(sums: Array) -> Array:
        weights = [each.reshape(-1, *[1] * (sums.ndim - 2)) for each in (part, beyond, whole > 0)]
        high, low = sums[rows, whole], sums[rows, np.maximum(whole - 1, 0)] * weights[2]
        return np.asarray((low + (high - low) * weights[0]) * weights[1])

    return between(ahead.sums), between(ahead.sums_mean)


def _moments(curve: Curve) -> tuple[Array, Array]:
    """Mean and variance, shape (n,)."""
    return curve.excess(np.zeros(len(curve.values))), curve.at(_RANKS).var(axis=1)


def need_until(demand: Curve, mean: Array, variance: Array) -> Need:
    """The need of this mean and variance, in the shape of a demand."""
    of_demand, spread = _moments(demand)
    stretch = np.sqrt(np.divide(variance, spread, out=np.ones_like(spread), where=spread > 0))
    stretch = np.maximum(stretch, 1e-6)
    return Need(demand, stretch, mean - stretch * of_demand, mean)


def from_quantiles(lines: Lines, ahead: Outlook, *, lost: bool) -> View:
    """Look ahead from quantiles.

    Args:
        lines: One block (`Lines.blocks`), completed.
        ahead: Demand ahead of the same lines.
        lost: Whether unmet demand is lost; otherwise it waits.
    """
    lead, lead_variance = lines.lead_moments()
    arrival = lines.now + lead
    steps = int(lines.steps()[0])
    at_arrival = curve_until(ahead, lines.now, arrival)
    demand, spread = _moments(at_arrival)
    there = Coming.before(lines, arrival)
    left, left_variance, share = there.mean - demand, spread, np.ones_like(demand)
    if lost:
        found = np.maximum(there.mean[:, None] - at_arrival.at(_RANKS), 0.0)
        left, left_variance, share = found.mean(axis=1), found.var(axis=1), (found > 0).mean(axis=1)
    ends = []
    for step in sorted({1, steps}):
        end = arrival + lines.review * (step / steps)
        curve, supply = curve_until(ahead, lines.now, end), Coming.before(lines, end)
        by_end, end_spread = _moments(curve)
        rate = by_end / (end - lines.now)
        variance = np.maximum(end_spread - spread, 0.0) + left_variance + supply.variance
        variance += share * rate**2 * lead_variance
        ends.append(need_until(curve, by_end - demand - left - (supply.mean - there.mean), variance))
    start = None
    if not lost:
        late = (demand / np.where(lead > 0, lead, 1.0)) ** 2 * lead_variance
        start = need_until(at_arrival, -left, spread + there.variance + late)
    middle, high = curve.at(np.array([[0.5, 0.9]])).T
    return View(
        prospect=NetNeed(tuple(ends), start, by_end - demand),
        on_order=supply.mean - lines.on_hand,
        demand_mean=by_end,
        demand_p50=middle,
        demand_p90=high,
        in_window=by_end - demand,
    )
