"""Several processes that answer on one address: started together, replaced when one dies, ended together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from pipelines.settings import Settings
from serving.app import SHARED_FIGURES
from serving.logs import event

# A worker that dies sooner than this after its start is replaced no faster than this, so that one which cannot start
# does not keep the machine busy.
_SOON_SECONDS = 1.0
Work = Callable[[Settings, socket.socket], None]


def keep(count: int, work: Work, settings: Settings, listening: socket.socket, *, grace_seconds: float) -> None:
    """Keep so many workers alive until SIGTERM or SIGINT; then end them, each after what it has under way.

    Args:
        count: How many.
        work: What each does in a process of its own until it gets SIGTERM. A function of a module.
        settings: The shop.
        listening: The socket they share; the kernel gives each call to one of them.
        grace_seconds: How long a worker may take to end before it is killed.
    """
    ending = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        for worker in started:
            worker.terminate()

    started: dict[SpawnProcess, float] = {}
    with tempfile.TemporaryDirectory(prefix="purvey-figures-") as figures:
        os.environ[SHARED_FIGURES] = figures
        former = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not ending:
                _fill(started, count, work, settings, listening)
                # Wakes now and then: a signal runs its handler, but does not end this wait.
                wait([worker.sentinel for worker in started], timeout=0.2)
                if not ending:
                    _bury(started)
        finally:
            _end(started, grace_seconds)
            for number, handler in former.items():
                signal.signal(number, handler)
            del os.environ[SHARED_FIGURES]


def _fill(
    started: dict[SpawnProcess, float], count: int, work: Work, settings: Settings, listening: socket.socket
) -> None:
    spawning = multiprocessing.get_context("spawn")  # polars has threads, which a fork would not survive
    while len(started) < count:
        worker = spawning.Process(target=work, args=(settings, listening), name="purvey-worker")
        worker.start()
        started[worker] = time.monotonic()


def _bury(started: dict[SpawnProcess, float]) -> None:
    for worker in [worker for worker in started if worker.exitcode is not None]:
        lived = time.monotonic() - started.pop(worker)
        event("worker-died", pid=worker.pid, exit_code=worker.exitcode, lived_seconds=round(lived, 1))
        if lived < _SOON_SECONDS:
            time.sleep(_SOON_SECONDS - lived)


def _end(started: dict[SpawnProcess, float], grace_seconds: float) -> None:
    for worker in started:
        worker.terminate()
    latest = time.monotonic() + grace_seconds
    for worker in started:
        worker.join(max(0.0, latest - time.monotonic()))
        if worker.exitcode is None:
            worker.kill()
            worker.join()
