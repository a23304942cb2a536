"""The drift report for people, and its figures as the standard check table: the only module that imports Evidently.

Method and threshold come from the configuration: left to itself, Evidently changes its test with the sample size.
pandas exists only between these borders, on sampled, selected columns.
"""

from __future__ import annotations

import html
import json
import os
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from features.tables import TABLES
from pipelines.monitoring.drift import Comparison
from pipelines.settings import Monitoring

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX = "drift.html"
WHOLE = "(all columns)"
OK, DRIFT, TOO_FEW, INFO = "ok", "drift", "too few rows", "info"
_INDEX_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data drift</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733 }}
table {{ border-collapse: collapse; width: 100% }} th, td {{ text-align: left; padding: .3rem .6rem }}
tr {{ border-bottom: 1px solid #dde3ea }} td.number {{ text-align: right; font-variant-numeric: tabular-nums }}
tr.drift td {{ background: #fff1d6 }}
</style></head><body><h1>Data drift</h1><p>Checked at {checked_at}.</p>{sections}</body></html>
"""


def report(
    comparison: Comparison, monitoring: Monitoring, checked_at: datetime, file: Path | None = None
) -> pl.DataFrame:
    """Compare one data set and write Evidently's page about it.

    Args:
        comparison: Newest and reference rows.
        monitoring: Method, threshold and share of columns.
        checked_at: When, for the check table.
        file: The HTML file to write; it loads nothing from elsewhere.

    Returns:
        One row a column and one for the data set (share of drifting columns), columns as in the `drift` table. Where a
        sample is so small that chance alone would look like drift, the status says so instead of crying wolf.
    """
    os.environ["DO_NOT_TRACK"] = "1"
    with _quiet():
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        # Wasserstein distance needs an order, which categories lack.
        method = monitoring.drift_method
        categorical_method = "jensenshannon" if method == "wasserstein" else method
        definition = DataDefinition(numerical_columns=comparison.numeric, categorical_columns=comparison.categorical)
        current, reference = (
            Dataset.from_pandas(frame.to_pandas(), data_definition=definition)
            for frame in (comparison.current, comparison.reference)
        )
        preset = DataDriftPreset(
            drift_share=monitoring.drift_share,
            num_method=method,
            cat_method=categorical_method,
            num_threshold=monitoring.drift_threshold,
            cat_threshold=monitoring.drift_threshold,
        )
        run = Report([preset]).run(current, reference)
        metrics = json.loads(run.json())["metrics"]
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            run.save_html(str(file))
    return _checks(comparison, metrics, monitoring, checked_at)


def write_index(checks: pl.DataFrame, comparisons: Sequence[Comparison], folder: Path) -> Path:
    """One small page over all data sets: the check tables, with links to the reports beside it."""
    sections = []
    for one in comparisons:
        rows = "".join(_row(check) for check in checks.filter(pl.col("dataset") == one.dataset).iter_rows(named=True))
        sections.append(
            f"<h2>{html.escape(one.dataset)}</h2><p>{html.escape(one.what)}. "
            f'<a href="drift_{one.dataset}.html">Distributions</a></p>'
            f"<table><tr><th>column<th>metric<th>value<th>threshold<th>status</tr>{rows}</table>"
        )
    checked_at = checks["checked_at"].max() if checks.height else None
    none = "<p>There is no earlier data to compare the newest with yet.</p>"
    page = _INDEX_PAGE.format(checked_at=checked_at or "–", sections="".join(sections) or none)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / INDEX
    file.write_text(page, encoding="utf-8")
    return file


def _checks(
    comparison: Comparison, metrics: list[dict[str, Any]], monitoring: Monitoring, checked_at: datetime
) -> pl.DataFrame:
    threshold = monitoring.drift_threshold
    too_few = comparison.noise() > threshold / 2
    rows: list[tuple[str, str, float, float | None, str]] = []
    for metric in metrics:
        config = metric["config"]
        if config["type"].endswith(":ValueDrift"):
            value = float(metric["value"])
            status = TOO_FEW if too_few else DRIFT if value >= threshold else OK
            rows.append((config["column"], config["method"], value, threshold, status))
        elif config["type"].endswith(":DriftedColumnsCount"):
            value = float(metric["value"]["share"])
            status = TOO_FEW if too_few else DRIFT if value >= monitoring.drift_share else OK
            rows.append((WHOLE, "share_of_columns", value, monitoring.drift_share, status))
    for name, (newest, before) in comparison.rates.items():
        rows.append((name, "ratio_to_reference", newest / before, None, INFO))
    names = ("column", "metric", "value", "threshold", "status")
    schema = TABLES["drift"].schema.create_empty().schema
    frame = pl.DataFrame(
        [dict(zip(names, row, strict=True)) for row in rows], schema_overrides={"threshold": pl.Float64}
    )
    stamped = frame.with_columns(
        checked_at=pl.lit(checked_at, dtype=schema["checked_at"]), dataset=pl.lit(comparison.dataset)
    )
    return stamped.select(schema.names()).cast(schema).sort("column", "metric")


def _row(check: dict[str, Any]) -> str:
    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    column, metric, status = (html.escape(check[name]) for name in ("column", "metric", "status"))
    figures = "".join(f'<td class="number">{number(check[name])}' for name in ("value", "threshold"))
    return f'<tr class="{status}"><td>{column}<td>{metric}{figures}<td>{status}</tr>'


@contextmanager
def _quiet() -> Iterator[None]:
    """Evidently's tree warns about its own dependencies and about empty bins; neither is the user's to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
