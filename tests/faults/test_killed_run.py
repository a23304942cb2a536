"""A run killed in the middle of each step, one after the other, ends as if nobody had touched it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from pipelines.lake import Lake, frame_digest
from pipelines.release import current, verify
from pipelines.settings import load_settings
from tests.shops import tea_shop

TABLES = ("order_lines", "demand", "forecasts", "lead_time_demand", "customer_scores", "segments", "replenishment")
NAMES_OF_A_RUN = ("model_version", "run", "ingested_at")
AFTER_START = 0.3  # seconds into a step


def whole_run(config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "run", "--config", config], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def killed_run(config: Path, steps_before: int) -> bool:
    """Kill the run shortly after its `steps_before`-th step has ended; False when it ended first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "run", "--config", config],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    with process.stdout as printed:
        for _ in range(steps_before):
            printed.readline()
        time.sleep(AFTER_START if steps_before else 1.0)
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def contents(config: Path) -> dict[str, str]:
    lake = Lake(load_settings(config).lake_url)
    frames = {table: lake.read(table) for table in TABLES}
    return {table: frame_digest(frame.select(pl.exclude(NAMES_OF_A_RUN))) for table, frame in frames.items()}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    config = tea_shop(tmp_path_factory.mktemp("untouched"))
    whole_run(config)
    return contents(config)


def test_a_run_killed_in_every_step_ends_like_an_untouched_one(tmp_path, untouched):
    config = tea_shop(tmp_path)
    settings = load_settings(config)
    killed = [killed_run(config, steps_before) for steps_before in range(9)]
    assert sum(killed) >= 8, "the runs ended before they could be killed"
    lake = Lake(settings.lake_url)
    for table in TABLES:
        if lake.exists(table):
            lake.read(table)
    whole_run(config)
    assert contents(config) == untouched
    release = current(settings.releases_dir)
    assert release is not None
    verify(settings.releases_dir / release.id)
