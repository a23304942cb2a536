"""How demand comes: how often, how much it varies from time to time, and the class that follows from both.

Source:
    Syntetos, Boylan & Croston (2005), On the categorization of demand patterns, JORS 56.
"""

from __future__ import annotations

import numpy as np

from features import windows as w

REGULAR = 1.32  # mean interval between periods with demand, periods
STEADY = 0.49  # squared coefficient of variation of the sizes


def pattern(history: w.FloatArray) -> tuple[w.FloatArray, w.FloatArray]:
    """Mean interval between periods with demand, and squared coefficient of variation of the demand in them.

    Args:
        history: Demand (series × period), units; NaN where unknown.

    Returns:
        Two arrays of one value a series; NaN where there was no demand.

    Example:
        >>> interval, variation = pattern(np.array([[0, 1, 0, 3]], dtype=np.float32))
        >>> float(interval[0]), float(variation[0])
        (2.0, 0.25)
    """
    sizes = np.where(history > 0, history, np.nan).astype(np.float32)
    return w.ratio(1, w.share_positive(history)), w.ratio(w.deviation(sizes), w.mean(sizes)) ** 2


def demand_class(history: w.FloatArray) -> list[str]:
    """Smooth, erratic, intermittent or lumpy; without demand: intermittent."""
    interval, variation = pattern(history)
    return class_names(np.nan_to_num(interval, nan=np.inf) < REGULAR, ~(variation >= STEADY))


def class_names(often: w.BoolArray, steady: w.BoolArray) -> list[str]:
    """The class of demand that is often and steady, or not.

    Example:
        >>> class_names(np.array([True, True, False, False]), np.array([True, False, True, False]))
        ['smooth', 'erratic', 'intermittent', 'lumpy']
    """
    names = np.array([["lumpy", "intermittent"], ["erratic", "smooth"]])
    return [str(name) for name in names[often.astype(int), steady.astype(int)]]
