"""The difference between two groups, and how sure it is: of shares by Newcombe, of means by Welch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """Treated less control, with an interval; ends are None where a group is too small to tell."""

    value: float
    low: float | None
    high: float | None


def difference_of_shares(hits: int, of: int, control_hits: int, control_of: int) -> Difference:
    """Newcombe's hybrid score interval for the difference of two independent shares.

    It never leaves −1 … 1 and holds its level in small groups and at shares of 0 and 1, where the textbook interval
    has no width at all.

    Source: Newcombe (1998), Interval estimation for the difference between independent proportions, Statistics in
    Medicine 17: 873–890, method 10; each share by Wilson (1927).

    Args:
        hits: Responders among the treated.
        of: The treated, at least 1.
        control_hits: Responders among the controls.
        control_of: The controls, at least 1.

    Example:
        >>> found = difference_of_shares(56, 70, 48, 80)
        >>> round(found.value, 4), round(found.low, 4), round(found.high, 4)
        (0.2, 0.0524, 0.3339)
    """
    share, low, high = _wilson(hits, of)
    other, other_low, other_high = _wilson(control_hits, control_of)
    value = share - other
    down = math.hypot(share - low, other_high - other)
    up = math.hypot(high - share, other - other_low)
    return Difference(value, value - down, value + up)


def difference_of_means(treated: NDArray[np.float64], control: NDArray[np.float64]) -> Difference:
    """Welch's interval for the difference of two means: the groups may differ in spread and size.

    Source: Welch (1947), Biometrika 34: 28–35, with the Welch–Satterthwaite degrees of freedom.

    Args:
        treated: One figure a treated customer, at least one.
        control: One figure a control, at least one.

    Example:
        >>> found = difference_of_means(np.array([3.0, 5.0, 7.0]), np.array([1.0, 2.0, 3.0]))
        >>> found.value, round(found.low, 3), round(found.high, 3)
        (3.0, -1.155, 7.155)
    """
    value = float(treated.mean() - control.mean())
    if min(len(treated), len(control)) < 2:
        return Difference(value, None, None)
    parts = [float(group.var(ddof=1)) / len(group) for group in (treated, control)]
    variance = sum(parts)
    if variance == 0:
        return Difference(value, value, value)
    spread = sum(part**2 / (len(group) - 1) for part, group in zip(parts, (treated, control), strict=True))
    freedom = variance**2 / spread
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)
    return Difference(value, value - reach, value + reach)


def _wilson(hits: int, of: int) -> tuple[float, float, float]:
    """A share and the ends of its score interval."""
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    share = hits / of
    middle = (2 * hits + z**2) / (2 * (of + z**2))
    reach = z * math.sqrt(z**2 + 4 * hits * (1 - share)) / (2 * (of + z**2))
    # the ends touch 0 and 1 exactly where nobody or everybody answered
    return share, middle - reach if hits else 0.0, middle + reach if hits < of else 1.0
