"""`make bench`: what the demand engine costs, in seconds and memory, beside mlforecast and by number of series.

Features: both sides make one row for every series and target period, with as many features, from the same frame; ours
are made at origins one horizon apart and aligned with targets 1 … H ahead, which is what a direct model learns from,
mlforecast's are the one-step rows that its recursive models learn from. Ours come origin by origin, and the engine
keeps of each what it learns from before it makes the next: that is the memory compared; holding all of them is shown.
Backtest: four cutoffs one horizon apart, refitted, one model of the mean with the same LightGBM parameters, on as many
rows and features; the engine as it is (six boosters, calibration on three earlier origins, baselines) stands below it.

Each figure is measured in a process of its own: wall seconds, processor seconds (for machines that are shared) and peak
resident memory. Ratios are of figures of one run.

    python tests/bench/demand.py [--only features,backtest,synthetic,scaling] [--full]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import retail
from measuring import answer, child, measured, seconds

from features.calendar import Grid
from features.demand import features_of, rows_at
from features.panel import Panel
from pipelines.demand.backtest import backtest, cutoffs
from pipelines.demand.boosting import Booster
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins
from pipelines.settings import Settings

Row = tuple[str, str, str]
_WEEKLY = {"frequency": "week", "periods": 169, "horizon": 8}


# -- in a child process ------------------------------------------------------------------------------------------------


def _input(folder: Path) -> Any:
    return pl.read_parquet(folder / "demand" / "*.parquet")


def _origins(folder: Path, frequency: str, horizon: int, demand: Any = None, **more: Any) -> Origins:
    terms = {"series": retail.KEYS, "frequency": frequency, "horizon": horizon} | more
    source = {"table": "demand", "format": "parquet", "path": "demand.parquet"}
    settings = Settings(shop="retail", data_dir=str(folder), sources=[source], demand=terms)  # type: ignore[arg-type]
    demand = _input(folder) if demand is None else demand
    grid = Grid.from_labels(settings.demand.frequency, demand["period"][:1])
    covariates = pl.read_parquet(folder / "covariates.parquet")
    panel = Panel.build(demand, retail.KEYS, grid, covariates=covariates, known_ahead=["promotion"])
    return Origins(panel, settings, horizon)


def our_features(folder: Path, frequency: str, periods: int, horizon: int, hold: bool = False) -> dict[str, Any]:
    figures: dict[str, Any] = {"rows": 0}
    demand, held = _input(folder), []
    with measured(figures):
        origins = _origins(folder, frequency, horizon, demand)
        first, last = origins.panel.first, origins.panel.last
        vocabulary = origins.vocabulary(last)
        for origin in range(first, last, horizon):
            rows = rows_at(origins.panel, origin, horizon, vocabulary)
            figures["rows"] += rows.height
            held = [*held, rows] if hold else []
    return figures | {"features": len(features_of(rows))}


def _their_forecast(features: int, model: Any = None) -> Any:
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExponentiallyWeightedMean, RollingMax, RollingMean, RollingMin, RollingStd

    dates = ["month", "week", "quarter", "ordinal_day"]
    lags = [1, 2, 3, 4, 5, 6, 7, 8, 13, 26, 51, 52, 53, 104]
    kinds = [RollingMean(window) for window in (4, 8, 13, 26, 52)]
    kinds += [RollingStd(window) for window in (4, 8, 13, 26, 52)]
    kinds += [RollingMax(13), RollingMin(13), ExponentiallyWeightedMean(0.2), ExponentiallyWeightedMean(0.07)]
    plan = [(lag, kind) for lag in (1, 52, 8, 4, 13) for kind in kinds][: features - len(dates) - len(lags)]
    transforms: dict[int, list[Any]] = {}
    for lag, kind in plan:
        transforms.setdefault(lag, []).append(kind)
    return MLForecast(
        {"mean": model} if model else {},
        freq="1w",
        lags=lags,
        lag_transforms=transforms,  # type: ignore[arg-type]
        date_features=dates,
        num_threads=2,
    )


def _their_input(folder: Path) -> Any:
    name = pl.concat_str("store_id", "item_id", separator="/").alias("unique_id")
    return _input(folder).select(name, ds="period", y="quantity")


def their_features(folder: Path, features: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    demand = _their_input(folder)
    forecast = _their_forecast(features)
    with measured(figures):
        rows = forecast.preprocess(demand, static_features=[], dropna=False)
    return figures | {"rows": rows.height, "features": rows.width - 3}


def _parameters(rows: int) -> dict[str, Any]:
    mean = {"objective": "tweedie", "tweedie_variance_power": 1.5}
    return Booster(trees=120, seed=1, threads=1).parameters(rows) | mean


def our_backtest(folder: Path, frequency: str, periods: int, horizon: int, rows: int) -> dict[str, Any]:
    from pipelines.trees import lightgbm as lgb

    figures: dict[str, Any] = {"rows": []}
    demand = _input(folder)
    with measured(figures):
        origins = _origins(folder, frequency, horizon, demand, training_rows=rows)
        for cutoff in cutoffs(origins, 4):
            learn, target, weight = origins.training_rows(cutoff)
            names, parameters = features_of(learn), _parameters(rows)
            data = lgb.Dataset(learn.select(names).to_numpy(), target, weight=weight, params=parameters)
            model = lgb.train(parameters, data, 120)
            model.predict(origins.rows(cutoff).select(names).to_numpy())
            figures["rows"].append(learn.height)
    return figures | {"rows": max(figures["rows"]), "features": len(names)}


def their_backtest(folder: Path, features: int, horizon: int) -> dict[str, Any]:
    from lightgbm import LGBMRegressor

    figures: dict[str, Any] = {}
    demand = _their_input(folder)
    rows = demand.height
    renamed = {"num_threads": "n_jobs", "seed": "random_state"}
    model = LGBMRegressor(n_estimators=120, **{renamed.get(k, k): v for k, v in _parameters(rows).items()})
    forecast = _their_forecast(features, model)
    with measured(figures):
        forecast.cross_validation(demand, n_windows=4, h=horizon, static_features=[], dropna=False)
    return figures | {"rows": rows, "features": features}


def engine_backtest(folder: Path, frequency: str, periods: int, horizon: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    demand = _input(folder)
    with measured(figures):
        origins = _origins(folder, frequency, horizon, demand)
        backtest(origins, 4, origins.settings.demand.quantiles)
    return figures


def fit_and_forecast(folder: Path, frequency: str, periods: int, horizon: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with measured(figures):
        origins = _origins(folder, frequency, horizon)
        last = origins.panel.last
        model = DemandModel.fit(origins, last, origins.settings.demand.quantiles)
        forecasts = model.predict(origins.rows(last))
    return figures | {"rows": forecasts.height, "cells": origins.panel.quantity.size}


def make(folder: Path, frequency: str, series: int, periods: int, horizon: int) -> dict[str, Any]:
    retail.write(folder, frequency, series, periods, horizon)
    return {}


# -- in the parent -----------------------------------------------------------------------------------------------------


def _against(name: str, ours: dict[str, Any], theirs: dict[str, Any], bar: str) -> Iterator[Row]:
    yield f"{name}: mlforecast", f"{seconds(theirs)}, {theirs['above_mb']:.0f} MB", _size(theirs)
    yield f"{name}: purvey", f"{seconds(ours)}, {ours['above_mb']:.0f} MB", _size(ours)
    wall, processor, memory = (theirs[kind] / ours[kind] for kind in ("seconds", "processor_seconds", "above_mb"))
    yield f"{name}: ratio", f"{wall:.1f} × ({processor:.1f} × processor), 1/{memory:.1f} of the memory", bar


def _size(figures: dict[str, Any]) -> str:
    return f"{figures['rows']:,} rows × {figures['features']}"


def bench_features(folder: Path, full: bool) -> Iterator[Row]:
    child(make, folder, series=10_000 if full else 3_000, **_WEEKLY)
    ours = child(our_features, folder, **_WEEKLY)
    theirs = child(their_features, folder, features=ours["features"])
    yield from _against("features", ours, theirs, "≥ 3 ×, ≤ 1/3")
    whole = child(our_features, folder, hold=True, **_WEEKLY)
    yield "features: purvey, all rows held", f"{seconds(whole)}, {whole['above_mb']:.0f} MB", ""


def bench_backtest(folder: Path, full: bool) -> Iterator[Row]:
    child(make, folder, series=10_000 if full else 300, **_WEEKLY)
    features = child(our_features, folder, **_WEEKLY)["features"]
    theirs = child(their_backtest, folder, features=features, horizon=_WEEKLY["horizon"])
    ours = child(our_backtest, folder, rows=theirs["rows"], **_WEEKLY)
    yield from _against("backtest", ours, theirs, "≥ 3 ×")
    yield "backtest: the engine as it is", seconds(child(engine_backtest, folder, **_WEEKLY)), ""


def bench_synthetic(folder: Path, full: bool) -> Iterator[Row]:
    shops = [("week", 600, 157, 13, "< 20 s")]
    if full:
        shops += [("week", 15_000, 170, 13, "< 8 min"), ("day", 30_490, 1_941, 28, "< 45 min, < 6 GB")]
    for frequency, series, periods, horizon, bar in shops:
        shape = {"frequency": frequency, "periods": periods, "horizon": horizon}
        shop = folder / f"{frequency}_{series}"
        child(make, shop, series=series, **shape)
        figures = child(fit_and_forecast, shop, **shape)
        name = f"{series:,} × {periods:,} {frequency}s, fit + {horizon} ahead"
        yield name, f"{seconds(figures)}, {figures['peak_mb'] / 1024:.2f} GB", bar


def bench_scaling(folder: Path, full: bool) -> Iterator[Row]:
    shape = {"frequency": "week", "periods": 104, "horizon": 13}
    for series in (1_000, 10_000, 30_000) if full else (300, 1_000, 3_000):
        shop = folder / str(series)
        child(make, shop, series=series, **shape)
        figures = child(fit_and_forecast, shop, **shape)
        a_thousand = 1_000 * figures["processor_seconds"] / series
        measured = f"{seconds(figures)}, {figures['peak_mb'] / 1024:.2f} GB"
        yield f"{series:,} × 104 weeks, fit + 13 ahead", measured, f"{a_thousand:.1f} s processor a thousand"


BENCHES = {
    "features": bench_features,
    "backtest": bench_backtest,
    "synthetic": bench_synthetic,
    "scaling": bench_scaling,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHES), help="which of " + ", ".join(BENCHES))
    parser.add_argument("--full", action="store_true", help="the large ones, too: about an hour, 6 GB")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        answer(asked.child, globals())
        return
    for name in asked.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            for what, figure, bar in BENCHES[name](Path(folder), asked.full):
                print(f"{what:<40}{figure:>48}   {bar}", flush=True)


if __name__ == "__main__":
    main()
