"""k-means (Lloyd 1982): the best of many starts (Arthur & Vassilvitskii 2007), and who is nearest to which centroid.

scikit-learn looks for the centroids, on one thread: with more, sums would depend on the number of workers. Whoever
only asks for the nearest centroid needs numpy alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STARTS = 10  # few starts end in different local optima: most of what looks unstable in segments is that
MOST_POINTS = 20_000  # centroids of so many are as good as of all: their error falls with the root of the number


def find_centroids(points: Floats, k: int, *, seed: int, starts: int = STARTS) -> Floats:
    """The centroids with the least sum of squared distances that the starts lead to.

    Args:
        points: One standardised point a row, in an order that does not depend on how the rows came.
        k: Number of centroids; no more than there are different points.
        seed: Seed of the starts, and of the draw where there are more than `MOST_POINTS`.
        starts: Number of k-means++ starts.

    Returns:
        k rows.

    Example:
        >>> find_centroids(np.array([[0.0], [1.0], [9.0]]), 2, seed=1).round(1).ravel().tolist()
        [0.5, 9.0]
    """
    from sklearn.cluster import KMeans

    if len(points) > MOST_POINTS:
        points = points[np.sort(np.random.default_rng(seed).choice(len(points), MOST_POINTS, replace=False))]
    with _thread_pools().limit(limits=1):
        found: Floats = KMeans(k, n_init=starts, random_state=seed).fit(points).cluster_centers_
    return found[np.lexsort(found.T)]


def nearest(points: Floats, centroids: Floats) -> Ints:
    """The place of the centroid nearest to each point, the first of equals; a row's answer is its own alone."""
    distances = np.stack([np.square(points - centroid).sum(axis=1) for centroid in centroids], axis=1)
    places: Ints = distances.argmin(axis=1)
    return places


@cache
def _thread_pools() -> Any:
    """The thread pools of this process; to find them takes longer than a small k-means."""
    import sklearn.cluster  # noqa: F401  # whose pools have to be there to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
