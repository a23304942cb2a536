"""Names of segments: made from what stands out, unique, and kept when the segments are learned anew."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Floats = NDArray[np.float64]
LEAST_SHARED = 0.5  # of the smaller of two segments: with fewer customers in common they are not the same


def describe_centroid(since: float, orders: float, spend: float) -> str:
    """What stands out of a centroid among active customers, in standard deviations; what is middling is not said.

    Example:
        >>> describe_centroid(-1.1, 1.2, 1.8), describe_centroid(0.9, 0.1, -0.2), describe_centroid(0.0, 0.0, 0.0)
        ('recent_frequent_top_spenders', 'quiet', 'average')
    """
    when = "recent" if since < -0.5 else "quiet" if since > 0.5 else ""
    often = "frequent" if orders > 0.75 else "rare" if orders < -0.5 else ""
    much = (
        "top_spenders" if spend > 1.5 else "big_spenders" if spend > 0.5 else "small_spenders" if spend < -0.5 else ""
    )
    return "_".join(word for word in (when, often, much) if word) or "average"


def make_names(centroids: Floats, taken: Collection[str] = ()) -> tuple[str, ...]:
    """A name for each centroid (days since the last order, orders, spend); equal words are numbered.

    Args:
        centroids: Standardised, a row a segment.
        taken: Names that may not be given again.
    """
    given = set(taken)
    named = []
    for centroid in centroids:
        words = describe_centroid(*centroid)
        name, number = words, 1
        while name in given:
            number += 1
            name = f"{words}_{number}"
        given.add(name)
        named.append(name)
    return tuple(named)


def keep_names(now: pl.Series, before: pl.Series, old: Sequence[str], count: int) -> dict[int, str]:
    """Which new segments are which old ones: the pairing with the most customers in common.

    The Hungarian method (Kuhn 1955) on the table of customers by new and old segment.

    Args:
        now: New segment of each customer, 0 … `count` - 1.
        before: Old segment of the same customers; names that are not among `old` pair with nothing.
        old: Names of the old segments.
        count: Number of new segments.

    Returns:
        New segment → name it keeps, where the two share half of the smaller one.

    Example:
        >>> keep_names(pl.Series([0, 0, 1]), pl.Series(["b", "b", "a"]), ["a", "b"], 2)
        {0: 'b', 1: 'a'}
    """
    table = np.zeros((count, len(old)))
    places = before.replace_strict({name: place for place, name in enumerate(old)}, default=None, return_dtype=pl.Int64)
    known = places.is_not_null()
    np.add.at(table, (now.filter(known).to_numpy(), places.filter(known).to_numpy()), 1)
    smaller = np.minimum(
        np.bincount(now.to_numpy(), minlength=count)[:, None],
        np.bincount(places.drop_nulls().to_numpy(), minlength=len(old))[None, :],
    )
    pairs = zip(*linear_sum_assignment(table, maximize=True), strict=True)
    return {
        int(new): old[was]
        for new, was in pairs
        if table[new, was] and table[new, was] >= LEAST_SHARED * smaller[new, was]
    }
