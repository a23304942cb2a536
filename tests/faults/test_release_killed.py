"""SIGKILL at any point of writing, activating, rolling back and pruning: the old release stays current and whole."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.release import current, releases, verify
from tests.made_shop import made_release, made_settings

# Counts the calls the release module makes and kills the process at one of them, however it is stopped there.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from pipelines import release
from pipelines.release import activate, freeze, prune, rollback
import polars as pl

home, what, kill_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
calls = 0

def count(frame, event, argument):
    global calls
    if event in ("call", "c_call") and frame.f_code.co_filename == release.__file__:
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

(home / "model").mkdir(exist_ok=True)
(home / "model" / "model.json").write_text("{}")
sys.setprofile(count)
if what == "release":
    made = freeze(home / "data" / "releases", shop={"shop": "made_shop"}, models={"demand": home / "model"}, reports={},
                  tables={"forecasts": pl.DataFrame({"mean": [1.0]})}, facts={})
    activate(home / "data" / "releases", made.id)
elif what == "rollback":
    rollback(home / "data" / "releases")
else:
    prune(home / "data" / "releases", keep=1)
sys.setprofile(None)
print(calls)
"""


def run(home: Path, what: str, kill_at: int) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", SCRIPT, str(home), what, str(kill_at)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("what", ["release", "rollback", "prune"])
def test_a_kill_leaves_a_whole_release_current(tmp_path: Path, what: str) -> None:
    settings = made_settings(tmp_path)
    made = [made_release(settings, seed) for seed in (1, 2, 3)]
    counting = made_settings(tmp_path / "counting")
    for seed in (1, 2, 3):
        made_release(counting, seed)
    calls = int(run(tmp_path / "counting", what, -1).stdout)
    allowed = {made[2].id, made[1].id} if what == "rollback" else {made[2].id}

    for tenth in range(1, 9):
        killed = run(tmp_path, what, max(1, calls * tenth // 9))
        if killed.returncode != -signal.SIGKILL:
            continue  # the work before it was done by an earlier attempt
        now = current(settings.releases_dir)
        assert now is not None
        new = {one.id for one in releases(settings.releases_dir)} - {one.id for one in made}
        assert now.id in allowed | new
        assert verify(now.folder).id == now.id
        for one in releases(settings.releases_dir):
            verify(one.folder)

    finished = run(tmp_path, what, -1)
    assert finished.returncode == 0 or "no sound earlier release" in finished.stderr, finished.stderr
    left = [path.name for path in settings.releases_dir.iterdir() if path.name.startswith(".unfinished")]
    assert not left, "the next writer clears away what the killed one left"
