"""Properties of demand behind sold-out periods."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.censoring import unconstrained

SEASONS = st.sampled_from([(7, 365), (52, 52), (12, 12)])
SHARE = st.one_of(st.just(1.0), st.just(0.0), st.just(float("nan")), st.floats(1 / 64, 1, width=32))


@st.composite
def shelf(draw: st.DrawFn, most: float = 1e9) -> tuple[np.ndarray, np.ndarray]:
    """Sales and shares: whole numbers or not, unknown periods, late starts, constant and silent series."""
    series, periods = draw(st.integers(1, 4)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    unit = draw(st.sampled_from([1e-3, 1.0, most]))
    kind = draw(st.sampled_from(["counts", "amounts", "constant", "zero"]))
    values = {
        "counts": rng.negative_binomial(1, 0.3, (series, periods)),
        "amounts": rng.gamma(0.7, 3, (series, periods)),
        "constant": np.full((series, periods), 5),
        "zero": np.zeros((series, periods)),
    }[kind]
    quantity = np.where(rng.random(values.shape) < 0.1, np.nan, values * unit).astype(np.float32)
    few = np.array(draw(st.lists(SHARE, min_size=1, max_size=5)), dtype=np.float32)
    return quantity, few[rng.integers(0, len(few), values.shape)]


@settings(max_examples=60, deadline=None)
@given(shelf(), SEASONS)
def test_bounds_hold_and_nothing_in_stock_is_touched(made: tuple[np.ndarray, np.ndarray], seasons: tuple[int, int]):
    quantity, available = made
    demand = unconstrained(quantity, available, *seasons)
    in_stock = ~(available < 1)
    assert demand[in_stock].tobytes() == quantity[in_stock].tobytes()
    assert (np.isnan(demand) == np.isnan(quantity)).all()
    known = ~np.isnan(quantity)
    assert (demand[known] >= quantity[known]).all()
    assert np.isfinite(demand[known]).all()


@settings(max_examples=40, deadline=None)
@given(shelf(), SEASONS, st.integers(0, 69), st.integers(0, 2**32 - 1))
def test_nothing_later_and_no_other_series_counts(
    made: tuple[np.ndarray, np.ndarray], seasons: tuple[int, int], cut: int, seed: int
):
    quantity, available = made
    demand = unconstrained(quantity, available, *seasons)
    rng = np.random.default_rng(seed)
    other, shares = quantity.copy(), available.copy()
    other[:, cut:] = rng.gamma(1, 1e6, other[:, cut:].shape)
    shares[:, cut:] = rng.random(shares[:, cut:].shape)
    assert demand[:, :cut].tobytes() == unconstrained(other, shares, *seasons)[:, :cut].tobytes()
    assert demand[:, :cut].tobytes() == unconstrained(quantity[:, :cut], available[:, :cut], *seasons).tobytes()
    for row in range(len(quantity)):
        alone = unconstrained(quantity[row : row + 1], available[row : row + 1], *seasons)
        assert alone.tobytes() == demand[row : row + 1].tobytes()


@settings(max_examples=40, deadline=None)
@given(shelf(most=10.0), SEASONS, st.sampled_from([1e-3, 0.1, 7.0, 1e4]))
def test_units_do_not_matter(made: tuple[np.ndarray, np.ndarray], seasons: tuple[int, int], factor: float):
    quantity, available = made
    scaled = unconstrained((quantity * np.float32(factor)).astype(np.float32), available, *seasons)
    np.testing.assert_allclose(scaled, unconstrained(quantity, available, *seasons) * factor, rtol=1e-3)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.5, 1e6, width=32), SHARE.filter(lambda share: share < 1), SEASONS)
def test_a_series_that_always_sells_out_stays_within_bounds(sold: float, share: float, seasons: tuple[int, int]):
    quantity = np.full((1, 60), sold, dtype=np.float32)
    demand = unconstrained(quantity, np.full_like(quantity, share), *seasons)
    assert (demand >= quantity).all()
    assert np.isfinite(demand).all()
    if share > 0.3:
        np.testing.assert_allclose(demand[0, -1], sold / share, rtol=0.35)
