"""What many tests share: the sample shop, run once a session from an installed wheel, as a newcomer would."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
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

    def run(folder: Path) -> str:
        return purvey("run", "--sample", cwd=folder, PYTHONPATH=str(wheel)).stdout

    if KEPT_RUN:
        folder = Path(KEPT_RUN)
        printed = run(folder)
    else:
        folder, printed = made_once(tmp_path_factory, "sample_run", run)
    home = folder / "data" / "online_retail"
    settings = load_settings(sample_config(), data_dir=str(home))
    return SampleRun(settings, Lake(settings.lake_url), home, printed)


@pytest.fixture(scope="session")
def finished_tea(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small made shop after one whole `purvey run`. Read only: work on a copy."""

    def run(folder: Path) -> str:
        return purvey("run", "--config", tea_shop(folder)).stdout

    return made_once(tmp_path_factory, "finished_tea", run)[0]


@pytest.fixture
def tea(finished_tea: Path, tmp_path: Path) -> Path:
    """A finished shop of its own for each test: a copied folder is a moved one."""
    return shutil.copytree(finished_tea, tmp_path / "tea", symlinks=True)


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], str]) -> tuple[Path, str]:
    """A folder made by one worker and read by all; whoever comes meanwhile waits. Returns it and what was printed.

    xdist 3.8 cannot group tests under pytest 9.2 (its `loadgroup` marks go unseen), so a lock does it (2026-11).
    """
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, printed = root / name, root / f"{name}.txt"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            folder.mkdir()
            printed.write_text(make(folder))
    return folder, printed.read_text()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever makes the shared runs goes first, whoever only reads them last, so that nobody waits for them."""
    made: set[str] = set()

    def turn(item: pytest.Item) -> int:
        needs = {"sample_run", "finished_tea"} & set(getattr(item, "fixturenames", ()))
        first = needs - made
        made.update(needs)
        return 0 if first else 2 if needs else 1

    items.sort(key=turn)
