"""The probability that a contract ends: small trees and a logistic regression, stacked in log-odds.

The trees find what acts together, the regression keeps level and slopes steady; each is weak where the other is not.
How much each counts, and how far the sum is drawn out or in, is learned out of fold (stacking, Wolpert 1992), which
calibrates as well: strongly regularised trees alone are too timid. Neither sees an identifier, a protected column or
the outcome (`attributes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from pipelines.customers import boosting
from pipelines.customers.attributes import Encoder
from pipelines.customers.folds import fold_of
from pipelines.customers.logistic import fit_logistic
from pipelines.customers.moments import keyed

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = NDArray[np.float64]

RIDGE = 5.0
TREES = 300
STACK_FOLDS = 5
EQUAL = (0.0, 0.5, 0.5)  # intercept, trees, regression
_LEAST_OUTCOMES = 50  # of both kinds, for the weights to be learned
_MANY_ROWS = 200_000


@dataclass(frozen=True)
class Regression:
    """A logistic regression over encoded attributes.

    Attributes:
        means: Mean of each number, which also stands for a missing one.
        scales: Standard deviation of each number.
        coefficients: Intercept, then numbers, then whether each is missing, then each known text of each column.
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]
    coefficients: tuple[float, ...]

    @classmethod
    def fit(cls, encoded: pl.DataFrame, encoder: Encoder, churned: Floats) -> Regression:
        """Fit to the outcome of each contract."""
        numbers = encoded.select(encoder.numbers)
        means = tuple(float(value or 0.0) for value in numbers.mean().row(0)) if encoder.numbers else ()
        spread = numbers.std().row(0) if encoder.numbers else ()
        scales = tuple(float(value) if value else 1.0 for value in spread)
        blank = cls(means, scales, ())
        coefficients = fit_logistic(blank.design(encoded, encoder), churned, ridge=RIDGE)
        return cls(means, scales, tuple(coefficients.tolist()))

    def design(self, encoded: pl.DataFrame, encoder: Encoder) -> Floats:
        """The columns of the regression, a row a contract."""
        columns: list[Floats] = []
        for name, mean, scale in zip(encoder.numbers, self.means, self.scales, strict=True):
            columns.append(((encoded[name].fill_null(mean) - mean) / scale).to_numpy())
        columns += [encoded[name].is_null().cast(pl.Float64).to_numpy() for name in encoder.numbers]
        for name, known in encoder.codes.items():
            columns += [(encoded[name] == code).cast(pl.Float64).to_numpy() for code in range(len(known))]
        return np.column_stack(columns) if columns else np.zeros((encoded.height, 0))

    def log_odds(self, encoded: pl.DataFrame, encoder: Encoder) -> Floats:
        """Log-odds of each contract; the same alone as among others."""
        design = self.design(encoded, encoder)
        total = np.full(len(design), self.coefficients[0])
        for column, coefficient in zip(design.T, self.coefficients[1:], strict=True):
            total = total + column * coefficient
        return total


