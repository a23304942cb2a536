"""A small made-up shop whose release has every table, valid by the schemas of features.tables."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.forecast_tables import DRIVERS
from features.tables import TABLES, quantile_column
from pipelines.release import Release, activate, freeze
from pipelines.settings import Settings

QUANTILES = (0.1, 0.5, 0.9)
SERIES = ["product_id"]
PRODUCTS = [f"8{number:04d}A" for number in range(60)]
CUSTOMERS = [str(12346 + number) for number in range(300)]
ISSUED_ON = date(2011, 12, 5)
AS_OF = date(2011, 12, 9)
# What a spreadsheet would run, and what a browser would: in places a shop can put any text.
HOSTILE_SEGMENT = '=HYPERLINK("http://example.org")'
HOSTILE_DESCRIPTION = '<script>alert("x")</script> & MUG'
REPORT = "<!doctype html><title>Drift</title><p id=out>static</p><script>out.textContent='drawn'</script>"


def made_settings(folder: Path, **more: Any) -> Settings:
    """Settings of the made-up shop, with everything it keeps below `folder`."""
    content = {
        "shop": "made_shop",
        "data_dir": str(folder / "data"),
        "currency": "GBP",
        "sources": [{"table": "order_lines", "path": "orders.parquet"}],
        "demand": {"series": SERIES, "quantiles": list(QUANTILES)},
    }
    return Settings(**(content | more))


def made_tables(seed: int = 1) -> dict[str, pl.DataFrame]:
    """Every table of a release; another seed gives another release of the same shop."""
    chance = np.random.default_rng(seed)
    tables = {
        **_demand(chance, str(seed)),
        **_customers(chance, str(seed)),
        "replenishment": _replenishment(chance, str(seed)),
        **_watched(),
    }
    for name, frame in tables.items():
        if name in TABLES and name != "series":
            keys = tuple(SERIES) if TABLES[name].keyed_by_series else ()
            TABLES[name].schema_with(frame.collect_schema(), keys).validate(frame)
    tables["models"] = pl.DataFrame(
        [
            {"name": name, "version": str(seed), "run_id": f"run-{name}", "metrics": json.dumps({"score": 0.8})}
            for name in ("demand", "churn", "value", "segments")
        ]
    )
    return tables


def made_release(
    settings: Settings,
    seed: int = 1,
    *,
    without: tuple[str, ...] = (),
    current: bool = True,
    replaced: dict[str, pl.DataFrame] | None = None,
    series: list[str] = SERIES,
) -> Release:
    """Freeze a release of the made-up shop, some tables of it replaced, and make it current."""
    tables = {name: frame for name, frame in made_tables(seed).items() if name not in without} | (replaced or {})
    scratch = settings.home / "scratch"
    (scratch / "model").mkdir(parents=True, exist_ok=True)
    (scratch / "model" / "booster.txt").write_text(f"tree\nversion=v4\nseed={seed}\n")
    (scratch / "model" / "model.json").write_text('{"class": "made:Model"}')
    (scratch / "drift.html").write_text('<!doctype html><title>Drift</title><a href="drift_order_lines.html">…</a>')
    (scratch / "drift_order_lines.html").write_text(REPORT)
    release = freeze(
        settings.releases_dir,
        shop={
            "shop": settings.shop,
            "timezone": settings.timezone,
            "currency": settings.currency,
            "series": series,
            "frequency": "week",
            "illustrative": True,
        },
        tables=tables,
        models={"demand": scratch / "model"},
        reports={name: scratch / name for name in ("drift.html", "drift_order_lines.html")},
        facts={
            "table_versions": {"order_lines": seed},
            "model_versions": {name: str(seed) for name in ("demand", "churn")},
        },
    )
    if current:
        activate(settings.releases_dir, release.id)
    return release


def _demand(chance: np.random.Generator, version: str) -> dict[str, pl.DataFrame]:
    products = pl.DataFrame({"product_id": PRODUCTS, "level": chance.gamma(2.0, 40.0, len(PRODUCTS))})
    periods = pl.DataFrame({"horizon": pl.Series(range(1, 9), dtype=pl.Int32)}).with_columns(
        period=pl.lit(ISSUED_ON) + pl.duration(days=7 * (pl.col("horizon") - 1))
    )
    spread = {quantile_column(q): pl.col("level") * (0.5 + q) for q in QUANTILES}
    forecasts = products.join(periods, how="cross").select(
        "product_id",
        pl.lit(ISSUED_ON).alias("issued_on"),
        pl.col("period").cast(pl.Date),
        "horizon",
        mean=pl.col("level") * 1.05,
        mean_model=pl.col("level") * 1.05,
        override_id=pl.lit(None, dtype=pl.String),
        p_zero=pl.lit(0.02),
        members=pl.lit("boosting,seasonal_naive"),
        flags=pl.when(pl.col("product_id") == PRODUCTS[0]).then(pl.lit("cold_start,obsolete")).otherwise(pl.lit("")),
        model_version=pl.lit(version),
        **spread,
    )
    drivers = forecasts.filter(pl.col("product_id") < PRODUCTS[40]).select(
        "product_id",
        "issued_on",
        "period",
        "mean",
        level=0.8 * pl.col("mean"),
        season=0.3 * pl.col("mean"),
        trend=-0.1 * pl.col("mean"),
        **{driver: pl.lit(0.0) for driver in DRIVERS[3:]},
        words_en=pl.lit("units: usual level; more from the season, less from the trend"),
        words_zh=pl.lit("预计：平常水平；季节多，趋势少"),
        model_version="model_version",
    )
    lead_time = forecasts.select(
        "product_id",
        "issued_on",
        pl.col("horizon").alias("periods"),
        pl.col("mean") * pl.col("horizon"),
        pl.lit(0, dtype=pl.Int32).alias("pool"),
        "model_version",
        *spread,
    )
    changes = forecasts.filter(pl.col("horizon") < 8).select(
        "product_id",
        "period",
        "issued_on",
        pl.lit(ISSUED_ON - timedelta(days=7)).alias("issued_before"),
        (pl.col("mean") * 0.9).alias("mean_before"),
        "mean",
        from_data=pl.col("mean") * 0.1,
        from_model=pl.lit(None, dtype=pl.Float64),
        from_override=pl.lit(0.0),
        model_version="model_version",
    )
    half = pl.when(pl.col("product_id") < PRODUCTS[20]).then(pl.lit("EU")).otherwise(pl.lit("US"))
    totals = (
        forecasts.group_by("issued_on", "period", "horizon", "model_version", group=half)
        .agg(pl.col("mean").sum(), series=pl.len().cast(pl.Int64), level=pl.lit("region"))
        .sort("group", "period")
    )
    weeks = [ISSUED_ON - timedelta(days=7 * back) for back in range(104, 0, -1)]
    wave = 1 + 0.35 * np.sin(np.arange(104) / 8.3) + 0.15 * chance.random(104)
    history = products.join(pl.DataFrame({"period": weeks, "wave": wave}), how="cross").select(
        "product_id", "period", quantity=(pl.col("level") * pl.col("wave")).round()
    )
    series = pl.DataFrame(
        {"product_id": PRODUCTS, "description": [HOSTILE_DESCRIPTION, *(f"TEA TOWEL No {n}" for n in range(1, 60))]}
    )
    return {
        "forecasts": forecasts,
        "forecast_drivers": drivers,
        "forecast_changes": changes,
        "forecast_totals": totals,
        "lead_time_demand": lead_time,
        "history": history,
        "series": series,
    }


def _customers(chance: np.random.Generator, version: str) -> dict[str, pl.DataFrame]:
    count = len(CUSTOMERS)
    risk = chance.random(count).round(4)
    segments = np.array(["loyal", "occasional", HOSTILE_SEGMENT])[chance.integers(0, 3, count)]
    value = (chance.gamma(2.0, 200.0, count)).round(2)
    scores = pl.DataFrame(
        {
            "as_of": [AS_OF] * count,
            "customer_id": CUSTOMERS,
            "status": np.where(risk > 0.9, "lapsed", "active"),
            "churn_probability": risk,
            "churn_band": np.select([risk < 0.3, risk < 0.6], ["low", "medium"], "high"),
            "p_alive": 1 - risk,
            "expected_orders": 4 * (1 - risk),
            "value": value,
            "value_low": value * 0.5,
            "value_high": value * 1.7,
            "segment": segments,
            "rfm_segment": np.where(risk < 0.3, "champions", "others"),
            "previous_segment": segments,
            "next_order_on": [AS_OF + timedelta(days=int(days)) for days in chance.integers(1, 90, count)],
            "next_order_from": [AS_OF + timedelta(days=1)] * count,
            "next_order_to": [AS_OF + timedelta(days=200)] * count,
            "days_since_last_order": chance.integers(0, 300, count),
            "orders": chance.integers(1, 40, count),
            "spend": value * 3,
            "reasons": ["@not ordered for long"] * count,
            "model_version": [version] * count,
        }
    )
    described = [
        scores.group_by(segment=pl.col(column), scheme=pl.lit(scheme)).agg(customers=pl.len().cast(pl.Int64))
        for column, scheme in (("segment", "kmeans"), ("rfm_segment", "rfm"))
    ]
    table = pl.concat(described).select(
        pl.lit(AS_OF).alias("as_of"),
        "segment",
        "scheme",
        name=pl.col("segment").str.to_titlecase(),
        description=pl.lit("Customers alike in how often and how lately they order."),
        customers="customers",
        share_of_customers=pl.col("customers") / count,
        share_of_spend=pl.lit(None, dtype=pl.Float64),
        mean_days_since_last_order=pl.lit(40.0),
        mean_orders=pl.lit(6.0),
        mean_spend=pl.lit(900.0),
        mean_churn_probability=pl.lit(0.4),
        mean_value=pl.lit(410.0),
        model_version=pl.lit(version),
    )
    return {"customer_scores": scores, "segments": table.sort("scheme", "segment"), **_contacts(scores, version)}


def _contacts(scores: pl.DataFrame, version: str) -> dict[str, pl.DataFrame]:
    """Who moved, what they may buy next, and a list of a campaign with who on it may be contacted."""
    moves = scores.head(4).select(
        as_of=pl.lit(AS_OF),
        previous_as_of=pl.lit(AS_OF - timedelta(days=7)),
        scheme=pl.lit("rfm"),
        from_segment=pl.Series(["champions", "champions", "others", "outside"]),
        to_segment=pl.Series(["champions", "others", "champions", "champions"]),
        customers=pl.Series([40, 5, 7, 2], dtype=pl.Int64),
        share_of_from_segment=pl.lit(0.1),
        value_before=pl.lit(100.0),
        value_now=pl.lit(90.0),
    )
    offers = scores.head(3).select(
        "as_of",
        "customer_id",
        kind=pl.lit("new"),
        rank=pl.lit(1, dtype=pl.Int32),
        product_id=pl.lit(PRODUCTS[0]),
        score=pl.lit(0.4),
        because_of=pl.lit(None, dtype=pl.String),
        popularity_rank=pl.lit(1, dtype=pl.Int32),
        model=pl.lit("neighbours"),
    )
    listed = scores.head(8).select(
        "customer_id", "as_of", "churn_probability", "churn_band", "value", "value_low", "value_high", "segment",
        "previous_segment", "next_order_on",
        list_id=pl.lit("win_back-2011-12-09"),
        campaign=pl.lit("win_back"),
        rank=pl.int_range(1, 9, dtype=pl.Int64),
        action=pl.lit("write"),
        channel=pl.lit("email"),
        owner=pl.lit(None, dtype=pl.String),
        value_at_risk=pl.lit(10.0),
        response_rate=pl.lit(0.1),
        response_basis=pl.lit("assumed"),
        cost=pl.lit(1.0),
        expected_profit=pl.lit(5.0),
        consent_basis=pl.lit("consent"),
        expires_on=pl.lit(AS_OF + timedelta(days=28)),
        control_group=pl.int_range(8) == 7,
        change=pl.lit("entered"),
        state=pl.lit("built"),
        exported_on=pl.lit(None, dtype=pl.Date),
        model_version=pl.lit(version),
    )  # fmt: skip
    # May be contacted; said no; do not contact; not known; contacted lately; may; not on record; control group.
    permissions = pl.DataFrame(
        {
            "customer_id": [*CUSTOMERS[:6], CUSTOMERS[7]],
            "do_not_contact": [None, None, True, None, None, False, None],
            "consent": [True, False, True, None, True, True, True],
            "consent_email": pl.Series([None] * 7, dtype=pl.Boolean),
        }
    )
    contacts = pl.DataFrame(
        {"list_id": ["other-2011-12-01"], "customer_id": [CUSTOMERS[4]], "contacted_on": [AS_OF - timedelta(days=8)]}
    )
    return {
        "segment_migration": moves,
        "next_products": offers,
        "lists": listed,
        "contact_permissions": permissions,
        "contacts": contacts,
    }


def _replenishment(chance: np.random.Generator, version: str) -> pl.DataFrame:
    count = len(PRODUCTS)
    quantity = chance.integers(0, 20, count) * 12.0
    due = [ISSUED_ON + timedelta(days=int(days)) for days in chance.integers(0, 14, count)]
    plain = {
        "on_hand": 40.0,
        "on_order": 0.0,
        "protection_days": 21.0,
        "demand_mean": 120.0,
        "demand_p50": 110.0,
        "demand_p90": 190.0,
        "order_up_to": 160.0,
        "expected_cost_at_zero": 90.0,
        "expected_cost": 12.0,
        "expected_cost_unconstrained": 12.0,
        "stock_out_risk": 0.05,
    }
    return pl.DataFrame(
        {
            "product_id": PRODUCTS,
            "as_of": [ISSUED_ON] * count,
            "supplier_id": ["illustrative"] * count,
            "quantity": quantity,
            "order_by": due,
            "order_value": quantity * 2.5,
            "receive_on": [day + timedelta(days=14) for day in due],
            "receive_on_p90": [day + timedelta(days=17) for day in due],
            **{name: [value] * count for name, value in plain.items()},
            "unconstrained_quantity": quantity,
            "stock_out_risk_before": chance.random(count),
            "binding_constraint": ["none"] * count,
            "drivers": ["120 expected in 21 days; 40 on hand"] * count,
            "illustrative": [True] * count,
            "trace": ["none"] * count,
            "state": ["proposed"] * count,
            "state_reason": pl.Series([None] * count, dtype=pl.String),
            "run": [version] * count,
            "data_versions": ["stock 1, forecasts 1"] * count,
            "model_version": [version] * count,
        }
    )


def _watched() -> dict[str, pl.DataFrame]:
    checked_at = datetime(2011, 12, 9, 23, 0, tzinfo=UTC)
    drift = pl.DataFrame(
        {
            "checked_at": pl.Series([checked_at] * 4, dtype=pl.Datetime("us", "UTC")),
            "dataset": ["order_lines"] * 4,
            "column": ["quantity", "unit_price", "hour", "country"],
            "metric": ["psi"] * 4,
            "value": [0.05, 0.31, 0.02, None],
            "threshold": [0.2, 0.2, 0.2, None],
            "status": ["ok", "drift", "ok", "info"],
        }
    )
    performance = pl.DataFrame(
        {
            "capability": ["demand"],
            "issued_on": [ISSUED_ON],
            "slice": ["all"],
            "metric": ["wape"],
            "value": [0.6],
            "cells": pl.Series([480], dtype=pl.Int64),
            "model_version": ["1"],
        }
    )
    evaluation = pl.DataFrame(
        {
            "capability": ["demand"],
            "model": ["blend"],
            "metric": ["wape"],
            "slice": ["all"],
            "cut": ["mean"],
            "value": [0.58],
            "run": ["r1"],
        }
    )
    return {"drift": drift, "performance": performance, "evaluation": evaluation}
