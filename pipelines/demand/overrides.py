"""What planners say, applied on top of what the model says: never in the data it learns from.

Overrides are applied in the order in which they were said (`at`, then `override_id`), each on the result of those
before it: of several `set` the newest stands, a `multiply` said after a `set` multiplies what was set, one said before
it is overruled. `set` and `add` speak of the total of a period over all series that the override covers; it is spread
over them in proportion to their means, evenly where nothing is expected of any. A mean never falls below zero, and
before its launch and after its end nothing is said of a series, whoever speaks of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtri, pdtrik

from features.tables import TABLES, quantile_of
from features.windows import Float64Array
from pipelines.demand.distribution import probability_of_zero

_MANY = 1e6  # units
_MOST_STRETCHED = 4.0  # times; farther from the model's mean its quantiles say nothing
_NOTHING = 1e-9
_SMALLEST_SHARE = 1e-3  # of the mean, where demand comes in no whole units


def apply(
    forecasts: pl.DataFrame,
    lead_time_demand: pl.DataFrame,
    overrides: pl.DataFrame | None,
    as_of: datetime,
    keys: Sequence[str],
    *,
    whole: bool = True,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Forecasts and lead-time demand with what planners have said.

    Quantiles move by the factor of their mean, so that the relative width of a forecast stays the model's own. Where
    there is no width to scale (the model expects nothing, or every quantile is zero), they become those of a Poisson
    distribution around the mean. Sums over a lead time widen as their periods do together: by the root of summed
    squares. What nobody spoke of stays as it was, bit by bit.

    Args:
        forecasts: One issue: keys, `period`, `horizon`, `mean`, quantiles, `p_zero`, `life` (the share of the period
            that lies in the life of the series) and more; units.
        lead_time_demand: The same issue: keys, `periods`, `mean`, quantiles and more.
        overrides: Table `overrides`, None where the shop has none.
        as_of: What was said later, or withdrawn by then, does not count.
        keys: Series key columns.
        whole: Whether demand comes in whole units.

    Returns:
        Both frames, rows in their order. The forecasts also have `mean_model`, the mean without overrides, and
        `override_id`, the last override that spoke of the row (null: none did).

    Example:
        >>> from datetime import UTC, date
        >>> row = {"item": ["a", "b"], "period": [date(2024, 1, 1)] * 2, "horizon": 1, "mean": [1.0, 3.0],
        ...     "p50": [1.0, 2.0], "p_zero": 0.1, "life": 1.0}
        >>> sums = pl.DataFrame({"item": ["a", "b"], "periods": 1, "mean": [1.0, 3.0], "p50": [1.0, 2.0]})
        >>> said = pl.DataFrame({
        ...     "override_id": "1", "at": datetime(2023, 12, 1, tzinfo=UTC), "item": pl.Series([None], dtype=pl.String),
        ...     "from_period": date(2024, 1, 1), "to_period": date(2024, 1, 1), "kind": "set", "value": 8.0,
        ...     "withdrawn_at": pl.Series([None], dtype=pl.Datetime("us", "UTC"))})
        >>> moved, sums = apply(pl.DataFrame(row), sums, said, datetime(2024, 1, 1, tzinfo=UTC), ["item"])
        >>> moved["mean"].to_list(), moved["p50"].to_list(), sums["mean"].to_list()
        ([2.0, 6.0], [2.0, 4.0], [2.0, 6.0])
    """
    moved = forecasts.with_columns(mean_model=pl.col("mean"), override_id=pl.lit(None, dtype=pl.String))
    if overrides is None:
        return moved, lead_time_demand
    first, last = forecasts["period"].min(), forecasts["period"].max()
    in_force = known(overrides, as_of).filter(pl.col("from_period") <= last, pl.col("to_period") >= first)
    if in_force.is_empty():
        return moved, lead_time_demand
    moved = moved.with_row_index("_row").sort(*keys, "period")  # sums must not depend on the order of rows
    for override in in_force.iter_rows(named=True):
        moved = _applied(moved, override, keys)
    moved = moved.sort("_row").drop("_row")
    moved = _spread(moved, whole)
    return moved, _summed(lead_time_demand, forecasts, moved, keys)


