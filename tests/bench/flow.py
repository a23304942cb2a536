"""`make bench`: what the flow costs. Whole processes from outside: seconds, peak memory, time to the first answer."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "pipelines.cli"]
CONFIG = ["--config", str(ROOT / "configs" / "online_retail.yaml")]


def seconds(arguments: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([*PROGRAM, *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ | env)
    return time.perf_counter() - began


def best_of(times: int, measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(times))


def seconds_to_ready(env: dict[str, str]) -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    server = subprocess.Popen(
        [*PROGRAM, "serve", *CONFIG, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | env,
    )
    try:
        while time.perf_counter() - began < 60:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
                    return time.perf_counter() - began
            except OSError:
                time.sleep(0.02)
        raise SystemExit("the server never became ready")
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        env = {"PURVEY_DATA_DIR": str(Path(folder) / "online_retail")}
        first = seconds(["run", *CONFIG], env)
        peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
        rows = [
            ("whole flow on the sample, first run", f"{first:.0f} s", "≤ 180 s"),
            ("  peak memory of its process", f"{peak_gb:.2f} GB", "< 4 GB"),
            ("whole flow again, nothing new", f"{seconds(['run', *CONFIG], env):.1f} s", ""),
            ("serve: start to ready", f"{best_of(3, lambda: seconds_to_ready(env)):.2f} s", "≤ 5 s"),
            ("purvey --help", f"{best_of(5, lambda: seconds(['--help'], env)):.2f} s", "< 0.3 s"),
        ]
    for what, measured, bar in rows:
        print(f"{what:<40}{measured:>12}   {bar}")


if __name__ == "__main__":
    main()
