"""Lists of campaigns in the whole flow: from the configuration to a file and back to what it brought."""

from __future__ import annotations

import json

import polars as pl
import yaml

from pipelines.lake import Lake
from pipelines.settings import load_settings
from tests.conftest import purvey
from tests.shops import orders

CAMPAIGN = {
    "name": "win_back",
    "action": "Write a letter",
    "channel": "email",
    "response_rate": 0.2,
    "cost_per_contact": 0.01,
    "holdout": 0.3,
    "measure_days": 14,
}


def test_a_campaign_from_the_configuration_to_its_result(tea):
    ids = orders()["customer_id"].unique().sort()
    pl.DataFrame(
        {"customer_id": ids, "consent_email": ["yes"] * 150 + ["no"] * 50 + [""] * (len(ids) - 200)}
    ).write_csv(tea / "people.csv")
    content = yaml.safe_load((tea / "shop.yaml").read_text())
    content["sources"].append({"table": "customers", "format": "csv", "path": "people.csv"})
    content["customers"]["campaigns"] = [CAMPAIGN]
    (tea / "shop.yaml").write_text(yaml.safe_dump(content))
    lake = Lake(load_settings(tea).lake_url)

    purvey("ingest", cwd=tea)
    early = lake.read("customer_scores")["as_of"][0]
    built = json.loads(purvey("lists", "build", "--json", cwd=tea).stdout)
    (told,) = built["tables"]["Lists"]
    assert told["list_id"] == f"win_back-{early}"
    assert {row["reason"] for row in built["tables"]["Of the audience, not on the list"]} >= {
        "consent_refused",
        "consent_unknown",
    }
    done = purvey("lists", "export", told["list_id"], "--out", "list.csv", "--bom", cwd=tea)
    rows = pl.read_csv(tea / "list.csv")
    assert rows.height == told["customers"] - told["control_group"] > 0
    assert set(rows["customer_id"]) <= set(ids[:150])
    assert not any(one in done.stdout for one in rows["customer_id"]), "names of customers stay in the file"
    assert "0 rows" not in done.stdout

    posted = rows.head(3).select(
        "list_id", "customer_id", contacted_at=pl.lit(f"{early} 10:00:00"), responded=pl.lit("yes"), revenue=pl.lit(9.5)
    )
    posted.write_csv(tea / "outcomes.csv")
    content["sources"].append({"table": "campaign_outcomes", "format": "csv", "path": "outcomes.csv"})
    (tea / "shop.yaml").write_text(yaml.safe_dump(content))
    purvey("ingest", cwd=tea)
    assert lake.read("campaign_outcomes")["responded"].to_list() == [True] * 3
    refused = purvey("lists", "export", "nobody-2024-01-01", "--out", "x.csv", cwd=tea, check=False)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "old enough" in purvey("lists", "results", cwd=tea).stdout
