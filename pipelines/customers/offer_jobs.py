"""The jobs on next best products: offer them to customers, and judge on past cuts how often they were bought."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from features.versions import every_version
from pipelines.customers import offer_backtest
from pipelines.customers.offers import OffersModel, fit
from pipelines.customers.purchases import baskets, purchases
from pipelines.customers.record import too_little
from pipelines.errors import NotEnoughDataError
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary

_COLUMNS = (
    "order_id", "line_no", "product_id", "customer_id", "kind", "quantity", "ordered_at", "known_at",
)  # fmt: skip
_TABLE = "next_products"
QUIET_DAYS = 7  # a shop may be closed for so long; beyond that, silence means a missing file
TOP = 20  # customers unless some are named
PRODUCTS = 5  # of each kind


def offer(
    settings: Settings,
    lake: Lake,
    customers: Sequence[str] = (),
    *,
    top: int | None = TOP,
    products: int = PRODUCTS,
    as_of: date | None = None,
) -> Summary:
    """What customers may buy next, into table next_products; what was said of them on the same day before goes.

    Args:
        settings: The shop's settings.
        lake: Its tables.
        customers: Whom; unless said, those worth most by their newest scores.
        top: How many of those; None for everyone who has ordered.
        products: How many of each kind a customer.
        as_of: The day at whose end customers are looked at; the last day with orders unless said.

    Raises:
        ConfigError: A customer has not ordered by then.
        NotEnoughDataError: Nobody has ordered by then.
    """
    bought, last = read(settings, lake, as_of)
    model = fit(baskets(bought, last))
    chosen = list(customers) if customers else _chosen(model, lake, last, top)
    found = model.table(chosen, products)
    changed = _keep(lake, found, chosen, last)
    return Summary(
        "offers",
        read={"order_lines": lake.version("order_lines")},
        wrote={_TABLE: found.height},
        figures={"as_of": last.isoformat(), "customers": len(set(chosen))},
        tables={"offers": found},
        changed=changed,
    )


def offer_to_listed(settings: Settings, lake: Lake, listed: Sequence[str], day: date) -> bool:
    """Offers for customers on the lists of a day, as far as they have a history of orders; whether any are new."""
    if not listed or settings.customers.kind == "contractual":
        return False
    bought, _ = read(settings, lake, day)
    model = fit(baskets(bought, day))
    known = sorted(set(listed) & set(model.baskets.customers))
    return _keep(lake, model.table(known, PRODUCTS), known, day)


def judge(settings: Settings, lake: Lake, cuts: int) -> pl.DataFrame:
    """Rows of table evaluation: success@k of offers on past cuts, beside popularity."""
    bought, last = read(settings, lake)
    return offer_backtest.run(bought, last, cuts)


def read(settings: Settings, lake: Lake, as_of: date | None = None) -> tuple[pl.DataFrame, date]:
    """The purchases, and the day at whose end customers are looked at.

    On a day that is named only what was known by then counts; unless one is, all that is known now.

    Raises:
        NotEnoughDataError: Nobody had ordered by then, or the day is long after the newest order.
    """
    lines = every_version(lake.read("order_lines", columns=_COLUMNS), lake.read_or_empty("superseded_lines"))
    bought = purchases(lines, timezone=settings.timezone, as_known_now=as_of is None)
    last = bought["day"].max()
    if not isinstance(last, date) or (as_of is not None and bought["known_on"].min() > as_of):  # type: ignore[operator]
        raise too_little(
            "There is no order of a known customer" + (f" by {as_of}." if as_of else " on record."),
            column="customer_id",
            remedy="map the column that names the customer, or name a later day",
        )
    if as_of is not None and as_of > last + timedelta(days=QUIET_DAYS):
        raise NotEnoughDataError(
            f"Customers cannot be looked at as of {as_of}: the newest order on record is of {last}.",
            file="order_lines",
            remedy=f"ingest newer orders, or name a day up to {last} with --as-of",
        )
    return bought, as_of or last


def _keep(lake: Lake, found: pl.DataFrame, chosen: Sequence[str], day: date) -> bool:
    """Replace what was said of these customers on the day; whether anything is different from before."""
    others = lake.read_or_empty(_TABLE).filter(pl.col("as_of") == day, ~pl.col("customer_id").is_in(list(chosen)))
    kept = pl.concat([others.select(found.columns), found]).sort("customer_id", "kind", "rank")
    return bool(lake.replace_where(_TABLE, kept, {"as_of": day}).changed)


def _chosen(model: OffersModel, lake: Lake, last: date, top: int | None) -> list[str]:
    """Who has ordered by then: those worth most first, as the newest scores by that day say, else by name."""
    everyone = model.baskets.customers
    if top is None or not lake.exists("customer_scores"):
        return everyone.head(top if top is not None else everyone.len()).to_list()
    scores = lake.read("customer_scores").filter(pl.col("as_of") <= last)
    scores = scores.filter(pl.col("as_of") == pl.col("as_of").max())
    ranked = scores.sort("value", "customer_id", descending=[True, False], nulls_last=True)["customer_id"]
    return ranked.filter(ranked.is_in(everyone.to_list())).head(top).to_list()
