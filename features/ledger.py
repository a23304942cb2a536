"""Order lines and feedback as a ledger: one row a customer, local day and day of knowledge, of sums that add up.

Sales count on the day they are made, returns on the day they come back, a delivery on the day of its order but known
only once it is there, an answer on the day it is given. So nothing that happens later changes what the ledger said.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

KEY = "customer_id"
#: Money, units and scores are summed as whole ten-thousandths: such sums are the same in whatever order they are taken.
WHOLE = 10_000
#: Columns of order lines that a shop may do without.
OPTIONAL = ("channel", "promised_on", "delivered_on")
LEAST_SHARE = 0.25  # of a product's lines that were sold at a price for it to be the list price
_SPAN = (KEY, "day", "known_on", "until")
_NEVER = date.max


def ledger(
    order_lines: pl.DataFrame,
    feedback: pl.DataFrame | None = None,
    *,
    timezone: str = "UTC",
    as_known_now: bool = False,
) -> pl.DataFrame:
    """Order lines and feedback of known customers, summed by customer, local day and day of knowledge.

    Orders, products and channels are counted where they are first known, so that the sum over all rows known by a day
    is the number of different ones known by that day. A version of a line that was corrected is taken off again on the
    day of its correction.

    Args:
        order_lines: Table `order_lines`, or every version of its lines (`features.versions`); lines without a customer
            are left out.
        feedback: Table `feedback`, where the shop has one. An answer is known when it is given.
        timezone: The shop's time zone, in which a day begins and ends.
        as_known_now: What became known after the last day with orders counts as known on that day: for customers as
            they are seen now, not at an earlier moment.

    Returns:
        customer_id, day, known_on, orders, new_products, lines, hours (sum of the local hours of sale lines), and as
        whole ten-thousandths spend (gross), returned, units, listed (what the lines would have cost at list price) and
        discounts (how much less they did). Where the shop says so: new_channels, channel_orders, main_channel_orders;
        deliveries, delay_days, late_deliveries; csat, nps and complaints (numbers of answers) with csat_score and
        nps_score (whole ten-thousandths). Sorted by customer_id, day, known_on.

    Example:
        >>> from datetime import datetime, timezone as tz
        >>> at = datetime(2024, 3, 1, 12, tzinfo=tz.utc)
        >>> lines = pl.DataFrame({
        ...     "customer_id": ["a", "a"], "order_id": ["1", "1"], "product_id": ["x", "y"], "kind": ["sale", "sale"],
        ...     "quantity": [2.0, 1.0], "unit_price": [3.0, 4.0], "ordered_at": [at, at], "known_at": [at, at]})
        >>> ledger(lines).select("day", "orders", "new_products", "spend").row(0)
        (datetime.date(2024, 3, 1), 1, 2, 100000)
    """
    lines = _with_list_prices(_lines(order_lines, timezone, as_known_now).lazy()).collect().lazy()
    brought = lines.collect_schema().names()
    facts = [
        lines.select(
            *_SPAN, "spend", "returned", "units", "hours", "listed", "discounts", lines=pl.col("kind").cast(pl.Int64)
        ),
        _once(lines, "order_id").with_columns(orders=1),
        _once(lines, "product_id").with_columns(new_products=1),
    ]
    if "channel" in brought:
        facts += _channels(lines)
    if {"promised_on", "delivered_on"} <= set(brought):
        facts.append(_deliveries(lines))
    if feedback is not None and feedback.height:
        facts.append(_answers(feedback.lazy(), timezone))
    known_from = pl.concat(facts, how="diagonal_relaxed")
    sums = pl.col([name for name in known_from.collect_schema().names() if name not in _SPAN])
    ended_on = known_from.filter(pl.col("until") < _NEVER).with_columns(-sums, known_on="until")
    return (
        pl.concat([known_from, ended_on], how="diagonal_relaxed")
        .group_by(KEY, "day", "known_on")
        .agg(sums.sum().cast(pl.Int64))
        .sort(KEY, "day", "known_on")
        .collect()
    )


def known_by(ledger: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """The ledger as it stood at the end of a day."""
    return ledger.filter(pl.col("known_on") <= as_of)


def by_day(ledger: pl.DataFrame) -> pl.DataFrame:
    """One row a customer and day, whenever what it says was learned."""
    if (ledger["day"] == ledger["known_on"]).all():
        return ledger
    return ledger.group_by(KEY, "day").agg(pl.exclude(KEY, "day", "known_on").sum())


def purchase_days(known: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """One row a customer and day, with `ago` (days before `as_of`) and `gap` (days since the purchase day before)."""
    bought = pl.col("orders") > 0
    return (
        by_day(known)
        .sort(KEY, "day")
        .with_columns(ago=(pl.lit(as_of) - pl.col("day")).dt.total_days())
        .with_columns(before=pl.when(bought).then(pl.col("ago")).forward_fill().shift(1).over(KEY))
        .with_columns(gap=pl.when(bought).then(pl.col("before") - pl.col("ago")))
    )


def _lines(order_lines: pl.DataFrame, timezone: str, as_known_now: bool) -> pl.DataFrame:
    """Lines of known customers with their local day and the days from and until which they are known, oldest first."""
    sale = pl.col("kind") == "sale"
    amount = _whole(pl.col("quantity") * pl.col("unit_price"))
    local, known = (pl.col(name).dt.convert_time_zone(timezone) for name in ("ordered_at", "known_at"))
    until = pl.lit(None, dtype=pl.Date)
    if "known_until" in order_lines.columns:
        until = pl.col("known_until").dt.convert_time_zone(timezone).dt.date()
    given = [name for name in OPTIONAL if name in order_lines.columns]
    lines = order_lines.lazy().filter(pl.col(KEY).is_not_null())
    lines = lines.select(
        KEY,
        "order_id",
        "product_id",
        sale,
        *(name for name in given if order_lines[name].null_count() < order_lines.height),
        day=local.dt.date(),
        known_on=pl.max_horizontal(known, local).dt.date(),
        until=until.fill_null(_NEVER),
        hours=pl.when(sale).then(local.dt.hour().cast(pl.Int64)),
        units=pl.when(sale).then(_whole(pl.col("quantity"))).otherwise(0),
        spend=pl.when(sale).then(amount).otherwise(0),
        returned=pl.when(sale).then(0).otherwise(amount),
        price=_whole(pl.col("unit_price")),
    )
    if as_known_now:
        last = pl.col("day").filter(pl.col("until") == _NEVER).max()
        ended = pl.when(pl.col("until") < _NEVER).then(pl.min_horizontal("until", last)).otherwise("until")
        lines = lines.with_columns(pl.min_horizontal("known_on", last).alias("known_on"), ended.alias("until"))
    month = pl.col("known_on").dt.year() * 12 + pl.col("known_on").dt.month()
    lines = lines.filter(pl.col("known_on") < pl.col("until")).with_columns(month=month)
    return lines.sort("known_on", "day").collect()


def _once(lines: pl.LazyFrame, thing: str, also: Sequence[str] = ()) -> pl.LazyFrame:
    """Each order (or product) of a customer once at any moment: with the first known of its sales known then."""
    sales = lines.filter("kind").filter(pl.struct(KEY, thing, "until").is_first_distinct())
    corrected = sales.filter(pl.col("until") < _NEVER).select(KEY, thing)
    lasting = sales.join(corrected, on=[KEY, thing], how="anti")
    before = pl.col("until").cum_max().shift(1).over(KEY, thing)  # until then an earlier one speaks for it
    in_turn = sales.join(corrected.unique(), on=[KEY, thing], how="semi", maintain_order="left")
    in_turn = in_turn.with_columns(pl.max_horizontal("known_on", before).alias("known_on"))
    return pl.concat([lasting, in_turn.filter(pl.col("known_on") < pl.col("until"))]).select(*_SPAN, *also)


def _with_list_prices(lines: pl.LazyFrame) -> pl.LazyFrame:
    """The lines with what they would have cost at list price, and how much less they did; null where none is known.

    The list price of a product is the one at which it was sold most often in the months before the line was known, if a
    quarter of its lines were: where every sale has a price of its own, there is none.
    """
    usual = _most_often(lines.filter("kind"), "product_id", "price", LEAST_SHARE)
    sold = pl.when("kind").then(pl.col("units") / WHOLE)
    return (
        lines.join(usual, on=["product_id", "month"], how="left", maintain_order="left")
        .with_columns(
            listed=(sold * pl.col("usual")).round().cast(pl.Int64),
            discounts=(sold * (pl.col("usual") - pl.col("price")).clip(0)).round().cast(pl.Int64),
        )
        .drop("usual")
    )


def _channels(lines: pl.LazyFrame) -> list[pl.LazyFrame]:
    """Channels new to a customer; orders of known channel, and those through the shop's main one of the months before.

    Before a first month is over no channel is the main one, and its orders are not counted.
    """
    stated = lines.filter("kind", pl.col("channel").is_not_null())
    main = _most_often(stated.with_columns(shop=0), "shop", "channel").select("month", "usual")
    in_order = lines.sort("known_on", "day", "channel", nulls_last=True)
    orders = _once(in_order, "order_id", ["channel", "month"]).join(main, on="month", how="left")
    through_main = pl.col("channel") == pl.col("usual")
    return [
        _once(stated, "channel").with_columns(new_channels=1),
        orders.filter(through_main.is_not_null()).select(
            *_SPAN, channel_orders=1, main_channel_orders=through_main.cast(pl.Int64)
        ),
    ]


def _deliveries(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Delivered sale lines for which a day was promised, known once they are there."""
    delay = (pl.col("delivered_on") - pl.col("promised_on")).dt.total_days()
    there = pl.max_horizontal("known_on", "delivered_on")
    return lines.filter("kind", delay.is_not_null(), there < pl.col("until")).select(
        KEY, "day", there.alias("known_on"), "until", deliveries=1, delay_days=delay, late_deliveries=delay > 0
    )


