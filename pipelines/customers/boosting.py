"""The trees on top of BTYD: grown alike for churn and value, kept as text beside `model.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.customers import FEATURES
from pipelines.customers.moments import BTYD_FEATURES, Past

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = NDArray[np.float64]
NAMES = (*FEATURES, *BTYD_FEATURES)
_MANY_ROWS = 200_000


def grow(
    past: Past,
    days: Sequence[date],
    target: Floats,
    objective: Mapping[str, Any],
    *,
    trees: int,
    seed: int,
    threads: int,
    start: Floats | None = None,
) -> lgb.Booster:
    """Grow trees on the customers of past moments.

    Args:
        past: What is known at the cut.
        days: The moments that teach.
        target: What came true, one a customer, moment after moment.
        objective: LightGBM's objective and its parameters.
        trees: Number of trees.
        seed: Seed of the sampling of rows and columns.
        threads: Threads of LightGBM.
        start: What each tree's sum is added to, like `target`.
    """
    from pipelines.trees import lightgbm as lgb

    parameters = {
        **objective,
        "learning_rate": 0.04,
        "num_leaves": 12,
        "min_data_in_leaf": max(5, min(80, len(target) // 50)),
        "lambda_l2": 10.0,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "num_threads": _threads(len(target), threads),
        "verbosity": -1,
    }
    matrix = _matrix(pl.concat([past.moment(day).features() for day in days]), NAMES)
    data = lgb.Dataset(matrix, target, init_score=start, feature_name=list(NAMES))
    return lgb.train(parameters, data, num_boost_round=trees)


def predict(booster: lgb.Booster, features: pl.DataFrame, *, raw: bool = False) -> Floats:
    """What the trees say of rows of features; `raw`: before the objective's link function."""
    matrix = _matrix(features, booster.feature_name())
    return np.asarray(booster.predict(matrix, raw_score=raw, num_threads=_threads(features.height, 0)))


def contributions(booster: lgb.Booster, features: pl.DataFrame) -> Floats:
    """TreeSHAP: what each feature of the trees adds to their raw score, one row a customer, one column a feature."""
    matrix = _matrix(features, booster.feature_name())
    if not len(matrix):
        return matrix
    return np.asarray(booster.predict(matrix, pred_contrib=True, num_threads=_threads(features.height, 0)))[:, :-1]


def write(folder: Path, facts: Mapping[str, Any], booster: lgb.Booster | None) -> None:
    """Write `model.json` and, where there are trees, `trees.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**facts, "trees": booster is not None}, indent=2, sort_keys=True)
    (folder / "model.json").write_text(text, encoding="utf-8")
    if booster is not None:
        booster.save_model(str(folder / "trees.txt"))


def read(folder: Path) -> tuple[dict[str, Any], lgb.Booster | None]:
    """What `write` wrote, but for the name of the class."""
    facts: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    del facts["class"]
    if not facts.pop("trees"):
        return facts, None
    from pipelines.trees import lightgbm as lgb

    return facts, lgb.Booster(model_file=str(folder / "trees.txt"))


def _matrix(features: pl.DataFrame, names: Sequence[str]) -> Floats:
    return features.select(names).cast(pl.Float64).to_numpy()


def _threads(rows: int, threads: int) -> int:
    """Threads that pay: on small data they would spend their time waiting for one another."""
    return threads if rows > _MANY_ROWS else 1
