"""Models of statsforecast as members: their own points, gaps, odd series, and what is said when they are absent."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from statsforecast.models import AutoETS, DynamicOptimizedTheta

from pipelines.demand.statistical import STATISTICAL, statistical
from pipelines.errors import ConfigError

U = np.nan


@pytest.fixture
def y() -> np.ndarray:
    rng = np.random.default_rng(0)
    season = 1 + 0.4 * np.sin(np.arange(60) * np.pi / 6)
    return rng.poisson(rng.gamma(4, 10, (3, 1)) * season).astype(np.float32)


@pytest.mark.parametrize(("name", "model"), [("AutoETS", AutoETS), ("DynamicOptimizedTheta", DynamicOptimizedTheta)])
def test_a_member_gives_the_points_of_its_model(name: str, model: type, y: np.ndarray):
    forecast = statistical(name)(y, 6, 12)
    for row, points in zip(y, forecast, strict=True):
        expected = model(season_length=12).forecast(y=row.astype(np.float64), h=6)["mean"]
        np.testing.assert_allclose(points, np.maximum(expected, 0), rtol=1e-5)


@pytest.mark.parametrize("name", STATISTICAL)
def test_every_member_is_defined_on_odd_series(name: str):
    y = np.full((5, 30), U, dtype=np.float32)
    y[1], y[2], y[3, -1] = 0, 5, 7
    y[4, ::3] = np.arange(10)
    forecast = statistical(name)(y, 4, 12)
    np.testing.assert_allclose(forecast[:4], np.repeat([[0], [0], [5], [7]], 4, axis=1))
    assert np.isfinite(forecast[4]).all()
    assert (forecast >= 0).all()


def test_a_gap_takes_the_season_before_and_a_late_start_is_left_out(y: np.ndarray):
    whole, holes = np.pad(y, ((0, 0), (24, 0)), constant_values=U), y.copy()
    holes[:, 40], whole[:, 24 + 40] = holes[:, 28], U
    np.testing.assert_array_equal(statistical("AutoETS")(whole, 6, 12), statistical("AutoETS")(holes, 6, 12))


def test_an_unknown_model_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match="Prophet") as raised:
        statistical("Prophet")
    assert "AutoETS" in str(raised.value)


def test_without_statsforecast_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    with pytest.raises(ConfigError, match=r"pip install purvey\[statsforecast\]"):
        statistical("AutoETS")
