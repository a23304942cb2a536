"""Supply terms made whole: what a shop leaves open takes the default its configuration states."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from features.supply_tables import SupplyTerms
from pipelines.settings import Supply
from pipelines.supply.offers import best_offers

DEFAULT_SUPPLIER = "supplier"
_KINDS = {"cost": "cost", "service": "cycle", "fill_rate": "fill_rate"}
_NO_LIMIT = float("inf")


def complete_terms(
    series: pl.DataFrame,
    terms: pl.DataFrame,
    prices: pl.DataFrame,
    supply: Supply,
    *,
    keys: Sequence[str],
    periods_a_year: float,
    suppliers: pl.DataFrame | None = None,
    as_of: date | None = None,
) -> pl.DataFrame:
    """One supplier a series, with every term filled.

    Where several suppliers offer a series, the one of least landed cost takes it: `offers.best_offers`.

    Args:
        series: Key columns of the series to supply; `demand` (units a period) weighs what is spent on each supplier.
        terms: Table supply_terms; series without a row take defaults throughout.
        prices: Key columns and `price`, the selling price per unit.
        supply: Defaults.
        keys: The shop's series columns.
        periods_a_year: Demand periods in a year, for holding rates.
        suppliers: Table suppliers: calendar, review and punctuality of whoever's terms leave them open.
        as_of: Only terms valid on this day count; None: all do.

    Returns:
        Key columns, `supplier_id`, every term of supply_terms, `has_terms`, `has_price`, `suppliers` (how many offer),
        and whether each of these was said rather than assumed: `lead_time_stated`, `costs_stated`,
        `unit_cost_known`.
    """
    if "demand" not in series.columns:
        series = series.with_columns(demand=pl.lit(None, dtype=pl.Float64))
    offers = complete_offers(
        series.select(*keys, "demand"),
        valid_terms(terms, as_of),
        prices,
        supply,
        keys=keys,
        periods_a_year=periods_a_year,
        suppliers=suppliers,
    )
    return best_offers(
        offers,
        valid_terms(terms, None),
        keys=keys,
        periods_a_year=periods_a_year,
        concentration=supply.concentration,
    ).drop("demand", "on_time_share")


def complete_offers(
    series: pl.DataFrame,
    terms: pl.DataFrame,
    prices: pl.DataFrame,
    supply: Supply,
    *,
    keys: Sequence[str],
    periods_a_year: float,
    suppliers: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Every offer with every term filled: one row a series and supplier, at least one a series, in its order.

    Costs left open come from the selling price (`unit_cost_share`, `shortage_cost_share`); without a price, from one
    of 1, so that the ratio of the costs still holds. Where unmet demand waits and costs by the day, a unit that waits
    costs nothing else unless it is said to.

    Args:
        series: Key columns, and whatever is to stand with every offer.
        terms: Table supply_terms with all its columns, from `valid_terms`.
        prices: As for `complete_terms`, and so are the rest.
        supply: Defaults.
        keys: The shop's series columns.
        periods_a_year: Demand periods in a year.
        suppliers: Table suppliers.

    Returns:
        As `complete_terms`, and `on_time_share` of the supplier, null where nobody knows.
    """
    offers = (
        terms.select(*keys, *SupplyTerms.column_names())
        .sort(*keys, "supplier_id")
        .with_columns(suppliers=pl.len().over(keys), has_terms=pl.lit(True))
    )
    whole = series.join(offers, on=keys, how="left", maintain_order="left_right")
    whole = whole.join(prices.select(*keys, "price"), on=keys, how="left", maintain_order="left")
    whole = _with_supplier(whole, suppliers)
    return _filled(_told(whole), supply, periods_a_year).drop("price")


