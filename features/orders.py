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
    as soon as they are known: within the period itself in the first table, later in the second; a version of a line
    that was corrected counts until the correction. Unmatched returns cancel no sale and leave demand alone.

    A series is listed in the first period in which a sale of it was known, even a sale of an earlier period: its rows
    are dense from there to the last whole period, and a period without sales is zero demand. What came late of earlier
    periods is in the second table alone. Periods that the record covers only in part, at either end, are left out; it
    begins where it began when it was first known, and what came late from before that reaches it back.

    Args:
        lines: Order lines (`features.tables.OrderLines`), or every version of them (`features.versions`).
        series: Key columns of a demand series, all of them columns of the lines.
        grid: The periods.
        timezone: The shop's time zone; it decides which day a sale belongs to.

    Returns:
        `demand` (series keys, period, quantity ≥ 0 in units, price per unit, null where nothing sold; order lines say
        nothing of availability and promotions) and
        `demand_revisions` (series keys, period, known_period, quantity to add).
    """
    keys = list(series)
    if "known_until" not in lines.columns:
        lines = lines.with_columns(known_until=pl.lit(None, dtype=lines.schema["known_at"]))
    ordered, known, until = (
        pl.col(name).dt.convert_time_zone(timezone).dt.date() for name in ("ordered_at", "known_at", "known_until")
    )
    lines = lines.with_columns(
        _period=grid.containing(ordered), _known=grid.containing(known), _until=grid.containing(until)
    )
    in_time = lines.filter(pl.col("known_at") == pl.col("known_at").min())
    current = lines.filter(pl.col("known_until").is_null())
    first, last = _whole_periods(current.select(ordered).to_series(), grid)
    opened, _ = _whole_periods(in_time.select(ordered).to_series(), grid)
    sales = lines.filter(pl.col("kind") == "sale")
    moves = _moves(pl.concat([_sold(sales, keys), _cancelled(lines, sales, keys)]), keys)
    moves = moves.filter(pl.col("_period") <= last)
    # what is learned after the last whole period is told in it
    heard = moves.group_by(keys).agg(_first=pl.col("_known").min().clip(min(max(first, opened), last), last))
    moves = _reaching_back(moves.filter(pl.col("_period") >= first), opened)
    return _on_time(moves, heard, keys, last, grid), _late(moves, keys, grid)


def _whole_periods(days: pl.Series, grid: Grid) -> tuple[int, int]:
    """The first and last period that the record covers whole; an empty record has none."""
    first_day, last_day = days.min(), days.max()
    if first_day is None or last_day is None:
        return 0, -1
    first, last = grid.number_containing(first_day), grid.number_containing(last_day)  # type: ignore[arg-type]
    starts_late, ends_early = grid.first_day(first) < first_day, grid.last_day(last) > last_day  # type: ignore[operator]
    return first + int(starts_late), last - int(ends_early)


def _sold(sales: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    value = _money(pl.col("quantity") * pl.col("unit_price"))
    return sales.select(*keys, "_period", "_known", "_until", "quantity", _bought="quantity", _value=value)


def _cancelled(lines: pl.DataFrame, sales: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Matched cancellations as negative quantities in the period of their sale; the price stays what buyers paid.

    A version of a return takes back each version of its sale while both are known.
    """
    own = {"cancels_order_id": "order_id", "cancels_line_no": "line_no", "_from": "_known", "_to": "_until"}
    sold = sales.select(*keys, "_period", **own)
    returns = lines.filter(pl.col("kind") == "return", pl.col("cancels_order_id").is_not_null())
    matched = returns.select("cancels_order_id", "cancels_line_no", "_known", "_until", "quantity").join(
        sold, on=["cancels_order_id", "cancels_line_no"], how="inner"
    )
    nothing = {"_bought": pl.lit(0.0), "_value": pl.lit(0, dtype=pl.Int64)}
    known, until = pl.max_horizontal("_known", "_from"), pl.min_horizontal("_until", "_to")
    both = matched.with_columns(_known=known, _until=until).filter(pl.col("_until").is_null() | (known < until))
    return both.select(*keys, "_period", "_known", "_until", -pl.col("quantity"), **nothing)


def _moves(versions: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """What each version adds to its period once it is known, and takes away once it is known no more."""
    undone = [-pl.col(name) for name in ("quantity", "_bought", "_value")]
    ended = versions.filter(pl.col("_until").is_not_null()).with_columns(*undone, _known="_until")
    known = pl.max_horizontal("_known", "_period").alias("_known")
    return pl.concat([versions, ended]).select(*keys, "_period", known, "quantity", "_bought", "_value")


def _reaching_back(moves: pl.DataFrame, opened: int) -> pl.DataFrame:
    """Before the first period that was whole when the record was first known, nothing is known until it reaches back.

    That is when the first line from before it came in; a period in which the record began has been partial until then.
    """
    before = pl.col("_period") < opened
    back = moves.filter(before & (pl.col("_known") >= opened))["_known"].min() or opened
    reached = pl.max_horizontal("_known", pl.lit(back, dtype=pl.Int32))
    return moves.with_columns(pl.when(before).then(reached).otherwise("_known").alias("_known"))


def _money(amount: pl.Expr) -> pl.Expr:
    """Whole ten-thousandths: their sum is the same to the last bit whatever the order of the lines."""
    return (amount * _TEN_THOUSANDTHS).round().cast(pl.Int64)


def _exact_sum(column: str) -> pl.Expr:
    """The sum of quantities in millionths, as units: the same to the last bit whatever the order of the lines."""
    return (pl.col(column) * _MILLIONTHS).round().cast(pl.Int64).sum() / _MILLIONTHS


def _on_time(moves: pl.DataFrame, heard: pl.DataFrame, keys: list[str], last: int, grid: Grid) -> pl.DataFrame:
    cells = (
        moves.filter(pl.col("_known") == pl.col("_period"))
        .group_by(*keys, "_period")
        .agg(_bought=_exact_sum("_bought"), quantity=_exact_sum("quantity"), _value=pl.col("_value").sum())
    )
    life = heard.with_columns(_period=pl.int_ranges("_first", last + 1, dtype=pl.Int32))
    life = life.explode("_period", empty_as_null=False)
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


def with_revisions(demand: pl.DataFrame, revisions: pl.DataFrame | None, keys: Sequence[str]) -> pl.DataFrame:
    """Demand with what became known of it later added in.

    Args:
        demand: Table `demand`, or some of its columns.
        revisions: Table `demand_revisions`, or those of its rows that count.
        keys: What names a cell: the series keys and `period`.
    """
    if revisions is None or revisions.is_empty():
        return demand
    changes = revisions.group_by(keys).agg(change=pl.col("quantity").sum())
    changed = demand.join(changes, on=keys, how="left", maintain_order="left")
    return changed.with_columns(quantity=pl.col("quantity") + pl.col("change").fill_null(0.0)).drop("change")
