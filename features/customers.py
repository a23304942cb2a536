"""What is known of a customer at the end of one day.

A snapshot as of a day reads only those rows of the ledger (`features.ledger`) that were known by then; labels read the
rows of a window that was complete.

Vocabulary (Fader & Hardie): `frequency` x is the number of repeat purchase days, `recency` t_x the age at the last
purchase, `T` the age at the snapshot, both in units of `period_days`. `days_since_last_order` is the recency of RFM.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

import polars as pl

from features.ledger import KEY, WHOLE, by_day, known_by, ledger, purchase_days

__all__ = ["FEATURES", "WHERE_BROUGHT", "WINDOW_WEEKS", "describe", "gaps", "known_by", "labels", "ledger", "snapshot"]

WINDOW_WEEKS = (4, 8, 13, 26, 52)

#: What only some shops can say: the column of the ledger it is made from, and what it says. Null elsewhere.
WHERE_BROUGHT: dict[str, tuple[str, str]] = {
    "channels": ("new_channels", "different channels ordered through"),
    "main_channel_share": ("channel_orders", "share of orders through the shop's main channel"),
    "last_main_channel_share": ("channel_orders", "share of the last day's orders through the shop's main channel"),
    "delay_days_26w": ("deliveries", "mean days from promise to delivery, orders of the last 26 weeks"),
    "late_share_26w": ("deliveries", "share of lines delivered late, orders of the last 26 weeks"),
    "last_csat": ("csat", "last satisfaction score"),
    "mean_csat_26w": ("csat", "mean satisfaction score of the last 26 weeks"),
    "last_nps": ("csat", "last willingness to recommend"),
    "complaints_13w": ("csat", "complaints in the last 13 weeks"),
    "complaints_26w": ("csat", "complaints in the last 26 weeks"),
    "days_since_complaint": ("csat", "days since the last complaint"),
}

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
    "gap_variation": "standard deviation over mean of the days between purchase days",
    "last_gap_to_mean": "days between the last two purchase days over the own mean gap",
    "discount_share": "how much less was paid than at list price, as a share of it",
} | {name: says for name, (_, says) in WHERE_BROUGHT.items()}


def snapshot(
    order_lines: pl.DataFrame,
    as_of: date,
    feedback: pl.DataFrame | None = None,
    *,
    timezone: str = "UTC",
    period_days: int = 7,
) -> pl.DataFrame:
    """One row a customer who had ordered by the end of `as_of`, from nothing known later.

    Args:
        order_lines: Table `order_lines`, possibly with lines of later days.
        as_of: The day at whose end (local time) the customers are described.
        feedback: Table `feedback`, possibly with answers of later days, where the shop has one.
        timezone: The shop's time zone.
        period_days: Length of the unit of `recency` and `T`.

    Returns:
        customer_id and the columns of `FEATURES`, sorted by customer_id.
    """
    return describe(ledger(order_lines, feedback, timezone=timezone), as_of, period_days=period_days)


def describe(ledger: pl.DataFrame, as_of: date, *, period_days: int = 7) -> pl.DataFrame:
    """A snapshot from a ledger that may go on after `as_of`; see `snapshot`."""
    days = purchase_days(known_by(ledger, as_of), as_of)
    bought = pl.col("orders") > 0
    gap = pl.col("gap")
    age = pl.col("first").cast(pl.Float64)
    since = pl.col("days_since_last_order").cast(pl.Float64)
    totals = days.group_by(KEY).agg(
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
        last_gap=gap.drop_nulls().last(),
        listed=pl.col("listed").sum(),
        discounts=pl.col("discounts").sum(),
        **{f"orders_{weeks}w": _within(weeks, pl.col("orders")) for weeks in WINDOW_WEEKS},
        **{f"spend_{weeks}w": _within(weeks, pl.col("spend") - pl.col("returned")) for weeks in WINDOW_WEEKS},
        **_totals_where_brought(days.columns),
    )
    variance = (pl.col("gap_squares") - pl.col("gap_sum") ** 2 / pl.col("gaps")) / (pl.col("gaps") - 1)
    money = pl.col("spend", "gross", "returned", "last_order_value", "gross_13w", "gross_26w", "units", "^spend_\\d+w$")
    return (
        totals.filter(pl.col("orders") > 0)
        .with_columns(
            money / WHOLE,
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
            gap_variation=pl.col("gap_sd_days") / pl.col("gap_mean_days"),
            last_gap_to_mean=pl.col("last_gap") / pl.col("gap_mean_days"),
            discount_share=_share(pl.col("discounts"), pl.col("listed")),
            **_features_where_brought(days.columns),
        )
        .select(KEY, *FEATURES)
        .sort(KEY)
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
    customers = by_day(known_by(ledger, as_of)).filter(pl.col("orders") > 0).select(KEY).unique()
    window = by_day(ledger.filter(pl.col("day").is_between(as_of, end, closed="right")))
    ordered = pl.col("orders") > 0
    behaviour = window.group_by(KEY).agg(
        orders=pl.col("orders").sum(),
        spend=pl.col("spend").sum() - pl.col("returned").sum(),
        next_order_in_days=(pl.col("day").filter(ordered).min() - as_of).dt.total_days(),
    )
    return (
        customers.join(behaviour, on=KEY, how="left")
        .with_columns(pl.col("orders").fill_null(0), pl.col("spend").fill_null(0) / WHOLE)
        .select(
            KEY, churned=pl.col("orders") == 0, orders="orders", spend="spend", next_order_in_days="next_order_in_days"
        )
        .sort(KEY)
    )


def gaps(ledger: pl.DataFrame, as_of: date) -> pl.Series:
    """Days between consecutive purchase days of the same customer, known by `as_of`."""
    return purchase_days(known_by(ledger, as_of), as_of)["gap"].drop_nulls()


def _totals_where_brought(columns: Collection[str]) -> dict[str, pl.Expr]:
    """Sums and last values of what only some shops can say."""
    totals: dict[str, pl.Expr] = {}
    if "new_channels" in columns:
        stated = pl.col("channel_orders") > 0
        totals |= {name: pl.col(name).sum() for name in ("new_channels", "channel_orders", "main_channel_orders")}
        totals |= {f"last_{name}": pl.col(name).filter(stated).last() for name in list(totals)[1:]}
    if "deliveries" in columns:
        totals |= {name: _within(26, pl.col(name)) for name in ("deliveries", "delay_days", "late_deliveries")}
    if "csat" in columns:
        for kind in ("csat", "nps"):
            totals |= {f"last_{name}": pl.col(name).filter(pl.col(kind) > 0).last() for name in (kind, f"{kind}_score")}
        totals |= {name: _within(26, pl.col(name)) for name in ("csat", "csat_score")}
        totals |= {f"complaints_{weeks}w": _within(weeks, pl.col("complaints")) for weeks in (13, 26)}
        totals["days_since_complaint"] = pl.col("ago").filter(pl.col("complaints") > 0).min()
        totals["answers"] = pl.sum_horizontal("csat", "nps", "complaints").sum()
    return totals


def _features_where_brought(columns: Collection[str]) -> dict[str, pl.Expr]:
    """The features made from them: null where the shop does not say, or the customer has none."""
    heard = pl.col("answers").sum() > 0  # of nobody: then no complaint says nothing
    made = {
        "channels": pl.when(pl.col("new_channels") > 0).then(pl.col("new_channels")),
        "main_channel_share": _share(pl.col("main_channel_orders"), pl.col("channel_orders")),
        "last_main_channel_share": pl.col("last_main_channel_orders") / pl.col("last_channel_orders"),
        "delay_days_26w": _share(pl.col("delay_days"), pl.col("deliveries")),
        "late_share_26w": _share(pl.col("late_deliveries"), pl.col("deliveries")),
        "last_csat": pl.col("last_csat_score") / pl.col("last_csat") / WHOLE,
        "mean_csat_26w": _share(pl.col("csat_score"), pl.col("csat")) / WHOLE,
        "last_nps": pl.col("last_nps_score") / pl.col("last_nps") / WHOLE,
        "complaints_13w": pl.when(heard).then(pl.col("complaints_13w")),
        "complaints_26w": pl.when(heard).then(pl.col("complaints_26w")),
        "days_since_complaint": pl.col("days_since_complaint"),
    }
    unknown = pl.lit(None)
    return {
        name: (made[name] if column in columns else unknown).cast(pl.Float64)
        for name, (column, _) in WHERE_BROUGHT.items()
    }


def _within(weeks: int, amount: pl.Expr) -> pl.Expr:
    return amount.filter(pl.col("ago") < weeks * 7).sum()


def _share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(part / whole)
