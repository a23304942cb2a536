"""The integral of a customer's silence, ∫ (α + τ)^-p (β + τ)^-q dτ between two ages, and means under it.

In y = log(m + τ) with m the smaller of α and β, the integrand is analytic in a strip of ± π around the real line and
its logarithm is concave, so that Gauss-Legendre nodes between the lower age and where it has fallen by e^-36 give ten
digits and more: no difference of large numbers, no overflow, p in the hundreds or p below 1. Most customers' integrand
falls little over a short way, and few nodes do. Each customer's value is the same in any company.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.customers.likelihood import Floats

_DEPTH = 36.0
_LONGEST = 600.0  # of y: e^600 is still a float
_TURNS = 4  # of Newton's method for the depth, from the right of a convex function: too few leave it a little deep
_SHALLOW, _SHORT = 8.0, 3.0  # fall of the logarithm and length in y for which the fewer nodes do
_BLOCK = 8192  # customers at once: nodes × customers stay in the processor's cache


def _rule(nodes: int) -> tuple[Floats, Floats]:
    points, weights = np.polynomial.legendre.leggauss(nodes)
    return (points[:, None] + 1) / 2, weights[:, None] / 2


_FEW, _MANY = _rule(10), _rule(24)


class Moments(NamedTuple):
    """The integral and means over τ under its integrand, one a customer.

    Attributes:
        log_integral: Log of the integral; -∞ where the ages are the same.
        log_alpha: Mean of log(α + τ).
        log_beta: Mean of log(β + τ).
        per_alpha: Mean of 1 / (α + τ).
        per_beta: Mean of 1 / (β + τ).
    """

    log_integral: Floats
    log_alpha: Floats
    log_beta: Floats
    per_alpha: Floats
    per_beta: Floats


class _Spread(NamedTuple):
    """A block of customers on the nodes: `y` since the lower age, and what share of the integral each node has.

    `far` is τ plus the larger of α and β, `base` that at the lower age, `start` the lower age plus the smaller.
    """

    block: NDArray[np.intp]
    log_integral: Floats
    shares: Floats
    y: Floats
    start: Floats
    base: Floats
    far: Floats


def log_integral(p: Floats, q: float, alpha: float, beta: float, lower: Floats, upper: Floats) -> Floats:
    """Log of ∫ (α + τ)^-p (β + τ)^-q dτ from `lower` to `upper`.

    Args:
        p: Exponent of α + τ, one a customer.
        q: Exponent of β + τ.
        alpha: Positive.
        beta: Positive.
        lower: From which age, one a customer.
        upper: To which age, ∞ where p + q > 1 too.

    Example:
        >>> p, zero, one = np.array([2.0]), np.array([0.0]), np.array([1.0])
        >>> float(np.exp(log_integral(p, 1.0, 2.0, 2.0, zero, one))[0].round(12)) == round((1 / 4 - 1 / 9) / 2, 12)
        True
    """
    found = np.empty(len(p))
    for spread in _spread(p, q, alpha, beta, lower, upper):
        found[spread.block] = spread.log_integral
    return found


def moments(p: Floats, q: float, alpha: float, beta: float, lower: Floats, upper: Floats) -> Moments:
    """The integral, as `log_integral`, with the means that its slopes by p, q, α and β are made of."""
    found = np.empty((4, len(p)))
    logs = np.empty(len(p))
    for block, log, shares, y, start, base, far in _spread(p, q, alpha, beta, lower, upper):
        logs[block] = log
        found[0, block] = np.log(start) + _summed(shares * y)
        found[1, block] = np.log(base) + _summed(shares * np.log(far / base))
        found[2, block] = _summed(shares * np.exp(-y)) / start
        found[3, block] = _summed(shares / far)
    order = [0, 1, 2, 3] if alpha <= beta else [1, 0, 3, 2]
    return Moments(logs, *found[order])


def _spread(p: Floats, q: float, alpha: float, beta: float, lower: Floats, upper: Floats) -> Iterator[_Spread]:
    powers = np.broadcast_to(q, p.shape)
    near, far, first, second = (alpha, beta, p, powers) if alpha <= beta else (beta, alpha, powers, p)
    for begin in range(0, len(p), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        fall, steep, start, base = first[block] - 1, second[block], near + lower[block], far + lower[block]
        whole = np.log1p((upper[block] - lower[block]) / start)
        length, fallen = _length(fall, steep, start, far - near, whole)
        easy = (fallen < _SHALLOW) & (length < _SHORT)
        for chosen, rule in ((easy, _FEW), (~easy, _MANY)):
            part = np.flatnonzero(chosen)
            ours = (values[part] for values in (fall, steep, start, base, length))
            yield _on_nodes(begin + part, rule, far - near, *ours)


def _on_nodes(
    block: NDArray[np.intp],
    rule: tuple[Floats, Floats],
    gap: float,
    fall: Floats,
    steep: Floats,
    start: Floats,
    base: Floats,
    length: Floats,
) -> _Spread:
    nodes, weights = rule
    y = nodes * length
    others = gap + start * np.exp(y)
    heights = weights * np.exp(-fall * y - steep * np.log(others / base))
    area = _summed(heights)
    with np.errstate(divide="ignore"):
        log = np.log(area * length) - fall * np.log(start) - steep * np.log(base)
    return _Spread(block, log, heights / area, y, start, base, others)


def _summed(values: Floats) -> Floats:
    """Over the nodes, one after the other: numpy's own sum takes another order where there is a single customer."""
    total: Floats = reduce(np.add, values)
    return total


def _length(fall: Floats, steep: Floats, start: Floats, gap: float, whole: Floats) -> tuple[Floats, Floats]:
    """How far to follow the integrand, to the end or until it has fallen by e^-36 for good, and how far it falls."""
    length = np.minimum(whole, _LONGEST)
    other = gap + start * np.exp(length)
    fallen = fall * length + steep * np.log(other / (gap + start))
    deep = np.flatnonzero(fallen > _DEPTH)
    fall, steep, start, reached, depth = fall[deep], steep[deep], start[deep], length[deep], fallen[deep]
    for _ in range(_TURNS):
        other = gap + start * np.exp(reached)
        depth = fall * reached + steep * np.log(other / (gap + start))
        reached = reached - np.maximum(depth - _DEPTH, 0.0) / (fall + steep * (1 - gap / other))
    length[deep], fallen[deep] = reached, depth
    return length, fallen
