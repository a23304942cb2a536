from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipelines.supply.sourcing import Offers, _missing, sources

DRAWS = np.stack([stats.norm.ppf((np.arange(400) + 0.5) / 400)] * 2)
DRAWS[1] = np.random.default_rng(5).permutation(DRAWS[1])


def offers(unit_cost=(1.0, 1.1), lead=(4.0, 4.0), lead_sd=(0.0, 0.0), on_time=(1.0, 1.0), spend=(0.0, 0.0), fixed=0.0):
    row = [np.array([values], dtype=float) for values in (unit_cost, (0.1, 0.1), lead, lead_sd, on_time)]
    return Offers(*row, np.full((1, 2), fixed), np.array([spend]), np.array([0.05]), np.array([0.5]))


def bought(given, shortage_cost=5.0, cover=4.0, **more):
    numbers = (np.array([100.0]), np.array([cover]), np.array([10.0]))
    return sources(given, *numbers, DRAWS, shortage_cost=np.array([shortage_cost]), **more)


def test_landed_cost_is_price_inbound_capital_and_lateness():
    given = offers(lead_sd=(0.0, 2.0), on_time=(1.0, 0.8))
    late = 0.2 * 0.5 * stats.halfnorm(scale=2).mean()
    np.testing.assert_allclose(given.landed(), [[1 + 0.1 + 0.2, 1.1 + 0.1 + 0.2 + late]])


@pytest.mark.parametrize(
    ("given", "concentration", "first"),
    [
        (offers(), 0.0, 0),
        (offers(lead=(9.0, 4.0)), 0.0, 1),  # 5 periods of capital cost more than the price saves
        (offers(lead_sd=(3.0, 3.0), on_time=(0.5, 1.0)), 0.0, 1),
        (offers(spend=(0.8, 0.1)), 0.3, 1),
        (offers(unit_cost=(np.inf, 5.0)), 0.0, 1),
    ],
    ids=["price", "lead", "lateness", "concentration", "only offer"],
)
def test_the_offer_of_least_landed_cost_is_first(given, concentration, first):
    assert bought(given, concentration=concentration).first.item() == first


def test_punctual_suppliers_never_share():
    found = bought(offers())
    assert (found.second.item(), found.share.item()) == (-1, 1.0)


def test_unreliable_suppliers_share_where_shortages_are_dear_and_not_where_they_are_cheap():
    shaky = offers(unit_cost=(1.0, 1.01), lead_sd=(2.0, 2.0))
    assert bought(shaky, shortage_cost=20.0).second.item() == 1
    assert bought(shaky, shortage_cost=0.001).second.item() == -1
    assert bought(offers(unit_cost=(1.0, 1.01), lead_sd=(2.0, 2.0), fixed=1e5), shortage_cost=20.0).second.item() == -1


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_cost_of_sharing_is_that_of_stock_walked_in_small_steps(share, monkeypatch):
    """Against a walk through time for each draw: the tail is the mean of the worst 5 %."""
    monkeypatch.setattr("pipelines.supply.sourcing.SHARES", (share,))
    given = offers(unit_cost=(1.0, 1.0), lead_sd=(2.0, 2.0))
    found = bought(given, shortage_cost=50.0, cover=3.0, tail_weight=0.4)
    assert found.share.item() == share
    one, two = (np.maximum(4 + 2 * each, 0) for each in DRAWS)
    walked = [_walk(one[k], two[k], share) for k in range(0, 400, 20)]
    exact = _missing(one[None], two[None], share, np.array([100.0]), np.array([3.0]), np.array([10.0]))[0]
    np.testing.assert_allclose(exact[::20], walked, atol=0.2)
    worst, mean = np.sort(50 * exact)[-20:].mean(), 50 * exact.mean()
    assert found.cost.item() == pytest.approx(100 * 1.3 + mean + 0.4 * (worst - mean))


def _walk(one, two, share, step=1 / 256):
    """Units of 10 a period unmet until both parts of 100 are in, from a stock of 30."""
    stock, lost, waiting = 30.0, 0.0, [(one, share * 100), (two, (1 - share) * 100)]
    for at in np.arange(0, max(one, two), step):
        stock += sum(units for when, units in waiting if when <= at)
        waiting = [(when, units) for when, units in waiting if when > at]
        lost += max(10 * step - stock, 0.0)
        stock = max(stock - 10 * step, 0.0)
    return lost
