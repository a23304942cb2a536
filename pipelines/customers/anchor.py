"""At which level churn probabilities are anchored, chosen by how each way would have done in past windows.

BTYD says how many customers will stay away: by the calendar, or by a clock that runs with the season. A third way is to
expect the rate of the newest windows again. A quarter of what the newest complete windows showed beyond the way chosen
is believed: they overlap, and so the last error is not chased.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
from scipy.special import expit

from pipelines.customers.calibration import log_odds
from pipelines.customers.clock import Clock
from pipelines.customers.moments import Past

Kind = Literal["seasonal", "btyd", "recent"]
WINDOWS = 6  # past windows by which the ways are compared
_NEWEST = 3  # windows that say what is expected again
_BELIEVED = 0.25
# The share of the usual way's error that another may have to be clearly better: past windows overlap, so they tell
# little, and cohorts age, so a rate seen before seldom comes again.
_CLEARLY: dict[Kind, float] = {"btyd": 1.0, "seasonal": 0.8, "recent": 0.5}


@dataclass(frozen=True)
class Anchor:
    """The way chosen, and what is expected of the next window.

    Attributes:
        kind: `btyd`: BTYD by the calendar; `seasonal`: by the shop's clock; `recent`: the rate of the newest windows.
        level: Expected share without an order in the window after the cut.
        errors: Way → root mean square of its error of log-odds over past windows.
    """

    kind: Kind
    level: float
    errors: dict[str, float]


def choose(past: Past, kind: Kind | None = None) -> tuple[Anchor, Past]:
    """The anchor of the window after the cut, and the past told by the clock that goes with it.

    Args:
        past: What was known at the cut, by a steady clock.
        kind: A way that was chosen earlier, to be kept; otherwise that with the least error over past windows, and
            BTYD by the calendar where there is none to compare by.
    """
    told = {"btyd": past, "seasonal": past.told_by(Clock.of(past.ledger, past.cut))}
    days = past.training_days(WINDOWS)
    errors = _errors(told, days)
    chosen = kind or _best(errors)
    if chosen == "recent" and days:
        return Anchor(chosen, float(expit(_recent_odds(past, past.cut))), errors), past
    past = told.get(chosen, past)
    surprises = [past.surprise(day) for day in days[:_NEWEST]]
    odds = log_odds(past.moment(past.cut).no_order.mean()) + _BELIEVED * float(np.mean(surprises or [0.0]))
    return Anchor(chosen, float(expit(odds)), errors), past


def _best(errors: Mapping[str, float]) -> Kind:
    """BTYD by the calendar, unless another way has clearly less error."""
    compared = {way: errors[way] / factor for way, factor in _CLEARLY.items() if way in errors}
    return min(compared, key=lambda way: compared[way], default="btyd")


def _errors(told: Mapping[str, Past], days: Sequence[date]) -> dict[str, float]:
    """Root mean square of each way's errors over the same windows; the rate of newer windows needs older ones."""
    if not days:
        return {}
    by_way = {
        way: [past.surprise(day) for day in days] for way, past in told.items() if past.clock.pace or way == "btyd"
    }
    past = told["btyd"]
    with_older = [day for day in days if past.complete(day - timedelta(days=past.horizon_days))]
    if len(with_older) >= _NEWEST:
        count = len(with_older)
        by_way = {way: values[:count] for way, values in by_way.items()}
        by_way["recent"] = [float(log_odds(past.churned(day).mean())) - _recent_odds(past, day) for day in with_older]
    return {way: float(np.sqrt(np.mean(np.square(values)))) for way, values in by_way.items()}


def _recent_odds(past: Past, day: date) -> float:
    """Mean log-odds of the share without an order in the newest windows that were complete at the end of a day."""
    days = past.training_days(_NEWEST, cut=day)
    return float(np.mean([log_odds(past.churned(each).mean()) for each in days]))
