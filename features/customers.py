"""What is known of a customer at the end of one day.

Order lines become a *ledger*: one row a customer, local day and day of knowledge. A snapshot as of a day reads only
ledger rows known by then; labels read the rows of a window that was complete. Sales count on the day they are made,
returns on the day they come back, so nothing that happens later changes what a snapshot said.

Vocabulary (Fader & Hardie): `frequency` x is the number of repeat purchase days, `recency` t_x the age at the last
purchase, `T` the age at the snapshot, both in units of `period_days`. `days_since_last_order` is the recency of RFM.
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

WINDOW_WEEKS = (4, 8, 13, 26, 52)
_KEY = "customer_id"
_SPAN = (_KEY, "day", "known_on", "until")
_SUMS = ("orders", "new_products", "spend", "returned", "lines", "units", "hours")
# Money and units are summed as whole ten-thousandths: such sums are the same in whatever order they are taken.
_WHOLE = 10_000
_NEVER = date.max

#: Columns of a snapshot that a model may learn from, with what each says.
FEATURES: dict[str, str] = {
    "frequency": "repeat purchase days",
    "recency": "age at the last purchase, in periods",
    "T": "age, in periods",
    "days_since_last_order": "days since the last order",
    "orders": "orders so far",
    "spend": "spend so far, net of returns",
    "mean_order_value": "gross spend per order",
    "last_order_value": "gross spend on the last purchase day",
    **{f"orders_{weeks}w": f"orders in the last {weeks} weeks" for weeks in WINDOW_WEEKS},
    **{f"spend_{weeks}w": f"spend in the last {weeks} weeks, net of returns" for weeks in WINDOW_WEEKS},
    "gap_mean_days": "mean days between purchase days",
    "gap_sd_days": "standard deviation of the days between purchase days",
    "gap_median_days": "median days between purchase days",
    "since_to_gap": "days since the last order over the own mean gap",
    "orders_trend": "orders of the last 13 weeks over those of the 13 before",
    "spend_trend": "gross spend of the last 13 weeks over that of the 13 before",
    "products": "different products so far",
    "lines_per_order": "lines per order",
    "units_per_order": "units per order",
    "return_share": "value returned over value bought",
    "mean_hour": "mean local hour of ordering",
    "weekend_share": "share of purchase days on a Saturday or Sunday",
}


def ledger(order_lines: pl.DataFrame, *, timezone: str = "UTC", as_known_now: bool = False) -> pl.DataFrame:
    """Order lines of known customers, summed by customer, local day and day of knowledge.

    Orders and products are counted where they are first known, so that the sum over all rows known by a day is the
    number of different orders and products known by that day. A version of a line that was corrected is taken off
    again on the day of its correction.

    Args:
        order_lines: Table `order_lines`, or every version of its lines (`features.versions`); lines without a customer
            are left out.
        timezone: The shop's time zone, in which a day begins and ends.
        as_known_now: What became known after the last day with orders counts as known on that day: for customers as
            they are seen now, not at an earlier moment.

    Returns:
        customer_id, day, known_on, orders, new_products, lines, hours (sum of the local hours of sale lines), and as
        whole ten-thousandths spend (gross), returned and units; sorted by customer_id, day, known_on.

    Example:
        >>> from datetime import datetime, timezone as tz
        >>> at = datetime(2024, 3, 1, 12, tzinfo=tz.utc)
        >>> lines = pl.DataFrame({
        ...     "customer_id": ["a", "a"], "order_id": ["1", "1"], "product_id": ["x", "y"], "kind": ["sale", "sale"],
        ...     "quantity": [2.0, 1.0], "unit_price": [3.0, 4.0], "ordered_at": [at, at], "known_at": [at, at]})
        >>> ledger(lines).select("day", "orders", "new_products", "spend").row(0)
        (datetime.date(2024, 3, 1), 1, 2, 100000)
    """
    sale = pl.col("kind") == "sale"
    amount = _whole(pl.col("quantity") * pl.col("unit_price"))
    local, known = (pl.col(name).dt.convert_time_zone(timezone) for name in ("ordered_at", "known_at"))
    until = pl.lit(None, dtype=pl.Date)
    if "known_until" in order_lines.columns:
        until = pl.col("known_until").dt.convert_time_zone(timezone).dt.date()
    lines = order_lines.lazy().filter(pl.col(_KEY).is_not_null())
    lines = lines.select(
        _KEY,
        "order_id",
        "product_id",
        sale,
        day=local.dt.date(),
        known_on=pl.max_horizontal(known, local).dt.date(),
        until=until.fill_null(_NEVER),
        hours=pl.when(sale).then(local.dt.hour().cast(pl.Int64)),
        units=pl.when(sale).then(_whole(pl.col("quantity"))).otherwise(0),
        spend=pl.when(sale).then(amount).otherwise(0),
        returned=pl.when(sale).then(0).otherwise(amount),
    )
    if as_known_now:
        last = pl.col("day").filter(pl.col("until") == _NEVER).max()
        ended = pl.when(pl.col("until") < _NEVER).then(pl.min_horizontal("until", last)).otherwise("until")
        lines = lines.with_columns(pl.min_horizontal("known_on", last).alias("known_on"), ended.alias("until"))
    lines = lines.filter(pl.col("known_on") < pl.col("until")).sort("known_on", "day").collect().lazy()
    facts = [
        lines.select(*_SPAN, "spend", "returned", "units", "hours", lines=pl.col("kind").cast(pl.Int64)),
        _once(lines, "order_id").with_columns(orders=1),
        _once(lines, "product_id").with_columns(new_products=1),
    ]
    known_from = pl.concat(facts, how="diagonal_relaxed")
    ended_on = known_from.filter(pl.col("until") < _NEVER).with_columns(-pl.col(_SUMS), known_on="until")
    return (
        pl.concat([known_from, ended_on], how="diagonal_relaxed")
        .group_by(_KEY, "day", "known_on")
        .agg(pl.col(_SUMS).sum().cast(pl.Int64))
        .sort(_KEY, "day", "known_on")
        .collect()
    )


def _once(lines: pl.LazyFrame, thing: str) -> pl.LazyFrame:
    """Each order (or product) of a customer once at any moment: with the first known of its sales known then."""
    sales = lines.filter("kind").filter(pl.struct(_KEY, thing, "until").is_first_distinct())
    corrected = sales.filter(pl.col("until") < _NEVER).select(_KEY, thing)
    lasting = sales.join(corrected, on=[_KEY, thing], how="anti")
    before = pl.col("until").cum_max().shift(1).over(_KEY, thing)  # until then an earlier one speaks for it
    in_turn = sales.join(corrected.unique(), on=[_KEY, thing], how="semi", maintain_order="left")
    in_turn = in_turn.with_columns(pl.max_horizontal("known_on", before).alias("known_on"))
    return pl.concat([lasting, in_turn.filter(pl.col("known_on") < pl.col("until"))]).select(_SPAN)


def known_by(ledger: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """The ledger as it stood at the end of a day."""
    return ledger.filter(pl.col("known_on") <= as_of)


def snapshot(order_lines: pl.DataFrame, as_of: date, *, timezone: str = "UTC", period_days: int = 7) -> pl.DataFrame:
    """One row a customer who had ordered by the end of `as_of`, from nothing known later.

    Args:
        order_lines: Table `order_lines`, possibly with lines of later days.
        as_of: The day at whose end (local time) the customers are described.
        timezone: The shop's time zone.
        period_days: Length of the unit of `recency` and `T`.

    Returns:
        customer_id and the columns of `FEATURES`, sorted by customer_id.
    """
    return describe(ledger(order_lines, timezone=timezone), as_of, period_days=period_days)


def describe(ledger: pl.DataFrame, as_of: date, *, period_days: int = 7) -> pl.DataFrame:
    """A snapshot from a ledger that may go on after `as_of`; see `snapshot`."""
    days = _purchase_days(known_by(ledger, as_of), as_of)
    bought = pl.col("orders") > 0
    gap = pl.col("gap")
    age = pl.col("first").cast(pl.Float64)
    since = pl.col("days_since_last_order").cast(pl.Float64)
    totals = days.group_by(_KEY).agg(
        purchase_days=bought.sum().cast(pl.Int64),
        first=pl.col("ago").filter(bought).max(),
        days_since_last_order=pl.col("ago").filter(bought).min().cast(pl.Int64),
        orders=pl.col("orders").sum(),
        spend=pl.col("spend").sum() - pl.col("returned").sum(),
        gross=pl.col("spend").sum(),
        returned=pl.col("returned").sum(),
        last_order_value=pl.col("spend").filter(bought).last(),
        gaps=gap.count().cast(pl.Int64),
        gap_sum=gap.sum(),
        gap_squares=(gap * gap).sum(),
        gap_median_days=gap.median(),
        gross_13w=_within(13, pl.col("spend")),
        gross_26w=_within(26, pl.col("spend")),
        products=pl.col("new_products").sum(),
        lines=pl.col("lines").sum(),
        units=pl.col("units").sum(),
        hours=pl.col("hours").sum(),
        weekend_share=(bought & (pl.col("day").dt.weekday() > 5)).sum() / bought.sum(),
        **{f"orders_{weeks}w": _within(weeks, pl.col("orders")) for weeks in WINDOW_WEEKS},
        **{f"spend_{weeks}w": _within(weeks, pl.col("spend") - pl.col("returned")) for weeks in WINDOW_WEEKS},
    )
    variance = (pl.col("gap_squares") - pl.col("gap_sum") ** 2 / pl.col("gaps")) / (pl.col("gaps") - 1)
    money = pl.col("spend", "gross", "returned", "last_order_value", "gross_13w", "gross_26w", "units", "^spend_\\d+w$")
    return (
        totals.filter(pl.col("orders") > 0)
        .with_columns(
            money / _WHOLE,
            gap_mean_days=pl.when(pl.col("gaps") > 0).then(pl.col("gap_sum") / pl.col("gaps")),
            gap_sd_days=pl.when(pl.col("gaps") > 1).then(variance.clip(0).sqrt()),
        )
        .with_columns(
            frequency=pl.col("purchase_days") - 1,
            recency=(age - since) / period_days,
            T=age / period_days,
            mean_order_value=pl.col("gross") / pl.col("orders"),
            since_to_gap=since / pl.col("gap_mean_days"),
            orders_trend=(pl.col("orders_13w") + 1) / (pl.col("orders_26w") - pl.col("orders_13w") + 1),
            spend_trend=(pl.col("gross_13w") + 1) / (pl.col("gross_26w") - pl.col("gross_13w") + 1),
            lines_per_order=pl.col("lines") / pl.col("orders"),
            units_per_order=pl.col("units") / pl.col("orders"),
            return_share=pl.when(pl.col("gross") > 0).then(pl.col("returned") / pl.col("gross")),
            mean_hour=pl.col("hours") / pl.col("lines"),
        )
        .select(_KEY, *FEATURES)
        .sort(_KEY)
    )


def labels(
    ledger: pl.DataFrame, as_of: date, horizon_days: int, *, complete_through: date | None = None
) -> pl.DataFrame:
    """What the customers of a snapshot did in the days `as_of` + 1 … `as_of` + `horizon_days`.

    Args:
        ledger: A ledger; only what it holds can be known, so hand over `known_by(ledger, cut)` at a cut.
        as_of: Day of the snapshot.
        horizon_days: Length of the window.
        complete_through: Last whole day of the record; the newest day of the ledger unless said.

    Returns:
        customer_id, churned (no order in the window), orders, spend (net of the window's returns), next_order_in_days
        (null where there is none); sorted by customer_id, the same customers as in the snapshot.

    Raises:
        ValueError: The window was not over by `complete_through`.
    """
    end = as_of + timedelta(days=horizon_days)
    newest = complete_through if complete_through is not None else ledger["known_on"].max()
    if not isinstance(newest, date) or end > newest:
        raise ValueError(
            f"the label window {as_of} + {horizon_days} days ends {end}, after the last whole day {newest!r}"
        )
    customers = _by_day(known_by(ledger, as_of)).filter(pl.col("orders") > 0).select(_KEY).unique()
    window = _by_day(ledger.filter(pl.col("day").is_between(as_of, end, closed="right")))
    ordered = pl.col("orders") > 0
    behaviour = window.group_by(_KEY).agg(
        orders=pl.col("orders").sum(),
        spend=pl.col("spend").sum() - pl.col("returned").sum(),
        next_order_in_days=(pl.col("day").filter(ordered).min() - as_of).dt.total_days(),
    )
    return (
        customers.join(behaviour, on=_KEY, how="left")
        .with_columns(pl.col("orders").fill_null(0), pl.col("spend").fill_null(0) / _WHOLE)
        .select(
            _KEY, churned=pl.col("orders") == 0, orders="orders", spend="spend", next_order_in_days="next_order_in_days"
        )
        .sort(_KEY)
    )


def gaps(ledger: pl.DataFrame, as_of: date) -> pl.Series:
    """Days between consecutive purchase days of the same customer, known by `as_of`."""
    return _purchase_days(known_by(ledger, as_of), as_of)["gap"].drop_nulls()


def _purchase_days(known: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """One row a customer and day, with `ago` (days before `as_of`) and `gap` (days since the purchase day before)."""
    days = _by_day(known)
    bought = pl.col("orders") > 0
    return (
        days.sort(_KEY, "day")
        .with_columns(ago=(pl.lit(as_of) - pl.col("day")).dt.total_days())
        .with_columns(before=pl.when(bought).then(pl.col("ago")).forward_fill().shift(1).over(_KEY))
        .with_columns(gap=pl.when(bought).then(pl.col("before") - pl.col("ago")))
    )


def _by_day(ledger: pl.DataFrame) -> pl.DataFrame:
    """One row a customer and day, whenever what it says was learned."""
    in_time = (ledger["day"] == ledger["known_on"]).all()
    return ledger if in_time else ledger.group_by(_KEY, "day").agg(pl.col(_SUMS).sum())


def _within(weeks: int, amount: pl.Expr) -> pl.Expr:
    return amount.filter(pl.col("ago") < weeks * 7).sum()


def _whole(amount: pl.Expr) -> pl.Expr:
    return (amount * _WHOLE).round().cast(pl.Int64)
