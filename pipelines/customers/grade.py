"""A grade for a churn model: how surely it ranks customers better than the days since their last order do.

The interval is a paired bootstrap (Efron & Tibshirani 1993, chapter 8): customers are drawn with replacement, each with
all their cuts, and both rankings are judged on the same draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.tables import MEAN
from pipelines.customers.backtest import LEAST_CUSTOMERS

Floats = NDArray[np.float64]

DRAWS = 200
MOST_CUSTOMERS = 50_000  # more would only take longer
GAINS = {"A": 0.02, "B": 0.005}  # the least the lower bound must be above the rule


@dataclass(frozen=True)
class Grade:
    """What a model adds to the rule, in AUC, mean over the cuts.

    Attributes:
        gain: AUC of the model less that of the rule.
        low: 5 % of draws are below: the lower bound of the two-sided 90 % interval.
        high: 5 % are above.
    """

    gain: float
    low: float
    high: float

    @property
    def letter(self) -> str:
        """A: clearly better than the rule, B: better, C: not surely better, D: surely no better.

        Example:
            >>> Grade(0.03, 0.021, 0.04).letter, Grade(0.0, -0.01, 0.01).letter, Grade(-0.02, -0.03, -0.01).letter
            ('A', 'C', 'D')
        """
        for letter, least in GAINS.items():
            if self.low >= least:
                return letter
        return "B" if self.low > 0 else "C" if self.high > 0 else "D"

    def rows(self) -> pl.DataFrame:
        """Rows of table evaluation, but for the run."""
        named = {"auc_gain": self.gain, "auc_gain_low": self.low, "auc_gain_high": self.high}
        return pl.DataFrame(
            {
                "capability": "customers",
                "model": "churn",
                "metric": list(named),
                "slice": "all",
                "cut": MEAN,
                "value": list(named.values()),
            }
        )


def grade(churned: pl.DataFrame, *, seed: int) -> Grade | None:
    """Judge predictions against the recency rule.

    Args:
        churned: cut, customer_id, churned, days_since_last_order and churn (the model's probability), as
            `backtest.Backtest.churn` has them.
        seed: Seed of the draws.

    Returns:
        None where no cut has enough customers and both outcomes.
    """
    chosen = churned.select(pl.col("customer_id").unique().sort()).with_row_index("place")
    rng = np.random.default_rng(seed)
    if chosen.height > MOST_CUSTOMERS:
        chosen = chosen[np.sort(rng.choice(chosen.height, MOST_CUSTOMERS, replace=False))]
        chosen = chosen.with_columns(place=pl.int_range(pl.len(), dtype=pl.UInt32))
    both = churned.join(chosen, on="customer_id").sort("cut", "place")
    cuts = [
        part
        for part in both.partition_by("cut", maintain_order=True)
        if part.height >= LEAST_CUSTOMERS and part["churned"].n_unique() == 2
    ]
    if not cuts:
        return None
    times = np.vstack([np.ones(chosen.height), rng.multinomial(chosen.height, _even(chosen.height), DRAWS)])
    gains = np.mean([_gains(part, times) for part in cuts], axis=0)
    low, high = np.nanquantile(gains[1:], [0.05, 0.95])
    return Grade(float(gains[0]), float(low), float(high))


def weighted_auc(happened: Floats, score: Floats, weights: Floats) -> Floats:
    """AUC under each row of weights; ties count half.

    Example:
        >>> happened, score = np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.1, 0.9])
        >>> weighted_auc(happened, score, np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])).tolist()
        [0.75, 0.5]
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    did = np.add.reduceat((weights * happened)[:, order], starts, axis=1)
    did_not = np.add.reduceat((weights * (1 - happened))[:, order], starts, axis=1)
    below = np.cumsum(did_not, axis=1) - did_not / 2
    pairs = did.sum(axis=1) * did_not.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((did * below).sum(axis=1) / pairs)


def _gains(part: pl.DataFrame, times: Floats) -> Floats:
    weights = times[:, part["place"].to_numpy()].astype(float)
    happened = part["churned"].cast(pl.Float64).to_numpy()
    rule = part["days_since_last_order"].cast(pl.Float64).to_numpy()
    model = weighted_auc(happened, part["churn"].to_numpy(), weights)
    return np.asarray(model - weighted_auc(happened, rule, weights))


def _even(customers: int) -> Floats:
    return np.full(customers, 1 / customers)
