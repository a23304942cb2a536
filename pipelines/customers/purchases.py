"""Who bought which product when, as it was known at the end of one day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

_WHOLE = 10_000  # units are summed in whole ten-thousandths: the same in whatever order
_NEVER = date.max
_PAIR = ["customer_id", "product_id"]
_PLACES = ["customer", "product"]


@dataclass(frozen=True)
class Baskets:
    """What customers bought by the end of a day. `customer` and `product` are places in the sorted names.

    Attributes:
        as_of: The day.
        customers: Names of all with a purchase, sorted.
        products: Names of all that were ever bought, sorted.
        liked: One row a customer and product of which they kept some: customer, product, ago (days since the last
            purchase), days (on how many it was bought); sorted by customer and product.
        touched: customer, product of all that was bought or brought back.
        purchase_days: pair (the row in `liked`), ago: one row a day; sorted by pair and ago.
        order_days: customer, ago: one row a day on which the customer bought anything; sorted.
    """

    as_of: date
    customers: pl.Series
    products: pl.Series
    liked: pl.DataFrame
    touched: pl.DataFrame
    purchase_days: pl.DataFrame
    order_days: pl.DataFrame

    def matrix(self, values: NDArray[np.float64], pairs: pl.DataFrame | None = None) -> Any:
        """A sparse matrix, one row a customer, one column a product: a value for each pair, of `liked` unless said."""
        pairs = self.liked if pairs is None else pairs
        shape = (self.customers.len(), self.products.len())
        return sparse.csr_matrix((values, (pairs["customer"].to_numpy(), pairs["product"].to_numpy())), shape=shape)


def purchases(order_lines: pl.DataFrame, *, timezone: str = "UTC", as_known_now: bool = False) -> pl.DataFrame:
    """Lines of known customers: customer_id, product_id, day, sale, units and when they were known.

    Args:
        order_lines: Table `order_lines`, or every version of its lines (`features.versions`).
        timezone: The shop's time zone, in which a day begins and ends.
        as_known_now: What became known after the last day with orders counts as known on that day.

    Returns:
        One row a line, `units` in whole ten-thousandths, negative for returns; known from the day `known_on` on, and
        before the day `until`.
    """
    local, known = (pl.col(name).dt.convert_time_zone(timezone) for name in ("ordered_at", "known_at"))
    until = pl.lit(None, dtype=pl.Date)
    if "known_until" in order_lines.columns:
        until = pl.col("known_until").dt.convert_time_zone(timezone).dt.date()
    sale = pl.col("kind") == "sale"
    units = (pl.col("quantity") * _WHOLE).round().cast(pl.Int64)
    lines = order_lines.filter(pl.col("customer_id").is_not_null()).select(
        *_PAIR,
        day=local.dt.date(),
        sale=sale,
        units=pl.when(sale).then(units).otherwise(-units),
        known_on=pl.max_horizontal(known, local).dt.date(),
        until=until.fill_null(_NEVER),
    )
    if as_known_now:
        last = pl.col("day").filter(pl.col("until") == _NEVER).max()
        ended = pl.when(pl.col("until") < _NEVER).then(pl.min_horizontal("until", last)).otherwise("until")
        lines = lines.with_columns(pl.min_horizontal("known_on", last).alias("known_on"), ended.alias("until"))
    return lines.filter(pl.col("known_on") < pl.col("until"))


def baskets(bought: pl.DataFrame, as_of: date) -> Baskets:
    """What was known at the end of a day of `purchases`; nothing later is looked at."""
    known = bought.filter(pl.col("known_on") <= as_of, pl.col("until") > as_of)
    customers, products = (known.filter("sale")[name].unique().sort() for name in _PAIR)
    lines = known.select(*_PAIR, "sale", "units", ago=(pl.lit(as_of) - pl.col("day")).dt.total_days().cast(pl.Int32))
    for name, names in (("customer", customers), ("product", products)):
        places = pl.DataFrame({f"{name}_id": names}).with_row_index(name).cast({name: pl.Int32})
        lines = lines.join(places, on=f"{name}_id").drop(f"{name}_id")
    days = lines.filter("sale").select(*_PLACES, "ago").unique().sort(*_PLACES, "ago")
    pairs = lines.group_by(_PLACES).agg(pl.col("units").sum())
    spans = days.group_by(_PLACES).agg(pl.col("ago").min(), days=pl.len())
    liked = pairs.filter(pl.col("units") > 0).drop("units").join(spans, on=_PLACES).sort(_PLACES)
    numbered = liked.with_row_index("pair").cast({"pair": pl.Int64})
    return Baskets(
        as_of,
        customers,
        products,
        liked,
        pairs.select(_PLACES).sort(_PLACES),
        days.join(numbered.select("pair", *_PLACES), on=_PLACES).select("pair", "ago").sort("pair", "ago"),
        days.select("customer", "ago").unique().sort("customer", "ago"),
    )
