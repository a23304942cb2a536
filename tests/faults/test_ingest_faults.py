"""Killed at any write, or with a full disk: the lake stays readable and the next run completes it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from pipelines.ingest import jobs
from pipelines.lake import Lake
from pipelines.settings import Settings, load_settings

HEADER = "order_id,line_no,ordered_at,customer_id,product_id,quantity,unit_price,kind\n"
MANY = "".join(f"x{i},1,2024-03-01,c{i},p{i * 7919},1,{i % 97}.5,sale\n" for i in range(40_000))
WHEN = ["ingested_at", "recorded_at"]

# Takes a shop in, and dies without a word before the Nth write, or so many seconds into the first one.
KILLED = """
import os, signal, sys, threading, time
from pipelines.ingest import jobs
from pipelines.lake import Lake
from pipelines.settings import load_settings
folder, number, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
def die():
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
writes = 0
def deadly(write):
    def wrapped(*arguments):
        global writes
        writes += 1
        if writes == number:
            threading.Thread(target=die).start() if seconds else die()
        return write(*arguments)
    return wrapped
Lake.merge, Lake.replace = deadly(Lake.merge), deadly(Lake.replace)
settings = load_settings(folder)
jobs.ingest(settings, Lake(settings.lake_url))
"""
WRITES = 7  # order_lines, products, stock, quarantine, exclusions, batches; and one past the end


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    rows = [f"o{i},1,2024-01-{i % 28 + 1:02d},c{i % 5},p{i % 7},{i % 4 + 1},2.5,sale" for i in range(60)]
    rows += ["r1,1,2024-02-01,c1,p1,-1,2.5,return", "bad,1,2024-02-01,c1,p1,-1,2.5,sale", rows[0]]
    (tmp_path / "orders.csv").write_text(HEADER + "\n".join(rows) + "\n")
    (tmp_path / "stock.csv").write_text("product_id,as_of,on_hand\np1,2024-02-02,4\n")
    (tmp_path / "products.csv").write_text("product_id,description\np1,cup\n")
    sources = [{"table": name, "format": "csv", "path": f"{file}.csv"} for name, file in
               (("order_lines", "orders"), ("stock", "stock"), ("products", "products"))]  # fmt: skip
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump({"shop": "s", "data_dir": "data", "sources": sources}))
    return tmp_path


def lake_of(settings: Settings) -> Lake:
    return Lake(settings.lake_url)


def everything(lake: Lake) -> dict[str, pl.DataFrame]:
    """All tables, in a fixed order of rows and columns, but for the moments of writing."""
    folders = sorted(Path(lake.url).iterdir()) if Path(lake.url).exists() else []
    tables = [folder.name for folder in folders if lake.exists(folder.name)]
    frames = {table: lake.read(table).drop(WHEN, strict=False) for table in tables}
    return {table: frame.select(sorted(frame.columns)).sort(pl.all()) for table, frame in frames.items()}


def same(a: dict[str, pl.DataFrame], b: dict[str, pl.DataFrame]) -> bool:
    return a.keys() == b.keys() and all(a[table].equals(b[table]) for table in a)


def kill(script: str, shop: Path, number: int, seconds: float = 0, **env: str) -> int:
    arguments = [sys.executable, "-c", script, str(shop), str(number), str(seconds)]
    done = subprocess.run(arguments, env=os.environ | env, capture_output=True, check=False)
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr.decode()
    return done.returncode


def test_killed_at_any_write_the_next_run_completes_it(shop: Path) -> None:
    settings = load_settings(shop, data_dir="undisturbed")
    jobs.ingest(settings, lake_of(settings))
    expected = everything(lake_of(settings))
    assert {"order_lines", "quarantine", "exclusions", "batches", "stock", "products"} == set(expected)
    for number in range(1, WRITES + 1):
        settings = load_settings(shop, data_dir=f"killed_{number}")
        code = kill(KILLED, shop, number, PURVEY_DATA_DIR=f"killed_{number}")
        assert code == (-signal.SIGKILL if number < WRITES else 0)
        everything(lake_of(settings))  # readable as it was left
        jobs.ingest(settings, lake_of(settings))
        assert same(everything(lake_of(settings)), expected)
        assert not jobs.ingest(settings, lake_of(settings)).changed


@pytest.mark.parametrize("seconds", [0.003, 0.02])
def test_killed_in_the_middle_of_a_write(shop: Path, seconds: float) -> None:
    with (shop / "orders.csv").open("a") as file:
        file.write(MANY)
    undisturbed = load_settings(shop, data_dir="undisturbed")
    jobs.ingest(undisturbed, lake_of(undisturbed))
    settings = load_settings(shop)
    assert kill(KILLED, shop, 1, seconds) == -signal.SIGKILL
    everything(lake_of(settings))
    jobs.ingest(settings, lake_of(settings))
    assert same(everything(lake_of(settings)), everything(lake_of(undisturbed)))


def test_killed_during_a_replay_the_next_one_completes_it(shop: Path) -> None:
    """Between the account of the released rows and their state in quarantine."""
    settings = load_settings(shop)
    lake = lake_of(settings)
    jobs.ingest(settings, lake)
    config = yaml.safe_load((shop / "shop.yaml").read_text())
    config["sources"][0]["columns"] = {"quantity": "unit_price"}  # any mapping under which the row passes
    (shop / "shop.yaml").write_text(yaml.safe_dump(config))
    killed = KILLED.replace("jobs.ingest(", "jobs.quarantine_replay(")
    for number in (1, 2, 3):
        assert kill(killed, shop, number) == -signal.SIGKILL
        assert lake.read("quarantine")["state"].to_list() == ["open"]
    settings = load_settings(shop)
    summary = jobs.quarantine_replay(settings, lake)
    assert summary.figures["good"] == 1
    assert lake.read("quarantine")["state"].to_list() == ["released"]
    ledger = lake.read("batches").filter(table="order_lines")
    assert ledger.height == 2
    assert ledger.select("good", "returns").sum().row(0) == (61, 1)
    assert lake.read("order_lines").height == 62


def test_a_full_disk_is_said_clearly_and_the_next_run_completes_it(shop: Path) -> None:
    with (shop / "orders.csv").open("a") as file:
        file.write(MANY)
    settings = load_settings(shop)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "ingest", "--config", str(shop / "shop.yaml")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 5, said
    assert "Table order_lines cannot be written" in said
    assert "check free space" in said
    assert "Traceback" not in said
    lake = lake_of(settings)
    assert not lake.exists("order_lines")
    assert not lake.exists("batches")
    assert jobs.ingest(settings, lake).changed
    assert lake.read("order_lines").height == 40_061


def test_a_full_disk_leaves_what_was_there(shop: Path) -> None:
    settings = load_settings(shop)
    lake = lake_of(settings)
    jobs.ingest(settings, lake)
    before = everything(lake)
    with (shop / "orders.csv").open("a") as file:
        file.write(MANY)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(shop), "0", "0"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "What it held before is untouched" in done.stderr
    assert same(everything(lake), before)
