"""Logistic regression with a ridge penalty, by Newton's method: coefficients are plain numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]

_STEPS = 50
_CLOSE = 1e-10


def fit_logistic(features: Floats, happened: Floats, *, ridge: float) -> Floats:
    """Coefficients of a logistic regression, the intercept first and not penalised.

    Minimises the negative log-likelihood plus ridge / 2 × Σ β² (Hastie, Tibshirani & Friedman 2009, section 4.4) by
    iteratively reweighted least squares; a step that does not lower the sum is halved.

    Args:
        features: One row a case, without a column of ones.
        happened: 0 or 1 a case.
        ridge: Weight of the penalty, > 0: it keeps the solution finite where the cases can be told apart.

    Example:
        >>> fit_logistic(np.zeros((4, 1)), np.array([0.0, 0.0, 0.0, 1.0]), ridge=1.0).round(4).tolist()
        [-1.0986, 0.0]
    """
    design = np.column_stack([np.ones(len(features)), features])
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 1e-9  # all or none: finite all the same

    def loss(coefficients: Floats) -> float:
        odds = design @ coefficients
        return float(np.sum(np.logaddexp(0, odds) - happened * odds) + 0.5 * np.sum(penalty * coefficients**2))

    found = np.zeros(design.shape[1])
    best = loss(found)
    for _ in range(_STEPS):
        said = expit(design @ found)
        slope = design.T @ (said - happened) + penalty * found
        bend = (design * (said * (1 - said))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(bend, slope)
        size = 1.0
        while (value := loss(found - size * step)) > best and size > _CLOSE:
            size /= 2
        if value > best:
            break
        gained, best, found = best - value, value, found - size * step
        if gained <= _CLOSE * (1 + abs(best)):
            break
    return found
