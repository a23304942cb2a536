"""The API under load: wrk on loopback, one worker, a made release of 100,000 series × 13 periods, ratios in one run.

    PYTHONPATH=.:tests python tests/bench/api.py

Beside our server runs a bare Starlette route that returns the same bytes on the same kind of server.
"""

from __future__ import annotations

import argparse
import http.client
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from pipelines.release import activate, freeze
from pipelines.settings import Settings
from serving.auth import create_key

PERIODS = 13
CUSTOMERS = 100_000
QUANTILES = ("p05", "p10", "p25", "p50", "p75", "p90", "p95")
CONNECTIONS = 32
BATCH = 100
ISSUED_ON = date(2024, 1, 1)
SERVE = """
import sys
from pipelines.settings import load_settings
from serving.run import serve
serve(load_settings(sys.argv[1]), "127.0.0.1", int(sys.argv[2]))
"""
BARE = """
import sys, uvicorn
from pathlib import Path
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
bodies = {name: Path(sys.argv[2], name).read_bytes() for name in ("forecast", "customer")}
async def show(request):
    return Response(bodies[request.path_params["name"]], media_type="application/json")
uvicorn.run(Starlette(routes=[Route("/{name}", show)]), port=int(sys.argv[1]), http="httptools", loop="uvloop",
            access_log=False, log_level="warning")
"""
ASKING = """
wrk.headers["Authorization"] = "Bearer {key}"
request = function() return wrk.format("GET", string.format("{path}", math.random(0, {most}))) end
"""
BATCHING = """
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.headers["Content-Type"] = "application/json"
request = function()
  local asked = {{}}
  for i = 1, {batch} do asked[i] = string.format('{{"product_id":"P%06d"}}', math.random(0, {most})) end
  return wrk.format(nil, "/v1/forecasts:batch", nil, '{{"series":[' .. table.concat(asked, ",") .. ']}}')
end
"""


