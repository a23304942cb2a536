"""Ordering policies replayed on a small shop's own past, through the real program."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import polars as pl
import pytest
import yaml

from tests.conftest import purvey
from tests.made_twin import HOLDING_COST, KEYS, LEAD_WEEKS, SHORTAGE_COST, made_twin

ITEMS, HISTORY, ORIGINS = 6, 60, 6


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder, twin = tmp_path_factory.mktemp("simulate"), made_twin(5, ITEMS, HISTORY)
    twin.table(0).write_parquet(folder / "demand.parquet")
    terms = {"lead_time_days": 7 * LEAD_WEEKS, "holding_cost": HOLDING_COST, "shortage_cost": SHORTAGE_COST}
    twin.series.select(KEYS).with_columns(supplier_id=pl.lit("warehouse"), **terms).write_parquet(
        folder / "supply_terms.parquet"
    )
    content = {
        "shop": "small",
        "data_dir": "lake",
        "sources": [{"table": name, "path": f"{name}.parquet"} for name in ("demand", "supply_terms")],
        "demand": {"series": KEYS, "frequency": "week", "horizon": 4, "trees": 10},
    }
    (folder / "shop.yaml").write_text(yaml.safe_dump(content))
    purvey("ingest", cwd=folder)
    return folder


def test_policies_are_replayed_and_the_lake_stays_as_it_was(shop):
    before = sorted(path.name for path in (shop / "lake").rglob("*"))
    chosen = ("--policy", "paths", "--policy", "min_max", "--origins", ORIGINS, "--refit-every", ORIGINS)
    done = purvey("simulate", *chosen, "--out", "F.parquet", "--figure", "F.svg", "--json", cwd=shop)
    assert sorted(path.name for path in (shop / "lake").rglob("*")) == before
    told = json.loads(done.stdout)
    assert told["figures"]["series"] == ITEMS
    assert told["figures"]["periods"] == ORIGINS
    assert not any("illustration" in note for note in told["notes"])
    judged, points = (pl.DataFrame(table) for table in told["tables"].values())
    by_series = pl.read_parquet(shop / "F.parquet")
    assert judged["policy"].to_list() == ["paths", "min_max"]
    for policy, cost, fill_rate in judged.select("policy", "cost", "fill_rate").rows():
        one = by_series.filter(policy=policy)
        assert one.height == one.select(KEYS).n_unique() == ITEMS
        money = one.select(HOLDING_COST * pl.col("stock") + SHORTAGE_COST * pl.col("unmet")).to_series()
        assert one["cost"].to_list() == pytest.approx(money.to_list())
        assert money.sum() == pytest.approx(cost, rel=1e-3)
        assert 1 - one["unmet"].sum() / one["demand"].sum() == pytest.approx(fill_rate, abs=1e-3)
    asked = [one["demand"].to_list() for one in by_series.sort(KEYS).partition_by("policy")]
    assert asked[0] == asked[1]
    assert points["policy"].unique().sort().to_list() == ["order_up_to_quantile", "paths", "safety_stock"]
    assert ElementTree.parse(shop / "F.svg").getroot().tag.endswith("svg")


def test_a_policy_nobody_knows_is_named_with_those_there_are(shop):
    done = purvey("simulate", "--policy", "crystal_ball", "--out", "none.parquet", cwd=shop, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "There is no policy called 'crystal_ball'." in said
    assert "paths, min_max" in said
    assert "Traceback" not in said
    assert not (shop / "none.parquet").exists()


def test_a_target_is_held_against_the_past(shop):
    asked = ("--target", "fill_rate=.9", "--origins", ORIGINS, "--refit-every", ORIGINS)
    told = json.loads(purvey("simulate", *asked, "--json", cwd=shop).stdout)
    (reached,), covered = told["tables"].values()
    assert reached["level"] == 0.9
    assert 0 < reached["realised"] <= 1
    assert [row["level"] for row in covered] == [0.5, 0.8, 0.95]
    # the last review but one is the last whose two weeks of lead time the record holds
    assert all(0 < row["windows"] <= ITEMS * (ORIGINS - LEAD_WEEKS + 1) for row in covered)
    assert all(row["share_below"] <= row["share_at_most"] for row in covered)
    refused = purvey("simulate", "--target", "fill_rate=.9", "--policy", "paths", cwd=shop, check=False)
    assert refused.returncode == 2
    assert "--target stands alone." in " ".join((refused.stdout + refused.stderr).split())
