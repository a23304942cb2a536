"""Notebooks run against the sample shop, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import SampleRun

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.sample
def test_the_first_look_shows_what_the_lake_holds(sample_run: SampleRun) -> None:
    code = """
import json, sys
sys.path.insert(0, sys.argv[1])
import first_look
_, found = first_look.app.run()
print(json.dumps({
    "predicted": found["predicted"]["mean"].tolist(),
    "forecasts": found["forecasts"]["mean"].to_list(),
    "customers": dict(found["segments"].select("segment", "customers").rows()),
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(NOTEBOOKS)],
        capture_output=True,
        text=True,
        env=os.environ | {"PURVEY_DATA_DIR": str(sample_run.home)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert shown["predicted"]
    assert all(value >= 0 for value in shown["predicted"])
    forecasts = sample_run.lake.read("forecasts")
    means = forecasts.filter(pl.col("issued_on") == pl.col("issued_on").max())["mean"]
    assert len(shown["forecasts"]) == 5 * sample_run.settings.demand.horizon
    assert set(shown["forecasts"]) <= set(means.to_list())
    scores = sample_run.lake.read("customer_scores")
    newest = scores.filter(pl.col("as_of") == pl.col("as_of").max())
    assert shown["customers"] == dict(newest.group_by("segment").len().rows())
