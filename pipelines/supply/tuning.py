"""How careful to be: the ratio of the projected-inventory rule, tuned segment by segment on the simulator.

The rule looks one order ahead; what it orders now it also carries into later rounds, so with lost sales a ratio a
little below shortage ÷ (shortage + holding) costs less over time. How far below depends on lead time, review interval
and how demand scatters. Odds of the critical ratio are scaled by one factor a segment; all factors meet the same demand
(common random numbers), a coarse grid finds the valley and a parabola through a finer one its floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from features.quantiles import demand_at
from pipelines.supply import measures
from pipelines.supply.paths import Array, draws
from pipelines.supply.projected import ProjectedInventory
from pipelines.supply.scenario import Scenario, Units
from pipelines.supply.simulator import simulate

PATHS = 256
_COARSE = np.log([0.2, 0.3, 0.42, 0.56, 0.72, 0.9, 1.15, 1.5])  # of the odds
_FINE = np.linspace(-0.4, 0.4, 5)
_WALKS = 768  # lines × repetitions of all segments together; lines of a segment are alike in what is tuned
_LEAST_WALKS = 96  # of a segment
_PERIODS = 52  # that count
_LONGEST_LEAD = 26  # periods; what is best hardly moves beyond


@dataclass(frozen=True)
class Stationary:
    """Lines with demand that stays as it is forecast now. Arrays of shape (n,) unless said.

    Attributes:
        levels: Levels of the quantiles, shape (q,).
        quantiles: Of demand in one period, shape (n, q), units.
        mean: Of demand in one period, units.
        lead: Lead time, periods.
        review: Periods between reviews.
        holding_cost: Per unit and period.
        shortage_cost: Per unit lost, or per unit that waits and period.
        multiple: Order multiple, units; 0 for any quantity. What is ordered in whole units is sold in whole units.
        segment: Number of the line's segment.
    """

    levels: Array
    quantiles: Array
    mean: Array
    lead: Array
    review: Array
    holding_cost: Array
    shortage_cost: Array
    multiple: Array
    segment: npt.NDArray[np.int64]

    def rows(self, chosen: npt.NDArray[np.intp]) -> Stationary:
        """Some of the lines."""
        values = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name != "levels"}
        return Stationary(levels=self.levels, **values)


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        odds: Factor on the odds of the critical ratio, by segment.
        multiplier: Effective ratio ÷ critical ratio of each line, shape (n,).
    """

    odds: dict[int, float]
    multiplier: Array


