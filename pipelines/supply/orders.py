"""The life of an order line: which state may follow which, and what the ledger of changes says of each line now.

```
proposed ─▶ edited ─▶ approved ─▶ exporting ─▶ exported ─▶ acknowledged ─▶ received
    │  ▲       │ ▲        │                        │              │
    ▼  │       ▼ │        ▼                        ▼              ▼
superseded   held · rejected                   cancelled · received
```

The ledger is table `decisions`: one row a change, added and never altered. Every row carries all that is known of its
line, so the present of a line is its newest row. Everything here is pure: frames in, frames out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from features.tables import TABLES
from pipelines.errors import DecisionError

PROPOSED, EDITED, HELD, APPROVED, REJECTED = "proposed", "edited", "held", "approved", "rejected"
EXPORTING, EXPORTED, ACKNOWLEDGED = "exporting", "exported", "acknowledged"
RECEIVED, CANCELLED, SUPERSEDED = "received", "cancelled", "superseded"

#: Who speaks where nobody does: the run that proposes, the rules of approval, the shop's own open orders.
RUN, RULE, OPEN_SUPPLY = "replenish", "rule", "open_supply"
NOT_PEOPLE = (RUN, RULE, OPEN_SUPPLY)

#: State → the states that may follow it.
NEXT: dict[str, tuple[str, ...]] = {
    PROPOSED: (PROPOSED, EDITED, HELD, APPROVED, REJECTED, SUPERSEDED),
    EDITED: (EDITED, HELD, APPROVED, REJECTED, SUPERSEDED),
    HELD: (PROPOSED, EDITED, HELD, APPROVED, REJECTED, SUPERSEDED),
    APPROVED: (EDITED, HELD, REJECTED, EXPORTING),
    EXPORTING: (EXPORTED,),
    EXPORTED: (ACKNOWLEDGED, RECEIVED, CANCELLED),
    ACKNOWLEDGED: (ACKNOWLEDGED, RECEIVED, CANCELLED),
    SUPERSEDED: (PROPOSED,),
    REJECTED: (),
    RECEIVED: (),
    CANCELLED: (),
}
#: Somebody, or a rule, has said that this much shall come.
ORDERED = (APPROVED, EXPORTING, EXPORTED, ACKNOWLEDGED)

_REMEDY = {
    PROPOSED: "approve it first: purvey orders approve {}",
    EDITED: "approve it first: purvey orders approve {}",
    HELD: "approve it first: purvey orders approve {}",
    APPROVED: "send it first: purvey orders export; or reject it",
    EXPORTING: "an export was cut short; finish it: purvey orders export",
    EXPORTED: "it was sent: acknowledge, receive or cancel it",
    ACKNOWLEDGED: "it was sent: receive or cancel it",
}
_CLOSED = "it is closed; what is still needed is proposed by the next purvey replenish"


def order_lines(orders: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """The id of each order line: the day of the run and a digest of series and supplier.

    It depends on nothing else, so a run of the same day names the same line alike, on every machine.

    Args:
        orders: `as_of`, the key columns and `supplier_id`.
        keys: The shop's series columns, in any order.

    Example:
        >>> from datetime import date
        >>> line = pl.DataFrame({"as_of": [date(2024, 4, 15)], "sku": ["A"], "supplier_id": ["S1"]})
        >>> order_lines(line, ["sku"]).item()
        '20240415-a2d117b419da230d'
    """
    if orders.is_empty():
        return pl.Series("order_line", [], dtype=pl.String)
    named = [pl.format("{}={}", pl.lit(key), pl.col(key)) for key in [*sorted(keys), "supplier_id"]]
    days = orders["as_of"].dt.strftime("%Y%m%d-")
    names = orders.select(pl.concat_str(named, separator="\x1f")).to_series()
    digests = [hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in names]
    return (days + pl.Series(digests)).alias("order_line")


def reference(order_line: pl.Expr) -> pl.Expr:
    """What an order carries in the reference field of the system it goes to, so that it is found there again."""
    return pl.lit("REC-") + order_line


def columns(keys: Sequence[str]) -> list[str]:
    """The columns of table decisions, in their order."""
    own = TABLES["decisions"].schema.column_names()
    return [own[0], *keys, *own[1:]]


def current(decisions: pl.DataFrame) -> pl.DataFrame:
    """What the ledger says of each line now.

    Args:
        decisions: Table decisions, rows in any order.

    Returns:
        The newest row of each line with `proposed_quantity`, what its last proposal said; sorted by `order_line`.
    """
    rows = decisions.sort("order_line", "step")
    proposed = pl.col("quantity").filter(pl.col("state") == PROPOSED).last().alias("proposed_quantity")
    return rows.group_by("order_line", maintain_order=True).agg(pl.exclude("order_line").last(), proposed)


def as_told(orders: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Orders with the state, quantity and reason that were told of their lines since; others keep theirs.

    Args:
        orders: order_line, state, quantity, state_reason and whatever else.
        told: order_line, told_state, told_quantity, told_reason, one row a line; null where nothing was told.
    """
    both = orders.join(told, on="order_line", how="left", maintain_order="left")
    return both.with_columns(
        pl.coalesce(f"told_{name}", kept).alias(kept)
        for name, kept in (("state", "state"), ("quantity", "quantity"), ("reason", "state_reason"))
    ).select(orders.columns)


