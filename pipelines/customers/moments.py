"""Past moments: snapshots of the same customers at earlier days, each with a BTYD model of what was known then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.customers import FEATURES, describe, known_by, labels
from pipelines.customers.btyd import BetaGeometric, fit_beta_geometric
from pipelines.customers.calibration import log_odds
from pipelines.customers.record import first_and_last, too_little
from pipelines.errors import NotEnoughDataError

Floats = NDArray[np.float64]
Shared = dict[date, tuple[pl.DataFrame, BetaGeometric]]
YEAR_DAYS = 364  # 52 whole weeks: the same weekday a year before
BTYD_FEATURES = ("p_alive", "expected_orders", "p_no_order")


@dataclass(frozen=True)
class Moment:
    """The customers as known at the end of one day."""

    as_of: date
    rows: pl.DataFrame
    btyd: BetaGeometric
    periods: float

    @cached_property
    def no_order(self) -> Floats:
        """BTYD probability of no order within the horizon."""
        return self.btyd.p_no_purchase(self.periods, *ages(self.rows))

    def features(self) -> pl.DataFrame:
        """What a churn model learns from: the snapshot and the outputs of BTYD."""
        return with_btyd(self.rows, self.btyd, self.periods)


class Past:
    """Everything known at a cut, and the moments before it.

    Args:
        ledger: A ledger; what it holds of days after the cut is cut off here, once.
        cut: The last day that is known.
        horizon_days: Length of the label window.
        period_days: Unit of BTYD times.
        shared: Snapshots and fits of the same ledger at earlier days, to be used and added to. They depend on nothing
            but their day, so pasts with other cuts and horizons may share them.
    """

    def __init__(
        self,
        ledger: pl.DataFrame,
        cut: date,
        *,
        horizon_days: int,
        period_days: int,
        shared: Shared | None = None,
    ) -> None:
        self.cut = cut
        self.horizon_days = horizon_days
        self.period_days = period_days
        self.ledger = known_by(ledger, cut)
        if self.ledger.is_empty():
            raise too_little(
                f"No order of a known customer is on record by {cut}.",
                column="customer_id",
                remedy="name a later day, bring earlier orders",
            )
        self.first, _ = first_and_last(self.ledger)
        self._shared: Shared = shared if shared is not None else {}

    def moment(self, as_of: date) -> Moment:
        """The moment at the end of a day."""
        if as_of > self.cut:
            raise ValueError(f"{as_of} is later than {self.cut}, the last day that is known")
        if as_of not in self._shared:
            rows = describe(self.ledger, as_of, period_days=self.period_days)
            btyd = fit_beta_geometric(rows["frequency"], rows["recency"], rows["T"], modified=True)
            self._shared[as_of] = rows, btyd
        return Moment(as_of, *self._shared[as_of], self.horizon_days / self.period_days)

    def outcome(self, as_of: date) -> pl.DataFrame:
        """Labels of the customers of a moment, in the same order."""
        return labels(self.ledger, as_of, self.horizon_days, complete_through=self.cut)

    def churned(self, as_of: date) -> Floats:
        """1 for the customers of a moment who did not order within the horizon."""
        return self.outcome(as_of)["churned"].cast(pl.Float64).to_numpy()

    def complete(self, as_of: date) -> bool:
        """Whether the label window of a day is over, and enough was on record before it to judge by."""
        over = as_of + timedelta(days=self.horizon_days) <= self.cut
        enough = as_of - self.first >= timedelta(days=min(self.horizon_days, 91))
        return over and enough and self._has_repeats(as_of)

    def training_days(self, most: int, step_days: int = 28) -> list[date]:
        """Days with complete label windows, newest first."""
        newest = self.cut - timedelta(days=self.horizon_days)
        days = [newest - timedelta(days=step_days * back) for back in range(most)]
        return [day for day in days if self.complete(day)]

    def surprise(self, as_of: date) -> float | None:
        """Log-odds of the rate that came true less those BTYD said: what season (and error) added. None if unknown."""
        if not self.complete(as_of):
            return None
        return float(log_odds(self.churned(as_of).mean()) - log_odds(self.moment(as_of).no_order.mean()))

    def _has_repeats(self, as_of: date) -> bool:
        try:
            self.moment(as_of)
        except NotEnoughDataError:
            return False
        return True


def ages(rows: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
    """x, t_x and T of the rows of a snapshot, as arrays."""
    x, recency, age = (rows[name].cast(pl.Float64).to_numpy() for name in ("frequency", "recency", "T"))
    return x, recency, age


def keyed(rows: pl.DataFrame, **columns: pl.Series) -> pl.DataFrame:
    """New columns beside the customer_id of the rows, where they have one."""
    own = {"customer_id": rows["customer_id"]} if "customer_id" in rows.columns else {}
    return pl.DataFrame(own | columns)


def with_btyd(rows: pl.DataFrame, btyd: BetaGeometric, periods: float) -> pl.DataFrame:
    """The feature columns of a snapshot beside what BTYD makes of them, all numbers."""
    own = ages(rows)
    return rows.select(list(FEATURES)).with_columns(
        p_alive=pl.Series(btyd.p_alive(*own)),
        expected_orders=pl.Series(btyd.expected_purchases(periods, *own)),
        p_no_order=pl.Series(btyd.p_no_purchase(periods, *own)),
    )
