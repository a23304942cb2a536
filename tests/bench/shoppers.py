"""Made customers, any number, from a seed: what the buy-till-you-die models are timed on.

They live by the story of Pareto/NBD with parameters like those of CDNOW: bought first on some day of the last two
years, buy at a rate of their own while they stay, and stay for a time of their own. Times are weeks, known to the day.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def histories(customers: int, seed: int = 1) -> tuple[Floats, Floats, Floats]:
    """Repeat purchase days, age at the last one and age at the end, in weeks."""
    rng = np.random.default_rng(seed)
    age = rng.integers(7 * 13, 7 * 104, customers) / 7
    rate, leaving = rng.gamma(0.55, 1 / 10.6, customers), rng.gamma(0.6, 1 / 11.7, customers)
    stay = np.minimum(age, rng.exponential(1 / np.maximum(leaving, 1e-300)))
    bought = rng.poisson(rate * stay)
    last = stay * rng.random(customers) ** (1 / np.maximum(bought, 1))  # the latest of so many uniform times
    recency = np.where(bought > 0, np.minimum(np.ceil(last * 7) / 7, age), 0.0)
    return np.minimum(bought, np.round(recency * 7)), recency, age


def receipts(x: Floats, seed: int = 2) -> Floats:
    """Mean value of the first and all repeat purchases of customers, by the story of Gamma-Gamma."""
    rng = np.random.default_rng(seed)
    return rng.gamma(6.25 * (x + 1)) / (rng.gamma(3.74, 1 / 15.44, len(x)) * (x + 1))
