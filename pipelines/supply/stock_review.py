"""What stock there is too much of, what is dead, what will run out, and how long the rest lasts.

| figure | definition |
|---|---|
| excess | on hand and coming, above the P95 of demand to the end of the cover horizon (`cover_days`) |
| obsolete | no demand for `obsolete_after_days`, and about none forecast; its stock is dead |
| days of supply | stock on hand ÷ mean daily demand expected over the cover horizon |
| cover at risk | the same with the P90 of demand to the end of the cover horizon in place of its mean |
| stock-out risk | probability that anything is missing before an order placed now could arrive |
| stock-out date | the first day by which stock has run out with a probability of a half, if nothing new is ordered |
| expiring | units expected to expire unsold, the oldest sold first |

Open supply counts at its confidence, for stock-outs and for excess: what is on its way is paid for like what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from pipelines.settings import StockReview
from pipelines.supply.line_arrays import Lines
from pipelines.supply.paths import Array
from pipelines.supply.runway import Runway

ABOUT_ZERO = 0.5  # units over the cover horizon: less is no demand
_HALF = 0.5


@dataclass(frozen=True)
class Horizon:
    """The cover horizon in periods.

    Attributes:
        periods: Its length.
        steps: Into how many equal steps it is cut, about one a period.
    """

    periods: float
    steps: int

    @classmethod
    def of(cls, settings: StockReview, days_a_period: float) -> Horizon:
        """The horizon of a shop."""
        periods = settings.cover_days / days_a_period
        return cls(periods, max(round(periods), 1))

    def times(self, now: Array) -> Array:
        """End of each step, shape (steps, n, 1), for a day of shape (n, 1)."""
        return now[None] + (np.arange(1, self.steps + 1) * (self.periods / self.steps))[:, None, None]


def review(runway: Runway, lines: Lines, horizon: Horizon) -> dict[str, Array]:
    """Figures of each line, shape (n,): units, probabilities and periods.

    Args:
        runway: Stock and demand.
        lines: The same lines: lead times and lots.
        horizon: The cover horizon.

    Returns:
        `demand_mean`, `demand_p90` and `demand_p95` over the horizon, `excess`, `expiring`, `on_order` (expected to
        come within the horizon), `stock_out_risk`, and `stock_out_after`: periods from now until stock has run out with
        a probability of a half, infinite where it lasts longer than the horizon.
    """
    demand = runway.demand(runway.now + horizon.periods)
    p90, p95 = np.quantile(demand, [0.9, 0.95], axis=1)
    coming = np.where(runway.due < runway.now + horizon.periods, np.maximum(runway.receipts, 0), 0.0).sum(axis=1)
    return {
        "demand_mean": demand.mean(axis=1),
        "demand_p90": p90,
        "demand_p95": p95,
        "excess": np.maximum(lines.on_hand + coming - p95, 0.0),
        "expiring": _expiring(runway, lines),
        "on_order": coming,
        "stock_out_risk": runway.stock_out_risk(runway.now + lines.lead[:, None]),
        "stock_out_after": _stock_out(runway, horizon),
    }


def _stock_out(runway: Runway, horizon: Horizon) -> Array:
    """Periods from now until P(run out) reaches a half, straight lines between the steps."""
    after = np.full(len(runway.on_hand), np.inf)
    risk_before, time_before = np.zeros(len(after)), np.zeros(len(after))
    for time in horizon.times(runway.now):
        risk, passed = runway.stock_out_risk(time), (time - runway.now)[:, 0]
        part = (_HALF - risk_before) / np.where(risk > risk_before, risk - risk_before, 1.0)
        crosses = (risk >= _HALF) & np.isinf(after)
        after = np.where(crosses, time_before + np.clip(part, 0.0, 1.0) * (passed - time_before), after)
        risk_before, time_before = risk, passed
    return after


def _expiring(runway: Runway, lines: Lines) -> Array:
    """Expected units that expire unsold: what of the lots up to each expiry demand does not reach by then."""
    wasted = np.zeros((len(lines.on_hand), runway.paths.shape[2]))
    if lines.lots is None or lines.lot_expiry is None:
        return wasted[:, 0]
    together = np.cumsum(lines.lots, axis=1)
    for units, expiry in zip(together.T[:, :, None], lines.lot_expiry.T[:, :, None], strict=True):
        ends = np.isfinite(expiry)
        left = units - runway.demand(np.where(ends, expiry, runway.now))
        wasted = np.where(ends, np.maximum(wasted, left), wasted)
    return np.asarray(wasted.mean(axis=1))


def review_table(
    lines: pl.DataFrame, figures: pl.DataFrame, settings: StockReview, *, keys: Sequence[str], days_a_period: float
) -> pl.DataFrame:
    """Table stock_review.

    Args:
        lines: Key columns, `as_of`, `on_hand`, `unit_cost`, `lead_days`, `abc`, `days_since_demand` and `illustrative`,
            one row a series.
        figures: From `review`, in the same order.
        settings: Cover horizon, and when a series counts as obsolete.
        keys: The shop's series columns.
        days_a_period: Mean length of a demand period, days.
    """
    told = pl.concat([lines, figures], how="horizontal")
    cover, on_hand = float(settings.cover_days), pl.col("on_hand")
    silent = (pl.col("days_since_demand") >= settings.obsolete_after_days).fill_null(False)
    days_out = pl.col("stock_out_after") * days_a_period
    within = days_out <= cover

    def lasting(demand: str) -> pl.Expr:
        return pl.when(pl.col(demand) > ABOUT_ZERO).then(on_hand / pl.col(demand) * cover)

    return told.with_columns(
        stock_value=on_hand * pl.col("unit_cost"),
        obsolete=silent & (pl.col("demand_mean") < ABOUT_ZERO),
        excess_value=pl.col("excess") * pl.col("unit_cost"),
        days_of_supply=lasting("demand_mean"),
        cover_at_risk_days=lasting("demand_p90"),
        stock_out_on=pl.when(within).then(
            (pl.col("as_of") + pl.duration(days=pl.when(within).then(days_out.floor()).cast(pl.Int64))).cast(pl.Date)
        ),
        next_receipt_on=(pl.col("as_of") + pl.duration(days=pl.col("lead_days").ceil().cast(pl.Int64))).cast(pl.Date),
        cover_until=(pl.col("as_of") + timedelta(days=settings.cover_days)).cast(pl.Date),
    ).with_columns(
        dead_value=pl.when("obsolete").then("stock_value").otherwise(0.0),
        finding=_finding(),
    )


def _finding() -> pl.Expr:
    """The one word a planner sorts by."""
    return (
        pl.when(pl.col("obsolete") & (pl.col("on_hand") > 0))
        .then(pl.lit("obsolete"))
        .when((pl.col("stock_out_risk") >= _HALF) & (pl.col("demand_mean") >= ABOUT_ZERO))
        .then(pl.lit("stock_out"))
        .when(pl.col("excess") > 0)
        .then(pl.lit("excess"))
        .otherwise(pl.lit("in_order"))
    )
