"""How the benches measure: each figure in a process of its own, wall and processor seconds, peak memory."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@contextmanager
def measured(figures: dict[str, Any]) -> Iterator[None]:
    """Wall and processor seconds, and the peak of resident memory above what was held before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    held = _memory_mb("VmRSS")
    wall, processor = time.perf_counter(), time.process_time()
    yield
    figures["seconds"] = time.perf_counter() - wall
    figures["processor_seconds"] = time.process_time() - processor
    figures["above_mb"] = _memory_mb("VmHWM") - held


def _memory_mb(kind: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def child(task: Callable[..., dict[str, Any]], folder: Path, **arguments: Any) -> dict[str, Any]:
    """Run a task of a bench in a process of its own; its figures with `peak_mb` of the whole process."""
    call = json.dumps({"task": task.__name__, "folder": str(folder), "arguments": arguments})
    return run([sys.executable, inspect.getfile(task), "--child", call])


def run(command: list[str]) -> dict[str, Any]:
    """The figures that a program prints as JSON on its last line, with `peak_mb` of its process."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return json.loads(said.splitlines()[-1]) | {"peak_mb": usage.ru_maxrss / 1024}


def answer(call: str, tasks: dict[str, Any]) -> None:
    """In the child: do what `child` asks for and print the figures."""
    asked = json.loads(call)
    print(json.dumps(tasks[asked["task"]](Path(asked["folder"]), **asked["arguments"])))


def seconds(figures: dict[str, Any]) -> str:
    """Wall seconds, and processor seconds for machines that are shared."""
    return f"{figures['seconds']:.2f} s ({figures['processor_seconds']:.2f} s processor)"
