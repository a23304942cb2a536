"""The order book at the opening of a run: what earlier runs left open counts, and what the new run adds is entered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from features.tables import TABLES
from pipelines.lake import Lake
from pipelines.settings import Approval, Settings
from pipelines.supply.approval import judge
from pipelines.supply.netting import enter, follow, on_order, propose, settled
from pipelines.supply.orders import APPROVED, EXPORTED, HELD, RUN, SUPERSEDED, as_told, columns, current, order_lines

_NOTES = {
    APPROVED: "{} order lines were approved by rule.",
    HELD: "{} order lines are far outside the usual and held: `purvey orders list --state held` says why.",
}


@dataclass(frozen=True)
class Entry:
    """What a run writes.

    Attributes:
        orders: Table replenishment of series that are not settled, with the state the rules give them.
        rows: Rows to add to table decisions.
    """

    orders: pl.DataFrame
    rows: pl.DataFrame


@dataclass(frozen=True)
class Book:
    """The order book of one day.

    Attributes:
        as_of: The day.
        at: Now, UTC.
        lines: Every line, as `orders.current` has it, with what the open orders say of it.
        followed: The rows by which they say so, to be added to table decisions.
        open_supply: Table open_supply with what earlier runs ordered on top.
        netted: How many lines that is.
        rules: The rules of approval.
        keys: The shop's series columns.
        currency: Three-letter code.
        alone: The run enters nothing: no series is settled, lines of its own day are netted like any other.
    """

    as_of: date
    at: datetime
    lines: pl.DataFrame
    followed: pl.DataFrame
    open_supply: pl.DataFrame
    netted: int
    rules: Approval
    keys: Sequence[str]
    currency: str
    alone: bool = False

    @property
    def settled(self) -> pl.DataFrame:
        """Key columns of the series on which something has been decided on this day already."""
        series = settled(self.lines, self.as_of, self.keys)
        return series.clear() if self.alone else series

    def enter(self, orders: pl.DataFrame, run: str) -> Entry:
        """Enter what a run proposes; the same run entered again adds nothing.

        Args:
            orders: Table replenishment as the run decided it.
            run: Its name.
        """
        keys = list(self.keys)
        orders = orders.join(self.settled, on=keys, how="anti", maintain_order="left")
        judged = judge(orders.filter(pl.col("quantity") > 0), self.lines, self.rules, keys=keys, currency=self.currency)
        judged = judged.with_columns(unit_cost=pl.col("order_value") / pl.col("quantity"))
        rows = propose(judged, self.lines, keys=keys, as_of=self.as_of, run=run, at=self.at)
        entered = enter(self.lines, rows, keys).filter(pl.col("run") == run, pl.col("state") != SUPERSEDED)
        return Entry(orders=_as_decided(orders, entered, keys), rows=pl.concat([self.followed, rows]))

    def settle(self, orders: pl.DataFrame) -> pl.DataFrame:
        """Of the lines of this day, those of series on which something has been decided, in the state they are in."""
        keys = list(self.keys)
        kept = orders.join(self.settled, on=keys, how="semi", maintain_order="left")
        return _as_decided(kept, self.lines, keys)

    def notes(self, entry: Entry) -> list[str]:
        """Sentences on what was netted, kept, approved, held, or is waited for."""
        overdue = self.lines.filter(pl.col("state") == EXPORTED, pl.col("receive_on") < self.as_of).height
        said = {
            "{} order lines of earlier runs are on their way and count as on order.": self.netted,
            "{} series of the day are decided already and stay as they are.": self.settled.height,
            **{text: entry.rows.filter(state=state).height for state, text in _NOTES.items()},
            "{} exported order lines were due and never acknowledged; they count as on order until they are received, "
            "cancelled, or as old as supply.approval.lapse_days says.": overdue,
        }
        return [text.format(count) for text, count in said.items() if count]


def open_book(
    settings: Settings,
    lake: Lake,
    *,
    open_supply: pl.DataFrame,
    stock: pl.DataFrame,
    as_of: date,
    at: datetime,
    alone: bool = False,
) -> Book:
    """Open the order book of a day.

    Args:
        settings: The shop.
        lake: Its tables; only table decisions is read.
        open_supply: Table open_supply.
        stock: Table stock.
        as_of: The day.
        at: Now, UTC.
        alone: The run writes no ledger: lines of its own day are netted, too.
    """
    keys, rules = settings.demand.series, settings.supply.approval
    lines = known_lines(lake, {key: stock.schema[key] for key in keys})
    followed = follow(lines, open_supply, keys=keys, as_of=as_of, lapse_days=rules.lapse_days, at=at)
    followed = followed.select(columns(keys))
    lines = enter(lines, followed, keys)
    coming = on_order(
        lines, open_supply, stock, keys=keys, as_of=as_of, timezone=settings.timezone, own_day=alone
    )  # fmt: skip
    return Book(
        as_of=as_of,
        at=at,
        lines=lines,
        followed=followed,
        open_supply=pl.concat([open_supply, coming], how="diagonal_relaxed"),
        netted=coming.height,
        rules=rules,
        keys=keys,
        currency=settings.currency,
        alone=alone,
    )


def known_lines(lake: Lake, keys: dict[str, pl.DataType]) -> pl.DataFrame:
    """Every order line as it is now, rows of `orders.current`.

    Args:
        lake: The shop's tables.
        keys: The shop's series columns and their types, for a shop without any line yet.
    """
    table = TABLES["decisions"]
    known = table.schema_with(keys, tuple(keys)).create_empty()
    decisions = lake.read("decisions") if lake.exists("decisions") else known
    return current(decisions.select(columns(list(keys))))


def _as_decided(orders: pl.DataFrame, lines: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Orders with state, quantity and reason as a person or a rule decided on their lines; others keep theirs."""
    reason = pl.when(pl.col("who") != RUN).then("why")
    told = lines.select("order_line", told_state="state", told_quantity="quantity", told_reason=reason)
    return as_told(orders.with_columns(order_lines(orders, keys)), told).select(orders.columns)
