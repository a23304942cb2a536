"""What is installed is whole: it runs in an empty folder, without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import purvey


def test_the_wheel_s_own_code_is_what_runs(wheel, tmp_path):
    where = [sys.executable, "-P", "-c", "import pipelines; print(pipelines.__file__)"]
    env = os.environ | {"PYTHONPATH": str(wheel)}
    done = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(wheel))


def test_checking_the_sample_writes_nothing(wheel, tmp_path):
    checked = json.loads(purvey("check", "--sample", "--json", cwd=tmp_path, PYTHONPATH=str(wheel)).stdout)
    assert checked["figures"]["lines_in"] == 1_067_370
    assert list(tmp_path.iterdir()) == []


@pytest.mark.sample
def test_the_sample_runs_from_the_wheel_in_an_empty_folder(sample_run):
    assert (sample_run.home / "releases" / "current" / "manifest.json").exists()
    assert "train demand" in sample_run.printed


def test_the_wheel_carries_pages_contract_and_licence(wheel):
    for needed in ("serving/openapi.json", "serving/pages/home.html", "pipelines/ingest/sample/README.md"):
        assert (wheel / needed).exists(), needed
    assert list(wheel.glob("purvey-*.dist-info/licenses/LICENSE"))
