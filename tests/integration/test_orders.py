"""`purvey orders` by its own words: from proposals to what came of them."""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl

from pipelines.settings import load_settings
from tests.conftest import purvey


def told(*arguments, cwd):
    return json.loads(purvey("orders", *arguments, "--json", cwd=cwd, USER="carl").stdout)


def test_from_the_list_to_a_receipt(tea):
    rows = told("list", cwd=tea)["tables"]["Order lines"]
    first, second = (row["order_line"] for row in rows[:2])
    assert {row["state"] for row in rows} <= {"proposed", "held"}
    (tea / "mine.txt").write_text(f"REC-{first}\n\n")
    told("edit", "--quantity", "5", "--from", "mine.txt", "--who", "ann", "--why", "a fair", cwd=tea)
    refused = purvey("orders", "receive", first, "--who", "ann", cwd=tea, check=False)
    assert refused.returncode == 9
    assert f"Order line {first} is edited and cannot become received" in refused.stderr
    assert f"purvey orders approve {first}" in refused.stderr
    told("approve", first, second, "--who", "bob", cwd=tea)
    told("reject", "--all", "--who", "bob", "--why", "the cellar is full", cwd=tea)
    assert {row["state"] for row in told("list", cwd=tea)["tables"]["Order lines"]} <= set()
    exported = told("export", "--out", "out", "--who", "bob", cwd=tea)
    assert exported["figures"]["lines"] == 0
    assert "no approved line" in exported["notes"][0]


def test_files_numbers_and_days(tea):
    rows = told("list", cwd=tea)["tables"]["Order lines"]
    named = [row["order_line"] for row in rows]
    told("approve", *named, cwd=tea)
    done = told("export", "--out", "out", "--format", "json", cwd=tea)
    assert done["figures"]["lines"] == len(named)
    sent = [row for file in (tea / "out").iterdir() for row in json.loads(file.read_text())]
    assert sorted(row["reference"] for row in sent) == sorted(f"REC-{name}" for name in named)
    key = next(iter(pl.DataFrame(rows).select("product_id").to_series()))
    told("acknowledge", "--series", f"product_id={key}", "--order-id", "PO7", cwd=tea)
    told("receive", "--all", "--on", "2024-01-02", cwd=tea)
    closed = told("list", "--state", "received", cwd=tea)["tables"]["Order lines"]
    zone = load_settings(tea).zone
    assert {datetime.fromisoformat(row["at"]).astimezone(zone).isoformat()[:16] for row in closed} == {
        "2024-01-02T00:00"
    }
    assert [row["order_id"] for row in closed if row["product_id"] == key] == ["PO7"]
    assert "orders edits" in purvey("orders", "edits", cwd=tea).stdout
