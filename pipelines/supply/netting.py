"""What earlier runs left open, so that a need is ordered once: followed, netted, or superseded.

A new run looks at every line that came before it. What a person or a rule has ordered and the shop's open orders do not
show yet is on its way all the same: it is netted like an open order. What nobody has decided on is superseded. Lines
of the run's own day are neither: their series stay as they were decided, so that running again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import polars as pl

from pipelines.supply.orders import (
    ACKNOWLEDGED,
    APPROVED,
    CANCELLED,
    EDITED,
    EXPORTED,
    HELD,
    OPEN_SUPPLY,
    ORDERED,
    PROPOSED,
    RECEIVED,
    RULE,
    RUN,
    SUPERSEDED,
    advance,
    columns,
    current,
    order_lines,
    reference,
    undecided,
)


def follow(
    lines: pl.DataFrame,
    open_supply: pl.DataFrame,
    *,
    keys: Sequence[str],
    as_of: date,
    lapse_days: int | None,
    at: datetime,
) -> pl.DataFrame:
    """What the shop's open orders and the calendar say became of earlier lines.

    A line found among the open orders is acknowledged; one that was found there and is no longer is closed: it was
    received, or cancelled where it was ordered, and either way the shop's own tables say what is there. After
    `lapse_days` a line that nobody approved or no supplier acknowledged counts no more.

    Args:
        lines: Rows of `orders.current`.
        open_supply: Table open_supply; without `order_id` it finds nothing.
        keys: The shop's series columns.
        as_of: The day of the run.
        lapse_days: None: nothing lapses.
        at: Now, UTC.

    Returns:
        Rows to add to table decisions.
    """
    found = listed(lines, open_supply, keys)
    state, told = pl.col("state"), pl.col("who") == OPEN_SUPPLY
    seen = found & (state.is_in([EXPORTED, ACKNOWLEDGED]) & ~(state.eq(ACKNOWLEDGED) & told))
    gone = ~found & (state == ACKNOWLEDGED) & told
    rows = [
        advance(lines.filter(seen), ACKNOWLEDGED, who=OPEN_SUPPLY, why="it is among the shop's open orders", at=at),
        advance(lines.filter(gone), RECEIVED, who=OPEN_SUPPLY, why="it is an open order no longer", at=at),
    ]
    if lapse_days is not None:
        late = lines.filter(~found, pl.col("as_of") < as_of - timedelta(days=lapse_days))
        waiting, sent = late.filter(_waiting()), late.filter(state == EXPORTED)
        why = f"nobody {{}} it within {lapse_days} days"
        rows.append(advance(waiting, SUPERSEDED, who=RULE, why=why.format("approved"), at=at))
        rows.append(advance(sent, CANCELLED, who=RULE, why=why.format("acknowledged"), at=at))
    return pl.concat(rows)


def on_order(
    lines: pl.DataFrame,
    open_supply: pl.DataFrame,
    stock: pl.DataFrame,
    *,
    keys: Sequence[str],
    as_of: date,
    timezone: str,
    own_day: bool = False,
) -> pl.DataFrame:
    """What earlier runs ordered and the shop's own tables do not show yet, as rows of table open_supply.

    That is every line a person or a rule has decided to order, or is still deciding on, that is not among the open
    orders; and what was received too late to be in the stock, which is counted at the opening of its day.

    Args:
        lines: Rows of `orders.current`.
        open_supply: Table open_supply.
        stock: Table stock.
        keys: The shop's series columns.
        as_of: The day of the run.
        timezone: Where the days of the stock begin.
        own_day: Count lines of that day, too; else they are left out, for they stay as they are.
    """
    counted_on = stock.select(*keys, stock_as_of="as_of").unique(keys, keep="first", maintain_order=True)
    rows = lines.with_columns(found=listed(lines, open_supply, keys)).join(counted_on, on=keys, how="left")
    day = pl.col("at").dt.convert_time_zone(timezone).dt.date()
    just_in = (pl.col("state") == RECEIVED) & (pl.col("who") != OPEN_SUPPLY) & (day >= pl.col("stock_as_of"))
    coming = pl.col("state").is_in(ORDERED) | _waiting()
    due_on = pl.when(just_in).then(pl.lit(as_of)).otherwise(pl.col("receive_on").fill_null(as_of))
    other_day = pl.lit(own_day) | (pl.col("as_of") != as_of)
    rows = rows.filter(~pl.col("found"), coming | just_in, other_day, pl.col("quantity") > 0)
    return rows.sort("order_line").select(
        *keys, "supplier_id", due_on=due_on, quantity="quantity", order_id=reference(pl.col("order_line"))
    )


def settled(lines: pl.DataFrame, as_of: date, keys: Sequence[str]) -> pl.DataFrame:
    """Key columns of the series for which something has been decided on this day already: they stay as they are."""
    own = lines.filter(pl.col("as_of") == as_of, ~undecided(), pl.col("state") != SUPERSEDED)
    return own.select(keys).unique().sort(keys)


def propose(
    orders: pl.DataFrame, lines: pl.DataFrame, *, keys: Sequence[str], as_of: date, run: str, at: datetime
) -> pl.DataFrame:
    """The rows with which a run enters the ledger: its proposals, and the undecided ones it takes the place of.

    The same run entered again adds nothing.

    Args:
        orders: What to order: key columns, `as_of`, `supplier_id`, `quantity` > 0,
            `unit_cost`, `receive_on`; and `state` and `why`, what the rules of approval say.
            Series that are `settled` on this day are passed over.
        lines: Rows of `orders.current`.
        keys: The shop's series columns.
        as_of: The day of the run.
        run: Its name.
        at: Now, UTC.
    """
    kept = settled(lines, as_of, keys)
    orders = orders.join(kept, on=list(keys), how="anti", maintain_order="left")
    orders = orders.with_columns(order_lines(orders, keys))
    before = lines.select("order_line", "step", "state", entered="run")
    orders = orders.join(before, on="order_line", how="left", maintain_order="left", suffix="_before")
    entered = (pl.col("entered") == run) & (pl.col("state_before") != SUPERSEDED)
    new = orders.filter(~entered.fill_null(False)).with_columns(
        step=pl.col("step").fill_null(0) + 1,
        run=pl.lit(run),
        at=pl.lit(at).cast(pl.Datetime("us", "UTC")),
        **{name: pl.lit(None, dtype=pl.String) for name in ("export_id", "file", "order_id")},
    )
    proposed = new.with_columns(state=pl.lit(PROPOSED), who=pl.lit(RUN)).select(columns(keys))
    judged = [
        advance(proposed.join(new.filter(state=state).select("order_line"), on="order_line", how="semi"), state,
                who=RULE, why=pl.col("why"), at=at)
        for state in (APPROVED, HELD)
    ]  # fmt: skip
    replaced = lines.filter(undecided()).join(orders, on="order_line", how="anti")
    replaced = replaced.filter(~_is_of(replaced, kept, as_of))
    superseded = advance(replaced, SUPERSEDED, who=RUN, why=f"run {run} takes its place", at=at, run=pl.lit(run))
    return pl.concat([frame.select(columns(keys)) for frame in (superseded, proposed, *judged)])


def listed(lines: pl.DataFrame, open_supply: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """Which lines are among the shop's open orders: by reference, id, or the number they were acknowledged with."""
    if "order_id" not in open_supply.columns or open_supply.is_empty():
        return pl.repeat(False, lines.height, dtype=pl.Boolean, eager=True).alias("found")
    there = open_supply.select(*keys, name="order_id").drop_nulls("name").unique()
    known_as = [pl.col("order_line"), reference(pl.col("order_line")), pl.col("order_id")]
    named = pl.concat([lines.select("order_line", *keys, name=name) for name in known_as])
    hits = named.join(there, on=[*keys, "name"], how="semi")["order_line"].unique()
    return lines["order_line"].is_in(hits.implode()).alias("found")


def _waiting() -> pl.Expr:
    """Lines a person has spoken of without ordering them yet: they are in hand, and nothing else is to be ordered."""
    return (pl.col("state") == EDITED) | ((pl.col("state") == HELD) & (pl.col("who") != RULE))


def _is_of(rows: pl.DataFrame, series: pl.DataFrame, as_of: date) -> pl.Series:
    """Which rows are of these series on this day."""
    marked = rows.join(series.with_columns(_of=pl.lit(True)), on=series.columns, how="left", maintain_order="left")
    return marked.select(pl.col("_of").fill_null(False) & (pl.col("as_of") == as_of)).to_series()


def enter(lines: pl.DataFrame, rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The present of all lines once rows have been added to the ledger."""
    before = lines.select(columns(keys))
    return current(pl.concat([before, rows.select(columns(keys))]))
