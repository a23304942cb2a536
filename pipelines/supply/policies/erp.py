"""What planning systems do today, with their parameters set as their own manuals say: the policies users know by name.

Safety stock is z·σ·√(protection interval) in all of them, and a lot is the EOQ but at least one review's demand, so
that they differ in their logic alone. All see the protection interval (lead time + review): a system that looks only
over the lead time would run short by design.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from pipelines.supply.paths import Array
from pipelines.supply.policies.known import Known
from pipelines.supply.policies.rules import MinMax, OrderUpTo, ReorderLevel, Rule

_TOP_SERVICE = 0.9999  # a target of 1 would ask for endless stock
_RECENT = 13  # periods the seasonal cover looks back


def min_max(known: Known) -> MinMax:
    """Odoo's reordering rule: below the minimum, order up to the maximum.

    The minimum is demand over the protection interval and safety stock, the maximum a lot more.
    """
    minimum = _expected(known) + _safety_stock(known)
    return MinMax(minimum, minimum + _lot(known))


def reorder_level(known: Known) -> ReorderLevel:
    """ERPNext's automatic reorder: at or below the level, the reorder quantity or the deficiency, whichever is more."""
    return ReorderLevel(_expected(known) + _safety_stock(known), _lot(known))


def order_point(known: Known) -> MinMax:
    """Tryton's order point: below a minimum that covers supplier's lead time and supply period, order to the target.

    The target holds one supply period's demand more, and no lot: proposals are made anew at every run.
    """
    minimum = _expected(known) + _safety_stock(known)
    return MinMax(minimum, minimum + known.mean * known.review)


def safety_stock_and_lot(known: Known) -> ReorderLevel:
    """Safety stock and reorder quantity as in frePPLe: when the forecast eats into safety stock, order whole lots.

    The forecast, where there is one, takes the place of mean demand.
    """
    expected = _expected(known) if known.forecast is None else known.forecast.mean
    return ReorderLevel(expected + _safety_stock(known), _lot(known))


def safety_stock(known: Known) -> OrderUpTo:
    """The textbook's order-up-to level: mean demand over the protection interval + z·σ·√interval, from history."""
    return OrderUpTo(_expected(known) + _safety_stock(known))


def critical_ratio(known: Known) -> OrderUpTo:
    """Order up to the newsvendor quantile of demand over the protection interval: right for backorders only."""
    return OrderUpTo(known.demand_at(known.critical_ratio))


def static(known: Known) -> OrderUpTo:
    """Order up to a quantile of history at the critical ratio times one tuned number, set once and kept."""
    return OrderUpTo(known.history_at(np.clip(known.critical_ratio * known.effective_ratio, 0, _TOP_SERVICE)))


def seasonal_cover(known: Known) -> OrderUpTo:
    """Cover the coming weeks at the recent level: the benchmark policy of the VN2 inventory competition (2025).

    Weeks out of stock are unknown. A factor for each place in the year is pooled over all items; the level is the mean
    of the last 13 periods with the factor taken out. Stock and pipeline are raised to the demand so foreseen over one
    period more than the protection interval (four weeks for VN2's lead time of two).
    """
    return OrderUpTo(seasonal_cover_level(known), rounded=True)


def demand_driven(known: Known) -> MinMax:
    """Buffers of demand-driven MRP: below the top of yellow, order to the top of green (Ptak & Smith 2016).

    Red is usage over the protection interval times a lead-time factor, and as much again by variability; yellow is
    usage over the interval; green the largest of a lot and the same share of usage. Factors are the middle of the
    method's ranges: 0.5 for lead time, and variability is the coefficient of variation, at most 1.
    """
    usage = _expected(known)
    base = 0.5 * usage
    variability = np.clip(known.deviation / np.where(known.mean > 0, known.mean, 1), 0, 1)
    top_of_yellow = base * (1 + variability) + usage
    return MinMax(top_of_yellow, top_of_yellow + np.maximum(base, _lot(known)))


def seasonal_cover_level(known: Known) -> Array:
    """Demand foreseen by `seasonal_cover`, shape (n,), units.

    Where the last 13 periods are all unknown, the whole history stands in for them.

    Raises:
        ValueError: `season` names too few coming periods.
    """
    periods = known.history.shape[1]
    cover = (known.interval + 1).astype(np.int64)
    ahead = int(cover.max(initial=0))
    if known.season is None:
        factor = np.ones(periods + ahead)
    else:
        if len(known.season) < periods + ahead:
            raise ValueError(f"season must name {periods} past and {ahead} coming periods, not {len(known.season)}")
        factor = _season_factors(known.history, known.season)[: periods + ahead]
    plain = known.history / factor[:periods]
    recent = _mean_known(plain[:, -_RECENT:], axis=1)
    level = np.where(np.isfinite(recent), recent, np.nan_to_num(_mean_known(plain, axis=1)))
    foreseen = np.concatenate([[0.0], np.cumsum(factor[periods:])])
    return np.asarray(level * foreseen[cover])


def _expected(known: Known) -> Array:
    """Mean demand over the protection interval, shape (n,), units."""
    return known.mean * known.interval


def _safety_stock(known: Known) -> Array:
    """z·σ·√interval at the service target, shape (n,), units; none for a target below one half."""
    z = ndtri(np.minimum(known.service_target, _TOP_SERVICE))
    return np.asarray(np.maximum(z, 0) * known.deviation * np.sqrt(known.interval))


def _lot(known: Known) -> Array:
    """The EOQ, but at least what one review interval needs, shape (n,), units."""
    holding = np.where(known.holding_cost > 0, known.holding_cost, np.inf)
    return np.asarray(np.maximum(np.sqrt(2 * known.fixed_cost * known.mean / holding), known.mean * known.review))


def _season_factors(history: Array, season: npt.NDArray[np.integer[Any]]) -> Array:
    """Demand of each place in the year ÷ that of the average place, pooled over items, shape of `season`.

    A place that was never seen, or had no demand, counts as average.
    """
    periods = history.shape[1]
    places, place = np.unique(season, return_inverse=True)
    pooled = _mean_known(history, axis=0)
    seen = np.isfinite(pooled)
    times = np.bincount(place[:periods][seen], minlength=len(places))
    total = np.bincount(place[:periods][seen], pooled[seen], minlength=len(places))
    mean = np.where(times > 0, total / np.maximum(times, 1), np.nan)
    average = mean[times > 0].mean() if (times > 0).any() else 1.0
    factor = np.where((times > 0) & (mean > 0), mean / (average if average > 0 else 1.0), 1.0)
    return np.asarray(factor[place])


def _mean_known(values: Array, *, axis: int) -> Array:
    """Mean of what is known; not-a-number where nothing is."""
    known = np.isfinite(values)
    times = known.sum(axis=axis)
    return np.asarray(np.where(times > 0, np.where(known, values, 0).sum(axis=axis) / np.maximum(times, 1), np.nan))


POLICIES: Mapping[str, Callable[[Known], Rule]] = MappingProxyType(
    {
        "min_max": min_max,
        "reorder_level": reorder_level,
        "order_point": order_point,
        "safety_stock_and_lot": safety_stock_and_lot,
        "safety_stock": safety_stock,
        "critical_ratio": critical_ratio,
        "static": static,
        "seasonal_cover": seasonal_cover,
        "demand_driven": demand_driven,
    }
)
"""Policies by the name a user chooses them by; each sets its rule's parameters from what is known."""
