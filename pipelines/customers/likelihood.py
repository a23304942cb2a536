"""Maximum likelihood as every model here does it: descent in logarithms, standard errors, whether it came to rest.

Parameters are positive, so their logarithms are sought: no bounds to run into, and steps that mean the same for a
parameter of 0.01 and one of 100. The loss is the mean negative log-likelihood of a customer, without penalty, for a
penalty would bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Loss = Callable[[Floats], tuple[float, Floats]]

BOUND = 12.0  # of a logarithm: a parameter beyond e^±12 means the data cannot tell
REST = 1e-6  # the largest slope of the mean log-likelihood at which a descent has come to rest
_ROUGH = 1e-4  # the slope that is small enough where only the lowest of several ends is sought
_NEAR = 0.01  # of a logarithm: how far the end of a descent may be from the bottom
_STEP = 1e-5  # of a logarithm, between the slopes whose differences make the Hessian


@dataclass(frozen=True)
class Optimum:
    """Where the likelihood is greatest.

    Attributes:
        parameters: The parameters, no longer as logarithms.
        standard_errors: Of the parameters; NaN where the likelihood does not bend down in all directions.
        log_likelihood: Summed over the customers.
        gradient_norm: Largest slope of the mean log-likelihood by a log-parameter.
        converged: Whether the slopes are nought (`REST`), the likelihood bends down and no parameter ran away.
    """

    parameters: Floats
    standard_errors: Floats
    log_likelihood: float
    gradient_norm: float
    converged: bool


def maximise(loss: Loss, starts: Sequence[Sequence[float]], customers: float, draft: Loss | None = None) -> Optimum:
    """The parameters with the greatest likelihood.

    Args:
        loss: Mean negative log-likelihood and its slopes, of the log-parameters.
        starts: Parameters to start from; the lowest end counts.
        customers: How many customers the mean is taken over.
        draft: The loss of some of the customers. The descents from `starts` are made there, and only the last, short
            one on all customers.

    Example:
        Ten waits of 2 periods on average are exponential with a rate of 1/2, give or take 1/2 / √10:

        >>> found = maximise(lambda logs: (2 * np.exp(logs[0]) - logs[0], 2 * np.exp(logs) - 1), [[1.0]], customers=10)
        >>> found.parameters.round(6), found.standard_errors.round(3), found.converged
        (array([0.5]), array([0.158]), True)
    """
    first = draft or loss
    logs = min((_sought(first, np.log(start)) for start in starts), key=lambda end: first(end)[0])
    logs = _descend(loss, logs, curvature=_hessian(first, logs))
    hessian = _hessian(loss, logs)
    bends = _bends_down(hessian)
    value, slopes = loss(logs)
    step = np.linalg.solve(hessian, slopes) if bends else np.zeros_like(logs)
    if 0 < np.abs(step).max() < _NEAR:  # now that the curvature is known: the end no longer hangs on the way there
        logs = np.clip(logs - step, -BOUND, BOUND)
        value, slopes = loss(logs)
    errors = np.sqrt(np.diag(np.linalg.inv(hessian)) / customers) if bends else np.full(len(logs), np.nan)
    steepest = float(np.abs(slopes).max())
    rests = steepest < REST and bends and float(np.abs(logs).max()) < BOUND
    return Optimum(np.exp(logs), np.exp(logs) * errors, -value * customers, steepest, rests)


def either(log_odds: Floats) -> tuple[Floats, Floats]:
    """Probability of one of two ways, given its log-odds, and log of the sum of both over the other.

    Example:
        >>> share, total = either(np.log([3.0, 1.0]))
        >>> share.round(6), np.exp(total).round(6)
        (array([0.75, 0.5 ]), array([4., 2.]))
    """
    smaller = np.exp(-np.abs(log_odds))
    share = np.where(log_odds > 0, 1.0, smaller) / (1 + smaller)
    return share, np.maximum(log_odds, 0.0) + np.log1p(smaller)


def named(names: Sequence[str], errors: Floats) -> dict[str, float]:
    """Standard errors by parameter; empty where they are not known, so that they can stand in JSON.

    Example:
        >>> named(["r", "alpha"], np.array([0.1, 0.5])), named(["r"], np.array([np.nan]))
        ({'r': 0.1, 'alpha': 0.5}, {})
    """
    return dict(zip(names, errors.tolist(), strict=True)) if np.isfinite(errors).all() else {}


def _sought(loss: Loss, logs: Floats) -> Floats:
    """About where a descent from afar ends: as near as it takes to compare ends, and to know the curvature there."""
    bounds = [(-BOUND, BOUND)] * len(logs)
    options = {"gtol": _ROUGH, "ftol": 1e-10}
    end: Floats = minimize(loss, logs, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return end


def _descend(loss: Loss, logs: Floats, curvature: Floats) -> Floats:
    """The end of a descent from near by, which begins with what is known of the curvature."""

    def bounded(logs: Floats) -> tuple[float, Floats]:
        inside = np.clip(logs, -BOUND, BOUND)
        value, slopes = loss(inside)
        return value + float(((logs - inside) ** 2).sum()), slopes * (logs == inside) + 2 * (logs - inside)

    options: dict[str, object] = {"gtol": REST / 100}
    if _bends_down(curvature):
        inverse = np.linalg.inv(curvature)
        options["hess_inv0"] = (inverse + inverse.T) / 2
    end = minimize(bounded, logs, jac=True, method="BFGS", options=options)
    rested: Floats = np.clip(end.x, -BOUND, BOUND)
    return rested


def _hessian(loss: Loss, logs: Floats) -> Floats:
    """Second derivatives by the log-parameters, from differences of the slopes."""
    middle = loss(logs)[1]
    rows = np.array([loss(logs + step)[1] - middle for step in _STEP * np.eye(len(logs))]) / _STEP
    return (rows + rows.T) / 2


def _bends_down(hessian: Floats) -> bool:
    return bool(np.isfinite(hessian).all() and np.linalg.eigvalsh(hessian).min() > 0)
