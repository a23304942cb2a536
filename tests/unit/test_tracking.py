"""Runs, models and aliases on a real MLflow store."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from matplotlib.figure import Figure

from pipelines.errors import TrackingError
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.tracking import Tracker, code_version, relocate, requirements

TOY = """
import json
import polars as pl

class Toy:
    def __init__(self, factor):
        self.factor = factor

    def to_dir(self, folder):
        (folder / "model.json").write_text(json.dumps({"class": "toy:Toy", "factor": self.factor}))

    @classmethod
    def from_dir(cls, folder):
        return cls(json.loads((folder / "model.json").read_text())["factor"])

    def predict(self, rows):
        assert rows.schema["day"] == pl.Date and rows.schema["size"] == pl.Enum(["S", "L"])
        return rows.select("day", mean=pl.col("x") * self.factor)
"""
EXAMPLE = pl.DataFrame(
    {"x": [1.0, None, 3.0], "day": [date(2024, 1, day) for day in (1, 2, 3)], "size": ["S", "L", "S"]},
    schema_overrides={"size": pl.Enum(["S", "L"])},
)


def shop(home: Path) -> Settings:
    return Settings(shop="toys", data_dir=str(home), sources=[{"table": "demand", "path": "none.parquet"}])


@pytest.fixture(scope="module")
def toy_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy_module")
    (folder / "toy.py").write_text(TOY)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("toy", None)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory, toy_module: Path) -> Path:
    """A store with one run, two versions of `demand` and the first as champion: made once, copied by each test."""
    home = tmp_path_factory.mktemp("migrated") / "home"
    settings = shop(home)
    tracker = Tracker(settings)
    lake = Lake(home / "lake")
    lake.replace("demand", EXAMPLE.select("x", "day"))
    files = home / "files"
    for factor in (2.0, 3.0):
        files.mkdir(exist_ok=True)
        (files / "model.json").write_text(json.dumps({"class": "toy:Toy", "factor": factor}))
        with tracker.run("train demand", {"trees": 5, "demand": {"horizon": 8}}) as run:
            run.log_data(lake, ["demand", "not_there"])
            run.log_metrics({"wape": 0.1 * factor, "unknown": None, "infinite": float("inf")})
            run.log_features(["x", "size"])
            run.log_figure("importance", Figure())
            run.log_table("importance", pl.DataFrame({"feature": ["x"], "gain": [1.0]}))
            version = run.register("demand", files, EXAMPLE)
        if factor == 2.0:
            tracker.promote("demand", version)
    shutil.rmtree(files)
    return home


@pytest.fixture
def home(migrated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(migrated, tmp_path / "home"))


def aliases(tracker: Tracker) -> dict[str, str]:
    rows = tracker.models().filter(pl.col("aliases") != "")
    return {
        alias: version for version, names in rows.select("version", "aliases").rows() for alias in names.split(", ")
    }


def test_the_store_is_in_wal_mode_and_the_mode_stays_with_the_file(home: Path) -> None:
    with closing(sqlite3.connect(home / "tracking" / "mlflow.db")) as store:
        assert store.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_run_keeps_everything_needed_to_repeat_it(home: Path) -> None:
    settings = shop(home)
    tracker = Tracker(settings)
    champion = tracker.champion("demand")
    assert champion is not None
    assert champion.metrics == pytest.approx({"wape": 0.2})
    run = tracker._client.get_run(champion.run_id)
    assert run.data.params == {"trees": "5", "demand.horizon": "8", "table_version.demand": "0"}
    assert run.data.tags["code_version"] == code_version()
    lake = Lake(home / "lake")
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.name == "demand"
    assert data.dataset.digest == lake.digest("demand", version=0)
    artifacts = settings.home / "tracking" / "artifacts" / champion.run_id / "artifacts"
    assert json.loads((artifacts / "features.json").read_text()) == ["x", "size"]
    assert (artifacts / "requirements.txt").read_text().splitlines() == requirements()
    assert pl.read_csv(artifacts / "tables" / "importance.csv").rows() == [("x", 1.0)]
    assert (artifacts / "figures" / "importance.png").read_bytes().startswith(b"\x89PNG")


def test_a_new_version_challenges_and_promotion_keeps_the_one_before(home: Path) -> None:
    tracker = Tracker(shop(home))
    assert aliases(tracker) == {"champion": "1", "challenger": "2"}
    tracker.promote("demand", "2")
    assert aliases(tracker) == {"champion": "2", "previous": "1"}
    tracker.promote("demand", "2")
    assert aliases(tracker) == {"champion": "2", "previous": "1"}
    with pytest.raises(TrackingError):
        tracker.promote("demand", "9")
    assert aliases(tracker) == {"champion": "2", "previous": "1"}


def test_repair_makes_the_champions_agree_with_a_release(home: Path) -> None:
    tracker = Tracker(shop(home))
    assert tracker.repair({"demand": "2"}) == ["demand"]
    assert aliases(tracker)["champion"] == "2"
    assert tracker.repair({"demand": "2"}) == []
    with pytest.raises(TrackingError, match="churn 4"):
        tracker.repair({"churn": "4", "demand": "1"})
    assert aliases(tracker)["champion"] == "1"


def test_a_model_loads_by_alias_in_a_fresh_process(home: Path, toy_module: Path) -> None:
    tracker = Tracker(shop(home))
    code = """
