"""What many tests share: the sample shop, run once a session through the real command line."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from pipelines.lake import Lake
from pipelines.settings import Settings, load_settings, sample_config

# While developing, name a folder here to keep the sample run between sessions.
KEPT_RUN = os.environ.get("PURVEY_TEST_SAMPLE_DIR")


@dataclass(frozen=True)
class SampleRun:
    """The sample shop after one whole `purvey run`."""

    settings: Settings
    lake: Lake
    home: Path
    printed: str


def purvey(*arguments: object, cwd: Path | None = None, check: bool = True, **env: str) -> subprocess.CompletedProcess:
    """Run the real program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | env,
        check=check,
    )


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    """The sample shop, ingested, trained, scored, monitored and released. Read only."""
    home = Path(KEPT_RUN) if KEPT_RUN else tmp_path_factory.mktemp("sample") / "online_retail"
    done = purvey("run", "--config", sample_config(), check=False, PURVEY_DATA_DIR=str(home))
    assert done.returncode == 0, done.stdout + done.stderr
    settings = load_settings(sample_config(), data_dir=str(home))
    return SampleRun(settings, Lake(settings.lake_url), home, done.stdout)
