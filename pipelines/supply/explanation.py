"""Why this quantity: three drivers a line, in plain words."""

from __future__ import annotations

import polars as pl

SEPARATOR = "; "

# What each binding constraint makes of a wish: of so many units, so many.
_SENTENCES = {
    "moq": "the supplier's minimum order raises {} to {}",
    "maximum": "the largest order allowed cuts {} to {}",
    "calendar": "the supplier's order days turn {} into {}",
    "shelf_life": "what can be sold before it expires cuts {} to {}",
    "price_break": "a lower price from there on raises {} to {}",
    "storage": "the room on the shelf cuts {} to {}",
    "supplier_minimum": "the supplier's minimum for a whole order turns {} into {}",
    "truck": "filling the truck turns {} into {}",
    "budget": "the budget of the run turns {} into {}",
    "capacity": "the capacity of the run turns {} into {}",
}


def drivers(currency: str) -> pl.Expr:
    """Three short sentences a line: demand ahead, what covers it, and what decided the quantity.

    Needs the columns of table replenishment and `protection_days`.

    Args:
        currency: Three-letter code that amounts of money carry.
    """
    return pl.concat_str([_demand(), _cover(), _decided(currency)], separator=SEPARATOR)


def _demand() -> pl.Expr:
    return pl.format(
        "{} expected in the {} days until the next order could arrive, {} or less in nine cases of ten",
        _units("demand_mean"),
        pl.col("protection_days").round(0).cast(pl.Int32),
        _units("demand_p90"),
    )


def _cover() -> pl.Expr:
    supply = pl.col("on_hand") + pl.col("on_order")
    share = (100 * supply / pl.col("demand_mean")).round(0).clip(0, 999).cast(pl.Int32, strict=False)
    there = pl.format("{} on hand and {} on order", _units("on_hand"), _units("on_order"))
    return (
        pl.when(pl.col("demand_mean") > 0)
        .then(pl.format("{} cover {} % of it", there, share))
        .otherwise(pl.format("{} and no demand to cover", there))
    )


def _decided(currency: str) -> pl.Expr:
    wish, quantity = _units("unconstrained_quantity"), _units("quantity")
    binding, ordered = pl.col("binding_constraint"), pl.col("quantity") > 0
    saved = (pl.col("expected_cost_at_zero") - pl.col("expected_cost")).round(2)
    before, after = _percent("stock_out_risk_before"), _percent("stock_out_risk")
    told = (
        pl.when(binding == "moq_wait")
        .then(pl.format("waiting costs less than the supplier's minimum order would: {} were needed", wish))
        .when(binding == "fixed_cost")
        .then(pl.format("waiting costs less than one more order would: {} were needed", wish))
        .when(binding == "held")
        .then(pl.format("{} is far outside the usual and waits for somebody to look at it", quantity))
        .when(binding == "supplier_wait")
        .then(pl.format("an order to this supplier does not pay yet: {} were needed", wish))
        .when(binding.is_in(["units", "pallets", "volume", "weight"]))
        .then(pl.format("the capacity ({}) does more elsewhere: {} in place of {}", binding, quantity, wish))
        .when((binding == "multiple") & ~ordered)
        .then(pl.format("one pack would cost more than going without: {} were needed", wish))
        .when((binding == "calendar") & ~ordered)
        .then(pl.format("the supplier takes no orders today: {} were needed", wish))
    )
    for name, sentence in _SENTENCES.items():
        told = told.when(binding == name).then(pl.format(sentence, wish, quantity))
    dearer = pl.format("ordering cuts the risk of running out from {} % to {} %, for {} {} more in this window",
                       before, after, -saved, pl.lit(currency))  # fmt: skip
    return (
        told.when(~ordered)
        .then(pl.format("{} % risk of running out is worth less than more stock", before))
        .when(saved < 0)
        .then(dearer)
        .otherwise(
            pl.format(
                "ordering cuts the risk of running out from {} % to {} % and the expected cost by {} {}",
                before,
                after,
                saved,
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
