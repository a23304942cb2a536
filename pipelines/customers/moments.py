"""Past moments: snapshots of the same customers at earlier days, each with what BTYD expected then."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.customers import FEATURES, describe, known_by, labels
from pipelines.customers.calibration import log_odds
from pipelines.customers.clock import Clock
from pipelines.customers.expectation import Expectation, Kind
from pipelines.customers.record import first_and_last, too_little
from pipelines.errors import NotEnoughDataError

Floats = NDArray[np.float64]
BTYD_FEATURES = ("p_alive", "expected_orders", "p_no_order")


@dataclass
class Shared:
    """What pasts of one ledger have in common, whatever their cut and horizon.

    Attributes:
        rows: Day → snapshot.
        expectations: Clock, day and kind → model.
        outcomes: Cut, day and horizon → labels.
    """

    rows: dict[date, pl.DataFrame] = field(default_factory=dict)
    expectations: dict[tuple[Clock, date, Kind], Expectation] = field(default_factory=dict)
    outcomes: dict[tuple[date, date, int], pl.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Moment:
    """The customers as known at the end of one day."""

    as_of: date
    rows: pl.DataFrame
    expectation: Expectation
    horizon_days: int

    @cached_property
    def no_order(self) -> Floats:
        """BTYD probability of no order within the horizon."""
        return self.expectation.no_order(self.rows, self.horizon_days)

    def features(self) -> pl.DataFrame:
        """What a churn model learns from: the snapshot and the outputs of BTYD."""
        return with_btyd(self.rows, self.expectation, self.horizon_days)


class Past:
    """Everything known at a cut, and the moments before it.

    Args:
        ledger: A ledger; what it holds of days after the cut is cut off here, once.
        cut: The last day that is known.
        horizon_days: Length of the label window.
        period_days: Unit of BTYD times.
        clock: What BTYD times are told by; a steady one unless said.
        shared: Snapshots and fits of the same ledger, to be used and added to.
    """

    def __init__(
        self,
        ledger: pl.DataFrame,
        cut: date,
        *,
        horizon_days: int,
        period_days: int,
        clock: Clock | None = None,
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
        self.clock = clock if clock is not None else Clock(self.first)
        self._shared = shared if shared is not None else Shared()

    def told_by(self, clock: Clock) -> Past:
        """The same past by another clock."""
        terms = {"horizon_days": self.horizon_days, "period_days": self.period_days}
        return Past(self.ledger, self.cut, **terms, clock=clock, shared=self._shared)

    @cached_property
    def worth(self) -> Clock:
        """The season of what an order is worth, where `clock` runs with that of ordering; steady with it."""
        return Clock.of_order_worth(self.ledger, self.cut) if self.clock.pace else self.clock

    @cached_property
    def kind(self) -> Kind:
        """Pareto/NBD ranks better, but a young record may not tell its parameters: then MBG/NBD, at every moment."""
        return "pareto" if self._expectation(self.cut, "pareto").is_told else "mbg"

    def moment(self, as_of: date) -> Moment:
        """The moment at the end of a day."""
        if as_of > self.cut:
            raise ValueError(f"{as_of} is later than {self.cut}, the last day that is known")
        return Moment(as_of, self._rows(as_of), self._expectation(as_of, self.kind), self.horizon_days)

    def outcome(self, as_of: date) -> pl.DataFrame:
        """Labels of the customers of a moment, in the same order."""
        key = self.cut, as_of, self.horizon_days
        if key not in self._shared.outcomes:
            found = labels(self.ledger, as_of, self.horizon_days, complete_through=self.cut)
            self._shared.outcomes[key] = found
        return self._shared.outcomes[key]

    def churned(self, as_of: date) -> Floats:
        """1 for the customers of a moment who did not order within the horizon."""
        return self.outcome(as_of)["churned"].cast(pl.Float64).to_numpy()

    def complete(self, as_of: date, cut: date | None = None) -> bool:
        """Whether the label window of a day is over at a cut, and enough was on record before it to judge by."""
        over = as_of + timedelta(days=self.horizon_days) <= (cut or self.cut)
        enough = as_of - self.first >= timedelta(days=min(self.horizon_days, 91))
        return over and enough and self._has_repeats(as_of)

    def training_days(self, most: int, step_days: int = 28, cut: date | None = None) -> list[date]:
        """Days whose label windows were complete at a cut, newest first; the cut of this past unless said."""
        newest = (cut or self.cut) - timedelta(days=self.horizon_days)
        days = [newest - timedelta(days=step_days * back) for back in range(most)]
        return [day for day in days if self.complete(day, cut)]

    def surprise(self, as_of: date) -> float:
        """Log-odds of the rate that came true in a complete window less those BTYD said."""
        return float(log_odds(self.churned(as_of).mean()) - log_odds(self.moment(as_of).no_order.mean()))

    def _rows(self, as_of: date) -> pl.DataFrame:
        if as_of not in self._shared.rows:
            self._shared.rows[as_of] = describe(self.ledger, as_of, period_days=self.period_days)
        return self._shared.rows[as_of]

    def _expectation(self, as_of: date, kind: Kind) -> Expectation:
        key = self.clock, as_of, kind
        if key not in self._shared.expectations:
            fitted = Expectation.fit(self._rows(as_of), self.clock, as_of, self.period_days, kind)
            self._shared.expectations[key] = fitted
        return self._shared.expectations[key]

    def _has_repeats(self, as_of: date) -> bool:
        try:
            self.moment(as_of)
        except NotEnoughDataError:
            return False
        return True


def keyed(rows: pl.DataFrame, **columns: pl.Series) -> pl.DataFrame:
    """New columns beside the customer_id of the rows, where they have one."""
    own = {"customer_id": rows["customer_id"]} if "customer_id" in rows.columns else {}
    return pl.DataFrame(own | columns)


def with_btyd(rows: pl.DataFrame, expectation: Expectation, horizon_days: int) -> pl.DataFrame:
    """The feature columns of a snapshot beside what BTYD makes of them, all numbers."""
    return rows.select(list(FEATURES)).with_columns(
        p_alive=pl.Series(expectation.p_alive(rows)),
        expected_orders=pl.Series(expectation.orders(rows, horizon_days)),
        p_no_order=pl.Series(expectation.no_order(rows, horizon_days)),
    )