def undecided() -> pl.Expr:
    """Lines that no person has said anything of: a new run may replace them."""
    return (pl.col("state") == PROPOSED) | ((pl.col("state") == HELD) & (pl.col("who") == RULE))


def advance(
    lines: pl.DataFrame,
    to: str,
    *,
    who: str,
    why: str | pl.Expr,
    at: datetime,
    **changed: pl.Expr,
) -> pl.DataFrame:
    """The rows that move lines to a state.

    Args:
        lines: Rows of `current`.
        to: The new state.
        who: Who says so.
        why: Why, in words.
        at: When, UTC.
        **changed: Other columns that change with it, such as `quantity`.

    Returns:
        Rows to add to table decisions.

    Raises:
        DecisionError: A line cannot become that; the first one is named, and nothing is returned.
    """
    _refuse(lines, to)
    said = pl.lit(why) if isinstance(why, str) else why
    moment = pl.lit(at).cast(pl.Datetime("us", "UTC"))
    return (
        lines.drop("proposed_quantity", strict=False)
        .with_columns(**changed)
        .with_columns(step=pl.col("step") + 1, state=pl.lit(to), who=pl.lit(who), why=said, at=moment)
    )


def broken(decisions: pl.DataFrame) -> pl.DataFrame:
    """Rows of the ledger that cannot follow the row before them; empty for every sound ledger."""
    before = pl.col("state").shift().over("order_line", order_by="step")
    follows = pl.col("step") == pl.int_range(1, pl.len() + 1).over("order_line", order_by="step")
    allowed = [(before == state) & pl.col("state").is_in(after) for state, after in NEXT.items() if after]
    first = before.is_null() & (pl.col("state") == PROPOSED)
    return decisions.filter(~(pl.any_horizontal(first, *allowed).fill_null(False) & follows))


def _refuse(lines: pl.DataFrame, to: str) -> None:
    able = [state for state, after in NEXT.items() if to in after]
    stuck = lines.filter(~pl.col("state").is_in(able)).sort("order_line")
    if stuck.is_empty():
        return
    line, state = stuck.select("order_line", "state").row(0)
    others = f" (and {stuck.height - 1} more lines)" if stuck.height > 1 else ""
    raise DecisionError(
        f"Order line {line} is {state} and cannot become {to}{others}.",
        rule=f"after {state} come {', '.join(NEXT[state])}" if NEXT[state] else f"nothing comes after {state}",
        remedy=_REMEDY.get(state, _CLOSED).format(line),
    )
