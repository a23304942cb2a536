"""A disk that fills up in any step: words instead of a traceback, what was there stays, the next run completes it."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys

import pytest

from pipelines.lake import Lake
from pipelines.release import current
from pipelines.settings import load_settings
from tests.conftest import purvey

SMALL_FILES_ONLY = 30_000  # bytes: enough for a commit, too little for a model, a report or a table


def on_a_full_disk(*arguments: object) -> subprocess.CompletedProcess:
    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILES_ONLY, SMALL_FILES_ONLY))

    command = [sys.executable, "-m", "pipelines.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=full)


@pytest.fixture(scope="module")
def config(finished_tea, tmp_path_factory):
    return shutil.copytree(finished_tea, tmp_path_factory.mktemp("full") / "tea", symlinks=True) / "shop.yaml"


@pytest.mark.parametrize(
    "command",
    [
        ["train", "demand"],
        ["train", "customers"],
        ["monitor"],
        ["release"],
        ["forecast", "--out", "{folder}/f.parquet"],
        ["export", "customers", "--out", "{folder}/c.csv"],
        ["backup", "--out", "{folder}/b.tar"],
    ],
    ids=lambda command: command[0] + (f" {command[1]}" if command[0] == "train" else ""),
)
def test_a_full_disk_is_said_in_words_and_harms_nothing(config, tmp_path, command):
    settings = load_settings(config)
    lake = Lake(settings.lake_url)
    before = current(settings.releases_dir)
    done = on_a_full_disk(*(part.format(folder=tmp_path) for part in command), "--config", config)
    if done.returncode == 0:
        pytest.skip("everything it writes is small")  # a release that is as it was writes nothing
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("purvey: ")
    assert "what to do" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert current(settings.releases_dir).id == before.id
    for table in ("forecasts", "customer_scores", "evaluation", "drift"):
        lake.read(table)


def test_the_next_run_completes_what_the_full_disk_stopped(config):
    on_a_full_disk("run", "--again", "--config", config)
    done = purvey("run", "--config", config)
    assert done.returncode == 0
