"""From scores to probabilities: log-odds, a shift to a given level, a monotone curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit, logit

Floats = NDArray[np.float64]
_EDGE = 1e-3
_FARTHEST = 40.0


def log_odds(probability: Floats | float) -> Floats:
    """Log-odds of probabilities, kept within ±6.9 (0.001 … 0.999) so that no certainty outweighs all else."""
    odds: Floats = logit(np.clip(probability, _EDGE, 1 - _EDGE))
    return odds


def level_shift(odds: Floats, level: float) -> float:
    """What to add to log-odds so that the mean probability is `level`.

    Example:
        >>> odds = np.array([-2.0, 0.0, 1.0])
        >>> float(expit(odds + level_shift(odds, 0.3)).mean().round(6))
        0.3
    """
    level = float(np.clip(level, _EDGE, 1 - _EDGE))
    return float(brentq(lambda shift: float(expit(odds + shift).mean()) - level, -_FARTHEST, _FARTHEST))


@dataclass(frozen=True)
class MonotoneCurve:
    """A probability that never falls as a score grows, learned by isotonic regression.

    Attributes:
        scores: Rising scores.
        probabilities: Probability at each; between them, on a straight line.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    @classmethod
    def fit(cls, score: Floats, happened: Floats) -> MonotoneCurve:
        """Learn the curve (pool adjacent violators, Barlow et al. 1972).

        Example:
            >>> curve = MonotoneCurve.fit(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0, 0.0, 1.0]))
            >>> curve.predict(np.array([2.5, 9.0])).tolist()
            [0.5, 1.0]
        """
        scores, place, counts = np.unique(score, return_inverse=True, return_counts=True)
        rates = np.bincount(place, weights=happened) / counts
        fitted = isotonic_regression(rates, weights=counts.astype(float)).x
        return cls(tuple(scores.tolist()), tuple(fitted.tolist()))

    def predict(self, score: Floats) -> Floats:
        """Probability at each score; beyond the ends, that of the end."""
        return np.interp(score, self.scores, self.probabilities)
