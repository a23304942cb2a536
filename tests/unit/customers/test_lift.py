from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipelines.customers.lift import difference_of_means, difference_of_shares

# Newcombe (1998), Statistics in Medicine 17: 873-890, Table II, method 10.
PUBLISHED = [
    (56, 70, 48, 80, 0.0524, 0.3339),
    (9, 10, 3, 10, 0.1705, 0.8090),
    (6, 7, 2, 7, 0.0582, 0.8062),
    (5, 56, 0, 29, -0.0381, 0.1926),
    (0, 10, 0, 20, -0.1611, 0.2775),
    (0, 10, 0, 10, -0.2775, 0.2775),
    (10, 10, 0, 20, 0.6791, 1.0000),
    (10, 10, 0, 10, 0.6075, 1.0000),
]


@pytest.mark.parametrize(("hits", "of", "control_hits", "control_of", "low", "high"), PUBLISHED)
def test_the_interval_of_a_lift_is_the_published_one(hits, of, control_hits, control_of, low, high):
    found = difference_of_shares(hits, of, control_hits, control_of)
    assert found.value == pytest.approx(hits / of - control_hits / control_of)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_the_interval_of_revenue_is_welchs():
    rng = np.random.default_rng(1)
    treated, control = rng.gamma(0.4, 90, 300), rng.gamma(0.4, 70, 40)
    found = difference_of_means(treated, control)
    theirs = stats.ttest_ind(treated, control, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_one_control_tells_no_interval():
    found = difference_of_means(np.array([1.0, 2.0]), np.array([1.0]))
    assert (found.value, found.low, found.high) == (0.5, None, None)