def known(overrides: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The overrides in force at a moment, in the order in which they were said."""
    stands = pl.col("withdrawn_at").is_null() | (pl.col("withdrawn_at") > as_of)
    return overrides.filter(pl.col("at") <= as_of, stands).sort("at", "override_id")


def covers(override: dict[str, Any], keys: Sequence[str]) -> pl.Expr:
    """Which series an override speaks of. One about a column that no longer names series speaks of none."""
    known_columns = TABLES["overrides"].schema.columns()
    lost = any(name not in known_columns and name not in keys and override[name] is not None for name in override)
    named = [pl.col(key).cast(pl.String) == str(override[key]) for key in keys if override.get(key) is not None]
    return pl.all_horizontal(pl.lit(not lost), *named)


def _applied(forecasts: pl.DataFrame, override: dict[str, Any], keys: Sequence[str]) -> pl.DataFrame:
    """One override on top of those before it."""
    within = pl.col("period").is_between(override["from_period"], override["to_period"]) & (pl.col("life") > 0)
    spoken_of = covers(override, keys) & within
    mean, value = pl.col("mean"), override["value"]
    total = mean.filter("_spoken").sum().over("period")
    wanted = pl.lit(value) if override["kind"] == "set" else (total + value).clip(0)
    share = pl.when(total > 0).then(mean / total).otherwise(1 / pl.col("_spoken").sum().over("period"))
    said = mean * value if override["kind"] == "multiply" else share * wanted
    return (
        forecasts.with_columns(_spoken=spoken_of)
        .with_columns(
            mean=pl.when("_spoken").then(said).otherwise(mean),
            override_id=pl.when("_spoken").then(pl.lit(override["override_id"])).otherwise("override_id"),
        )
        .drop("_spoken")
    )


def _spread(forecasts: pl.DataFrame, whole: bool) -> pl.DataFrame:
    """Quantiles and the chance of none that go with the moved means."""
    levels, columns = _quantiles(forecasts)
    after, before = forecasts["mean"].to_numpy(), forecasts["mean_model"].to_numpy()
    fan = _fan(forecasts.select(columns).to_numpy(), levels, before, after)
    smallest = 1.0 if whole else _SMALLEST_SHARE * after
    p_zero = np.where(after > 0, probability_of_zero(fan, levels, smallest), 1.0)
    moved = pl.col("mean") != pl.col("mean_model")
    drawn = {column: pl.Series(fan[:, i]) for i, column in enumerate(columns)} | {"p_zero": pl.Series(p_zero)}
    return forecasts.with_columns(
        pl.when(moved).then(values).otherwise(pl.col(name)).alias(name) for name, values in drawn.items()
    )


def _summed(
    lead_time_demand: pl.DataFrame, before: pl.DataFrame, after: pl.DataFrame, keys: Sequence[str]
) -> pl.DataFrame:
    """Demand over the next periods, of the moved means; more periods never mean less demand."""
    levels, columns = _quantiles(lead_time_demand)
    sums = after.sort(*keys, "horizon").select(
        *keys,
        pl.col("horizon").alias("periods"),
        _after=pl.col("mean").cum_sum().over(keys),
        _moved=(pl.col("mean") != pl.col("mean_model")).cum_max().over(keys),
    )
    place = [*keys, "periods"]
    rows = lead_time_demand.join(sums, on=place, how="left", maintain_order="left")
    was, now = (
        rows.select(place).join(_widths(frame, columns, keys), on=place, how="left", maintain_order="left")
        for frame in (before, after)
    )
    widening = now.select(columns).to_numpy() / np.maximum(was.select(columns).to_numpy(), _NOTHING)
    total = rows["_after"].fill_null(0.0).to_numpy()
    fan = _fan(rows.select(columns).to_numpy(), levels, rows["mean"].to_numpy(), total, widening)
    rising = [pl.Series(column, fan[:, i]) for i, column in enumerate(columns)]
    rows = rows.with_columns(
        pl.when("_moved").then(pl.col("_after")).otherwise("mean").alias("mean"),
        *(pl.when("_moved").then(values).otherwise(pl.col(values.name)).alias(values.name) for values in rising),
    )
    risen = [pl.col(name).cum_max().over(keys, order_by="periods").alias(name) for name in columns]
    spoken_of = pl.col("_moved").any().over(keys)
    return rows.with_columns(
        pl.when(spoken_of).then(one).otherwise(pl.col(name)).alias(name)
        for name, one in zip(columns, risen, strict=True)
    ).drop("_after", "_moved")


def _widths(forecasts: pl.DataFrame, columns: Sequence[str], keys: Sequence[str]) -> pl.DataFrame:
    """How far each quantile of the next periods lies from their mean if they come independently: √Σ(q − mean)²."""
    away = [((pl.col(name) - pl.col("mean")) ** 2).cum_sum().sqrt().over(keys).alias(name) for name in columns]
    return forecasts.sort(*keys, "horizon").select(*keys, pl.col("horizon").alias("periods"), *away)


def _fan(
    quantiles: Float64Array,
    levels: Sequence[float],
    before: Float64Array,
    after: Float64Array,
    widening: Float64Array | None = None,
) -> Float64Array:
    """Quantiles (rows × levels) scaled as their mean was; Poisson where that would stretch them too far.

    With a `widening` (rows × levels) their distances from the mean grow by that instead.
    """
    factor = np.divide(after, before, out=np.zeros(len(after)), where=before > 0)
    fan: Float64Array = quantiles * factor[:, None]
    if widening is not None:
        other = widening - factor[:, None]
        other[np.abs(other) <= _NOTHING * widening] = 0.0  # all periods alike: what was zero stays exactly so
        fan = np.sort(np.maximum(fan + (quantiles - before[:, None]) * other, 0.0), axis=1)
    bare = (after > 0) & ((before <= 0) | (fan.max(axis=1) <= 0) | (factor > _MOST_STRETCHED))
    mean, tau = after[bare, None], np.asarray(levels)[None, :]
    # beyond a million the search for a Poisson quantile fails, and nobody could tell it from a normal one
    few = np.minimum(mean, _MANY)
    fan[bare] = np.maximum(np.where(mean < _MANY, np.ceil(pdtrik(tau, few)), mean + np.sqrt(mean) * ndtri(tau)), 0.0)
    return fan


def _quantiles(frame: pl.DataFrame) -> tuple[list[float], list[str]]:
    """Levels and columns of the quantiles, ascending."""
    found = sorted((level, name) for name in frame.columns if (level := quantile_of(name)) is not None)
    return [level for level, _ in found], [name for _, name in found]
