"""Models of statsforecast as local models: an optional extra, for whoever wants them beside our own.

They fit one series after another, so they take minutes where `pipelines.demand.local` takes seconds.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import numpy as np

from features import windows as w
from features.windows import FloatArray
from pipelines.demand.local import Local
from pipelines.errors import ConfigError

STATISTICAL = ("AutoARIMA", "AutoCES", "AutoETS", "DynamicOptimizedTheta", "MSTL", "OptimizedTheta")


def statistical(name: str) -> Local:
    """A model of statsforecast with the signature of a local model.

    Unknown periods before the first known one are left out; later ones take the value of a season before, else the
    series' mean, since these models want every period. A series too short for the model is forecast its mean.

    Args:
        name: One of `STATISTICAL`.

    Returns:
        Demand, horizon, season → forecast (series × horizon), ≥ 0; 0 where nothing is known.

    Raises:
        ConfigError: No such model, or statsforecast is not installed.
    """
    if name not in STATISTICAL:
        raise ConfigError(f"There is no statistical model {name!r}.", rule=f"one of {', '.join(STATISTICAL)}")
    try:
        kind = getattr(import_module("statsforecast.models"), name)
    except ImportError as error:
        raise ConfigError(
            f"The model {name} needs statsforecast, which is not installed.",
            remedy="pip install purvey[statsforecast], or leave the model out",
        ) from error

    def forecast(y: FloatArray, horizon: int, season: int) -> FloatArray:
        takes_season = "season_length" in inspect.signature(kind).parameters
        model = kind(season_length=season) if takes_season else kind()
        means, filled, first = np.nan_to_num(w.mean(y)), _filled(y, season), (~np.isnan(y)).argmax(axis=1)
        points = np.repeat(means[:, None], horizon, axis=1)
        for row in np.flatnonzero(~np.isnan(y).all(axis=1)):
            points[row] = _point(model, filled[row, first[row] :], horizon, means[row])
        return np.maximum(points, 0).astype(np.float32)

    return forecast


def _point(model: Any, history: FloatArray, horizon: int, mean: float) -> Any:
    if np.ptp(history) == 0:
        return mean
    try:
        point = model.forecast(y=history.astype(np.float64), h=horizon)["mean"]
    except (ArithmeticError, IndexError, ValueError, np.linalg.LinAlgError):
        return mean  # too short for it
    return np.where(np.isfinite(point), point, mean)


def _filled(y: FloatArray, season: int) -> FloatArray:
    filled = y.copy()
    for column in range(season, y.shape[1]):
        filled[:, column] = np.where(np.isnan(y[:, column]), filled[:, column - season], y[:, column])
    return np.where(np.isnan(filled), w.mean(y)[:, None], filled)
