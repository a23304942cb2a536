"""What buy-till-you-die expects of the customers of a snapshot: a model and the clock its times are told by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.customers.btyd import BetaGeometric, fit_beta_geometric
from pipelines.customers.clock import Clock
from pipelines.customers.pareto import Pareto, fit_pareto

Floats = NDArray[np.float64]
Kind = Literal["pareto", "mbg"]
Ages = tuple[Floats, Floats, Floats]
_CROWD = 2.0  # times as many first orders as in the usual week
_PLENTY = 20_000  # customers tell four parameters as well as a million do
_ENOUGH = 0.25  # of the customers, who have to be left to learn from


@dataclass(frozen=True)
class Expectation:
    """Pareto/NBD, or MBG/NBD, in the time of a clock, at the end of one day.

    Attributes:
        btyd: The model.
        clock: The clock of its times.
        as_of: The day at whose end customers are seen.
        period_days: Unit of its times.
    """

    btyd: Pareto | BetaGeometric
    clock: Clock
    as_of: date
    period_days: int

    @classmethod
    def fit(cls, rows: pl.DataFrame, clock: Clock, as_of: date, period_days: int, kind: Kind) -> Expectation:
        """The model of the customers of a snapshot.

        Raises:
            NotEnoughDataError: Too few customers have bought again.
        """
        known = newcomers(rows, period_days)
        known = known.gather_every(max(1, known.height // _PLENTY))
        told = (pl.Series(each) for each in ages(known, clock, as_of, period_days))
        btyd = fit_pareto(*told) if kind == "pareto" else fit_beta_geometric(*told, modified=True)
        return cls(btyd, clock, as_of, period_days)

    @property
    def is_told(self) -> bool:
        """Whether the data can tell all parameters of the model: its likelihood has a peak."""
        return self.btyd.converged and bool(self.btyd.standard_errors)

    def ages(self, rows: pl.DataFrame) -> Ages:
        """x, t_x and T of the rows of a snapshot, in periods of the clock."""
        return ages(rows, self.clock, self.as_of, self.period_days)

    def periods(self, days: float) -> float:
        """Periods of the clock in the next calendar days."""
        return float(self.clock.between(self.as_of, 0, days)) / self.period_days

    def p_alive(self, rows: pl.DataFrame) -> Floats:
        """Probability that each customer is still alive."""
        return self.btyd.p_alive(*self.ages(rows))

    def no_order(self, rows: pl.DataFrame, days: float) -> Floats:
        """Probability that each customer orders nothing in the next days."""
        return self.btyd.p_no_purchase(self.periods(days), *self.ages(rows))

    def orders(self, rows: pl.DataFrame, days: float) -> Floats:
        """Expected purchase days of each customer in the next days."""
        return self.btyd.expected_purchases(self.periods(days), *self.ages(rows))

    def wait_days(self, rows: pl.DataFrame, q: float, *, living: bool = False) -> Floats:
        """Calendar days within which each customer orders again with probability `q`; NaN where that never is.

        Args:
            rows: Rows of a snapshot.
            q: The probability.
            living: If the customer is still alive; otherwise that is uncertain, too.
        """
        periods = self.btyd.wait(q, *self.ages(rows), living=living)
        return self.clock.calendar_days(self.as_of, periods * self.period_days)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, to be stored."""
        return {
            "btyd": self.btyd.as_dict(),
            "clock": self.clock.as_dict(),
            "as_of": self.as_of.isoformat(),
            "period_days": self.period_days,
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Expectation:
        """What `as_dict` gave."""
        clock, as_of = Clock.from_dict(facts["clock"]), date.fromisoformat(facts["as_of"])
        model = Pareto if "beta" in facts["btyd"] else BetaGeometric
        return cls(model(**facts["btyd"]), clock, as_of, facts["period_days"])


def newcomers(rows: pl.DataFrame, period_days: int) -> pl.DataFrame:
    """Customers whose start was seen: all, unless the record begins with a crowd who were there before.

    Those seem to start with the record and to stay for good, and would teach that of everyone. The crowd is the run of
    weeks, from the first, with far more first orders than the usual week.
    """
    ages = (rows["T"].to_numpy() * period_days).round()
    week = ((ages.max(initial=0) - ages) // 7).astype(np.int64)
    firsts = np.bincount(week)
    crowd = np.argmin(firsts > _CROWD * np.median(firsts)) if len(firsts) else 0
    later = rows.filter(week >= crowd)
    return later if later.height >= _ENOUGH * rows.height else rows


def ages(rows: pl.DataFrame, clock: Clock, as_of: date, period_days: int) -> Ages:
    """x, t_x and T of the rows of a snapshot, in periods of a clock."""
    x, since = (rows[name].cast(pl.Float64).to_numpy() for name in ("frequency", "days_since_last_order"))
    age_days = (rows["T"].to_numpy() * period_days).round()
    age = clock.between(as_of, -age_days, 0)
    recency = np.where(x > 0, age - clock.between(as_of, -since, 0), 0.0)
    return x, recency / period_days, age / period_days