def _answers(feedback: pl.LazyFrame, timezone: str) -> pl.LazyFrame:
    """How often and with which scores customers answered, and their complaints."""
    day = pl.col("at").dt.convert_time_zone(timezone).dt.date()
    facts = {"complaints": (pl.col("kind") == "complaint").cast(pl.Int64)}
    for kind in ("csat", "nps"):
        scored = (pl.col("kind") == kind) & pl.col("score").is_not_null()
        facts |= {kind: scored.cast(pl.Int64), f"{kind}_score": pl.when(scored).then(_whole(pl.col("score")))}
    return feedback.select(KEY, day=day, known_on=day, until=pl.lit(_NEVER), **facts)


def _most_often(sales: pl.LazyFrame, thing: str, value: str, least_share: float = 0.0) -> pl.LazyFrame:
    """`usual`: the value that went most often with each thing in the months before; null where none did often enough.

    Counts only grow: the value with the most so far is the one that last reached the running maximum.

    Args:
        sales: Sale lines.
        thing: Column of the things.
        value: Column of the values.
        least_share: Share of the lines of a thing that its usual value must have.
    """
    count = pl.col("count")
    counts = sales.group_by(thing, "month", value).agg(now=pl.len().cast(pl.Int64)).sort(thing, "month", value)
    counts = counts.with_columns(count=pl.col("now").cum_sum().over(thing, value)).sort(thing, "month", "count", value)
    leading = pl.when(count == count.cum_max()).then(pl.col(value)).forward_fill()
    leaders = (
        counts.with_columns(usual=leading.over(thing), most=count.cum_max().over(thing))
        .group_by(thing, "month", maintain_order=True)
        .agg(pl.col("usual", "most").last(), pl.col("now").sum())
    )
    often = pl.col("most") >= least_share * pl.col("now").cum_sum()
    return leaders.select(thing, "month", pl.when(often).then("usual").shift(1).over(thing).alias("usual"))


def _whole(amount: pl.Expr) -> pl.Expr:
    return (amount * WHOLE).round().cast(pl.Int64)
