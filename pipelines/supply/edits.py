"""What people's edits of proposed orders were worth, told by the demand that came.

An edit is judged once the window it was made for is over: the lead time and review of its line (`protection_days` of
table replenishment). With what was on hand and on order at the time, S, and the demand D of the window, an order of q
costs

    holding × review × max(S + q − D, 0) + shortage × max(D − S − q, 0),

the newsvendor's cost of one outcome (Snyder & Shen, section 4.3). The value an edit added is that of the proposed
quantity less that of the edited one: above zero, the person saved money. A rejection is an edit to
zero. What happened between the receipts inside the window is left out for both alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from features.calendar import Grid
from pipelines.supply.orders import EDITED, ORDERED, RECEIVED, REJECTED, current


def edited(decisions: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Lines that somebody edited and that were ordered so, and lines that somebody rejected: edits to zero.

    Args:
        decisions: Table decisions.
        keys: The shop's series columns.

    Returns:
        `order_line`, keys, `supplier_id`, `as_of`, `proposed_quantity`, `edited_quantity`, and `who`, `why` and `at` of
        the last edit or the rejection; by line.
    """
    lines = current(decisions).filter(pl.col("state").is_in([*ORDERED, RECEIVED, REJECTED]))
    last = (
        decisions.filter(pl.col("state").is_in([EDITED, REJECTED]))
        .sort("order_line", "step")
        .unique("order_line", keep="last", maintain_order=True)
        .with_columns(edited_quantity=pl.when(state=REJECTED).then(0.0).otherwise("quantity"))
        .select("order_line", "who", "why", "at", "edited_quantity")
    )
    known = lines.select("order_line", *keys, "supplier_id", "as_of", "proposed_quantity")
    return known.join(last, on="order_line", how="inner").sort("order_line")


def judged(
    edits: pl.DataFrame,
    situations: pl.DataFrame,
    costs: pl.DataFrame,
    demand: pl.DataFrame,
    *,
    keys: Sequence[str],
    grid: Grid,
    known_to: date,
    absent_is_zero: bool,
) -> pl.DataFrame:
    """Each edit with the demand of its window and what it added; edits whose window is not over are left out.

    Args:
        edits: Of `edited`.
        situations: Rows of table replenishment: keys, `as_of`, `supplier_id`, `on_hand`, `on_order`, `protection_days`.
        costs: Keys, `as_of`, `holding_cost` (money per unit and period), `shortage_cost` (money per unit),
            `review_days`.
        demand: Keys, `period`, `quantity`; a period counts by the share of its days that lie in the window.
        keys: The shop's series columns.
        grid: The grid of the periods.
        known_to: The last day whose demand is known.
        absent_is_zero: Whether a period without a row had no demand; else it is unknown, and so is its window.

    Returns:
        The edits with `demand`, `cost_proposed`, `cost_edited` and `value_added` (money).
    """
    keys = list(keys)
    lines = edits.join(situations, on=[*keys, "as_of", "supplier_id"], how="inner", maintain_order="left")
    lines = lines.join(costs, on=[*keys, "as_of"], how="inner", maintain_order="left")
    until = pl.col("as_of") + pl.duration(days=pl.col("protection_days").ceil())  # the first day after the window
    lines = lines.with_columns(until=until.cast(pl.Date)).filter(pl.col("until") <= pl.lit(known_to).dt.offset_by("1d"))
    days = lines.join(_realised(lines, demand, keys, grid), on="order_line", how="left", maintain_order="left")
    whole = (pl.col("until") - pl.col("as_of")).dt.total_days()
    if absent_is_zero:
        days = days.with_columns(pl.col("demand").fill_null(0.0))
    else:
        days = days.filter(pl.col("days_known") >= whole)
    proposed, as_edited = (_cost(pl.col(name), grid.days_a_period) for name in ("proposed_quantity", "edited_quantity"))
    columns = [*edits.columns, "demand", "cost_proposed", "cost_edited"]
    told = days.with_columns(cost_proposed=proposed, cost_edited=as_edited).select(columns)
    return told.with_columns(value_added=pl.col("cost_proposed") - pl.col("cost_edited"))


def by(edits: pl.DataFrame, name: str) -> pl.DataFrame:
    """Edits counted by who made them or why: how many, how many helped, and the money they added.

    Args:
        edits: Of `judged`.
        name: `who` or `why`.

    Returns:
        One row a value, the most money first; `standard_error` is that of the mean, null of one edit.
    """
    value = pl.col("value_added")
    return (
        edits.group_by(name)
        .agg(
            edits=pl.len(),
            helped=(value > 0).mean(),
            value_added=value.sum(),
            mean_value_added=value.mean(),
            standard_error=value.std() / pl.len().sqrt(),
        )
        .sort(["value_added", name], descending=[True, False])
    )


def _realised(lines: pl.DataFrame, demand: pl.DataFrame, keys: list[str], grid: Grid) -> pl.DataFrame:
    """Demand of each line's window and how many of its days are known: `order_line`, `demand`, `days_known`."""
    number = grid.index(pl.col("period"))
    periods = demand.drop_nulls("quantity").with_columns(
        first=grid.first_days(number), after=grid.first_days(number + 1)
    )  # fmt: skip
    pairs = lines.select("order_line", *keys, "as_of", "until").join(periods, on=keys, how="inner")
    start, end = pl.max_horizontal("as_of", "first"), pl.min_horizontal("until", "after")
    inside = (end - start).dt.total_days().clip(0)
    share = inside / (pl.col("after") - pl.col("first")).dt.total_days()
    return (
        pairs.sort("order_line", "period")
        .group_by("order_line", maintain_order=True)
        .agg(demand=(pl.col("quantity") * share).sum(), days_known=inside.sum())
    )


def _cost(quantity: pl.Expr, days_a_period: float) -> pl.Expr:
    left = pl.col("on_hand") + pl.col("on_order") + quantity - pl.col("demand")
    holding = pl.col("holding_cost") * pl.col("review_days") / days_a_period
    return holding * left.clip(lower_bound=0) + pl.col("shortage_cost") * (-left).clip(lower_bound=0)
