"""Which proposed orders a rule may approve, which it holds back, and which wait for somebody: each with why."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.settings import Approval
from pipelines.supply.orders import APPROVED, HELD, ORDERED, PROPOSED, RECEIVED

LAST_ORDERS = 12
ENOUGH_ORDERS = 3


def judge(
    orders: pl.DataFrame, lines: pl.DataFrame, rules: Approval, *, keys: Sequence[str], currency: str
) -> pl.DataFrame:
    """Say of each proposed order what the rules make of it.

    The usual order of a series is the median of its last `LAST_ORDERS` orders; a series that was ordered fewer than
    `ENOUGH_ORDERS` times is held to the demand it may see until the next order could arrive (nine cases of ten).
    Made-up stock is never ordered for by rule.

    Args:
        orders: Rows of table replenishment with `quantity` > 0 and `order_value` (money; null: not known).
        lines: Rows of `orders.current`.
        rules: The limits.
        keys: The shop's series columns.
        currency: Three-letter code, for the reasons.

    Returns:
        The orders with `state` (approved, held or proposed), `why` and `usual_quantity` (units).
    """
    orders = orders.join(usual(lines, keys), on=list(keys), how="left", maintain_order="left")
    basis = (
        pl.when(pl.col("usual_orders") >= ENOUGH_ORDERS)
        .then(pl.format("the usual order of {} (median of the last {})", _number("usual"), "usual_orders"))
        .otherwise(pl.format("the demand of up to {} until the next order could arrive", _number("demand_p90")))
    )
    known = pl.when(pl.col("usual_orders") >= ENOUGH_ORDERS).then("usual").otherwise("demand_p90")
    orders = orders.with_columns(usual_quantity=known.clip(lower_bound=1.0), _basis=basis)
    times = pl.col("quantity") / pl.col("usual_quantity")
    compared = pl.format("{} is {} times {}", _number("quantity"), times.round(1), "_basis")
    held = times > rules.hold_above if rules.hold_above is not None else pl.lit(False)
    against = _against(rules, times, compared, currency)
    state = (
        pl.when(held)
        .then(pl.lit(HELD))
        .when(against.is_null())
        .then(pl.lit(APPROVED))
        .otherwise(pl.lit(PROPOSED))
    )  # fmt: skip
    why = pl.when(held).then(pl.format("far outside the usual: {}", compared)).otherwise(against)
    return orders.with_columns(state=state, why=why.fill_null("within every limit of supply.approval")).drop(
        "_basis", "usual", "usual_orders"
    )


def usual(lines: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """What each series is usually ordered in: key columns, `usual` (units) and `usual_orders` (how many tell so)."""
    ordered = lines.filter(pl.col("state").is_in([*ORDERED, RECEIVED]), pl.col("quantity") > 0)
    last = ordered.sort("as_of", "order_line").group_by(keys).tail(LAST_ORDERS)
    return last.group_by(keys).agg(usual=pl.col("quantity").median(), usual_orders=pl.len())


def _against(rules: Approval, times: pl.Expr, compared: pl.Expr, currency: str) -> pl.Expr:
    """The first reason against an approval by rule, in words; null where there is none."""
    if not rules.by_rule:
        return pl.lit("it waits for somebody to decide")
    reasons = [pl.when("illustrative").then(pl.lit("its stock and terms are made up"))]
    if rules.max_value is not None:
        value = pl.format("its value of {} {} is above {}", pl.col("order_value").round(2), pl.lit(currency),
                          pl.lit(rules.max_value))  # fmt: skip
        reasons.append(pl.when(pl.col("order_value") > rules.max_value).then(value))
        reasons.append(pl.when(pl.col("order_value").is_null()).then(pl.lit("its value is not known")))
    if rules.max_change is not None:
        reasons.append(pl.when(times > rules.max_change).then(compared))
    if rules.min_confidence > 0:
        sure = pl.format("only {} % sure that it is needed", (100 * pl.col("stock_out_risk_before")).round(0).cast(int))
        reasons.append(pl.when(pl.col("stock_out_risk_before") < rules.min_confidence).then(sure))
    return pl.coalesce(reasons)


def _number(column: str) -> pl.Expr:
    """Whole numbers as such, others with one decimal."""
    value = pl.col(column).round(1)
    return pl.when(value == value.round(0)).then(value.cast(pl.Int64).cast(pl.String)).otherwise(value.cast(pl.String))
