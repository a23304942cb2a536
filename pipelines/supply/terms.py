"""Supply terms made whole: what a shop leaves open takes the default its configuration states."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.settings import Supply

DEFAULT_SUPPLIER = "supplier"
_OPEN = {
    "lead_time_days": pl.Float64,
    "lead_time_sd_days": pl.Float64,
    "review_days": pl.Int64,
    "moq": pl.Float64,
    "multiple": pl.Float64,
    "maximum": pl.Float64,
    "unit_cost": pl.Float64,
    "holding_cost": pl.Float64,
    "holding_rate": pl.Float64,
    "shortage_cost": pl.Float64,
    "service_target": pl.Float64,
    "illustrative": pl.Boolean,
}


def complete_terms(
    series: pl.DataFrame,
    terms: pl.DataFrame,
    prices: pl.DataFrame,
    supply: Supply,
    *,
    keys: Sequence[str],
    periods_a_year: float,
) -> pl.DataFrame:
    """One supplier a series, with every term filled.

    Where several suppliers offer a series, the one with the lowest unit cost takes it (then the shortest lead time,
    then the name). Costs left open come from the selling price (`unit_cost_share`, `shortage_cost_share`); without a
    price, from a price of 1, so that the ratio of the costs still holds.

    Args:
        series: Key columns of the series to supply.
        terms: Table supply_terms; series without a row take defaults throughout.
        prices: Key columns and `price`, the selling price per unit.
        supply: Defaults.
        keys: The shop's series columns.
        periods_a_year: Demand periods in a year, for holding rates.

    Returns:
        Key columns, `supplier_id`, every term of supply_terms, `has_terms`, `has_price`, `suppliers` (how many offer).
    """
    known = terms.with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in _OPEN.items() if name not in terms.columns
    )
    chosen = (
        known.select(*keys, "supplier_id", *_OPEN)
        .sort(*keys, "unit_cost", "lead_time_days", "supplier_id", nulls_last=True)
        .with_columns(suppliers=pl.len().over(keys))
        .unique(keys, keep="first", maintain_order=True)
        .with_columns(has_terms=pl.lit(True))
    )
    whole = series.select(keys).join(chosen, on=keys, how="left", maintain_order="left")
    whole = whole.join(prices.select(*keys, "price"), on=keys, how="left", maintain_order="left")
    price = pl.coalesce("price", pl.lit(1.0))
    return (
        whole.with_columns(
            pl.col("supplier_id").fill_null(DEFAULT_SUPPLIER),
            pl.col("has_terms", "illustrative").fill_null(False),
            pl.col("suppliers").fill_null(0),
            pl.col("lead_time_days").fill_null(supply.lead_time_days),
            pl.col("lead_time_sd_days").fill_null(supply.lead_time_sd_days),
            pl.col("review_days").fill_null(supply.review_days),
            pl.col("moq").fill_null(supply.moq),
            pl.col("multiple").fill_null(supply.multiple),
            pl.col("maximum").fill_null(float("inf")),
            pl.col("unit_cost").fill_null(price * supply.unit_cost_share),
            pl.col("holding_rate").fill_null(supply.holding_rate_a_year),
            pl.col("shortage_cost").fill_null(price * supply.shortage_cost_share),
            pl.col("service_target").fill_null(supply.service_target),
            has_price=pl.col("price").is_not_null(),
        )
        .with_columns(pl.col("holding_cost").fill_null(pl.col("holding_rate") * pl.col("unit_cost") / periods_a_year))
        .drop("price")
    )
