"""The job: compare, write the check tables and the pages."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from features.tables import TABLES
from pipelines.lake import Lake
from pipelines.monitoring import report
from pipelines.monitoring.drift import Comparison, comparisons
from pipelines.monitoring.performance import ALL, OVERRIDDEN, realised
from pipelines.settings import Settings
from pipelines.summary import Summary, progress


def monitor(settings: Settings, lake: Lake) -> Summary:
    """Watch the newest data and the forecasts that have come due.

    Writes `drift` and `performance`, one Evidently page a data set and one page over all of them. What the shop does
    not have is not watched; what cannot be judged yet is said in the notes.
    """
    summary = Summary("monitor", read=dict(lake.versions(("order_lines", "demand", "customer_scores", "forecasts"))))
    _watch_data(settings, lake, summary)
    if lake.exists("forecasts") and lake.exists("demand"):
        _judge_forecasts(settings, lake, summary)
    return summary


def _watch_data(settings: Settings, lake: Lake, summary: Summary) -> None:
    found = comparisons(settings, lake)
    checked_at = datetime.now(UTC)
    folder = settings.reports_dir
    checks = []
    with progress("comparing with the reference", len(found)) as advance:
        for one in found:
            checks.append(report.report(one, settings.monitoring, checked_at, _page(folder, one)))
            summary.notes.append(f"Compared {one.what}.")
            advance()
    drift = pl.concat([TABLES["drift"].schema.create_empty(), *checks])
    for stale in set(folder.glob("drift_*.html")) - {_page(folder, one) for one in found}:
        stale.unlink()
    summary.wrote["report"] = str(report.write_index(drift, found, folder))
    if drift.is_empty():
        summary.notes.append("Drift: there is no earlier data to compare the newest with yet.")
        return
    lake.merge("drift", drift, TABLES["drift"].keys())
    summary.wrote["drift"] = drift.height
    judged = drift.filter(pl.col("column") != report.WHOLE)
    summary.figures["columns_watched"] = judged.filter(pl.col("threshold").is_not_null()).height
    summary.figures["columns_drifting"] = judged.filter(pl.col("status") == report.DRIFT).height
    shown = ["dataset", "column", "metric", "value", "threshold", "status"]
    summary.tables["Data drift"] = drift.select(shown)


def _judge_forecasts(settings: Settings, lake: Lake, summary: Summary) -> None:
    revisions = lake.read("demand_revisions") if lake.exists("demand_revisions") else None
    overrides = lake.read("overrides") if lake.exists("overrides") else None
    performance = realised(lake.read("forecasts"), lake.read("demand"), revisions, settings.demand.series, overrides)
    if performance.is_empty():
        summary.notes.append(
            "Realised accuracy: no forecast has come due yet; run this again once a forecast period is over."
        )
        return
    lake.merge("performance", performance, TABLES["performance"].keys())
    summary.wrote["performance"] = performance.height
    overall = performance.filter(pl.col("slice") == ALL)
    summary.tables["Forecasts that came due"] = overall.pivot(
        "metric", index=["issued_on", "cells"], values="value"
    ).sort("issued_on")
    by_planners = performance.filter(pl.col("slice").str.starts_with(OVERRIDDEN))
    if by_planners.height:
        summary.tables["What overrides added"] = by_planners.pivot(
            "metric", index=["issued_on", "slice", "cells"], values="value"
        ).sort("issued_on", "slice")


def _page(folder: Path, comparison: Comparison) -> Path:
    return folder / f"drift_{comparison.dataset}.html"
