"""Why this quantity: three drivers a line, in plain words."""

from __future__ import annotations

import polars as pl

SEPARATOR = "; "


def drivers(currency: str) -> pl.Expr:
    """Three short sentences a line: demand ahead, what covers it, and what decided the quantity.

    Needs the columns of table replenishment and `review_days`.

    Args:
        currency: Three-letter code that amounts of money carry.
    """
    return pl.concat_str([_demand(), _cover(), _decided(currency)], separator=SEPARATOR)


def _demand() -> pl.Expr:
    return pl.format(
        "{} expected in the {} days until the next order could arrive, {} or less in nine cases of ten",
        _units("demand_mean"),
        pl.col("protection_days").round(0).cast(pl.Int64),
        _units("demand_p90"),
    )


def _cover() -> pl.Expr:
    supply = pl.col("on_hand") + pl.col("on_order")
    share = (100 * supply / pl.col("demand_mean")).round(0).clip(0, 999).cast(pl.Int64, strict=False)
    there = pl.format("{} on hand and {} on order", _units("on_hand"), _units("on_order"))
    return (
        pl.when(pl.col("demand_mean") > 0)
        .then(pl.format("{} cover {} % of it", there, share))
        .otherwise(pl.format("{} and no demand to cover", there))
    )


def _decided(currency: str) -> pl.Expr:
    wish, quantity = _units("unconstrained_quantity"), _units("quantity")
    binding = pl.col("binding_constraint")
    saved = pl.col("expected_cost_at_zero") - pl.col("expected_cost")
    return (
        pl.when(binding == "moq_wait")
        .then(pl.format("waiting costs less than the supplier's minimum order would: {} were needed", wish))
        .when(binding == "moq")
        .then(pl.format("the supplier's minimum order raises {} to {}", wish, quantity))
        .when(binding == "maximum")
        .then(pl.format("the largest order allowed cuts {} to {}", wish, quantity))
        .when(binding == "calendar")
        .then(pl.lit("the supplier takes no orders today"))
        .when(binding == "shelf_life")
        .then(pl.format("what sells before it expires cuts {} to {}", wish, quantity))
        .when(binding == "price_break")
        .then(pl.format("a lower price pays for buying {} in place of {}", quantity, wish))
        .when(binding == "storage")
        .then(pl.format("the space there is cuts {} to {}", wish, quantity))
        .when(binding == "supplier_wait")
        .then(pl.format("an order to this supplier does not pay yet: {} were needed", wish))
        .when(binding == "supplier_minimum")
        .then(pl.format("the supplier's minimum for an order makes it {} in place of {}", quantity, wish))
        .when(binding == "truck")
        .then(pl.format("a full truck makes it {} in place of {}", quantity, wish))
        .when(binding == "budget")
        .then(pl.format("the budget does more elsewhere: {} in place of {}", quantity, wish))
        .when(binding.is_in(["units", "pallets", "volume", "weight"]))
        .then(pl.format("the capacity ({}) does more elsewhere: {} in place of {}", binding, quantity, wish))
        .when((binding == "multiple") & (pl.col("quantity") == 0))
        .then(pl.format("one pack would cost more than going without: {} were needed", wish))
        .when(pl.col("quantity") == 0)
        .then(pl.format("{} % risk of running out is worth less than more stock", _percent("stock_out_risk_before")))
        .otherwise(
            pl.format(
                "ordering cuts the risk of running out from {} % to {} % and the expected cost by {} {}",
                _percent("stock_out_risk_before"),
                _percent("stock_out_risk"),
                saved.round(2),
                pl.lit(currency),
            )
        )
    )


def _units(column: str) -> pl.Expr:
    """Whole units as whole numbers, others with one decimal."""
    value = pl.col(column).round(1)
    return pl.when(value == value.round(0)).then(value.cast(pl.Int64).cast(pl.String)).otherwise(value.cast(pl.String))


def _percent(column: str) -> pl.Expr:
    """Whole per cent; a risk too small for that is not called none."""
    share = pl.col(column)
    whole = (100 * share).round(0).cast(pl.Int64).cast(pl.String)
    return pl.when((share > 0) & (share < 0.01)).then(pl.lit("less than 1")).otherwise(whole)
