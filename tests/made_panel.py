"""A made demand panel with everything that can become known late: returns, prices, weather, new series."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from features.calendar import Grid
from features.panel import Panel

GRIDS = {
    "day": Grid("day", date(1970, 1, 1)),
    "week": Grid("week", date(1970, 1, 5)),
    "month": Grid("month", date(1970, 1, 1)),
}
PERIODS = {"day": 420, "week": 130, "month": 40}


def tables(frequency: str, seed: int = 0, series: int = 12) -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    grid, periods = GRIDS[frequency], PERIODS[frequency]
    start = grid.number(date(2021, 1, 4) if frequency == "week" else date(2021, 1, 1))
    born = rng.integers(0, periods // 2, series)
    born[:2] = 0
    cells = [(f"s{i:02d}", n) for i in range(series) for n in range(born[i], periods)]
    demand = pl.DataFrame(cells, schema=["store", "n"], orient="row").with_columns(
        quantity=pl.Series(rng.negative_binomial(1, 0.2, len(cells)).astype(float)),
        available=pl.Series((rng.random(len(cells)) > 0.1).astype(float)),
        price=pl.Series(rng.uniform(1, 3, len(cells))),
        period=grid.labels(pl.col("n").cast(pl.Int32) + start),
    )
    reach = pl.DataFrame({"n": np.arange(periods + 12, dtype=np.int32)}).join(
        demand.select("store").unique().sort("store"), how="cross"
    )
    covariates = reach.with_columns(
        promotion_planned=pl.Series(rng.integers(0, 2, reach.height)),
        weather=pl.Series(rng.normal(size=reach.height)),
        period=grid.labels(pl.col("n") + start),
    )
    late = demand.filter(pl.Series(rng.random(demand.height) < 0.05) & (pl.col("n") < periods - 12))
    revisions = late.with_columns(
        known_period=grid.labels(
            pl.col("n").cast(pl.Int32) + start + pl.Series(rng.integers(1, 10, late.height)).cast(pl.Int32)
        ),
        quantity=-pl.col("quantity").clip(upper_bound=2),
    ).select("store", "period", "known_period", "quantity")
    names = demand["store"].unique().sort()
    attributes = pl.DataFrame(
        {"store": names, "kind": [f"k{i % 2}" for i in range(len(names))], "size": np.arange(len(names)) * 1.5}
    )
    return {
        "demand": demand.drop("n"),
        "covariates": covariates.drop("n"),
        "revisions": revisions,
        "attributes": attributes,
    }


def panel_of(frequency: str, parts: dict[str, pl.DataFrame], last: int | None = None) -> Panel:
    return Panel.build(
        parts["demand"],
        ["store"],
        GRIDS[frequency],
        revisions=parts["revisions"],
        covariates=parts["covariates"],
        known_ahead=["promotion_planned"],
        observed=["weather"],
        attributes=parts["attributes"],
        last=last,
    )


def scrambled(frequency: str, parts: dict[str, pl.DataFrame], origin: int) -> dict[str, pl.DataFrame]:
    """The same tables with everything that became known after the origin made wildly wrong."""
    after = pl.col("period") > GRIDS[frequency].name(origin)
    demand = parts["demand"].with_columns(
        pl.when(after).then(1e6).otherwise(pl.col(name)).alias(name) for name in ("quantity", "price")
    )
    demand = demand.with_columns(available=pl.when(after).then(1.0).otherwise("available"))
    weather = parts["covariates"].with_columns(weather=pl.when(after).then(-1e6).otherwise("weather"))
    learned_later = pl.col("known_period") > GRIDS[frequency].name(origin)
    revisions = parts["revisions"].with_columns(quantity=pl.when(learned_later).then(1e6).otherwise("quantity"))
    return newcomers(frequency, parts | {"demand": demand, "covariates": weather, "revisions": revisions}, origin)


def newcomers(frequency: str, parts: dict[str, pl.DataFrame], origin: int) -> dict[str, pl.DataFrame]:
    """The same tables with more series, each of a kind of its own, first heard of after the origin."""
    names = pl.DataFrame({"store": [f"s{i // 4:02d}-{i}" for i in range(40)]})
    period = pl.DataFrame({"period": [GRIDS[frequency].name(origin + 1 + n) for n in range(2)]})
    demand = names.join(period, how="cross").with_columns(quantity=7.0)
    attributes = names.with_columns(kind=pl.col("store") + " only", size=-1.0)
    return parts | {
        "demand": pl.concat([parts["demand"], demand], how="diagonal"),
        "attributes": pl.concat([parts["attributes"], attributes]),
    }
