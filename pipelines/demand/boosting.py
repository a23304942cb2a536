"""Global gradient-boosted trees: one model for the mean and one an anchor quantile, on shared bins.

Direct: the horizon is a feature, every row carries what is known of its own target period. The target is demand in
units of the series' scale. The Tweedie deviance of power p scales with s^(2 − p), so at p = 1.3 and weights of the
square root of the scale (`pipelines.demand.origins`) a series counts with what lies between its scale and its root.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.windows import Float64Array, Int64Array

ANCHORS = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Booster:
    """How the trees are grown.

    Attributes:
        trees: Boosting rounds.
        seed: Seed of row and column sampling.
        threads: Boosters grown side by side, each on one thread: the result does not depend on this number.
        learning_rate: Shrinkage a tree.
        leaves: Leaves a tree.
        bins: Bins a feature.
        min_leaf: Rows a leaf, less where there are few rows at all.
        row_share: Share of the rows drawn for each tree.
        feature_share: Share of the features drawn for each tree.
    """

    trees: int
    seed: int
    threads: int
    learning_rate: float = 0.08
    leaves: int = 31
    bins: int = 63
    min_leaf: int = 60
    row_share: float = 0.7
    feature_share: float = 0.6

    def parameters(self, rows: int) -> dict[str, Any]:
        """LightGBM's parameters for a training set of this many rows."""
        return {
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "max_bin": self.bins,
            "min_data_in_leaf": max(2, min(self.min_leaf, rows // 20)),
            "min_data_in_bin": 3,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1 if rows >= 100 and self.row_share < 1 else 0,
            "feature_fraction": self.feature_share,
            "cat_smooth": 100.0,
            "cat_l2": 50.0,
            "max_cat_threshold": 16,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "feature_pre_filter": False,
            "verbosity": -1,
        }


@dataclass
class Boosting:
    """Fitted trees: the mean and the anchor quantiles of scaled demand.

    Attributes:
        mean: Booster text of the mean (Tweedie deviance).
        quantiles: Anchor → booster text.
        features: Feature names in the boosters' order.
        threads: Threads of a prediction; 0 = as many as LightGBM likes.
    """

    mean: Any
    quantiles: dict[float, Any]
    features: list[str]
    threads: int = 0

    @classmethod
    def fit(
        cls,
        rows: pl.DataFrame,
        target: Float64Array,
        weight: Float64Array,
        features: list[str],
        categorical: list[str],
        grow: Booster,
        anchors: Sequence[float] = ANCHORS,
    ) -> Boosting:
        """Grow the trees.

        Args:
            rows: Feature rows, Float32 columns.
            target: Scaled demand, ≥ 0, one a row.
            weight: Row weights.
            features: Columns to learn from.
            categorical: Those of them that hold codes.
            grow: How the trees are grown.
            anchors: Quantiles beside the mean.
        """
        from pipelines.trees import lightgbm as lgb

        parameters = grow.parameters(rows.height)
        matrix = rows.select(features).to_numpy()
        names: dict[str, Any] = {
            "feature_name": list(features),
            "categorical_feature": [name for name in categorical if name in features],
            "params": parameters,
        }
        data = lgb.Dataset(matrix, label=target, weight=weight, **names).construct()
        tweedie = {"objective": "tweedie", "tweedie_variance_power": 1.3}
        plans = [(data, tweedie if target.any() else {"objective": "l2"})]
        if anchors:
            again = repeated(weight)
            alike = lgb.Dataset(matrix[again], label=target[again], reference=data, **names).construct()
            plans += [(alike, {"objective": "quantile", "alpha": anchor}) for anchor in anchors]
        with ThreadPoolExecutor(grow.threads) as pool:
            mean, *others = pool.map(lambda plan: lgb.train(parameters | plan[1], plan[0], grow.trees), plans)
        quantiles = dict(zip(anchors, others, strict=True))
        return cls(mean, quantiles, list(features))

    def predict(self, rows: pl.DataFrame) -> tuple[Float64Array, Float64Array]:
        """Scaled mean (rows) and scaled anchor quantiles (rows × anchors, ascending), both ≥ 0 and in agreement."""
        matrix = rows.select(self.features).to_numpy()
        mean = np.maximum(self.mean.predict(matrix, num_threads=self.threads), 0).astype(np.float64)
        anchors = np.column_stack(
            [booster.predict(matrix, num_threads=self.threads) for booster in self.quantiles.values()]
        )
        return mean, under_mean(np.sort(np.maximum(anchors, 0), axis=1), list(self.quantiles), mean)

    def importance(self) -> pl.DataFrame:
        """Gain of each feature in the mean and in the median, as shares."""
        columns = {"mean": self.mean, "median": self.quantiles[0.5]}
        gains = {name: booster.feature_importance("gain") for name, booster in columns.items()}
        shares = {name: gain / max(gain.sum(), 1e-12) for name, gain in gains.items()}
        return pl.DataFrame({"feature": self.features, **shares}).sort("mean", "feature", descending=[True, False])

    def to_dir(self, folder: Path) -> None:
        """Write each booster as LightGBM's own text."""
        folder.mkdir(parents=True, exist_ok=True)
        self.mean.save_model(folder / "mean.txt")
        for anchor, booster in self.quantiles.items():
            booster.save_model(folder / f"quantile_{anchor:g}.txt")
        (folder / "boosting.json").write_text(json.dumps({"features": self.features, "anchors": list(self.quantiles)}))

    @classmethod
    def from_dir(cls, folder: Path) -> Boosting:
        """Read what `to_dir` wrote."""
        from pipelines.trees import lightgbm as lgb

        facts = json.loads((folder / "boosting.json").read_text())
        quantiles = {anchor: lgb.Booster(model_file=folder / f"quantile_{anchor:g}.txt") for anchor in facts["anchors"]}
        return cls(lgb.Booster(model_file=folder / "mean.txt"), quantiles, facts["features"])


def repeated(weight: Float64Array) -> Int64Array:
    """Rows to take, each as often as its weight says; together as many as there are.

    Leaves of a quantile are weighted quantiles, for which LightGBM sorts; unweighted ones are found in half the time.

    Example:
        >>> repeated(np.array([0.5, 0.5, 2.0, 1.0]))
        array([1, 2, 2, 3])
    """
    until = np.floor(np.cumsum(weight) * (len(weight) / weight.sum()) + 1e-6).astype(np.int64)
    return np.repeat(np.arange(len(weight)), np.diff(until, prepend=0))


def under_mean(quantiles: Float64Array, levels: Sequence[float], mean: Float64Array) -> Float64Array:
    """Quantiles scaled down where the least mean they allow lies above the mean.

    Trees of a quantile can miss what trees of the mean have seen, such as a week the shop is closed. The least mean of
    a non-negative distribution with these quantiles takes each stretch between two of them at its lower end.

    Args:
        quantiles: Rows × levels, ascending, ≥ 0.
        levels: Probabilities, ascending.
        mean: One a row, ≥ 0.

    Example:
        >>> under_mean(np.array([[0.0, 8.0]]), [0.25, 0.75], np.array([1.0]))
        array([[0., 4.]])
    """
    shares = np.diff([*levels, 1.0])
    least = quantiles @ shares
    agreeing: Float64Array = quantiles * np.minimum(1, mean / np.maximum(least, 1e-12))[:, None]
    return agreeing