def valid_terms(terms: pl.DataFrame, as_of: date | None) -> pl.DataFrame:
    """Table supply_terms with all its columns, and of its rows those that hold on a day.

    Example:
        >>> terms = pl.DataFrame({"product_id": "A", "supplier_id": ["old", "new"]}).with_columns(
        ...     valid_to=pl.Series([date(2024, 3, 31), None]), valid_from=pl.Series([None, date(2024, 4, 1)])
        ... )
        >>> valid_terms(terms, date(2024, 4, 1))["supplier_id"].to_list()
        ['new']
    """
    known = {name: column.dtype for name, column in SupplyTerms.columns().items()}
    whole = terms.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in known.items() if name not in terms.columns
    )
    if as_of is None:
        return whole
    day = pl.lit(as_of, dtype=pl.Date)
    return whole.filter((pl.col("valid_from") <= day).fill_null(True), (pl.col("valid_to") >= day).fill_null(True))


def _with_supplier(lines: pl.DataFrame, suppliers: pl.DataFrame | None) -> pl.DataFrame:
    """How punctual the supplier is; its order days and reviews, where the terms of the line leave them open."""
    if suppliers is None or suppliers.is_empty():
        return lines.with_columns(on_time_share=pl.lit(None, dtype=pl.Float64))
    told = {"_days": "order_days", "_review": "reviewed_every_days"}
    of_supplier = suppliers.select("supplier_id", "on_time_share", **told)
    return (
        lines.join(of_supplier, on="supplier_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("order_days", "_days"), pl.coalesce("review_days", "_review"))
        .drop("_days", "_review")
    )


def _told(lines: pl.DataFrame) -> pl.DataFrame:
    """What the shop itself said, before defaults hide it."""
    shortage_told = pl.col("shortage_cost").is_not_null() | pl.col("backorder_cost_per_day").is_not_null()
    return lines.with_columns(
        pl.col("has_terms", "illustrative").fill_null(False),
        pl.col("suppliers").fill_null(0),
        has_price=pl.col("price").is_not_null(),
        lead_time_stated=pl.col("lead_time_days").is_not_null(),
        costs_stated=pl.col("holding_cost").is_not_null() & shortage_told,
        unit_cost_known=pl.col("unit_cost").is_not_null() | pl.col("price").is_not_null(),
    )


def _filled(lines: pl.DataFrame, supply: Supply, periods_a_year: float) -> pl.DataFrame:
    price = pl.coalesce("price", pl.lit(1.0))
    costs_by_the_day = pl.lit(supply.unmet_demand == "backorder") & pl.col("backorder_cost_per_day").is_not_null()
    shortage = pl.when(costs_by_the_day).then(0.0).otherwise(price * supply.shortage_cost_share)
    every_order_day = pl.when(pl.col("order_days").is_not_null()).then(1)
    return lines.with_columns(
        pl.col("supplier_id").fill_null(DEFAULT_SUPPLIER),
        pl.col("lead_time_days").fill_null(supply.lead_time_days),
        pl.col("lead_time_sd_days").fill_null(supply.lead_time_sd_days),
        pl.coalesce("review_days", every_order_day, pl.lit(supply.review_days)).cast(pl.Int64),
        pl.col("moq").fill_null(supply.moq),
        pl.coalesce("multiple", "order_unit", pl.lit(supply.multiple)),
        pl.col("maximum", "storage_maximum", "shelf_life_days").fill_null(_NO_LIMIT),
        pl.col("rounding").fill_null(supply.rounding),
        pl.col("unit_cost").fill_null(price * supply.unit_cost_share),
        pl.col("fixed_order_cost").fill_null(supply.fixed_order_cost),
        pl.col("holding_rate").fill_null(supply.holding_rate_a_year),
        pl.col("shortage_cost").fill_null(shortage),
        pl.col("backorder_cost_per_day").fill_null(0.0),
        pl.col("service_target").fill_null(supply.service_target),
        pl.col("service_kind").fill_null(_KINDS[supply.objective]),
        pl.col("policy").fill_null("paths"),
    ).with_columns(pl.col("holding_cost").fill_null(pl.col("holding_rate") * pl.col("unit_cost") / periods_a_year))
