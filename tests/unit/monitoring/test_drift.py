"""Drift: found where it was planted, not found where it was not; the page loads nothing from elsewhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.tables import TABLES
from pipelines.lake import Lake
from pipelines.monitoring import report
from pipelines.monitoring.drift import Comparison, compare, comparisons
from pipelines.monitoring.jobs import monitor
from pipelines.settings import Settings

NOW = datetime(2024, 6, 1, tzinfo=UTC)
START = datetime(2023, 1, 1, 12, tzinfo=UTC)
LAST_DAYS = 28
LOADS = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)\s*=\s*["']?(?!data:)[^"'>]+"""
    r"""|@import\s*["']\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//""",
    re.IGNORECASE,
)


def shop(home: Path, table: str = "order_lines", **monitoring: object) -> Settings:
    sources = [{"table": table, "path": "none.parquet"}]
    return Settings(shop="watched", data_dir=str(home), sources=sources, monitoring=monitoring)


def order_lines(scale: float = 1.0, days: int = 420, a_day: int = 20) -> pl.DataFrame:
    """Lines whose prices in the last 28 days are multiplied by `scale`; everything else comes from one distribution."""
    draw = np.random.default_rng(5)
    rows = days * a_day
    day = np.repeat(np.arange(days), a_day)
    price = draw.lognormal(1, 0.8, rows) * np.where(day >= days - LAST_DAYS, scale, 1.0)
    frame = pl.DataFrame(
        {
            "order_id": [f"o{row}" for row in range(rows)],
            "line_no": [1] * rows,
            "ordered_at": [
                START + timedelta(days=int(d), hours=int(h))
                for d, h in zip(day, draw.integers(0, 9, rows), strict=True)
            ],
            "customer_id": [f"c{c}" for c in draw.integers(0, 50, rows)],
            "product_id": ["p"] * rows,
            "location_id": ["all"] * rows,
            "kind": ["sale"] * rows,
            "quantity": draw.poisson(4, rows) + 1.0,
            "unit_price": price,
            "channel": draw.choice(["web", "shop"], rows),
        }
    )
    schema = TABLES["order_lines"].schema.create_empty().schema
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in schema.items() if name not in frame.columns]
    full = frame.with_columns(*missing).with_columns(known_at="ordered_at")
    return full.select(schema.names()).cast(schema)


def statuses(checks: pl.DataFrame) -> dict[str, str]:
    return dict(checks.select("column", "status").rows())


@pytest.mark.parametrize(("scale", "expected"), [(1.0, "ok"), (10.0, "drift")])
def test_prices_ten_times_as_high_drift_and_a_resample_does_not(tmp_path: Path, scale: float, expected: str) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append("order_lines", order_lines(scale))
    settings = shop(tmp_path)
    (one,) = comparisons(settings, lake)
    found = statuses(report.report(one, settings.monitoring, NOW))
    assert found.pop("unit_price") == expected
    assert found.pop("lines_a_day") == "info"
    assert set(found.values()) == {"ok"}
    assert {"quantity", "hour", "weekday", "channel"} < set(found)
    assert one.rates["lines_a_day"] == (20.0, 20.0)


