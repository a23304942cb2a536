"""Weights of members: fixed, unless many origins say beyond chance that others are better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.demand import local
from pipelines.demand.blend import Blend, members_of
from pipelines.demand.origins import Origins
from pipelines.demand.recursive import RECURSIVE
from pipelines.demand.statistical import STATISTICAL
from pipelines.settings import Member
from tests.made_panel import panel_of, tables
from tests.unit.demand.conftest import settings_for


def origins(
    count: int, noise: float, better: float, seed: int = 0
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
    """Trees that miss by `noise`, a local model that misses by `better`, demand around both."""
    rng = np.random.default_rng(seed)
    members, target = [], []
    for _ in range(count):
        truth = rng.gamma(2, 1, 400)
        members.append(
            {"trees": truth + noise * rng.normal(size=400), "level_shape": truth + better * rng.normal(size=400)}
        )
        target.append(truth + 0.1 * rng.normal(size=400))
    return members, target


def test_few_origins_learn_nothing():
    members, target = origins(7, noise=1.0, better=0.1)
    assert Blend.learned(members, target) == Blend.fixed(["trees", "level_shape"])


def test_many_origins_find_the_weights_least_squares_would_take():
    """Two independent unbiased forecasts: the best weights are inverse to the variances (Bates & Granger 1969)."""
    members, target = origins(12, noise=0.6, better=0.3)
    weights = Blend.learned(members, target).weights
    assert weights["level_shape"] == pytest.approx(0.36 / (0.36 + 0.09), abs=0.03)
    assert sum(weights.values()) == pytest.approx(1)


def test_a_gain_within_chance_keeps_the_fixed_weights():
    members, target = origins(12, noise=0.4, better=0.952)
    assert Blend.learned(members, target) == Blend.fixed(["trees", "level_shape"])


def test_weights_are_never_negative():
    rng = np.random.default_rng(1)
    truth = [rng.gamma(2, 1, 400) for _ in range(10)]
    members = [{"trees": y * 1.5, "level_shape": y * 3.0} for y in truth]  # least squares without bounds: 2 and −1
    weights = Blend.learned(members, truth).weights
    assert min(weights.values()) >= 0
    assert weights["trees"] == pytest.approx(1)


def test_trees_stand_in_for_a_member_without_a_forecast():
    members = {"trees": np.array([4.0, 4.0]), "alike": np.array([np.nan, 9.0])}
    assert Blend.fixed(list(members)).of(members).tolist() == [4.0, pytest.approx(4.75)]


def test_members_that_are_asked_for_stand_beside_the_rows_in_units_of_scale(tmp_path: Path):
    parts = tables("week")
    panel = panel_of("week", parts | {"covariates": parts["covariates"].drop("promotion_planned")})
    settings = settings_for(tmp_path, series=["store"], members=["imapa", "AutoETS"])
    rows = Origins(panel, settings, 4).rows(panel.last - 6)
    found = members_of(rows, np.ones(rows.height))
    assert list(found) == ["trees", "level_shape", "seasonal_level", "imapa", "AutoETS"]
    history = panel.known(panel.last - 6).quantity
    alone = local.LOCALS["imapa"](np.where(np.cumsum(history > 0, axis=1) == 0, np.nan, history), 4, 52)
    np.testing.assert_allclose(found["imapa"] * rows["scale"].to_numpy(), alone.ravel(), rtol=1e-5)
    assert Blend.fixed(list(found)).weights["imapa"] == pytest.approx(0.15 / 4)


def test_only_members_that_exist_can_be_asked_for(tmp_path: Path):
    with pytest.raises(ValidationError):
        settings_for(tmp_path, members=["prophet"])
    assert set(Member.__args__) == (set(local.LOCALS) - {"level_shape"}) | set(STATISTICAL) | {RECURSIVE}
