"""Order lines → demand by series and period, and what became known of it only later."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from features.calendar import Grid

_TEN_THOUSANDTHS = 10_000
_MILLIONTHS = 1_000_000


def demand_from_orders(
    lines: pl.DataFrame, series: Sequence[str], grid: Grid, timezone: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Demand by series and period from order lines, and what became known of it only later.

    A period's demand is the quantity sold in it (local time) less the cancellations matched to those sales. Both count
    as soon as they are known: within the period itself in the first table, later in the second. Unmatched returns
    cancel no sale and leave demand alone. Rows are dense from a series' first sale to the last whole period; a period
    without sales is zero demand. Periods that the record covers only in part, at either end, are left out.

    Args:
        lines: Order lines (`features.tables.OrderLines`).
        series: Key columns of a demand series, all of them columns of the lines.
        grid: The periods.
        timezone: The shop's time zone; it decides which day a sale belongs to.

    Returns:
        `demand` (series keys, period, quantity ≥ 0 in units, price per unit, null where nothing sold; order lines say
        nothing of availability and promotions) and
        `demand_revisions` (series keys, period, known_period, quantity to add).
    """
    keys = list(series)
    ordered, known = (pl.col(name).dt.convert_time_zone(timezone).dt.date() for name in ("ordered_at", "known_at"))
    lines = lines.with_columns(_period=grid.containing(ordered), _known=grid.containing(known))
    first, last = _whole_periods(lines.select(ordered).to_series(), grid)
    sales = lines.filter(pl.col("kind") == "sale")
    moves = pl.concat([_sold(sales, keys), _cancelled(lines, sales, keys)])
    moves = moves.filter(pl.col("_period").is_between(first, last))
    return _on_time(sales, moves, keys, first, last, grid), _late(moves, keys, grid)


def _whole_periods(days: pl.Series, grid: Grid) -> tuple[int, int]:
    """The first and last period that the record covers whole; an empty record has none."""
    first_day, last_day = days.min(), days.max()
    if first_day is None or last_day is None:
        return 0, -1
    first, last = grid.number_containing(first_day), grid.number_containing(last_day)  # type: ignore[arg-type]
    starts_late, ends_early = grid.first_day(first) < first_day, grid.last_day(last) > last_day  # type: ignore[operator]
    return first + int(starts_late), last - int(ends_early)


def _sold(sales: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    known = pl.max_horizontal("_known", "_period").alias("_known")
    return sales.select(*keys, "_period", known, "quantity", _value=_money(pl.col("quantity") * pl.col("unit_price")))


def _money(amount: pl.Expr) -> pl.Expr:
    """Whole ten-thousandths: their sum is the same to the last bit whatever the order of the lines."""
    return (amount * _TEN_THOUSANDTHS).round().cast(pl.Int64)


def _exact_sum(column: str, only: pl.Expr | None = None) -> pl.Expr:
    """The sum of quantities in millionths, as units: the same to the last bit whatever the order of the lines."""
    values = pl.col(column) if only is None else pl.col(column).filter(only)
    return (values * _MILLIONTHS).round().cast(pl.Int64).sum() / _MILLIONTHS


def _cancelled(lines: pl.DataFrame, sales: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Matched cancellations as negative quantities in the period of their sale; the price stays what buyers paid."""
    sold = sales.select(*keys, "_period", cancels_order_id="order_id", cancels_line_no="line_no", _sold="_known")
    returns = lines.filter(pl.col("kind") == "return", pl.col("cancels_order_id").is_not_null())
    matched = returns.select("cancels_order_id", "cancels_line_no", "_known", "quantity").join(
        sold, on=["cancels_order_id", "cancels_line_no"], how="inner"
    )
    known = pl.max_horizontal("_known", "_sold", "_period").alias("_known")
    return matched.select(*keys, "_period", known, -pl.col("quantity"), _value=pl.lit(0, dtype=pl.Int64))


def _on_time(
    sales: pl.DataFrame, moves: pl.DataFrame, keys: list[str], first: int, last: int, grid: Grid
) -> pl.DataFrame:
    bought = _exact_sum("quantity", pl.col("quantity") > 0)
    cells = (
        moves.filter(pl.col("_known") == pl.col("_period"))
        .group_by(*keys, "_period")
        .agg(_bought=bought, quantity=_exact_sum("quantity"), _value=pl.col("_value").sum())
    )
    life = (
        sales.group_by(keys)
        .agg(_first=pl.col("_period").min())
        .filter(pl.col("_first") <= last)
        .select(*keys, _period=pl.int_ranges(pl.col("_first").clip(lower_bound=first), last + 1, dtype=pl.Int32))
        .explode("_period", empty_as_null=False)
    )
    price = pl.when(pl.col("_bought") > 0).then(pl.col("_value") / (_TEN_THOUSANDTHS * pl.col("_bought")))
    return (
        life.join(cells, on=[*keys, "_period"], how="left")
        .select(
            *keys,
            period=grid.labels(pl.col("_period")),
            quantity=pl.col("quantity").fill_null(0.0).clip(lower_bound=0),
            available=pl.lit(None, dtype=pl.Float64),
            price=price,
            promotion=pl.lit(None, dtype=pl.Float64),
        )
        .sort(*keys, "period")
    )


def _late(moves: pl.DataFrame, keys: list[str], grid: Grid) -> pl.DataFrame:
    return (
        moves.filter(pl.col("_known") > pl.col("_period"))
        .group_by(*keys, "_period", "_known")
        .agg(quantity=_exact_sum("quantity"))
        .filter(pl.col("quantity") != 0)
        .select(
            *keys,
            period=grid.labels(pl.col("_period")),
            known_period=grid.labels(pl.col("_known")),
            quantity="quantity",
        )
        .sort(*keys, "period", "known_period")
    )
