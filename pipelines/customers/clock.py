"""A clock that runs with the shop's season: a week in which people buy twice as much counts as two.

Buy-till-you-die models take it that customers buy at a steady rate. Shops breathe: measured in their own time the rate
is steadier, and the same window of the calendar is long before Christmas and short after it. The season is what the
last whole years sold week by week (purchase days), smoothed, as far as it stands out of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from features.customers import known_by

Floats = NDArray[np.float64]
WEEKS = 52
YEAR_DAYS = 7 * WEEKS
_SMOOTHED = 7  # weeks, centred


@dataclass(frozen=True)
class Clock:
    """The pace of each week of a year.

    Attributes:
        anchor: The last day of the last week.
        pace: Pace of the 52 weeks that end there, oldest first, 1 on average; empty: always 1.
    """

    anchor: date
    pace: tuple[float, ...] = ()

    @classmethod
    def of(cls, ledger: pl.DataFrame, as_of: date) -> Clock:
        """The season of ordering as known at the end of a day; steady where there is no whole year."""
        orders, _ = _weekly(ledger, as_of)
        return cls(as_of, _pace(orders))

    @classmethod
    def of_order_worth(cls, ledger: pl.DataFrame, as_of: date) -> Clock:
        """The season of what a purchase day is worth: a week of larger orders counts more."""
        orders, spend = _weekly(ledger, as_of)
        usual = spend.sum() / max(orders.sum(), 1.0)
        return cls(as_of, _pace(np.divide(spend, orders, out=np.full(len(orders), usual), where=orders > 0)))

    def between(self, day: date, from_days: ArrayLike, to_days: ArrayLike) -> Floats:
        """Days by this clock between two numbers of calendar days after `day` (before, where negative)."""
        offset = (day - self.anchor).days
        return self._since_anchor(offset + np.asarray(to_days, float)) - self._since_anchor(
            offset + np.asarray(from_days, float)
        )

    def calendar_days(self, day: date, own_days: ArrayLike) -> Floats:
        """How many calendar days after `day` so many days by this clock have passed; NaN stays NaN."""
        if not self.pace:
            return np.asarray(own_days, float)
        offset = (day - self.anchor).days
        target = self._since_anchor(np.array(float(offset))) + np.asarray(own_days, float)
        years, within = np.divmod(target, YEAR_DAYS)
        ends = 7 * np.arange(WEEKS + 1)
        passed: Floats = years * YEAR_DAYS + np.interp(within, self._ends, ends) - offset
        return passed

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be stored."""
        return {"anchor": self.anchor.isoformat(), "pace": list(self.pace)}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Clock:
        """What `as_dict` gave."""
        return cls(date.fromisoformat(facts["anchor"]), tuple(facts["pace"]))

    @property
    def _ends(self) -> Floats:
        """Days by this clock since the start of a year at the end of each week, the start itself first."""
        return np.concatenate([[0.0], 7 * np.cumsum(self.pace)])

    def _since_anchor(self, days: Floats) -> Floats:
        if not self.pace:
            return days
        years, within = np.divmod(days, YEAR_DAYS)
        elapsed: Floats = years * YEAR_DAYS + np.interp(within, 7 * np.arange(WEEKS + 1), self._ends)
        return elapsed


def _weekly(ledger: pl.DataFrame, as_of: date) -> tuple[Floats, Floats]:
    """Purchase days and spend of each whole week that ends with a day, newest first."""
    ago = (pl.lit(as_of) - pl.col("day")).dt.total_days()
    known = known_by(ledger, as_of).filter(pl.col("orders") > 0).select("spend", ago=ago)
    if known.is_empty():
        return np.zeros(0), np.zeros(0)
    days = known["ago"].to_numpy()
    weeks = (int(days.max()) + 1) // 7
    return tuple(np.bincount(days // 7, what)[:weeks].astype(float) for what in (None, known["spend"].to_numpy()))  # type: ignore[return-value]


def _pace(weekly: Floats) -> tuple[float, ...]:
    """Pace of a year's weeks, oldest first, from weekly figures, newest first; empty where there is no whole year.

    Figures are freed from growth, and each year is brought to a mean of 1.
    """
    years = len(weekly) // WEEKS
    if years < 1 or not weekly.any():
        return ()
    steady = weekly * _growth_a_week(weekly) ** np.arange(len(weekly))
    by_year = steady[: years * WEEKS][::-1].reshape(years, WEEKS)
    means = by_year.mean(axis=1, keepdims=True)
    return tuple(_credible((by_year / np.where(means > 0, means, 1)).mean(axis=0)).tolist())


def _growth_a_week(counts: Floats) -> float:
    """What the weeks with a week a year before them say of growth; 1 where they are fewer than a quarter."""
    newer, older = counts[:-WEEKS], counts[WEEKS:]
    if len(older) < WEEKS // 4 or not newer.sum() or not older.sum():
        return 1.0
    return float((newer.sum() / older.sum()) ** (1 / WEEKS))


def _credible(raw: Floats) -> Floats:
    """A year's pace, smoothed around the year and drawn toward 1 as far as it is noise; 1 on average."""
    half = _SMOOTHED // 2
    around = np.concatenate([raw[-half:], raw, raw[:half]])
    smooth = np.convolve(around, np.full(_SMOOTHED, 1 / _SMOOTHED), "valid")
    noise = float(np.mean(np.diff(raw) ** 2)) / 2 / _SMOOTHED
    variance = float(smooth.var())
    trust = max(0.0, 1 - noise / variance) if variance > 0 else 0.0
    pace: Floats = 1 + trust * (smooth - smooth.mean())
    return pace
