"""The recursive member: its walk against a slow one, the first law, and its place in the blend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.demand import Vocabulary
from pipelines.demand.blend import Blend
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins, forecast_rows
from pipelines.demand.recursive import RECURSIVE, walked
from pipelines.settings import Settings
from tests.made_panel import panel_of, scrambled, tables
from tests.unit.demand.conftest import settings_for

MEMBER = f"member_{RECURSIVE}"
BACK = 20


class MeanOfSeven:
    """Stands in for trees: tomorrow is the mean of the last seven days."""

    def feature_name(self) -> list[str]:
        return ["mean_7"]

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        return matrix[:, 0].astype(np.float64)


def daily(home: Path, **more: object) -> Settings:
    plan = {"series": ["store"], "frequency": "day", "members": [RECURSIVE], "trees": 8, "training_rows": 1500}
    return settings_for(home, **plan | more)


def test_a_walk_goes_on_from_its_own_forecasts():
    panel = panel_of("day", tables("day"))
    origin = panel.last - BACK
    known = panel.known(origin).quantity
    found = walked(MeanOfSeven(), panel, origin, 12, Vocabulary.of(panel.known(origin)))
    told = [row for row in range(len(known)) if np.nansum(known[row, -7:]) > 0]
    assert len(told) > 3
    for row in told:
        history = known[row].astype(float).tolist()
        for _ in range(12):
            lately = [value for value in history[-7:] if not np.isnan(value)]
            history.append(sum(lately) / len(lately))
        assert found[row].tolist() == pytest.approx(history[-12:], rel=1e-4, abs=1e-6)


def test_what_comes_after_the_origin_changes_nothing_but_known_covariates(tmp_path: Path):
    parts, settings = tables("day"), daily(tmp_path)
    honest = panel_of("day", parts)
    origin = honest.last - BACK
    wild = panel_of("day", scrambled("day", parts, origin))
    rows = [Origins(panel, settings, 6).rows(origin)[MEMBER] for panel in (honest, wild)]
    assert rows[0].to_list() == rows[1].to_list()
    later = [Origins(panel, settings, 6).rows(honest.last)[MEMBER] for panel in (honest, wild)]
    assert later[0].to_list() != later[1].to_list(), "the scrambling did something"


def test_it_is_the_same_at_hand_and_made_anew_and_with_any_number_of_threads(tmp_path: Path):
    panel, settings = panel_of("day", tables("day")), daily(tmp_path)
    shared = Origins(panel, settings, 6)
    shared.rows(panel.last - BACK)
    anew = forecast_rows(
        panel, panel.last, 6, shared.vocabulary(panel.last), settings.model_copy(update={"threads": 1})
    )
    assert_frame_equal(shared.rows(panel.last), anew, check_exact=True)


def test_it_shares_the_weight_of_trees(tmp_path: Path):
    assert Blend.fixed(["trees", "alike", RECURSIVE]).weights == pytest.approx(
        {"trees": 0.425, RECURSIVE: 0.425, "alike": 0.15}
    )
    panel, settings = panel_of("day", tables("day")), daily(tmp_path)
    origins = Origins(panel, settings, 6)
    model = DemandModel.fit(origins, panel.last, [0.1, 0.5, 0.9])
    assert model.blend.weights[RECURSIVE] == pytest.approx(0.425)
    rows = origins.rows(panel.last)
    assert rows[MEMBER].is_between(0, 100).all()
    without = model.predict(rows.with_columns(pl.lit(0.0).alias(MEMBER)))["mean"]
    assert (model.predict(rows)["mean"] > without).sum() > rows.height / 2


def test_a_record_too_short_to_learn_from_leaves_it_to_the_direct_trees(tmp_path: Path):
    parts = tables("day")
    panel = panel_of("day", parts)
    first = Origins(panel, daily(tmp_path), 6).rows(panel.first)
    assert first[MEMBER].is_nan().all()
    assert not np.isnan(
        Blend.fixed(["trees", RECURSIVE]).of({"trees": np.ones(2), RECURSIVE: np.full(2, np.nan)})
    ).any()
