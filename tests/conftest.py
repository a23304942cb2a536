"""What many tests share: the sample shop, run once a session from an installed wheel, as a newcomer would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from pipelines.lake import Lake
from pipelines.settings import Settings, load_settings, sample_config
from tests.shops import tea_shop

ROOT = Path(__file__).parents[1]
# While developing, name a folder here to keep the sample run between sessions.
KEPT_RUN = os.environ.get("PURVEY_TEST_SAMPLE_DIR")


@dataclass(frozen=True)
class SampleRun:
    """The sample shop after one whole `purvey run --sample`."""

    settings: Settings
    lake: Lake
    home: Path
    printed: str


def purvey(*arguments: object, cwd: Path | None = None, check: bool = True, **env: str) -> subprocess.CompletedProcess:
    """Run the real program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipelines.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | env,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as a wheel, unpacked: a folder for PYTHONPATH that stands before the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="session")
def sample_run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    """The sample shop, ingested, trained, scored, monitored and released. Read only."""
    folder = Path(KEPT_RUN) if KEPT_RUN else tmp_path_factory.mktemp("sample")
    done = purvey("run", "--sample", cwd=folder, PYTHONPATH=str(wheel))
    home = folder / "data" / "online_retail"
    settings = load_settings(sample_config(), data_dir=str(home))
    return SampleRun(settings, Lake(settings.lake_url), home, done.stdout)


@pytest.fixture(scope="session")
def finished_tea(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small made shop after one whole `purvey run`. Read only: work on a copy."""
    folder = tmp_path_factory.mktemp("finished")
    purvey("run", "--config", tea_shop(folder))
    return folder


@pytest.fixture
def tea(finished_tea: Path, tmp_path: Path) -> Path:
    """A finished shop of its own for each test: a copied folder is a moved one."""
    return shutil.copytree(finished_tea, tmp_path / "tea", symlinks=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on one whole run share one worker, so that it is run once."""
    for item in items:
        for run in ("sample_run", "finished_tea"):
            if run in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(run))
