"""Which sale a return takes back: the latest earlier one of the same customer and product with enough left of it."""

from __future__ import annotations

import polars as pl

_PAIR = ["customer_id", "product_id"]
_KEY = ["order_id", "line_no"]
_LINKS = ["cancels_order_id", "cancels_line_no"]


def match_returns(lines: pl.DataFrame) -> pl.DataFrame:
    """Link returns to sales.

    Returns take their turn by time, then key. Each takes the latest sale of the same customer and product, not later
    than itself, of which at least its quantity has not been taken back yet; between sales of the same moment the one
    with the highest key. A return that finds none stays without a link, as does one of an unknown customer. Links that
    are already there stay and use up their sale.

    All first returns of every customer and product are matched at once, then all second ones, and so on: as many
    rounds as the busiest pair has returns.

    Args:
        lines: Order lines (`features.tables.OrderLines`), unique by order_id and line_no.

    Returns:
        One row a new link: order_id, line_no of the return; cancels_order_id, cancels_line_no of the sale.
    """
    known = lines.filter(pl.col("customer_id").is_not_null())
    waiting = known.filter(kind="return").filter(pl.col("cancels_order_id").is_null())
    waiting = (
        waiting.select(*_PAIR, *_KEY, "ordered_at", "quantity")
        .sort("ordered_at", *_KEY)
        .with_columns(_turn=pl.int_range(pl.len()).over(_PAIR))
    )
    taken = lines.filter(pl.col("cancels_order_id").is_not_null()).group_by(_LINKS).agg(_taken=pl.col("quantity").sum())
    sales = (
        known.filter(kind="sale")
        .join(waiting.select(_PAIR).unique(), on=_PAIR, how="semi")
        .join(taken, left_on=_KEY, right_on=_LINKS, how="left")
        .select(
            *_PAIR,
            cancels_order_id="order_id",
            cancels_line_no="line_no",
            _sold_at="ordered_at",
            _left=pl.col("quantity") - pl.col("_taken").fill_null(0),
        )
    )
    links = []
    for _, turn in sorted(waiting.partition_by("_turn", as_dict=True).items()):
        found = _latest_with_enough(turn, sales)
        links.append(found.select(*_KEY, *_LINKS))
        sales = (
            sales.join(turn.select(_PAIR), on=_PAIR, how="semi")
            .join(found.select(*_LINKS, "quantity"), on=_LINKS, how="left")
            .with_columns(pl.col("_left") - pl.col("quantity").fill_null(0))
            .drop("quantity")
        )
    nothing = lines.clear().select(*_KEY, *_LINKS)
    return pl.concat([nothing, *links])


def _latest_with_enough(turn: pl.DataFrame, sales: pl.DataFrame) -> pl.DataFrame:
    return (
        turn.join(sales, on=_PAIR)
        .filter((pl.col("_sold_at") <= pl.col("ordered_at")) & (pl.col("_left") >= pl.col("quantity")))
        .sort("_sold_at", *_LINKS)
        .unique(subset=_KEY, keep="last", maintain_order=True)
    )