def tune(lines: Stationary, *, lost: bool, seed: int, threads: int = 1) -> Tuned:
    """Find the ratio that costs least over time in each segment.

    Args:
        lines: The lines; of large segments some are walked, spread evenly over all. The order of the lines and how
            many there are of a kind do not matter.
        lost: Whether unmet demand is lost; otherwise it waits.
        seed: Seed of demand and sample paths.
        threads: Segments at work at once; the result does not depend on it.
    """
    segments, place = np.unique(lines.segment, return_inverse=True)
    walks = max(_WALKS // max(len(segments), 1), _LEAST_WALKS)

    def best(segment: np.int64) -> float:
        chosen = lines.rows(_picked(lines, segment, walks))
        ready = list(_walks(chosen, walks, lost, [seed, int(abs(segment))]))
        return cheapest_odds(lambda factor: sum(walk.cost(factor) for walk in ready)) if ready else 1.0

    with ThreadPoolExecutor(threads) as pool:
        odds = np.array(list(pool.map(best, segments)))
    ratio = critical_ratio(lines)
    tuned = effective_ratio(ratio, odds[place])
    multiplier = np.divide(tuned, ratio, out=np.ones(len(ratio)), where=ratio > 0)
    return Tuned(dict(zip(segments.tolist(), odds.tolist(), strict=True)), multiplier)


def critical_ratio(lines: Stationary) -> Array:
    """Shortage cost ÷ (shortage cost + holding cost over a review interval), 0 where neither costs, shape (n,)."""
    both = lines.shortage_cost + lines.holding_cost * lines.review
    return np.divide(lines.shortage_cost, both, out=np.zeros(len(both)), where=both > 0)


def effective_ratio(ratio: Units, odds: Units) -> Units:
    """A ratio whose odds are multiplied by a factor.

    Example:
        >>> effective_ratio(np.array([0.5, 0.9]), np.array([0.5, 0.5])).round(3).tolist()
        [0.333, 0.818]
    """
    return np.asarray(ratio * odds / (1 - ratio + ratio * odds))


def _picked(lines: Stationary, segment: np.int64, most: int) -> npt.NDArray[np.intp]:
    """Lines of a segment to walk, evenly spaced among all when these are sorted by what they are."""
    costs = (lines.holding_cost > 0) & (lines.shortage_cost > 0) & (lines.mean > 0)
    rows = np.flatnonzero((lines.segment == segment) & costs)
    keys = (lines.multiple, lines.shortage_cost, lines.holding_cost, lines.review, lines.lead, *lines.quantiles.T)
    rows = rows[np.lexsort([key[rows] for key in (*keys, lines.mean)])]
    if len(rows) <= most:
        return rows
    return rows[((np.arange(most) + 0.5) * len(rows) / most).astype(np.intp)]


def cheapest_odds(cost: Callable[[float], float]) -> float:
    """The factor on the odds of the critical ratio that costs least.

    Args:
        cost: Money at a factor; smooth and with one valley, up to noise that common random numbers leave.
    """
    coarse = min(_COARSE, key=lambda log_odds: cost(float(np.exp(log_odds))))
    fine = coarse + _FINE
    return float(np.exp(_floor(fine, np.array([cost(float(odds)) for odds in np.exp(fine)]))))


def _floor(x: Array, cost: Array) -> float:
    """Where a parabola through all points is lowest, within them; the lowest point where it opens downwards."""
    bend, slope, _ = np.polyfit(x - x.mean(), cost, 2)
    if bend <= 0:
        return float(x[cost.argmin()])
    return float(np.clip(x.mean() - slope / (2 * bend), x[0], x[-1]))


@dataclass(frozen=True)
class _Walk:
    """Lines of one lead time and review interval, ready to be walked with any factor on the odds."""

    scenario: Scenario
    policy: ProjectedInventory

    def cost(self, odds: float) -> float:
        """Money a period, of all lines together."""
        ratio = effective_ratio(self.policy.ratio, np.full(self.scenario.items, odds)).astype(np.float32)
        totals = simulate(self.scenario, replace(self.policy, ratio=ratio)).totals
        return float(measures.cost(self.scenario, totals).sum())


def _walks(lines: Stationary, walks: int, lost: bool, seed: list[int]) -> Iterator[_Walk]:
    """The lines by lead time and review interval, each repeated with demand of its own."""
    lead = np.minimum(np.rint(lines.lead), _LONGEST_LEAD).astype(np.int64)
    review = np.maximum(np.rint(lines.review), 1).astype(np.int64)
    repetitions = max(1, walks // max(len(lead), 1))
    for periods, interval in np.unique(np.column_stack([lead, review]), axis=0).tolist():
        rows = np.flatnonzero((lead == periods) & (review == interval))
        yield _walk(lines.rows(rows), periods, interval, lost, repetitions, [*seed, periods, interval])


def _walk(lines: Stationary, lead: int, review: int, lost: bool, repetitions: int, seed: list[int]) -> _Walk:
    warm_up = 2 * (lead + review)
    periods = warm_up + max(_PERIODS, 2 * (lead + review))
    rng = np.random.default_rng(seed)
    rank = rng.random((len(lines.mean), repetitions * periods))
    demand = demand_at(rank, lines.levels, lines.quantiles, lines.mean)
    whole = (lines.multiple >= 1)[:, None]
    demand = np.where(whole, np.rint(demand), demand).reshape(-1, periods).astype(np.float32)
    drawn = draws(PATHS, lead + review, seed[0])[2:]
    ahead = np.stack([demand_at(rank[None], lines.levels, lines.quantiles, lines.mean) for rank in drawn])

    def repeated(values: Array) -> Units:
        return np.repeat(values, repetitions).astype(np.float32)

    scenario = Scenario(
        demand=demand,
        lead=np.full(len(demand), lead),
        on_hand=repeated(lines.mean * review),
        holding_cost=repeated(lines.holding_cost),
        shortage_cost=repeated(lines.shortage_cost),
        lost=lost,
        receipts=np.repeat(repeated(lines.mean)[:, None], lead + 1, axis=1),
        warm_up=warm_up,
    )
    policy = ProjectedInventory(
        paths=np.repeat(ahead, repetitions, axis=1).astype(np.float32),
        ratio=repeated(critical_ratio(lines)),
        review=review,
        lost=lost,
        multiple=repeated(lines.multiple),
    )
    return _Walk(scenario, policy)
