"""The server process, or several of them."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from pipelines.database import Database
from pipelines.errors import PurveyError
from pipelines.settings import Settings
from serving import workers
from serving.app import create_app

_GRACE_SECONDS = 5
_WAITING_CALLS = 2048


def serve(settings: Settings, host: str, port: int, count: int | None = None) -> None:
    """Serve until told to stop by SIGTERM or SIGINT. Requests under way are answered first.

    Logs are JSON lines on standard error; at a terminal only warnings are shown.

    Args:
        settings: The shop.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        count: Worker processes; by default `serving.workers`.

    Raises:
        PurveyError: The address is taken or not ours.
        StoreError: The API's store cannot be opened.
    """
    settings = settings.served_at(host, port)
    count = count or settings.serving.workers
    Database(settings).close()
    with _listen(host, port) as listening:
        if count == 1:
            work(settings, listening)
        else:
            _log_to_standard_error()
            workers.keep(count, work, settings, listening, grace_seconds=_GRACE_SECONDS + 2)


def work(settings: Settings, listening: socket.socket) -> None:
    """Answer what comes in on a socket until told to stop.

    Args:
        settings: The shop, as it is served.
        listening: A bound socket, maybe shared with other workers.
    """
    _log_to_standard_error()
    app = create_app(settings)
    if not sys.stderr.isatty():
        app.state.requests.open(sys.stderr.buffer)
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="asyncio" if sys.platform == "win32" else "uvloop",
        backlog=_WAITING_CALLS,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    _Server(config).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Ends with 0 when it was told to stop; uvicorn itself would die of the signal after it has cleaned up."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin; what is loaded by now stays, so the garbage collector need not walk it between requests."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl-C does not wait for what is under way."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def _log_to_standard_error() -> None:
    level = logging.WARNING if sys.stderr.isatty() else logging.INFO
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=level)
    for noisy in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise PurveyError(
            f"Cannot listen on {host}:{port}: {error.strerror}.", remedy="choose another with --host or --port"
        ) from error
    listening.set_inheritable(True)
    return listening
