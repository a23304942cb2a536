"""What came true: forecasts of earlier issues beside the demand known now.

Only pairs of forecast and actual that both exist count (a cell); a cell in which stock ran out tells what was sold, not
what was wanted, and is left out. Beside each figure of the forecast stands that of the naive one on the same cells: the
last value known when the forecast was issued (Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed.,
section 5.2).

Where planners overrode a forecast, its mean stands beside the model's own: the forecast value added of that step
(Gilliland 2010, The Business Forecasting Deal, chapter 4).
"""

from __future__ import annotations

from datetime import date

import polars as pl

from features.orders import with_revisions
from features.tables import TABLES, quantile_of

CAPABILITY = "demand"
ALL = "all"
OVERRIDDEN = "overridden"


def realised(
    forecasts: pl.DataFrame,
    demand: pl.DataFrame,
    revisions: pl.DataFrame | None,
    series: list[str],
    overrides: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Accuracy of every issue that has something to be judged by, overall and by horizon; what overrides added to it.

    Args:
        forecasts: Rows of the `forecasts` table, any number of issues.
        demand: Rows of the `demand` table.
        revisions: Rows of `demand_revisions`, where the shop has them.
        series: Series key columns.
        overrides: Rows of `overrides`, where the shop has them: who said what.

    Returns:
        Rows of the `performance` table. Per issue and slice (`all`, `horizon=1` …): `wape` of the median, `bias_share`
        of the mean (positive: too high), `coverage_NN` of the widest central interval, `pinball` (mean over quantiles
        and cells, in units), and `wape_naive`; `cells` says on how many pairs. On the cells that planners spoke of
        (slices `overridden` and `overridden by WHO`, the last who did): `wape_of_mean`, `wape_of_model_mean` and
        `override_value_added`, the latter less the former: above zero, the override was right to be made.
    """
    cells = matched(forecasts, demand, revisions, series)
    empty = TABLES["performance"].schema.create_empty()
    if cells.is_empty():
        return empty
    by = ["issued_on", "slice"]
    slices = pl.concat(
        [
            cells.with_columns(slice=pl.lit(ALL)),
            cells.with_columns(slice=pl.format("horizon={}", "horizon")),
        ]
    )
    rows = pl.concat(
        [
            _judged(slices, by, _figures(forecasts.columns)),
            *([] if overrides is None else [_judged(_overridden(cells, overrides), by, _value_added())]),
        ]
    )
    return rows.with_columns(capability=pl.lit(CAPABILITY)).select(empty.columns).cast(empty.schema).sort(*by, "metric")


def matched(
    forecasts: pl.DataFrame, demand: pl.DataFrame, revisions: pl.DataFrame | None, series: list[str]
) -> pl.DataFrame:
    """The forecasts whose period has a known actual, with it (`actual`) and with the naive forecast (`naive`)."""
    keys = [*series, "period"]
    sold = demand.filter(pl.col("quantity").is_not_null())
    if "available" in sold.columns:
        sold = sold.filter(pl.col("available").fill_null(1.0) >= 1)
    actual = with_revisions(sold, revisions, keys).select(*keys, actual="quantity")
    cells = forecasts.join(actual, on=keys, how="inner")
    if cells.is_empty():
        return cells.with_columns(naive=pl.lit(None, dtype=pl.Float64))
    issues = forecasts.group_by("issued_on").agg(first=pl.col("period").min())
    naive = [
        _last_known(sold, revisions, keys, series, before=first).with_columns(issued_on=pl.lit(issue, dtype=pl.Date))
        for issue, first in issues.join(cells, on="issued_on", how="semi").sort("issued_on").rows()
    ]
    return cells.join(pl.concat(naive), on=[*series, "issued_on"], how="left").with_columns(
        pl.col("naive").fill_null(0.0)  # a series not yet seen has sold nothing yet
    )


def _judged(cells: pl.DataFrame, by: list[str], figures: list[pl.Expr]) -> pl.DataFrame:
    """Figures of each slice, one a row."""
    wide = cells.group_by(by).agg(*figures, cells=pl.len().cast(pl.Int64), model_version=pl.col("model_version").max())
    return wide.unpivot(index=[*by, "cells", "model_version"], variable_name="metric", value_name="value")


def _overridden(cells: pl.DataFrame, overrides: pl.DataFrame) -> pl.DataFrame:
    """The cells that planners spoke of: once in all, once by the last who did."""
    spoken_of = cells.join(overrides.select("override_id", "who"), on="override_id", how="inner")
    slices = (pl.lit(OVERRIDDEN), pl.format(f"{OVERRIDDEN} by {{}}", "who"))
    return pl.concat([spoken_of.with_columns(slice=one) for one in slices])


def _value_added() -> list[pl.Expr]:
    total = pl.col("actual").abs().sum()
    after, before = ((pl.col(name) - pl.col("actual")).abs().sum() for name in ("mean", "mean_model"))
    return [
        pl.when(total > 0).then(after / total).alias("wape_of_mean"),
        pl.when(total > 0).then(before / total).alias("wape_of_model_mean"),
        pl.when(total > 0).then((before - after) / total).alias("override_value_added"),
    ]


def _figures(columns: list[str]) -> list[pl.Expr]:
    quantiles = sorted((level, column) for column in columns if (level := quantile_of(column)) is not None)
    actual = pl.col("actual")
    total = actual.abs().sum()
    figures = [
        pl.when(total > 0).then((pl.col("mean") - actual).sum() / total).alias("bias_share"),
        pl.when(total > 0).then((pl.col("naive") - actual).abs().sum() / total).alias("wape_naive"),
    ]
    if not quantiles:
        return figures
    median = min(quantiles, key=lambda one: abs(one[0] - 0.5))[1]
    figures.append(pl.when(total > 0).then((pl.col(median) - actual).abs().sum() / total).alias("wape"))
    losses = [_pinball(actual, pl.col(column), level) for level, column in quantiles]
    figures.append(pl.mean_horizontal(losses).mean().alias("pinball"))
    (low, lowest), (high, highest) = quantiles[0], quantiles[-1]
    if low < 0.5 < high:
        inside = (actual >= pl.col(lowest)) & (actual <= pl.col(highest))
        figures.append(inside.cast(pl.Float64).mean().alias(f"coverage_{round((high - low) * 100)}"))
    return figures


def _pinball(actual: pl.Expr, forecast: pl.Expr, level: float) -> pl.Expr:
    """Quantile loss (Koenker & Bassett 1978): level · (y − f) above the forecast, (1 − level) · (f − y) below."""
    gap = actual - forecast
    return pl.max_horizontal(level * gap, (level - 1) * gap)


def _last_known(
    sold: pl.DataFrame, revisions: pl.DataFrame | None, keys: list[str], series: list[str], before: date
) -> pl.DataFrame:
    """Each series' last value before a period, as it was known then."""
    then = None if revisions is None else revisions.filter(pl.col("known_period") < before)
    known = with_revisions(sold.filter(pl.col("period") < before), then, keys)
    return known.sort(keys).group_by(series).agg(naive=pl.col("quantity").last())