def test_only_the_last_days_count_as_newest(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append("order_lines", order_lines())
    (one,) = comparisons(shop(tmp_path, current_days=7, reference_days=30), lake)
    assert (one.current.height, one.reference.height) == (7 * 20, 30 * 20)


@pytest.mark.parametrize("method", ["psi", "jensenshannon", "wasserstein"])
def test_every_method_of_the_configuration_is_the_one_used(tmp_path: Path, method: str) -> None:
    settings = shop(tmp_path, drift_method=method, drift_threshold=0.33)
    frame = pl.DataFrame({"x": np.random.default_rng(1).normal(size=2000), "kind": ["a", "b"] * 1000})
    one = compare("demand", frame, frame, settings, "the same")
    assert one is not None
    checks = report.report(one, settings.monitoring, NOW).filter(pl.col("column") == "x")
    assert checks["metric"].item() == method
    assert checks["threshold"].item() == 0.33
    assert checks["value"].item() == pytest.approx(0, abs=1e-3)


def test_few_rows_are_said_to_be_few_instead_of_drifting(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    few, many = pl.DataFrame({"x": draw.normal(size=15)}), pl.DataFrame({"x": draw.normal(size=400)})
    settings = shop(tmp_path)
    one = compare("demand", few, many, settings, "few")
    assert one is not None
    assert statuses(report.report(one, settings.monitoring, NOW))["x"] == "too few rows"


def test_the_expected_psi_of_two_samples_is_what_chance_makes() -> None:
    draw = np.random.default_rng(3)
    n, m, bins = 300, 900, 12
    edges = np.linspace(0, 1, bins + 1)

    def psi() -> float:
        a = np.histogram(draw.random(n), edges)[0] / n
        b = np.histogram(draw.random(m), edges)[0] / m
        return float(((a - b) * np.log(a / b)).sum())

    frames = (pl.DataFrame({"x": np.zeros(rows)}) for rows in (n, m))
    one = Comparison("x", *frames, "")
    assert one.noise() == pytest.approx(np.mean([psi() for _ in range(400)]), rel=0.15)


@pytest.mark.parametrize(
    "planted",
    ['<script async src="https://x/y.js">', "<link href='//x/y.css'>", '@import "https://x"', "url(//x/y.woff)"],
)
def test_a_planted_request_would_be_seen(planted: str) -> None:
    assert LOADS.search(planted)


def test_the_pages_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append("order_lines", order_lines())
    settings = shop(tmp_path)
    monitor(settings, lake)
    pages = sorted(settings.reports_dir.glob("*.html"))
    assert [page.name for page in pages] == ["drift.html", "drift_order_lines.html"]
    for page in pages:
        assert LOADS.findall(page.read_text(encoding="utf-8")) == []


def test_a_shop_with_demand_alone_is_watched(tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    weeks = pl.date_range(pl.date(2022, 1, 3), pl.date(2023, 12, 25), "1w", eager=True)
    demand = pl.DataFrame({"product_id": [f"p{i}" for i in range(60)]}).join(
        pl.DataFrame({"period": weeks}), how="cross"
    )
    demand = demand.with_columns(quantity=pl.Series(draw.poisson(6, demand.height)).cast(pl.Float64))
    late = pl.col("period") > pl.date(2023, 11, 27)
    demand = demand.with_columns(pl.when(late).then(pl.col("quantity") * 10).otherwise("quantity").alias("quantity"))
    lake = Lake(tmp_path / "lake")
    lake.append("demand", demand)
    summary = monitor(shop(tmp_path, "demand"), lake)
    assert statuses(lake.read("drift").filter(pl.col("dataset") == "demand"))["quantity"] == "drift"
    assert summary.figures == {"columns_watched": 1, "columns_drifting": 1}
    assert TABLES["drift"].schema.is_valid(lake.read("drift"))


def test_what_planners_said_is_no_drift_of_forecasts(tmp_path: Path) -> None:
    draw = np.random.default_rng(6)
    issue = pl.DataFrame({"product_id": [f"p{i}" for i in range(400)], "mean_model": draw.gamma(2, 5, 400)})
    issue = issue.with_columns(
        period=pl.date(2024, 5, 6), horizon=pl.lit(1, dtype=pl.Int32), mean="mean_model", p_zero=0.2
    ).with_columns(override_id=pl.lit(None, dtype=pl.String))
    overridden = issue.with_columns(mean=pl.col("mean") * 50, override_id=pl.lit("1"), p_zero=0.0)
    overridden = overridden.with_columns(
        pl.when(pl.int_range(pl.len()) < 300).then(pl.col(name)).otherwise(issue[name]).alias(name)
        for name in ("mean", "p_zero", "override_id")
    )
    statuses_of = {}
    for moved in (overridden, issue.with_columns(pl.col("mean_model", "mean") * 50)):
        lake = Lake(tmp_path / str(len(statuses_of)))
        issues = [issue.with_columns(issued_on=pl.date(2024, 4, 29)), moved.with_columns(issued_on=pl.date(2024, 5, 6))]
        lake.append("forecasts", pl.concat(frame.select(sorted(frame.columns)) for frame in issues))
        (found,) = comparisons(shop(tmp_path, "demand"), lake)
        statuses_of[len(statuses_of)] = found.current["mean"].mean() == pytest.approx(found.reference["mean"].mean())
        assert set(found.current["p_zero"].drop_nulls()) == {0.2}
    assert statuses_of == {0: True, 1: False}


def test_contracts_are_compared_with_the_ingest_before(tmp_path: Path) -> None:
    draw = np.random.default_rng(6)
    contracts = pl.DataFrame(
        {
            "customer_id": [f"c{i:04}" for i in range(1500)],
            "churned": [False] * 1500,
            "minutes": draw.gamma(3, 50, 1500),
        }
    )
    lake = Lake(tmp_path / "lake")
    settings = shop(tmp_path, "contracts")
    lake.append("contracts", contracts)
    assert any("no earlier data" in note for note in monitor(settings, lake).notes)
    assert not lake.exists("drift")
    lake.replace("contracts", contracts.with_columns(pl.col("minutes") * 10))
    monitor(settings, lake)
    assert statuses(lake.read("drift"))["minutes"] == "drift"


def test_a_shop_with_nothing_to_watch_gets_a_page_that_says_so(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    summary = monitor(settings, Lake(tmp_path / "lake"))
    assert "no earlier data" in summary.notes[0]
    assert "no earlier data" in (settings.reports_dir / "drift.html").read_text()
