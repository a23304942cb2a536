"""What to ask of suppliers about orders already placed: hurry this one, hold that one back, leave that one be.

An order is judged by what it costs to have it on another day, all others coming as they should and nothing new ordered:

- expedite: what is missing until it comes, or until an order placed now could come, against what is missing when it
  comes in `expedite_days`; less the price of hurrying and of holding it longer.
- defer: the stock it would be until a later day, against what would be missing by that day without it. The day with the
  largest gain is proposed.
- cancel: that day is the end of the cover horizon: within it the order adds stock and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.supply.paths import Array
from pipelines.supply.runway import NEVER, Runway
from pipelines.supply.stock_review import Horizon

ADVICE = ("expedite", "defer", "cancel")


@dataclass(frozen=True)
class OpenOrders:
    """Open orders, one row each, shape (m,). Times in periods since the forecast was issued, money a unit.

    Attributes:
        units: Units expected to come (quantity × confidence).
        due: When.
        arrival: When an order placed now would come.
        hurried: When this one would, if hurried.
        holding_cost: Per unit and period.
        shortage_cost: Per unit.
        hurry_cost: Per unit.
    """

    units: Array
    due: Array
    arrival: Array
    hurried: Array
    holding_cost: Array
    shortage_cost: Array
    hurry_cost: Array


@dataclass(frozen=True)
class Gains:
    """What moving each order brings, money, shape (m,).

    Attributes:
        expedite: By hurrying it; minus infinity where it cannot come sooner.
        fewer_missing: Units that are then not missing, expected.
        defer: By having it on the best later day.
        later: That day, periods since the forecast was issued; the end of the horizon: not at all.
        spared: Stock it would have been until then, unit-periods, expected.
        end: End of the horizon.
    """

    expedite: Array
    fewer_missing: Array
    defer: Array
    later: Array
    spared: Array
    end: Array

    @classmethod
    def joined(cls, parts: Sequence[Gains]) -> Gains:
        """Those of several blocks of orders, one after the other."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def gains(runway: Runway, orders: OpenOrders, horizon: Horizon) -> Gains:
    """What moving each order would bring.

    Args:
        runway: Stock and demand of the line of each order, the order itself among its receipts, m rows.
        orders: The orders.
        horizon: How far ahead is looked.
    """
    until = np.minimum(orders.due, orders.arrival)[:, None]
    sooner = runway.moved(orders.units, orders.due, orders.hurried)
    fewer = (runway.missing(until) - sooner.missing(until)).mean(axis=1)
    held_longer = (orders.due - orders.hurried) * orders.units
    hurrying = orders.shortage_cost * fewer - orders.hurry_cost * orders.units - orders.holding_cost * held_longer
    later, gain, spared = _best_later(runway, orders, horizon)
    return Gains(
        expedite=np.where(orders.hurried < orders.due, hurrying, -np.inf),
        fewer_missing=fewer,
        defer=gain,
        later=later,
        spared=spared,
        end=(runway.now + horizon.periods)[:, 0],
    )


def _best_later(runway: Runway, orders: OpenOrders, horizon: Horizon) -> tuple[Array, Array, Array]:
    """The later day with the largest gain, that gain (money) and the stock spared until then (unit-periods).

    Until the later day stock is what it would be without the order: two walks, with it and without, tell of every day.
    """
    without = runway.moved(orders.units, orders.due, np.full_like(orders.due, NEVER))
    best, later, most_spared = np.zeros_like(orders.due), orders.due.copy(), np.zeros_like(orders.due)
    spared, before = np.zeros_like(orders.due), orders.due.copy()
    for time in horizon.times(runway.now):
        missing, missing_without = runway.missing(time), without.missing(time)
        spares = runway.held(time, missing) - without.held(time, missing_without)
        moment = time[:, 0]
        spared += spares * np.maximum(moment - before, 0.0)
        before = np.maximum(before, moment)
        gain = orders.holding_cost * spared - orders.shortage_cost * (missing_without - missing).mean(axis=1)
        better = gain > best  # nothing is gained before the order is due
        best, later = np.where(better, gain, best), np.where(better, moment, later)
        most_spared = np.where(better, spared, most_spared)
    return later, best, most_spared


def advise(found: Gains, least_gain: float) -> tuple[npt.NDArray[np.int64], Array]:
    """The advice on each order (its place in `ADVICE`, −1 for none) and what it brings, money.

    Example:
        >>> some = np.array([5.0, -1.0, 0.2])
        >>> found = Gains(some, some, some[::-1], np.array([2.0, 3.0, 9.0]), some, np.full(3, 9.0))
        >>> advise(found, 1.0)[0].tolist()
        [0, -1, 2]
    """
    late = np.where(found.later >= found.end - 1e-9, 2, 1)
    chosen = np.where(found.expedite >= found.defer, 0, late)
    gain = np.maximum(found.expedite, found.defer)
    return np.where((gain >= least_gain) & (gain > 0), chosen, -1), gain


def advice_table(orders: pl.DataFrame, *, keys: Sequence[str], currency: str) -> pl.DataFrame:
    """Orders worth a word, with a sentence of reason, those that bring most first.

    Args:
        orders: Key columns, `as_of`, `supplier_id`, `due_on`, `quantity`, `advice`, `gain`, `move_to`, `value`,
            `stock_out_on`, `fewer_missing`, `cover_until`, `days_of_supply`.
        keys: The shop's series columns.
        currency: Three-letter code.
    """
    return (
        orders.filter(pl.col("advice").is_not_null())
        .with_columns(reason=_reason(currency))
        .sort("gain", *keys, "due_on", descending=[True, *[False] * (len(keys) + 1)])
    )


def _reason(currency: str) -> pl.Expr:
    money, due, gain = pl.lit(currency), pl.col("due_on").cast(pl.String), _cents("gain")
    out = pl.col("stock_out_on").cast(pl.String)
    lasts = (
        pl.when(pl.col("days_of_supply").is_null())
        .then(pl.lit("About no demand is expected for what is on hand"))
        .otherwise(pl.format("What is on hand lasts about {} days", pl.col("days_of_supply").round(0).cast(pl.Int64)))
    )
    runs_out = (
        pl.when(pl.col("stock_out_on") < pl.col("due_on"))
        .then(pl.format("Stock is likely to run out on {}, the order is due only on {}", out, due))
        .otherwise(pl.format("Stock may run out before the order comes on {}", due))
    )
    return (
        pl.when(pl.col("advice") == "expedite")
        .then(
            pl.format(
                "{}: hurrying saves {} units of unmet demand, {} {} after its cost.",
                runs_out, pl.col("fewer_missing").round(1), money, gain,
            )
        )
        .when(pl.col("advice") == "defer")
        .then(
            pl.format(
                "{}; the order is not needed before {}: waiting saves {} {} of holding.",
                lasts, pl.col("move_to").cast(pl.String), money, gain,
            )
        )
        .otherwise(
            pl.format(
                "{}; the order would be excess to {}: without it {} {} of holding is saved and {} {} is not tied up.",
                lasts, pl.col("cover_until").cast(pl.String), money, gain,
                money, _cents("value"),
            )
        )
    )  # fmt: skip


def _cents(column: str) -> pl.Expr:
    """Money above zero with two decimals."""
    cents = (pl.col(column) * 100).round(0).cast(pl.Int64)
    return pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String).str.zfill(2))
