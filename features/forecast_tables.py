"""Tables of demand ahead: forecasts, what moves them, their sums, and the ranks that tie them together."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from features.columns import text

# What moves a forecast: the usual level of its series, and what is added to it or taken away.
DRIVERS = ("level", "season", "trend", "promotion", "calendar", "stock_outs", "correction", "lifecycle", "override")


class Forecasts(dy.Schema):
    """Demand expected in one period; one more column a configured quantile (`p05` … `p95`).

    `mean` and quantiles hold what planners said (`override_id`: the last that did), `mean_model` what the model did.
    """

    issued_on = dy.Date(primary_key=True)
    period = dy.Date(primary_key=True)
    horizon = dy.Int32(nullable=False, min=1)
    mean = dy.Float64(nullable=False)
    mean_model = dy.Float64(nullable=True)
    override_id = dy.String(nullable=True)
    p_zero = dy.Float64(nullable=True, min=0, max=1)
    members = dy.String(nullable=False)
    flags = dy.String(nullable=False)
    model_version = text(nullable=False)


class ForecastDrivers(dy.Schema):
    """Why a forecast is what it is: its mean as a sum of drivers, in units, and the strongest of them in words."""

    issued_on = dy.Date(primary_key=True)
    period = dy.Date(primary_key=True)
    mean = dy.Float64(nullable=False)
    level = dy.Float64(nullable=False)
    season = dy.Float64(nullable=False)
    trend = dy.Float64(nullable=False)
    promotion = dy.Float64(nullable=False)
    calendar = dy.Float64(nullable=False)
    stock_outs = dy.Float64(nullable=False)
    correction = dy.Float64(nullable=False)
    lifecycle = dy.Float64(nullable=False)
    override = dy.Float64(nullable=False)
    words_en = text(nullable=False)
    words_zh = text(nullable=False)
    model_version = text(nullable=False)

    @dy.rule()
    def drivers_add_up(cls) -> pl.Expr:
        return (pl.sum_horizontal(DRIVERS) - pl.col("mean")).abs() <= 1e-6 * (
            1 + pl.max_horizontal(pl.col(DRIVERS).abs())
        )


class LeadTimeDemand(dy.Schema):
    """Demand summed over the next 1 … H periods: its own target, never a sum of quantiles."""

    issued_on = dy.Date(primary_key=True)
    periods = dy.Int32(primary_key=True, min=1)
    mean = dy.Float64(nullable=False)
    pool = dy.Int32(nullable=True, min=0)
    model_version = text(nullable=False)


class ForecastTotals(dy.Schema):
    """Means summed over the groups of a configured hierarchy (`demand.hierarchy`): coherent by construction."""

    issued_on = dy.Date(primary_key=True)
    level = text(primary_key=True)
    group = dy.String(primary_key=True)
    period = dy.Date(primary_key=True)
    horizon = dy.Int32(nullable=False, min=1)
    series = dy.Int64(nullable=False, min=1)
    mean = dy.Float64(nullable=False)
    model_version = text(nullable=False)


class ForecastChanges(dy.Schema):
    """How far the mean of a period moved since the issue before, and why: the three reasons add up to the move."""

    issued_on = dy.Date(primary_key=True)
    period = dy.Date(primary_key=True)
    issued_before = dy.Date(nullable=False)
    mean_before = dy.Float64(nullable=False)
    mean = dy.Float64(nullable=False)
    from_data = dy.Float64(nullable=False)
    from_model = dy.Float64(nullable=True)
    from_override = dy.Float64(nullable=False)
    model_version = text(nullable=False)


class PathRanks(dy.Schema):
    """Joint ranks of sample paths, drawn through the quantiles of each series of a pool (`lead_time_demand.pool`)."""

    issued_on = dy.Date(primary_key=True)
    pool = dy.Int32(primary_key=True, min=0)
    path = dy.Int32(primary_key=True, min=0)
    horizon = dy.Int32(primary_key=True, min=1)
    rank = dy.Float64(nullable=False, min_exclusive=0, max_exclusive=1)