@dataclass(frozen=True)
class ContractChurnModel:
    """Trees and regression over one encoding of the attributes.

    Attributes:
        encoder: How attributes become numbers.
        regression: The logistic regression.
        booster: The trees.
        weights: Intercept, weight of the trees, weight of the regression, in log-odds.
        horizon_days: The window in which a contract ends or not; for a shop that only flags who left, as it says.
    """

    encoder: Encoder
    regression: Regression
    booster: lgb.Booster
    weights: tuple[float, float, float]
    horizon_days: int

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Churn probabilities.

        Args:
            rows: Rows of `attributes.describe`.

        Returns:
            customer_id (where the rows have it), churn_probability.
        """
        trees, regression = self.members(rows)
        level, of_trees, of_regression = self.weights
        odds = level + of_trees * trees + of_regression * regression
        return keyed(rows, churn_probability=pl.Series(expit(odds)))

    def members(self, rows: pl.DataFrame) -> tuple[Floats, Floats]:
        """Log-odds of the trees, and of the regression."""
        encoded = self.encoder.encode(rows)
        trees = boosting.predict(self.booster, _plain(encoded), raw=True)
        return trees, self.regression.log_odds(encoded, self.encoder)

    def importances(self) -> pl.DataFrame:
        """Gain of each attribute, largest first."""
        gains = self.booster.feature_importance("gain").tolist()
        frame = pl.DataFrame({"feature": self.encoder.names, "gain": gains})
        return frame.sort("gain", "feature", descending=[True, False])

    def to_dir(self, folder: Path) -> None:
        """Write `model.json` and `trees.txt`."""
        facts = {
            "class": "pipelines.customers.subscription:ContractChurnModel",
            "horizon_days": self.horizon_days,
            "encoder": self.encoder.as_dict(),
            "regression": self.regression.__dict__,
            "weights": self.weights,
        }
        boosting.write(folder, facts, self.booster)

    @classmethod
    def from_dir(cls, folder: Path) -> ContractChurnModel:
        """Read what `to_dir` wrote."""
        facts, booster = boosting.read(folder)
        regression = Regression(**{name: tuple(values) for name, values in facts["regression"].items()})
        assert booster is not None
        weights = tuple(facts["weights"])
        return cls(Encoder.from_dict(facts["encoder"]), regression, booster, weights, facts["horizon_days"])


def fit(
    rows: pl.DataFrame, encoder: Encoder, churned: Floats, *, horizon_days: int, seed: int, threads: int
) -> ContractChurnModel:
    """Fit trees and regression.

    Args:
        rows: Rows of `attributes.describe` whose outcome is known.
        encoder: Which of their columns are learned from.
        churned: 0 or 1 a row; both occur.
        horizon_days: The window of the outcome.
        seed: Seed of the sampling of rows and columns.
        threads: Threads of LightGBM.
    """
    weights = EQUAL
    if min(churned.sum(), (1 - churned).sum()) >= _LEAST_OUTCOMES:
        weights = _weights(rows, encoder, churned, seed=seed, threads=threads)
    encoded = encoder.encode(rows)
    booster = _grow(encoded, churned, seed=seed, threads=threads)
    regression = Regression.fit(encoded, encoder, churned)
    return ContractChurnModel(encoder, regression, booster, weights, horizon_days)


def _weights(
    rows: pl.DataFrame, encoder: Encoder, churned: Floats, *, seed: int, threads: int
) -> tuple[float, float, float]:
    """Weights under which the members, each asked of rows it has not seen, say best what came true."""
    fold = fold_of(rows, churned, folds=STACK_FOLDS, seed=seed)
    encoded, said = encoder.encode(rows), np.zeros((len(churned), 2))
    for held_out in range(STACK_FOLDS):
        unseen = fold == held_out
        taught, asked = encoded.filter(~unseen), encoded.filter(unseen)
        booster = _grow(taught, churned[~unseen], seed=seed, threads=threads)
        said[unseen, 0] = boosting.predict(booster, _plain(asked), raw=True)
        said[unseen, 1] = Regression.fit(taught, encoder, churned[~unseen]).log_odds(asked, encoder)
    level, of_trees, of_regression = fit_logistic(said, churned, ridge=1.0).tolist()
    return level, of_trees, of_regression


def _grow(encoded: pl.DataFrame, churned: Floats, *, seed: int, threads: int) -> lgb.Booster:
    from pipelines.trees import lightgbm as lgb

    parameters = {
        "objective": "binary",
        "learning_rate": 0.02,
        "num_leaves": 7,
        "min_data_in_leaf": max(5, min(60, len(churned) // 20)),
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "num_threads": threads if len(churned) > _MANY_ROWS else 1,
        "verbosity": -1,
    }
    matrix = _plain(encoded)
    data = lgb.Dataset(matrix.to_numpy(), churned, feature_name=matrix.columns)
    return lgb.train(parameters, data, num_boost_round=TREES)


def _plain(encoded: pl.DataFrame) -> pl.DataFrame:
    """The columns under names that a file of trees can hold, in the order of the encoder."""
    return encoded.rename({name: f"attribute_{place}" for place, name in enumerate(encoded.columns)})
