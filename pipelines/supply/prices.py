"""What one unit of each series sells for, as known at the opening of a day."""

from __future__ import annotations

from datetime import date

import polars as pl

from features.calendar import Grid
from features.versions import every_version
from pipelines.lake import Lake
from pipelines.settings import Settings

_RECENT = "365d"
_LINE = ("order_id", "line_no", "kind", "quantity", "unit_price", "ordered_at", "known_at")


def selling_prices(settings: Settings, lake: Lake, as_of: date) -> pl.DataFrame:
    """Mean selling price of each series over the year before a day, or over all time where it sold nothing in it.

    From the shop's demand table where that carries prices, else from its order lines.

    Args:
        settings: The shop.
        lake: Its tables.
        as_of: The day. Periods not over by its opening and lines not known by then do not count.

    Returns:
        Key columns and `price`; no row where no price is known.
    """
    keys = settings.demand.series
    for known in (_of_demand(settings, lake, as_of), _of_order_lines(settings, lake, as_of)):
        if known is None:
            continue
        prices = _means(known, keys, as_of)
        if prices.height:
            return prices
    named = next(name for name in ("lead_time_demand", "demand", "order_lines") if lake.exists(name))
    types = lake.scan(named).collect_schema()
    return pl.DataFrame(schema={**{key: types[key] for key in keys}, "price": pl.Float64()})


def _of_demand(settings: Settings, lake: Lake, as_of: date) -> pl.LazyFrame | None:
    """Keys, `at`, `quantity` and `price` of the periods that were over: a period's total is known when it is over."""
    keys = settings.demand.series
    if not lake.exists("demand") or not {*keys, "price"} <= set(lake.scan("demand").collect_schema()):
        return None
    demand = lake.scan("demand")
    labels = demand.select("period").unique().collect()["period"]
    if labels.is_empty():
        return None
    grid = Grid.from_labels(settings.demand.frequency, labels, settings.demand.period_label)
    over = grid.index(pl.col("period")) < grid.number_containing(as_of)
    return demand.filter(over).select(*keys, "quantity", "price", at="period")


def _of_order_lines(settings: Settings, lake: Lake, as_of: date) -> pl.LazyFrame | None:
    """Keys, `at`, `quantity` and `price` of the sales as they were known at the opening of the day."""
    keys = settings.demand.series
    if not lake.exists("order_lines") or not set(keys) <= set(lake.scan("order_lines").collect_schema()):
        return None
    columns = dict.fromkeys((*keys, *_LINE))
    lines = every_version(lake.read("order_lines", columns=list(columns)), lake.read_or_empty("superseded_lines"))
    day, known_on, known_until = (
        pl.col(name).dt.convert_time_zone(settings.timezone).dt.date()
        for name in ("ordered_at", "known_at", "known_until")
    )
    sales = lines.lazy().filter(pl.col("kind") == "sale", day < as_of, known_on < as_of)
    known = sales.filter(known_until.is_null() | (known_until >= as_of))
    return known.select(*keys, "quantity", price="unit_price", at=day)


def _means(known: pl.LazyFrame, keys: list[str], as_of: date) -> pl.DataFrame:
    worth, units = (pl.col("price") * pl.col("quantity")).sum(), pl.col("quantity").sum()
    recent = pl.col("at") >= pl.lit(as_of).dt.offset_by(f"-{_RECENT}")
    sold = known.filter(pl.col("price") > 0, pl.col("quantity") > 0)
    ever, lately = (frame.group_by(keys).agg(price=worth / units) for frame in (sold, sold.filter(recent)))
    return (
        ever.join(lately, on=keys, how="left", suffix="_lately")
        .select(*keys, price=pl.coalesce("price_lately", "price").round(6))
        .sort(keys)
        .collect()
    )
