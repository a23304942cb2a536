"""Forecasts as others read them: series by their keys, periods by their labels, files written whole."""

from __future__ import annotations

import polars as pl

from features.demand import KEYS
from features.panel import Panel
from features.season import RHYTHMS
from features.tables import quantile_column
from pipelines.demand.boosting import Boosting
from pipelines.demand.explanation import drivers, in_words
from pipelines.demand.lives import lives_of, sums_within_life, within_life
from pipelines.demand.model import DemandModel
from pipelines.settings import Settings

# Columns for those who go on with a forecast, not for the lake.
ASIDE = ("mean_living", "life")


def decide(
    model: DemandModel, rows: pl.DataFrame, panel: Panel, settings: Settings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Forecasts and lead-time demand with named series and flags.

    Nothing is forecast before the launch of a series (`not_launched`) and after its end (`discontinued`); a period that
    holds one of them is forecast in proportion. `substitute` says that a series' history began as that of the one it
    replaces. A series is `cold_start` with fewer known periods than the model has lags, `obsolete` after
    `demand.obsolete_after_periods` without a sale (half a year where that is not set). Only where it is set does
    obsolete mean that nothing is forecast: seasonal articles come back. It is `censored` where stock ran out within
    those lags: what is known of its recent demand is partly an estimate.

    Args:
        model: The fitted model.
        rows: Feature rows of one origin.
        panel: The panel they come from.
        settings: The shop.

    Returns:
        Rows of `forecasts` and of `lead_time_demand` but for `issued_on` and `model_version`. The forecasts also have
        `mean_living`, the mean as if no series ever began or ended, and `life`, how much of the period lies in the
        life of the series (0 … 1).
    """
    rhythm = RHYTHMS[panel.grid.frequency]
    patience = settings.demand.obsolete_after_periods
    silent = pl.col("since_sale").fill_nan(None).fill_null(pl.col("age")) >= (patience or rhythm.year // 2)
    new = pl.col("age") * pl.col("known_share") < rhythm.lags
    ran_out = pl.col("since_stock_out") < rhythm.lags if "since_stock_out" in rows.columns else pl.lit(False)
    state = rows.select("series", _obsolete=silent, _new=new, _ran_out=ran_out).unique("series")
    lives = lives_of(panel, rows)
    flags = pl.concat_str(
        pl.when(pl.col("_end")).then(pl.lit("discontinued")),
        pl.when(pl.col("_launch")).then(pl.lit("not_launched")),
        pl.when(pl.col("_substitute")).then(pl.lit("substitute")),
        pl.when(pl.col("_new")).then(pl.lit("cold_start")),
        pl.when(pl.col("_obsolete")).then(pl.lit("obsolete")),
        pl.when(pl.col("_ran_out")).then(pl.lit("censored")),
        separator=",",
        ignore_nulls=True,
    )
    quantiles = [quantile_column(level) for level in settings.demand.quantiles]

    def finished(frame: pl.DataFrame) -> pl.DataFrame:
        frame = frame.join(state, on="series", how="left", maintain_order="left")
        if patience is None:
            return frame
        return frame.with_columns(
            pl.when("_obsolete").then(0.0).otherwise(pl.col(name)).alias(name) for name in ["mean", *quantiles]
        )

    means = finished(model.predict(rows).with_columns(mean_living="mean"))
    forecasts = within_life(means, lives, ["mean", *quantiles])
    members = pl.lit(", ".join(model.blend.weights))
    forecasts = forecasts.with_columns(flags=flags, members=members, life=pl.col("_share"))
    if patience is not None:
        forecasts = forecasts.with_columns(p_zero=pl.when("_obsolete").then(1.0).otherwise("p_zero"))
    lead_time = finished(model.predict_lead_time(rows))
    lead_time = named(sums_within_life(lead_time, means, lives, ["mean", *quantiles]), panel)
    keys = settings.demand.series
    kept = [*keys, "period", "horizon", "mean", *quantiles, "p_zero", "members", "flags", *ASIDE]
    return named(forecasts, panel).select(kept), lead_time.select(*keys, "periods", "pool", "mean", *quantiles)


def largest(forecasts: pl.DataFrame, keys: list[str], most: int) -> pl.DataFrame:
    """The forecasts of so many series, those of which the most units are expected."""
    totals = forecasts.group_by(keys).agg(pl.col("mean").sum())
    chosen = totals.sort("mean", *keys, descending=[True, *[False] * len(keys)]).head(most)
    return forecasts.join(chosen, on=keys, how="semi", maintain_order="left")


def explained(trees: Boosting, rows: pl.DataFrame, forecasts: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """Why forecasts are what they are.

    Args:
        trees: The trees behind them.
        rows: Feature rows of one origin, theirs among them.
        forecasts: Rows that `decide` gave and `pipelines.demand.overrides.apply` went over: all of some series.
        panel: The panel the rows come from.

    Returns:
        Rows of `forecast_drivers` but for `issued_on` and `model_version`.
    """
    names = [*panel.keys, "period"]
    places = named(rows.select(KEYS).with_row_index("row"), panel)
    found = forecasts.join(places, on=names, how="inner", maintain_order="left")
    units = drivers(trees, rows[found["row"]], found["mean_living"].to_numpy())
    frame = found.select(
        *names,
        "mean",
        lifecycle=pl.col("mean_model") - pl.col("mean_living"),
        override=pl.col("mean") - pl.col("mean_model"),
    ).hstack(units)
    return frame.hstack(in_words(frame))


def named(frame: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """Typed key columns and the label of the target period in place of row numbers."""
    keys = panel.series.select(panel.keys)[frame["series"].cast(pl.UInt32)]
    origin = "cutoff" if "cutoff" in frame.columns else "origin"
    steps = "horizon" if "horizon" in frame.columns else "periods"
    return keys.hstack(frame.drop("series").with_columns(period=panel.grid.labels(pl.col(origin) + pl.col(steps))))