def main() -> None:
    """Make the release, start both servers, and print what they do."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=8)
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        print("api: skipped, wrk is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), asked.series, asked.seconds)


def measure(folder: Path, series: int, seconds: int) -> None:
    """Everything on one made release."""
    settings = made(folder, series)
    key = create_key(settings, name="bench", scopes=["admin"])
    began, port = time.perf_counter(), free_port()
    with running(folder / "log", "-c", SERVE, folder / "shop.yaml", port) as server:
        wait_for(port, "/health/ready")
        ready = time.perf_counter() - began
        loaded = resident_mb(server.pid)
        paths = {"forecast": "/v1/forecasts/one?product_id=P%06d", "customer": "/v1/customers/C%06d"}
        for name, path in paths.items():
            (folder / name).write_bytes(fetched(port, path % 7, key))
        bare_port = free_port()
        with running(folder / "bare.log", "-c", BARE, bare_port, folder):
            wait_for(bare_port, "/forecast")
            for name, path in paths.items():
                script = folder / f"{name}.lua"
                most = (series if name == "forecast" else CUSTOMERS) - 1
                script.write_text(
                    ASKING.format(key=key, path=path.replace("%06d", "%%06d").replace("%%", "%"), most=most)
                )
                bare = wrk(bare_port, f"/{name}", seconds)
                ours = wrk(port, "/", seconds, script)
                size = (folder / name).stat().st_size
                print(
                    f"{name:9} {size:5} bytes: {ours[0]:7,.0f}/s p99 {ours[1]:5.1f} ms; bare {bare[0]:7,.0f}/s"
                    f" p99 {bare[1]:5.1f} ms; throughput {ours[0] / bare[0]:.0%}, p99 {ours[1] / bare[1]:.1f}×"
                )
        script = folder / "batch.lua"
        script.write_text(BATCHING.format(key=key, batch=BATCH, most=series - 1))
        batches, p99 = wrk(port, "/", seconds, script)
        print(f"batch of {BATCH}: {batches * BATCH:,.0f} series/s, p99 {p99:.1f} ms")
        print(f"ready after {ready:.1f} s; resident {loaded:.0f} MB loaded, {resident_mb(server.pid):.0f} MB after")


def made(folder: Path, series: int) -> Settings:
    """A shop whose release has forecasts of many series and scores of many customers."""
    settings = Settings(
        shop="bench",
        data_dir=str(folder / "data"),
        sources=[{"table": "order_lines", "path": "orders.parquet"}],
        demand={"series": ["product_id"]},
        serving={"limits": {"requests_per_second": 1e6, "burst": 1_000_000}},  # counted, but never reached
    )
    (folder / "shop.yaml").write_bytes(orjson.dumps(settings.model_dump(mode="json")))  # JSON is YAML
    tables = {"forecasts": forecasts(series), "customer_scores": scores()}
    facts = {"model_versions": {"demand": "1", "churn": "1"}}
    shop = {"shop": "bench", "series": ["product_id"], "frequency": "week"}
    release = freeze(settings.releases_dir, shop=shop, tables=tables, models={}, reports={}, facts=facts)
    activate(settings.releases_dir, release.id)
    return settings


def forecasts(series: int) -> pl.DataFrame:
    """Forecasts of many series, in the order of their keys."""
    chance = np.random.default_rng(1)
    numbers = pl.int_range(series, eager=True).cast(pl.String).str.zfill(6)
    names = pl.DataFrame({"product_id": "P" + numbers})
    periods = pl.DataFrame({"period": [ISSUED_ON + timedelta(weeks=week) for week in range(PERIODS)]})
    grid = names.join(periods, how="cross")
    mean = chance.gamma(2.0, 40.0, grid.height)
    return grid.with_columns(
        issued_on=pl.lit(ISSUED_ON),
        mean=pl.Series(mean),
        **{name: pl.Series(mean * (0.4 + int(name[1:]) / 80)) for name in QUANTILES},
        p_zero=pl.Series(chance.random(grid.height)),
        flags=pl.lit(""),
        model_version=pl.lit("1"),
    )


def scores() -> pl.DataFrame:
    """Scores of many customers."""
    chance = np.random.default_rng(2)
    risk, value = chance.random(CUSTOMERS), chance.gamma(2.0, 200.0, CUSTOMERS)
    names = pl.int_range(CUSTOMERS, eager=True).cast(pl.String).str.zfill(6)
    return pl.DataFrame({"customer_id": "C" + names, "churn_probability": risk, "value": value}).with_columns(
        as_of=pl.lit(ISSUED_ON),
        status=pl.lit("active"),
        churn_band=pl.lit("low"),
        p_alive=1 - pl.col("churn_probability"),
        expected_orders=4 * (1 - pl.col("churn_probability")),
        value_low=pl.col("value") / 2,
        value_high=pl.col("value") * 2,
        segment=pl.lit("loyal"),
        next_order_on=pl.lit(ISSUED_ON + timedelta(days=20)),
        model_version=pl.lit("1"),
    )


def wrk(port: int, path: str, seconds: int, script: Path | None = None) -> tuple[float, float]:
    """Requests a second and the 99th percentile in milliseconds.

    Raises:
        RuntimeError: Some answers were errors: their speed says nothing.
    """
    asked = [*(["-s", str(script)] if script else []), f"http://127.0.0.1:{port}{path}"]
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", *asked]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(said)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])  # type: ignore[index]
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()  # type: ignore[union-attr]
    return rate, float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


@contextmanager
def running(log: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process for as long as the block lasts."""
    with log.open("w") as errors, subprocess.Popen([sys.executable, *map(str, arguments)], stderr=errors) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(port: int, path: str) -> None:
    """Until a server answers well."""
    for _ in range(1200):
        try:
            fetched(port, path, "")
        except (OSError, http.client.HTTPException):
            time.sleep(0.025)
        else:
            return
    raise TimeoutError(f"nothing answers on port {port}")


def fetched(port: int, path: str, key: str) -> bytes:
    """The body of a good answer.

    Raises:
        OSError: The answer is an error.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise OSError(f"{path}: {answer.status} {body[:200]!r}")
    return body


def resident_mb(pid: int) -> float:
    """Memory of a process that is in RAM, in MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1000  # type: ignore[index]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
