"""A run killed in the middle of each step, one after the other, ends as if nobody had touched it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import polars as pl

from pipelines.lake import Lake, frame_digest
from pipelines.release import current, verify
from pipelines.settings import load_settings
from pipelines.steps import STEPS
from tests.conftest import purvey
from tests.shops import tea_shop

TABLES = ("order_lines", "demand", "forecasts", "lead_time_demand", "customer_scores", "segments", "replenishment")
NAMES_OF_A_RUN = ("model_version", "run", "ingested_at")
KILLER = Path(__file__).with_name("killing_run.py")


def contents(config: Path) -> dict[str, str]:
    lake = Lake(load_settings(config).lake_url)
    frames = {table: lake.read(table) for table in TABLES}
    return {table: frame_digest(frame.select(pl.exclude(NAMES_OF_A_RUN))) for table, frame in frames.items()}


def test_a_run_killed_in_every_step_ends_like_an_untouched_one(tmp_path, finished_tea):
    config = tea_shop(tmp_path)
    settings = load_settings(config)
    lake = Lake(settings.lake_url)
    for step in (step for step in STEPS if step.applies(settings)):
        done = subprocess.run([sys.executable, KILLER, config, step.name], capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, f"{step.name}: {done.stdout}{done.stderr}"
        for table in lake.versions(TABLES):
            lake.read(table)  # whatever is there can be read
    purvey("run", "--config", config)
    assert contents(config) == contents(finished_tea)
    release = current(settings.releases_dir)
    assert release is not None
    verify(settings.releases_dir / release.id)
