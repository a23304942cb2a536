"""How good a ranking, a probability or a value is. Plain functions of two arrays: what came true, what was said."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

Floats = NDArray[np.float64]


def auc(happened: Floats, score: Floats) -> float:
    """Probability that one who did it is ranked above one who did not; ties count half (Mann-Whitney).

    Returns:
        NaN where all or none did it.

    Example:
        >>> auc(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.1, 0.9]))
        0.75
    """
    did = float(happened.sum())
    did_not = len(happened) - did
    if did == 0 or did_not == 0:
        return float("nan")
    return float((rankdata(score)[happened > 0].sum() - did * (did + 1) / 2) / (did * did_not))


def brier(happened: Floats, probability: Floats) -> float:
    """Mean squared distance between probability and outcome (Brier 1950)."""
    return float(np.mean((probability - happened) ** 2))


def calibration_error(happened: Floats, probability: Floats, bins: int = 10) -> float:
    """Expected calibration error: mean |said − came true| over bins of equal count, by rank of probability.

    Customers with the same probability may fall into neighbouring bins: in that case they are shared out in the order
    given, which must not depend on the outcome.

    Example:
        >>> calibration_error(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.5, 0.5, 0.5, 0.5]), bins=1)
        0.0
    """
    groups = np.array_split(np.argsort(probability, kind="stable"), bins)
    distances = [abs(probability[g].mean() - happened[g].mean()) * len(g) for g in groups if len(g)]
    return float(sum(distances) / len(probability))


def lift(happened: Floats, score: Floats, share: float = 0.1) -> float:
    """Rate among the highest-scored share over the rate of all; NaN where it happened to nobody."""
    rate = happened.mean()
    top = np.argsort(-score, kind="stable")[: max(1, round(len(score) * share))]
    return float(happened[top].mean() / rate) if rate > 0 else float("nan")


def gini(actual: Floats, score: Floats) -> float:
    """Normalised Gini: area between the concentration curve by score and the diagonal, over that of a perfect order.

    Example:
        >>> gini(np.array([0.0, 0.0, 5.0]), np.array([1.0, 2.0, 3.0]))
        1.0
    """
    perfect = _concentration(actual, actual)
    return _concentration(actual, score) / perfect if perfect > 0 else float("nan")


def spearman(actual: Floats, score: Floats) -> float:
    """Rank correlation; NaN where one of the two does not vary."""
    if np.ptp(actual) == 0 or np.ptp(score) == 0:
        return float("nan")
    return float(spearmanr(actual, score).statistic)


def total_ratio(actual: Floats, expected: Floats) -> float:
    """Total expected over total that came true; NaN where nothing came."""
    total = float(actual.sum())
    return float(expected.sum()) / total if total > 0 else float("nan")


def adjusted_rand(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Agreement of two partitions beyond chance (Hubert & Arabie 1985, equation 5): 1 = the same, 0 = chance.

    Example:
        >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
        1.0
    """
    table = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(table, (first, second), 1)

    def pairs(counts: Floats) -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    chance = rows * columns / pairs(np.array([float(len(first))]))
    most = (rows + columns) / 2
    return 1.0 if most == chance else (together - chance) / (most - chance)


def variance_explained(amount: Floats, groups: NDArray[np.int64]) -> float:
    """η²: the share of the variance of an amount that lies between groups; NaN where the amount does not vary.

    Example:
        >>> variance_explained(np.array([1.0, 1.0, 5.0, 5.0]), np.array([0, 0, 1, 1]))
        1.0
    """
    total = float(np.square(amount - amount.mean()).sum())
    counts = np.bincount(groups)
    sums = np.bincount(groups, weights=amount)
    means = sums / np.maximum(counts, 1)
    return float((counts * np.square(means - amount.mean())).sum()) / total if total > 0 else float("nan")


def _concentration(actual: Floats, score: Floats) -> float:
    ordered = actual[np.argsort(-score, kind="stable")]
    shares = np.cumsum(ordered) / ordered.sum() if ordered.sum() > 0 else np.zeros(len(ordered))
    return float(shares.mean() - (len(ordered) + 1) / (2 * len(ordered)))
