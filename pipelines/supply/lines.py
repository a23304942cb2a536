"""Tables as arrays: what is on hand, what comes and goes, and the terms, line by line, as the engine takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from features.notation import break_costs, break_quantities
from features.supply_tables import ROUNDINGS, SERVICE_KINDS
from pipelines.settings import Supply
from pipelines.supply.line_arrays import Lines
from pipelines.supply.paths import Array
from pipelines.supply.schedule import Schedule
from pipelines.supply.situation import Situation

_NEVER = 1e9  # periods: later than any window


def lines_of(
    stock: pl.DataFrame,
    situation: Situation,
    terms: pl.DataFrame,
    dates: Schedule,
    supply: Supply,
    *,
    keys: Sequence[str],
    days_a_period: float,
) -> Lines:
    """Lines to decide.

    Args:
        stock: Key columns and `on_hand`, one row a line, from `stocked`.
        situation: The tables.
        terms: From `terms.complete_terms`, in the same order.
        dates: From `schedule.schedule`, in the same order.
        supply: What happens to unmet demand.
        keys: The shop's series columns.
        days_a_period: Mean length of a demand period, days.
    """
    elapsed_days = (situation.as_of - situation.issued_on).days
    receipts, due_days, confidence = _flows(stock, situation, keys)
    lots, expiry_days = _lots(stock, situation, keys)
    break_quantity, break_cost = price_breaks_of(terms)
    waits = supply.unmet_demand == "backorder"
    return Lines(
        on_hand=_floats(stock, "on_hand"),
        receipts=receipts,
        due=np.where(due_days < _NEVER, (due_days + elapsed_days) / days_a_period, _NEVER),
        now=np.full(stock.height, elapsed_days / days_a_period),
        lead=dates.lead / days_a_period,
        lead_sd=dates.lead_sd / days_a_period,
        review=dates.review / days_a_period,
        holding_cost=_floats(terms, "holding_cost"),
        shortage_cost=_floats(terms, "shortage_cost"),
        service_target=_floats(terms, "service_target"),
        moq=_floats(terms, "moq"),
        multiple=_floats(terms, "multiple"),
        maximum=_floats(terms, "maximum"),
        lead_observed=None if dates.lead_observed is None else dates.lead_observed / days_a_period,
        confidence=confidence,
        lots=lots,
        lot_expiry=None if expiry_days is None else (expiry_days + elapsed_days) / days_a_period,
        shelf_life=_floats(terms, "shelf_life_days") / days_a_period,
        backorder_cost=_floats(terms, "backorder_cost_per_day") * (days_a_period if waits else 0.0),
        service_kind=_numbered(terms, "service_kind", SERVICE_KINDS),
        fixed_cost=_floats(terms, "fixed_order_cost"),
        storage_maximum=_floats(terms, "storage_maximum"),
        unit_cost=_floats(terms, "unit_cost"),
        break_quantity=break_quantity,
        break_cost=break_cost,
        rounding=_numbered(terms, "rounding", ROUNDINGS),
    )


def stocked(situation: Situation, keys: Sequence[str]) -> pl.DataFrame:
    """Key columns, `as_of`, `on_hand` and `illustrative` of every series with stock, sorted by key.

    A series with lots has what they hold that has not expired by the day of the decision; others what table stock says.
    """
    keys = list(keys)
    stock = situation.stock
    if "illustrative" not in stock.columns:
        stock = stock.with_columns(illustrative=pl.lit(None, dtype=pl.Boolean))
    lots = situation.stock_lots
    by_lots = (
        lots.sort(*keys, "expires_on", "quantity")
        .group_by(keys, maintain_order=True)
        .agg(_on_hand=pl.col("quantity").filter(sellable(situation)).sum(), _as_of=pl.col("as_of").max())
    )
    return (
        stock.select(*keys, "as_of", "on_hand", "illustrative")
        .join(by_lots, on=keys, how="full", coalesce=True)
        .select(
            *keys,
            pl.coalesce("as_of", "_as_of", pl.lit(situation.as_of, dtype=pl.Date)),
            on_hand=pl.coalesce("_on_hand", "on_hand"),
            illustrative=pl.col("illustrative").fill_null(False),
        )
        .sort(keys)
    )


def unit_costs(lines: Lines, quantity: Array) -> Array:
    """What a unit costs where so many are bought, price breaks counted (all-units discounts), shape (n,)."""
    reached = (lines.break_quantity <= quantity[:, None]).sum(axis=1)
    at_break = np.take_along_axis(lines.break_cost, np.maximum(reached - 1, 0)[:, None], axis=1)[:, 0]
    return np.asarray(np.where(reached > 0, at_break, lines.unit_cost))


def sellable(situation: Situation) -> pl.Expr:
    """Whether a lot has not expired by the opening of the day of the decision."""
    return (pl.col("expires_on") >= pl.lit(situation.as_of, dtype=pl.Date)).fill_null(True)


def _flows(stock: pl.DataFrame, situation: Situation, keys: Sequence[str]) -> tuple[Array, Array, Array | None]:
    """Units that come (or leave: below zero) and the days until they do, shapes (n, s); and how surely they come.

    What is overdue moves today. What customers have ordered leaves for sure. The confidence is None where all is sure.
    """
    days = (pl.col("due_on") - pl.lit(situation.as_of)).dt.total_days().clip(0).cast(pl.Float64)
    coming = situation.open_supply
    sure = pl.lit(1.0) if "confidence" not in coming.columns else pl.col("confidence").fill_null(1.0)
    flows = (
        pl.concat(
            [
                coming.select(*keys, "quantity", days=days, confidence=sure),
                situation.open_demand.select(*keys, -pl.col("quantity"), days=days, confidence=pl.lit(1.0)),
            ]
        )
        .join(stock.select(keys).with_row_index("line"), on=list(keys))
        .filter(pl.col("confidence") > 0)
        .sort("line", "days", "confidence", "quantity")  # sums do not depend on the order of rows
        .group_by("line", "days", "confidence", maintain_order=True)
        .agg(pl.col("quantity").sum())
        .filter(pl.col("quantity") != 0)
    )
    units, due, surely = _padded(flows, {"quantity": 0.0, "days": _NEVER, "confidence": 1.0}, stock.height)
    return units, due, None if (surely == 1).all() else surely


def _lots(stock: pl.DataFrame, situation: Situation, keys: Sequence[str]) -> tuple[Array | None, Array | None]:
    """Units of each lot, the oldest first, and days until it can no longer be sold, shapes (n, l); None without lots.

    The stock of a series without lots is one that keeps.
    """
    if situation.stock_lots.is_empty():
        return None, None
    lines = stock.select(*keys, "on_hand").with_row_index("line")
    days = (pl.col("expires_on") - pl.lit(situation.as_of)).dt.total_days() + 1
    brought = (
        situation.stock_lots.filter(sellable(situation))
        .join(lines, on=list(keys))
        .select("line", "quantity", days=days.cast(pl.Float64).fill_null(np.inf))
    )
    without = lines.join(situation.stock_lots, on=list(keys), how="anti")
    kept = without.select("line", quantity="on_hand", days=pl.lit(np.inf))
    lots = (
        pl.concat([brought, kept])
        .sort("line", "days", "quantity")
        .group_by("line", "days", maintain_order=True)
        .agg(pl.col("quantity").sum())
    )
    units, expiry = _padded(lots, {"quantity": 0.0, "days": np.inf}, stock.height)
    return units, expiry


def price_breaks_of(terms: pl.DataFrame) -> tuple[Array | None, Array | None]:
    """Quantities from which a unit costs less, and what it costs then, shapes (n, b); None where there are none."""
    if terms["price_breaks"].null_count() == terms.height:
        return None, None
    rows = (
        terms.select(quantity=break_quantities("price_breaks"), cost=break_costs("price_breaks"))
        .with_row_index("line")
        .explode("quantity", "cost")
        .drop_nulls()
    )
    quantity, cost = _padded(rows, {"quantity": np.inf, "cost": 0.0}, terms.height)
    return quantity, cost


def _padded(rows: pl.DataFrame, columns: dict[str, float], height: int) -> list[Array]:
    """Rows sorted by `line` as one array a column, shape (height, most rows a line), filled up with a value."""
    placed = rows.with_columns(slot=pl.int_range(pl.len()).over("line"))
    slots = int(placed["slot"].to_numpy().max(initial=-1)) + 1
    place = placed["line"].to_numpy(), placed["slot"].to_numpy()
    arrays = []
    for name, fill in columns.items():
        array = np.full((height, slots), fill)
        array[place] = placed[name].to_numpy()
        arrays.append(array)
    return arrays


def _numbered(terms: pl.DataFrame, column: str, names: Sequence[str]) -> Array:
    """The place of each name among all, shape (n,)."""
    number = pl.col(column).replace_strict(list(names), list(range(len(names))), return_dtype=pl.Int64)
    return terms.select(number).to_series().to_numpy()


def _floats(frame: pl.DataFrame, column: str) -> Array:
    return frame[column].cast(pl.Float64).to_numpy()
