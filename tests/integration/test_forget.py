"""A finished shop: its runs and models name no customer, and one who is forgotten is gone from what is served."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl

from pipelines.lake import Lake
from pipelines.release import current
from pipelines.settings import load_settings
from serving.store import Store
from tests.conftest import purvey

PICTURES = {".png"}


def words(file: Path) -> set[str]:
    """Every word of a file; of Parquet, of its values."""
    content = repr(pl.read_parquet(file).to_dicts()).encode() if file.suffix == ".parquet" else file.read_bytes()
    return {word.decode() for word in re.findall(rb"[A-Za-z0-9]+", content)}


def test_runs_and_registered_models_name_no_customer(finished_tea: Path) -> None:
    settings = load_settings(finished_tea)
    customers = set(Lake(settings.lake_url).read("customer_scores")["customer_id"])
    files = [file for file in (settings.home / "tracking").rglob("*") if file.is_file() and file.suffix not in PICTURES]
    assert any(file.name == "example.parquet" and "customer" in words(file) for file in files)
    for file in files:
        assert not words(file) & customers, file


def test_a_forgotten_customer_is_served_no_more(tea: Path) -> None:
    settings = load_settings(tea)
    lake = Lake(settings.lake_url)
    before = current(settings.releases_dir)
    assert before is not None
    gone = before.table("customer_scores")["customer_id"].sort().head(3).to_list()
    (tea / "gone.txt").write_text("\n".join(gone[1:]) + "\n\n")
    store = Store(settings.releases_dir, stale_after_days=8)
    assert store.refresh()
    assert store.now().table("customer_scores")["customer_id"].is_in(gone).sum() == 3
    refused = purvey("forget", "nobody", cwd=tea, check=False)
    assert (refused.returncode, "Traceback" in refused.stderr) == (3, False)

    done = json.loads(purvey("forget", gone[0], "--from", "gone.txt", "--why", "letters", "--json", cwd=tea).stdout)

    assert done["figures"] == {"customers": 3, "forgotten_before": 0}
    assert not set(gone) & set(re.findall(r"\w+", json.dumps(done))), "what is printed names nobody"
    after = current(settings.releases_dir)
    assert after is not None
    scores = before.tables["customer_scores"]
    assert after.tables["customer_scores"] == scores - 3 == lake.read("customer_scores").height
    assert not after.table("customer_scores")["customer_id"].is_in(gone).any()
    assert store.refresh()
    assert not store.now().table("customer_scores")["customer_id"].is_in(gone).any()
    assert "forgotten" in purvey("rollback", cwd=tea, check=False).stderr
