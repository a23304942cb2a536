"""The projected-inventory policy against every quantity, walked path by path and unit by unit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.supply.projected import ProjectedInventory


def spent(quantity, inventory, pipeline, paths, ratio, review, lost):
    """Mean over paths of (1 − ratio) · units left at the end of a step + ratio · units missing in the window."""
    lead, total = len(pipeline), 0.0
    for path in paths.T:
        stock = float(inventory)
        for period in range(lead):
            stock += pipeline[period] - path[period]
            stock = max(stock, 0.0) if lost else stock
        stock += quantity
        held, missing = 0.0, 0.0
        for demand in path[lead:]:
            stock -= demand
            held += max(stock, 0.0) / review
            missing = missing + max(-stock, 0.0) if lost else max(-stock, 0.0)
            stock = max(stock, 0.0) if lost else stock
        total += (1 - ratio) * held + ratio * missing
    return total / paths.shape[1]


@given(
    seed=st.integers(0, 2**32 - 1),
    lead=st.integers(0, 3),
    review=st.integers(1, 3),
    lost=st.booleans(),
    ratio=st.floats(0.05, 0.99),
    multiple=st.integers(0, 5),
)
@settings(max_examples=150, deadline=None)
def test_no_quantity_costs_less(seed, lead, review, lost, ratio, multiple):
    rng = np.random.default_rng(seed)
    paths = rng.poisson(3, (lead + review, 2, 16)).astype(float)
    inventory, pipeline = (
        rng.integers(0 if lost else -5, 12, 2).astype(float),
        rng.integers(0, 6, (2, lead)).astype(float),
    )
    policy = ProjectedInventory(paths, np.full(2, ratio), review, lost, np.full(2, float(multiple)))
    chosen = policy(inventory, pipeline, 0)
    for item in range(2):
        state = inventory[item], pipeline[item], paths[:, item], ratio, review, lost
        every = [spent(q, *state) for q in range(0, 70, multiple or 1)]
        assert spent(chosen[item], *state) <= min(every) + 1e-4  # its tolerance on a rank, in float32
        assert not multiple or chosen[item] % multiple == 0


def test_between_reviews_nothing_is_ordered_and_blocks_change_nothing():
    rng = np.random.default_rng(1)
    items = 600  # more than two blocks
    policy = ProjectedInventory(
        rng.poisson(3, (5, items, 32)).astype(float), rng.uniform(0.3, 0.9, items), 2, True, np.ones(items)
    )
    inventory, pipeline = rng.integers(0, 9, items).astype(float), rng.integers(0, 4, (items, 3)).astype(float)
    assert not policy(inventory, pipeline, 3).any()
    np.testing.assert_array_equal(policy(inventory, pipeline, 4), policy.decide(inventory, pipeline))
