"""`make bench` (by itself: it takes ten minutes): the whole customer job of a large made shop.

Customers who buy till they die, with four lines an order, are written into a lake; then everything `purvey train
customers` and `purvey score customers` do is measured in a process of its own: wall and processor seconds, peak memory.

    python tests/bench/customers_job.py [--customers 1000000]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from shoppers import histories

from pipelines.lake import Lake
from pipelines.settings import Settings, Source

ROOT = Path(__file__).parents[2]
_AT_ONCE = 100_000
_END = datetime(2024, 1, 1, tzinfo=UTC)


def settings_of(folder: Path) -> Settings:
    source = Source(table="order_lines", path="orders.parquet")
    return Settings(shop="large", data_dir=str(folder), sources=[source])


def write(folder: Path, customers: int, lines_an_order: int = 4) -> int:
    lake, written = Lake(settings_of(folder).lake_url), 0
    for start in range(0, customers, _AT_ONCE):
        count = min(_AT_ONCE, customers - start)
        frame = orders(start, count, lines_an_order)
        lake.append("order_lines", frame)
        written += frame.height
    return written


def orders(start: int, count: int, lines_an_order: int) -> pl.DataFrame:
    rng = np.random.default_rng(start)
    repeats, recency, age = histories(count, seed=start + 1)
    who = np.repeat(np.arange(count), (repeats + 1).astype(int))
    place = np.arange(len(who)) - np.repeat(np.cumsum(repeats + 1) - (repeats + 1), (repeats + 1).astype(int))
    share = np.where(place == 0, 0.0, np.where(place == repeats[who], 1.0, rng.random(len(who))))
    weeks_ago = age[who] - share * recency[who]
    line = np.tile(np.arange(lines_an_order), len(who))
    each = np.repeat(np.arange(len(who)), lines_an_order)
    minutes = (weeks_ago[each] * 7 * 24 * 60).astype(np.int64)
    ordered_at = (pl.lit(_END) - pl.duration(minutes="minutes")).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(
        {
            "order": each,
            "who": who[each] + start,
            "line_no": line.astype(np.int64) + 1,
            "minutes": minutes,
            "product": rng.integers(0, 5_000, len(each)),
            "quantity": rng.integers(1, 5, len(each)).astype(float),
            "unit_price": np.round(rng.lognormal(1.5, 0.7, len(each)), 2),
        }
    )
    return frame.select(
        order_id=pl.format("{}-{}", pl.lit(start), "order"),
        line_no="line_no",
        ordered_at=ordered_at,
        customer_id=pl.format("c{}", "who"),
        product_id=pl.format("p{}", "product"),
        location_id=pl.lit("all"),
        kind=pl.lit("sale"),
        quantity="quantity",
        unit_price="unit_price",
        known_at=ordered_at,
        channel=pl.lit(None, dtype=pl.String),
        cancels_order_id=pl.lit(None, dtype=pl.String),
    )


def job(folder: Path) -> dict[str, float]:
    from pipelines.customers import jobs
    from pipelines.tracking import Tracker

    settings = settings_of(folder)
    lake, tracker, figures = Lake(settings.lake_url), Tracker(settings), {}
    for name, task in (("train", jobs.train), ("score", jobs.score)):
        wall, processor = time.perf_counter(), time.process_time()
        task(settings, lake, tracker)
        figures[name] = time.perf_counter() - wall
        figures[f"{name}_processor"] = time.process_time() - processor
    return figures | {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(job(Path(asked.child))))
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = write(Path(folder), asked.customers)
        told = os.environ | {"PYTHONPATH": str(ROOT)}
        child = subprocess.run([sys.executable, __file__, "--child", folder], capture_output=True, text=True, env=told)
        if child.returncode:
            raise SystemExit(child.stderr)
        figures = json.loads(child.stdout.splitlines()[-1])
    print(f"{asked.customers:,} customers, {lines:,} lines: peak {figures['peak_gb']:.2f} GB   (bar: 10 minutes, 8 GB)")
    for name in ("train", "score"):
        print(f"  {name} customers: {figures[name]:.0f} s ({figures[f'{name}_processor']:.0f} s processor)")


if __name__ == "__main__":
    main()
