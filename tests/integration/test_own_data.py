"""Shops that bring other tables than order lines, through the real program."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
import yaml

from tests.conftest import purvey
from tests.made_contracts import made_contracts

WEEKS = 90
FIRST = date(2022, 1, 7)  # a Friday: weeks keep the weekday of the shop's own dates


def totals(series: int, seed: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    week = np.arange(WEEKS)
    level = rng.uniform(5, 60, series)[:, None] * (1 + 0.3 * np.sin(2 * np.pi * week / 52))
    return pl.DataFrame(
        {
            "store": np.repeat(np.arange(series), WEEKS),
            "Date": [FIRST + timedelta(weeks=int(w)) for _ in range(series) for w in week],
            "Sold": rng.poisson(level).ravel(),
            "in_stock": rng.uniform(size=series * WEEKS) > 0.1,
        }
    )


def shop(folder, sources, **sections):
    content = {"shop": "own", "data_dir": "lake", "sources": sources, **sections}
    (folder / "shop.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture
def weekly_totals(tmp_path):
    totals(6).select("store", "Date", "Sold").write_parquet(tmp_path / "demand.parquet")
    ahead = pl.DataFrame({"Date": [FIRST + timedelta(weeks=w) for w in range(WEEKS + 8)]})
    ahead.with_columns(holiday=(pl.col("Date").dt.month() == 12).cast(pl.Int64)).write_csv(tmp_path / "holidays.csv")
    sources = [
        {"table": "demand", "path": "demand.parquet", "columns": {"period": "Date", "quantity": "Sold"}},
        {
            "table": "covariates",
            "format": "csv",
            "path": "holidays.csv",
            "columns": {"period": "Date"},
            "known_ahead": ["holiday"],
        },
    ]
    return shop(
        tmp_path, sources, demand={"series": ["store"], "horizon": 5, "quantiles": [0.1, 0.5, 0.9], "trees": 20}
    )


def test_weekly_totals_with_integer_keys_and_covariates(weekly_totals):
    purvey("check", cwd=weekly_totals)
    assert not (weekly_totals / "lake").exists()
    purvey("ingest", cwd=weekly_totals)
    cutoff = FIRST + timedelta(weeks=WEEKS - 6)
    purvey("forecast", "--cutoff", cutoff, "--out", "f.parquet", cwd=weekly_totals)
    forecast = pl.read_parquet(weekly_totals / "f.parquet")
    assert forecast.columns == ["store", "period", "mean", "p10", "p50", "p90"]
    assert forecast.schema["store"] == pl.Int64
    assert forecast["period"].unique().sort().to_list() == [cutoff + timedelta(weeks=h) for h in range(1, 6)]
    assert forecast.height == 6 * 5
    purvey("backtest", "--origins", 2, "--out", "b.parquet", cwd=weekly_totals)
    backtest = pl.read_parquet(weekly_totals / "b.parquet")
    assert {"cutoff", "actual"} <= set(backtest.columns)
    assert backtest["cutoff"].n_unique() == 2


def test_the_whole_flow_on_totals_with_stock_and_terms(tmp_path):
    demand = totals(6)
    demand.write_parquet(tmp_path / "demand.parquet")
    day = FIRST + timedelta(weeks=WEEKS)
    keys = pl.DataFrame({"store": range(6)})
    keys.with_columns(as_of=pl.lit(day), on_hand=pl.lit(10)).write_parquet(tmp_path / "stock.parquet")
    keys.with_columns(supplier_id=pl.lit("farm"), lead_time_days=7, holding_cost=0.1, shortage_cost=2.0).write_csv(
        tmp_path / "terms.csv"
    )
    columns = {"period": "Date", "quantity": "Sold", "available": "in_stock"}
    sources = [
        {"table": "demand", "path": "demand.parquet", "columns": columns},
        {"table": "stock", "path": "stock.parquet"},
        {"table": "supply_terms", "format": "csv", "path": "terms.csv"},
    ]
    settings = {"series": ["store"], "horizon": 5, "trees": 10, "backtest_origins": 1}
    folder = shop(tmp_path, sources, demand=settings)
    purvey("run", cwd=folder)
    purvey("export", "replenishment", "--out", "orders.csv", cwd=folder)
    proposed = pl.read_csv(folder / "orders.csv")
    assert proposed.height == 6
    assert (proposed["quantity"] > 0).all()
    assert not proposed["illustrative"].any()


def test_subscriptions_run_from_file_to_release(tmp_path):
    made_contracts(150).rename({"churned": "churn"}).write_parquet(tmp_path / "contracts.parquet")
    source = {"table": "contracts", "path": "contracts.parquet", "columns": {"churned": "churn"}}
    folder = shop(tmp_path, [source], customers={"kind": "contractual", "protected": ["age_group"]})
    purvey("run", cwd=folder)
    purvey("export", "customers", "--out", "scores.parquet", cwd=folder)
    purvey("backtest", "customers", "--out", "judged.parquet", cwd=folder)
    scores, judged = (pl.read_parquet(folder / file) for file in ("scores.parquet", "judged.parquet"))
    assert scores.height == judged.height == 150
    assert set(scores["status"]) == {"active", "churned"}
    assert scores.filter(status="active")["value"].min() > 0
    assert {"customer_id", "churned", "churn_probability"} <= set(judged.columns)
