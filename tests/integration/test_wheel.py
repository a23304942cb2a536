"""What is installed is whole: the sample shop runs from a wheel, in an empty folder, without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    site = folder / "site"
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return site


def run(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    # -P keeps the working folder, PYTHONPATH puts the wheel before the checkout
    env = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-P", "-m", "pipelines.cli", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=True)


def test_the_wheel_s_own_code_is_what_runs(installed, tmp_path):
    where = [sys.executable, "-P", "-c", "import pipelines; print(pipelines.__file__)"]
    env = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(installed))


def test_the_sample_ingests_from_the_wheel_in_an_empty_folder(installed, tmp_path):
    checked = json.loads(run(installed, "check", "--sample", "--json", cwd=tmp_path).stdout)
    assert checked["job"] == "check"
    assert list(tmp_path.iterdir()) == []
    run(installed, "ingest", "--sample", cwd=tmp_path)
    assert (tmp_path / "data" / "online_retail" / "lake" / "order_lines" / "_delta_log").is_dir()


def test_the_wheel_carries_pages_contract_and_licence(installed):
    for needed in ("serving/openapi.json", "serving/pages", "pipelines/ingest/sample/README.md"):
        assert (installed / needed).exists(), needed
    assert list(installed.glob("purvey-*.dist-info/licenses/LICENSE"))
