"""What is logged: JSON lines without personal data.

Events and faults are written at once. Request lines, thousands a second, are collected and written by a thread, so that
no request waits for the reader of the log; when that reader falls behind, lines are dropped and counted.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, BinaryIO, Literal

import orjson

log = logging.getLogger("purvey.serving")
Wanted = Literal["all", "errors", "off"]
Line = tuple[float, str, str, str, int, float, str | None, str]
_MOST_WAITING = 50_000
_FLUSH_SECONDS = 0.25


def event(name: str, *, level: int = logging.INFO, **facts: Any) -> None:
    """Log one JSON line."""
    if log.isEnabledFor(level):
        said = {"at": datetime.now(UTC), "level": logging.getLevelName(level).lower(), "event": name, **facts}
        log.log(level, "%s", orjson.dumps(said, default=str).decode())


def fault(error: Exception, **facts: Any) -> None:
    """Log where an error happened, not what was in it: messages of exceptions can hold a customer's data."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    event("fault", level=logging.ERROR, error=type(error).__name__, frames=frames[-8:], **facts)


class RequestLog:
    """One line a request, for those that are wanted, once `open` has said where to.

    Args:
        wanted: `all`, `errors` (answers from 400 on), `off`.
        on_drop: Called with the number of lines lost because the reader is too slow.
    """

    def __init__(self, wanted: Wanted, on_drop: Callable[[int], object] = lambda lines: None) -> None:
        self._from_status = {"all": 0, "errors": 400, "off": 1000}[wanted]
        self._on_drop = on_drop
        self._waiting: deque[Line] = deque()
        self._stream: BinaryIO | None = None
        self._ending = threading.Event()
        self._writer: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def open(self, stream: BinaryIO) -> None:
        """Write to this stream from now on, four times a second."""
        self._stream = stream
        self._ending.clear()
        self._writer = threading.Thread(target=self._write_on, name="request-log", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Write what is waiting and stop; a reader that takes nothing is not waited for."""
        if self._writer is not None:
            self._ending.set()
            self._writer.join(timeout=1.0)
            self._writer = self._stream = None

    def note(self, line: Line) -> None:
        """Take down one answer: when (epoch), request id, method, route, status, seconds, key prefix, trace id."""
        if self._stream is None or line[4] < self._from_status:
            return
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(line)
        else:
            self._on_drop(1)

    def _write_on(self) -> None:
        while not self._ending.wait(_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        stream, waiting = self._stream, self._waiting
        if stream is None or not waiting:
            return
        lines = b"".join(_text_of(waiting.popleft()) for _ in range(len(waiting)))
        try:
            stream.write(lines)
            stream.flush()
        except (OSError, ValueError):  # nobody reads any more: that is no reason to answer nobody
            self._on_drop(lines.count(b"\n"))


def _text_of(line: Line) -> bytes:
    """One line of JSON. The request id and the trace have letters, digits, dots and dashes only: nothing to escape."""
    at, request_id, method, route, status, seconds, key, trace = line
    when, known = datetime.fromtimestamp(at, UTC).isoformat(), _known(method, route, status, key)
    return (
        f'{{"at":"{when}",{known},"request_id":"{request_id}","ms":{seconds * 1000:.2f},"trace":"{trace}"}}\n'.encode()
    )


@lru_cache(maxsize=1024)
def _known(method: str, route: str, status: int, key: str | None) -> str:
    """What many lines have in common, as JSON without its braces."""
    said = {
        "level": "error" if status >= 500 else "info",
        "event": "request",
        "method": method,
        "route": route,
        "status": status,
        "key": key,
    }
    return orjson.dumps(said)[1:-1].decode()
