"""Tuning: seeded, pruned, in nested runs, judged with its standard error; the same features for every trial."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from mlflow import MlflowClient

from pipelines.demand import jobs, origins, trials, tuning
from pipelines.demand.inputs import open_panel
from pipelines.demand.origins import Origins
from pipelines.demand.tuning import Trial, Tuning, as_metric, as_yaml, search
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.lake import Lake
from pipelines.settings import Settings, load_settings
from pipelines.tracking import Tracker
from tests.unit.demand.conftest import MadeShop, settings_for, totals


@pytest.fixture
def small(tmp_path: Path) -> MadeShop:
    """Twelve series of forty weeks, few trees."""
    settings = settings_for(tmp_path, trees=6, training_rows=1000, quantiles=[0.1, 0.5, 0.9], holidays=None)
    lake = Lake(settings.lake_url)
    demand, covariates = totals(series=12, weeks=40)
    lake.replace("demand", demand)
    lake.replace("covariates", covariates)
    return MadeShop(settings, lake, tmp_path)


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tuning._SPACE, "trees", (4, 12))


@pytest.mark.usefixtures("few_trees")
def test_trials_are_nested_runs_and_the_result_is_a_block_that_can_be_pasted(small: MadeShop):
    tracker = Tracker(small.settings)
    before = small.lake.versions(["demand", "covariates", "forecasts", "evaluation"])
    summary = trials.tune(small.settings, small.lake, tracker, trials=3, origins=2, metric="wape")
    assert small.lake.versions(["demand", "covariates", "forecasts", "evaluation"]) == before
    client = MlflowClient(tracker.uri)
    experiment = client.get_experiment_by_name("made").experiment_id
    runs = client.search_runs([experiment])
    parents = [run for run in runs if run.data.tags["job"] == "tune demand"]
    assert len(parents) == 1
    nested = {run.data.tags["job"]: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert set(nested) == {"trial 0", "trial 1", "trial 2"}
    assert {run.data.tags["mlflow.parentRunId"] for run in nested.values()} == {parents[0].info.run_id}
    assert nested["trial 0"].data.params["trees"] == "6", "the shop's own settings"
    assert all(run.info.status == "FINISHED" for run in runs)
    losses = [run.data.metrics["wape"] for run in nested.values()]
    assert parents[0].data.metrics["wape"] == min(losses) == summary.figures["wape"]
    out = small.home / "b.parquet"
    judged = jobs.backtest(small.settings, small.lake, origins=2, out=out).tables["mean over cutoffs"]
    assert judged.filter(model="demand")["wape"].item() == pytest.approx(nested["trial 0"].data.metrics["wape"])


@pytest.mark.usefixtures("few_trees")
def test_the_same_search_gives_the_same_trials_and_features_are_made_once(
    small: MadeShop, monkeypatch: pytest.MonkeyPatch
):
    made: list[int] = []
    rows_at = origins.rows_at
    monkeypatch.setattr(
        origins, "rows_at", lambda panel, origin, *a, **k: made.append(origin) or rows_at(panel, origin, *a, **k)
    )
    panel = open_panel(small.settings, small.lake)
    one = search(Origins(panel, small.settings, 4), "scaled_pinball", count=2, trials=2)
    first = len(made)
    other = search(Origins(panel, small.settings, 4), "scaled_pinball", count=2, trials=4)
    assert other.trials[:2] == one.trials
    assert len(made) - first <= first, "more trials, no more features"
    assert len({tuple(trial.parameters.items()) for trial in other.trials}) == 4


def trial(number: int, *losses: float, pruned: bool = False) -> Trial:
    return Trial(number, {"trees": number}, losses, pruned)


def test_a_trial_that_is_far_behind_is_given_up(small: MadeShop, monkeypatch: pytest.MonkeyPatch):
    losses = {6: 1.0}  # the shop's own; every other is worse by its number of trees

    def loss(candidate: Origins, cutoff: int, metric: str) -> float:
        return losses.get(candidate.settings.demand.trees, 1.0 + candidate.settings.demand.trees / 100)

    monkeypatch.setattr(tuning, "_loss", loss)
    panel = open_panel(small.settings, small.lake)
    found = search(Origins(panel, small.settings, 4), "wape", count=3, trials=12)
    pruned = [trial for trial in found.trials if trial.pruned]
    assert pruned
    assert all(len(trial.losses) < 3 for trial in pruned)
    assert min(trial.number for trial in pruned) >= tuning._WARM_UP
    assert found.best.number == 0
    assert "keep them" in found.verdict


def test_a_gain_counts_when_it_is_larger_than_its_standard_error():
    own = trial(0, 1.0, 2.0, 3.0)
    sure = Tuning("wape", (1, 2, 3), (own, trial(1, 0.9, 1.8, 2.75), trial(2, 0.1, pruned=True)))
    gain, error = sure.gain
    saved = np.array([0.1, 0.2, 0.25]) / 2
    assert gain == pytest.approx(saved.mean())
    assert error == pytest.approx(saved.std(ddof=1) / np.sqrt(3))
    assert sure.best.number == 1
    assert sure.is_better
    assert sure.verdict.startswith("Better by 9.2% ± 2.2% (standard error over 3 origins): more than one")
    unsure = Tuning("wape", (1, 2, 3), (own, trial(1, 0.5, 2.2, 3.2)))
    assert unsure.best.number == 1
    assert not unsure.is_better
    assert "keep your settings" in unsure.verdict
    assert "cannot tell" in Tuning("wape", (1,), (trial(0, 1.0), trial(1, 0.5))).verdict


def test_the_printed_block_is_what_was_judged(tmp_path: Path):
    parameters = {"trees": 90, "learning_rate": 0.0512, "leaves": 15, "min_leaf": 20, "bins": 63}
    parameters |= {"row_share": 0.8, "feature_share": 0.55}
    text = "shop: x\ndata_dir: x\nsources: [{table: demand, path: x}]\n" + as_yaml(parameters)
    (tmp_path / "shop.yaml").write_text(text)
    demand = load_settings(tmp_path).demand
    assert {"trees": demand.trees, **demand.boosting.model_dump()} == parameters
    assert yaml.safe_load(as_yaml(parameters))["demand"]["trees"] == 90


def test_parameters_reach_the_trees(small: MadeShop):
    panel = open_panel(small.settings, small.lake)
    grown = {}
    for leaves in (31, 2):
        settings = tuning._with(small.settings, tuning._current(small.settings.demand) | {"leaves": leaves})
        grown[leaves] = Origins(panel, settings, 4).trees(panel.last).mean.dump_model()["tree_info"]
    assert all(tree["num_leaves"] == 2 for tree in grown[2])
    assert max(tree["num_leaves"] for tree in grown[31]) > 2


def test_what_cannot_be_tuned_is_said(small: MadeShop, monkeypatch: pytest.MonkeyPatch):
    panel = open_panel(small.settings, small.lake)
    shop = Origins(panel, small.settings, 4)
    with pytest.raises(ConfigError, match="needs an end"):
        search(shop, "wape", count=2)
    with pytest.raises(ConfigError, match="no metric 'mape'"):
        as_metric("mape")
    with pytest.raises(NotEnoughDataError, match="no past cutoff"):
        search(Origins(panel, small.settings, 60), "wape", count=2, trials=1)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        search(shop, "wape", count=2, trials=1)
    assert caught.value.remedy == "pip install 'purvey[tune]'"


def test_the_defaults_are_those_the_engine_was_made_with():
    settings = Settings(shop="x", data_dir="x", sources=[{"table": "demand", "path": "x"}])
    assert origins.Booster(1, 1, 1) == origins.Booster(1, 1, 1, **settings.demand.boosting.model_dump())
    assert pl.DataFrame([tuning._current(settings.demand)]).columns == list(tuning._SPACE)
