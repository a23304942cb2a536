"""Several worker processes behind one address, for real."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import httpx2
import orjson

from serving.auth import create_key
from tests.made_shop import made_release, made_settings
from tests.served import Served, served


def workers_of(server: Served) -> set[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def counted(text: str) -> int:
    found = re.search(r'purvey_request_seconds_count\{method="GET",route="/health/live",status="200"\} (\d+)', text)
    return int(found[1]) if found else 0


def test_workers_answer_are_counted_together_are_replaced_and_end_with_zero(tmp_path: Path) -> None:
    settings = made_settings(tmp_path, serving={"workers": 2})
    made_release(settings)
    key = create_key(settings, name="workers", scopes=["admin"])
    with served(settings) as server:
        assert len(workers_of(server)) == 2
        for _ in range(40):
            assert httpx2.get(f"{server.address}/health/live").status_code == 200  # each time a new connection
        headers = {"Authorization": f"Bearer {key}"}
        for _ in range(200):
            total = counted(httpx2.get(f"{server.address}/metrics", headers=headers).text)
            if total == 40:
                break
            time.sleep(0.05)
        assert total == 40, "whichever worker is asked knows what all have answered"

        before = workers_of(server)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        for _ in range(400):
            if len(now := workers_of(server)) == 2 and killed not in now:
                break
            time.sleep(0.025)
        assert len(now - before) == 1
        server.wait_until_ready()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=15) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in now), "no worker is left behind"
    lines = [orjson.loads(line) for line in server.log.read_text().splitlines()]
    assert [line["pid"] for line in lines if line["event"] == "worker-died"] == [killed]
