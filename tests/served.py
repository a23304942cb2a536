"""A real server of the made shop on loopback, for tests and benches that need one."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import orjson

from pipelines.settings import Settings

# Looks at `current` often, so that a swap takes no seconds; all else is as `purvey serve` runs it.
_SCRIPT = """
import sys
from pipelines.settings import load_settings
from serving import store
from serving.run import serve
store.CHECK_SECONDS = 0.05
if __name__ == "__main__":
    serve(load_settings(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    address: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(self) -> None:
        """Until it answers from a release."""
        for _ in range(800):
            try:
                if httpx2.get(f"{self.address}/health/ready").status_code == 200:
                    return
            except httpx2.TransportError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.025)
        raise AssertionError(f"the server is not ready after 20 s: {self.log.read_text()}")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(settings: Settings, *, port: int | None = None, ready: bool = True) -> Iterator[Served]:
    """Serve a shop in a process of its own; it is killed at the end if it still runs."""
    port = port or free_port()
    config = settings.home / "served.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_bytes(orjson.dumps(settings.model_dump(mode="json")))  # JSON is YAML
    log = settings.home / f"served-{port}.log"
    with (
        log.open("ab") as errors,
        subprocess.Popen([sys.executable, "-c", _SCRIPT, str(config), str(port)], stderr=errors) as process,
    ):
        server = Served(f"http://127.0.0.1:{port}", port, process, log)
        try:
            if ready:
                server.wait_until_ready()
            yield server
        finally:
            if process.poll() is None:
                process.kill()