import warnings; warnings.simplefilter("ignore")
import mlflow, pandas as pd, sys
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_registry_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/demand@champion")
rows = pd.DataFrame({"size": ["S", "L"], "day": pd.to_datetime(["2024-03-01", "2024-03-02"]), "x": [5.0, None]})
print(model.predict(rows)["mean"].tolist())
"""
    env = os.environ | {"PYTHONPATH": str(toy_module), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-c", code, tracker.uri], capture_output=True, text=True, env=env, cwd=home, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[10.0, nan]"
    assert tracker.example("demand").equals(EXAMPLE.cast({"size": pl.String}))


def test_nothing_is_pickled(home: Path) -> None:
    files = [file for file in (home / "tracking").rglob("*") if file.is_file()]
    assert any(file.name == "MLmodel" for file in files)
    assert [file for file in files if file.suffix in (".pkl", ".pickle", ".joblib")] == []
    # A pickle of any protocol since 2 starts with 0x80 and ends with a full stop.
    assert [file for file in files if (raw := file.read_bytes())[:1] == b"\x80" and raw[-1:] == b"."] == []


def test_a_moved_folder_reads_its_own_artifacts(home: Path, tmp_path: Path) -> None:
    old = Tracker(shop(home)).model_folder("demand")
    assert old.is_relative_to(home)
    moved = home.rename(tmp_path / "moved here")
    assert relocate(shop(moved)) > 0
    assert relocate(shop(moved)) == 0
    folder = Tracker(shop(moved)).model_folder("demand")
    assert folder.is_relative_to(moved)
    assert json.loads((folder / "model.json").read_text())["factor"] == 2.0
    with closing(sqlite3.connect(moved / "tracking" / "mlflow.db")) as store:
        assert home.as_uri() + "/" not in "\n".join(store.iterdump())


def test_a_model_that_does_not_load_is_not_registered(home: Path, tmp_path: Path, toy_module: Path) -> None:
    tracker = Tracker(shop(home))
    files = tmp_path / "broken"
    files.mkdir()
    (files / "model.json").write_text('{"class": "toy:Toy"}')
    with pytest.raises(TrackingError, match="was not registered"), tracker.run("train demand", {}) as run:
        run.register("demand", files, EXAMPLE)
    assert tracker._client.get_run(run.id).info.status == "FAILED"
    assert tracker.models()["version"].to_list() == ["2", "1"]


def test_every_version_can_be_had_by_its_number(home: Path) -> None:
    tracker = Tracker(shop(home))
    factors = {
        version: json.loads((tracker.version_folder("demand", version) / "model.json").read_text())["factor"]
        for version in ("1", "2")
    }
    assert factors == {"1": 2.0, "2": 3.0}
    with pytest.raises(TrackingError, match="9"):
        tracker.version_folder("demand", "9")


def test_a_missing_model_is_named_with_a_remedy(home: Path) -> None:
    tracker = Tracker(shop(home))
    assert tracker.champion("churn") is None
    with pytest.raises(TrackingError, match="no champion of model churn") as told:
        tracker.model_folder("churn")
    assert "purvey train" in str(told.value)


def test_a_damaged_store_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(TrackingError, match="cannot be opened") as told:
        Tracker(shop(tmp_path))
    assert "restore" in str(told.value)


def test_nothing_reports_home_and_nothing_heavy_is_imported_early() -> None:
    code = """
import os, sys
import pipelines.tracking
assert "mlflow" not in sys.modules
pipelines.tracking_store.prepare_environment()
from mlflow.telemetry.utils import is_telemetry_disabled
assert is_telemetry_disabled()
print(os.environ["DO_NOT_TRACK"], os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"])
"""
    bare = {
        name: value for name, value in os.environ.items() if name not in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "false"]
