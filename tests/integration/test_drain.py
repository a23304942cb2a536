"""What the API took in reaches the lake exactly once, killed after whatever it had written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from pipelines import inbox
from pipelines.database import Database
from pipelines.drain import drain, refusals
from pipelines.supply.jobs import replenish
from pipelines.supply.orders import broken, current
from tests.conftest import ROOT
from tests.unit.supply.conftest import Shop

KILLED = """
import os, signal, sys
from pipelines import drain, inbox
from pipelines.lake import Lake
from pipelines.settings import Settings
owner, name = {"lake": (Lake, "_attempt"), "store": (inbox, "drained")}[sys.argv[2]]
whole = getattr(owner, name)
def fatal(*given, **named):
    if sys.argv[3] == "after":
        whole(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, fatal)
sources = [{"table": table, "path": f"{table}.parquet"} for table in ("demand", "stock")]
settings = Settings(shop="made_up", data_dir=sys.argv[1], sources=sources, demand={"series": ["product_id"]})
drain.drain(settings, Lake(settings.lake_url))
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    made.forecast()
    made.stock(1)
    made.terms()
    replenish(made.settings, made.lake)
    return made


def say(shop: Shop, kind: str, *rows: dict) -> None:
    with closing(Database(shop.settings)) as database, database.writing() as connection:
        inbox.post(connection, kind, rows)


def decided(line: str, step: int, state: str, **more: object) -> dict:
    return {"subject": line, "step": step, "state": state, "who": "ann", "why": "seen", **more}


def proposed(shop: Shop) -> list[str]:
    return current(shop.lake.read("decisions")).filter(state="proposed")["order_line"].to_list()


@pytest.mark.parametrize("place", ["lake", "store"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_commit_each_decision_is_in_the_lake_once(shop, tmp_path, place, when):
    first, second, *_ = proposed(shop)
    say(shop, inbox.DECISIONS, decided(first, 1, "edited", quantity=7.0), decided(second, 1, "approved"))
    say(shop, inbox.DECISIONS, decided(first, 2, "approved"))
    command = [sys.executable, "-c", KILLED, tmp_path, place, when]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    drain(shop.settings, shop.lake)
    assert drain(shop.settings, shop.lake) == {}
    ledger = shop.lake.read("decisions")
    assert broken(ledger).is_empty()
    theirs = ledger.filter(who="ann").sort("order_line", "step")
    found = {line: theirs.filter(order_line=line)["state"].to_list() for line in (first, second)}
    assert found == {first: ["edited", "approved"], second: ["approved"]}
    assert current(ledger).filter(order_line=first)["quantity"].item() == 7.0


def test_what_the_lake_forbids_is_kept_with_the_reason(shop):
    line = proposed(shop)[0]
    say(shop, inbox.DECISIONS, decided(line, 1, "received"), decided("20990101-0", 1, "approved"))
    before = shop.lake.version("decisions")
    assert drain(shop.settings, shop.lake) == {}
    assert shop.lake.version("decisions") == before
    with closing(Database(shop.settings)) as database, database.reading() as connection:
        reasons = {row.subject: row.became for row in connection.execute(inbox.INBOX.select())}
    assert reasons == {line: "the line was proposed and could not become received",
                       "20990101-0": "there is no such order line"}  # fmt: skip


def test_a_newer_count_replaces_an_older_one_and_never_the_other_way(shop):
    say(shop, inbox.STOCK, {"product_id": "P001", "as_of": "2024-04-20", "on_hand": 40.0},
        {"product_id": "P002", "as_of": "2024-04-01", "on_hand": 9.0})  # fmt: skip
    assert drain(shop.settings, shop.lake) == {"stock": 2}
    held = {row["product_id"]: row for row in shop.lake.read("stock").to_dicts()}
    assert (held["P001"]["on_hand"], held["P001"]["as_of"]) == (40.0, date(2024, 4, 20))
    assert held["P002"]["on_hand"] == held["P003"]["on_hand"] == 1.0


def test_outcomes_of_a_campaign_add_up_and_leave_no_customer_in_the_store(shop):
    whom = {"list_id": "L1", "customer_id": "c1"}
    say(shop, inbox.CAMPAIGNS, whom | {"contacted_at": "2024-04-16T10:00:00+00:00"})
    drain(shop.settings, shop.lake)
    say(shop, inbox.CAMPAIGNS, whom | {"responded": True, "revenue": 12.5})
    drain(shop.settings, shop.lake)
    (row,) = shop.lake.read("campaign_outcomes").to_dicts()
    assert (row["contacted_at"].date(), row["responded"], row["revenue"]) == (date(2024, 4, 16), True, 12.5)
    with closing(Database(shop.settings)) as database, database.reading() as connection:
        assert all(one.said is None for one in connection.execute(inbox.INBOX.select()))
    assert pl.Series([row["known_at"]]).null_count() == 0


def test_ingest_says_what_could_not_be_taken(shop):
    began = datetime.now(UTC)
    say(shop, inbox.DECISIONS, decided("20990101-0", 1, "approved"), decided("20990101-1", 1, "approved"))
    drain(shop.settings, shop.lake)
    assert refusals(shop.settings, began) == {"there is no such order line": 2}
    assert refusals(shop.settings, datetime.now(UTC)) == {}
