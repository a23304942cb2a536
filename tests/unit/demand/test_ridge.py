"""The ridge against fits of scikit-learn with one row left out at a time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from pipelines.demand import ridge as module
from pipelines.demand.ridge import level_ahead, mean_of_next, ridge, smoothed_means

U = np.nan


def test_the_penalty_is_the_one_that_leaving_rows_out_one_by_one_finds(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    penalties = (30.0, 3.0, 0.3, 0.03)
    monkeypatch.setattr(module, "_PENALTIES", penalties)
    monkeypatch.setattr(module, "_GAIN", 1.0)
    chosen = set()
    for noise in (0.1, 0.5, 2.0, 8.0):
        x, now = rng.normal(0, 1, (25, 3)), rng.normal(0, 1, 3)
        z = x @ [1.0, -0.5, 0.2] + rng.normal(0, noise, 25)
        unit = np.sqrt((x**2).mean(axis=0))
        fits = [Ridge(alpha=penalty * 25, fit_intercept=False) for penalty in penalties]
        losses = []
        for fit in fits:
            others = [np.delete(np.arange(25), row) for row in range(25)]
            errors = [
                z[row] - fit.fit(x[rest] / unit, z[rest]).predict(x[[row]] / unit)[0] for row, rest in enumerate(others)
            ]
            losses.append(np.square(errors).sum())
        best = int(np.argmin(losses))
        chosen.add(best)
        [ours] = ridge([column[None] for column in x.T], z[None], [value[None] for value in now])
        assert ours == pytest.approx(fits[best].fit(x / unit, z).predict((now / unit)[None])[0], rel=1e-6)
    assert len(chosen) > 1


def test_unknown_rows_are_left_out():
    rng = np.random.default_rng(1)
    x, z = rng.normal(0, 1, (2, 30)), rng.normal(0, 1, 30)
    holes = z.copy()
    holes[::5] = U
    kept = ~np.isnan(holes)
    now = [np.ones(1), np.ones(1)]
    np.testing.assert_allclose(
        ridge([x[:1], x[1:]], holes[None], now), ridge([x[:1, kept], x[1:, kept]], z[None, kept], now), rtol=1e-12
    )


def test_smoothed_means_weigh_known_values_by_age():
    means = smoothed_means(np.array([[U, 4.0, U, 1.0]]), 0.5)
    np.testing.assert_allclose(means, [[U, 4, 4, (0.5 * 4 + 1) / 1.5]])


def test_the_mean_of_the_next_periods_looks_at_nothing_else():
    np.testing.assert_allclose(mean_of_next(np.array([[9.0, 1, U, 5]]), 2), [[1, 5, 5, U]])


def test_a_level_that_swings_back_is_expected_back():
    """Twelve periods up, twelve down: the smoothed level alone would stay down."""
    wave = 1 + 0.5 * np.sign(np.sin((np.arange(192) + 0.5) * np.pi / 12))
    assert wave[-1] < 1
    smoothed = smoothed_means(wave[None], module.ALPHA)[0, -1]
    assert smoothed < 0.55
    assert level_ahead(wave[None], 12)[0] > 1
