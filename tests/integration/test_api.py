"""The real server on loopback, over real HTTP: start, the calls it prints, swaps and a rollback under load, the end."""

from __future__ import annotations

import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import orjson
import pytest

from pipelines.release import rollback
from pipelines.settings import Settings
from serving.auth import create_key
from tests.made_shop import made_release, made_settings

READY_SECONDS = 5.0
# Looks at `current` often, so that ten swaps take a second; all else is as `purvey serve` runs it.
SCRIPT = """
import sys
from pipelines.settings import load_settings
from serving import store
from serving.run import serve
store.CHECK_SECONDS = 0.05
serve(load_settings(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = made_settings(tmp_path)
    (tmp_path / "shop.yaml").write_bytes(orjson.dumps(made.model_dump(mode="json")))  # JSON is YAML
    return made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(log: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *map(str, arguments)]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_until_ready(address: str) -> None:
    for _ in range(400):
        try:
            if httpx2.get(f"{address}/health/ready").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.025)
    raise AssertionError("the server is not ready after 10 s")


def processor_seconds() -> float:
    """Of ended child processes: unlike the clock, it does not count what else runs on this machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def printed_until(server: subprocess.Popen[str], mark: str) -> str:
    lines: list[str] = []
    for line in server.stdout or ():
        lines.append(line)
        if mark in line:
            break
    return "".join(lines)


def walk(client: httpx2.Client, seen: list[tuple[str, str]], failures: list[str]) -> None:
    """Page through the churn list: it ends, or a new release makes the cursor expire."""
    cursor: str | None = None
    while True:
        answer = client.get("/v1/churn", params={"limit": 40} | ({"cursor": cursor} if cursor else {}))
        if answer.status_code == 410 and cursor:
            return
        if answer.status_code != 200:
            failures.append(f"{answer.status_code} {answer.text}")
            return
        body = answer.json()
        seen += {(body["release"], body["model_version"])} | {
            (body["release"], item["model_version"]) for item in body["items"]
        }
        cursor = body["next"]
        if cursor is None:
            return


def wait_for(address: str, release: str) -> None:
    for _ in range(400):
        if httpx2.get(f"{address}/health/ready").json()["release"] == release:
            return
        time.sleep(0.025)
    raise AssertionError(f"{release} was not taken up within 10 s")


def test_the_printed_calls_work_and_the_server_ends_quietly(settings: Settings, tmp_path: Path) -> None:
    release = made_release(settings)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    before = processor_seconds()
    with running(
        tmp_path / "log", "-m", "pipelines.cli", "serve", "--config", tmp_path / "shop.yaml", "--port", port, "--demo"
    ) as server:
        wait_until_ready(address)
        printed = printed_until(server, "Ctrl-C")
        calls = re.findall(r"curl (.+)", printed)
        assert len(calls) == 3
        for call in calls:
            _, header, url = shlex.split(call)
            name, _, value = header.partition(": ")
            answer = httpx2.get(url, headers={name: value})
            assert answer.status_code == 200, url
            assert answer.json()["release"] == release.id
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=10)
    errors = (tmp_path / "log").read_text()
    assert server.returncode == 0
    assert "Traceback" not in errors
    assert processor_seconds() - before <= READY_SECONDS, "start, answers and end together"


def test_ten_swaps_and_a_rollback_drop_no_request_and_mix_no_releases(settings: Settings, tmp_path: Path) -> None:
    first = made_release(settings, 1)
    seed_of = {first.id: "1"}
    key = create_key(settings, name="load", scopes=["admin"])
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    stop = threading.Event()
    seen: list[tuple[str, str]] = []
    failures: list[str] = []

    def ask() -> None:
        with httpx2.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}) as client:
            while not stop.is_set():
                walk(client, seen, failures)

    with running(tmp_path / "log", "-c", SCRIPT, tmp_path / "shop.yaml", port) as server:
        wait_until_ready(address)
        loads = [threading.Thread(target=ask) for _ in range(2)]
        for load in loads:
            load.start()
        for seed in range(2, 12):
            release = made_release(settings, seed)
            seed_of[release.id] = str(seed)
            wait_for(address, release.id)
        back = rollback(settings.releases_dir)
        wait_for(address, back.id)
        stop.set()
        for load in loads:
            load.join()
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=10)
    errors = (tmp_path / "log").read_text()
    assert failures == []
    assert seed_of[back.id] == "10"
    assert len(seen) > 100
    assert all(seed_of[release] == version for release, version in seen), "an answer mixed two releases"
    assert len({release for release, _ in seen}) >= 5
    logged = [orjson.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert {line["event"] for line in logged} >= {"request", "release"}
    assert not [line for line in logged if line["level"] == "error"]


def test_a_taken_port_is_a_plain_message(settings: Settings, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(
            tmp_path / "log", "-m", "pipelines.cli", "serve", "--config", tmp_path / "shop.yaml", "--port", port
        ) as server:
            server.wait(timeout=20)
    errors = (tmp_path / "log").read_text()
    assert server.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in errors
    assert "Traceback" not in errors
