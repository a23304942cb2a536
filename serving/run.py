"""The server process."""

from __future__ import annotations

import logging
import socket
import sys

import uvicorn

from pipelines.errors import PurveyError
from pipelines.settings import Settings
from serving.app import create_app
from serving.auth import Keyring

_GRACE_SECONDS = 5


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until told to stop. Requests under way are answered first.

    Logs are JSON lines on standard error; at a terminal only warnings are shown.

    Args:
        settings: The shop.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.

    Raises:
        PurveyError: The address is taken or not ours.
        AccessError: The keys cannot be opened.
    """
    logging.basicConfig(
        stream=sys.stderr, format="%(message)s", level=logging.WARNING if sys.stderr.isatty() else logging.INFO
    )
    for noisy in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings = settings.served_at(host, port)
    Keyring(settings).close()
    with _listen(host, port) as listening:
        app = create_app(settings)
        if not sys.stderr.isatty():
            app.state.requests.open(sys.stderr.buffer)
        config = uvicorn.Config(
            app,
            http="httptools",
            loop="asyncio" if sys.platform == "win32" else "uvloop",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listening])


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
