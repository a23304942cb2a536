"""Forecasts under another plan: none changed gives what was issued, a changed one what the job itself would say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.demand.inputs import open_panel
from pipelines.demand.issues import rows_for
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins
from pipelines.demand.outputs import decide
from pipelines.demand.whatif import WhatIf, freeze
from tests.unit.demand.conftest import MadeShop, make_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def model_dir(shop: MadeShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    panel = open_panel(shop.settings, shop.lake)
    model = DemandModel.fit(Origins(panel, shop.settings, 4), panel.last, shop.settings.demand.quantiles)
    folder = tmp_path_factory.mktemp("model")
    model.to_dir(folder)
    return folder


def issued(shop: MadeShop, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the job forecasts, and what is frozen of it."""
    model, panel = DemandModel.from_dir(folder), open_panel(shop.settings, shop.lake)
    rows = rows_for(shop.settings, panel, model)
    frozen = freeze(model, rows, panel, shop.settings.demand.winsorise)
    assert frozen is not None
    return decide(model, rows, panel, shop.settings)[0], frozen


def test_an_unchanged_plan_gives_exactly_what_was_issued(shop: MadeShop, model_dir: Path) -> None:
    forecasts, frozen = issued(shop, model_dir)
    asked = WhatIf.from_dir(model_dir, frozen)
    assert asked.covariates == ["promotion"]
    for kept in frozen.iter_rows(named=True):
        own = forecasts.filter(store=kept["store"], item=kept["item"]).sort("horizon")
        planned = [None if np.isnan(v) else v for v in kept["planned_promotion"][-5:-1]]
        for plan in ({}, {"promotion": planned}):
            answer = asked.simulate(kept, own, plan)
            assert answer.mean.tolist() == own["mean"].to_list()
            assert {n: v.tolist() for n, v in answer.quantiles.items()} == {
                n: own[n].to_list() for n in answer.quantiles
            }


def test_a_changed_plan_gives_what_the_job_would_say_of_it(shop: MadeShop, model_dir: Path, tmp_path: Path) -> None:
    """Rows made again from the changed plan in the lake, by the job's own path; the pull of the totals is held."""
    forecasts, frozen = issued(shop, model_dir)
    kept = frozen.row(5, named=True)
    own = pl.col("store").eq(kept["store"]) & pl.col("item").eq(kept["item"])
    before = forecasts.filter(own).sort("horizon")
    plan = [1.0 - value for value in kept["planned_promotion"][-5:-1]]
    answer = WhatIf.from_dir(model_dir, frozen).simulate(kept, before, {"promotion": plan})

    other = make_shop(tmp_path)
    covariates = other.lake.read("covariates")
    told = before.select("period", told=pl.Series(plan))
    changed = covariates.join(told, on="period", how="left", maintain_order="left").with_columns(
        promotion=pl.when(own & pl.col("told").is_not_null()).then("told").otherwise("promotion")
    )
    other.lake.replace("covariates", changed.drop("told"))
    model, panel = DemandModel.from_dir(model_dir), open_panel(other.settings, other.lake)
    rows = rows_for(other.settings, panel, model)
    pulls = np.concatenate(frozen["pulls"].to_list())
    mean, fan = (values.reshape(len(frozen), 4, -1)[5] for values in model.predict_pulled(rows, pulls))
    assert answer.mean == pytest.approx(mean[:, 0], rel=1e-9)
    assert np.column_stack(list(answer.quantiles.values())) == pytest.approx(fan, rel=1e-9)
    moved = answer.mean - before["mean"].to_numpy()
    assert np.abs(moved).max() > 0.2 * before["mean"].mean()  # a plan that moves nothing would prove nothing
    assert (np.sign(moved) == np.where(np.array(plan) > 0, 1, -1)).all()
