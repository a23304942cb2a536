"""How good the models are on cuts they had not seen, beside their baselines: tables for people."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from features.tables import MEAN
from pipelines.accuracy import wide, with_errors
from pipelines.errors import ConfigError
from pipelines.lake import Lake

# What a person wants to see first, in this order; everything else is in `--json`, the lake and MLflow.
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Demand": ("demand", ("wape", "wape_added", "scaled_pinball", "bias_share", "calibration_gap")),
    "Customers": ("customers", ("auc", "ece", "brier", "lift_10")),
    "Value": ("value", ("gini", "total_ratio", "spearman")),
    "Segments": ("segments", ("bootstrap_ari_mean", "bootstrap_ari_p05", "next_quarter_ari", "spend_explained")),
}
_PART = "="  # a slice by horizon or level of a hierarchy, `horizon=3`


def scorecard(lake: Lake, *, whole: bool = False) -> dict[str, pl.DataFrame]:
    """One table a capability: a row a model and slice, a column a metric, means over the cuts.

    Beside a metric stands `METRIC_standard_error`, where it is known.

    Args:
        lake: The shop's tables; a shop that has not been trained yet gets no tables.
        whole: Every metric and slice, not only those a person wants to see first.
    """
    if not lake.exists("evaluation"):
        return {}
    evaluation = lake.read("evaluation")
    tables = {}
    for title, (capability, metrics) in TABLES.items():
        rows = evaluation.filter(capability=capability)
        if not whole:
            rows = rows.filter(pl.col("metric").is_in(metrics), ~pl.col("slice").str.contains(_PART, literal=True))
        if rows.filter(cut=MEAN).height:
            rest = sorted(set(rows["metric"].unique()) - set(metrics))
            tables[title] = wide(rows, (*metrics, *rest))
    return tables


def markdown(frame: pl.DataFrame) -> str:
    """A Markdown table; a standard error stands in the cell of what it belongs to.

    Example:
        >>> print(markdown(pl.DataFrame({"model": ["a"], "wape": [0.51234]})))
        | model | wape |
        |---|---|
        | a | 0.512 |
    """
    frame = with_errors(frame)
    lines = ["| " + " | ".join(name.replace("_", " ") for name in frame.columns) + " |", "|---" * frame.width + "|"]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in frame.rows()]
    return "\n".join(lines)


def write_into(file: Path, tables: dict[str, pl.DataFrame]) -> None:
    """Rewrite the tables between `<!-- scorecard: TITLE -->` and `<!-- end -->` marks of a Markdown file.

    Raises:
        ConfigError: The file has no such marks.
    """
    text = file.read_text(encoding="utf-8")
    marks = re.compile(r"(<!-- scorecard: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    if not marks.search(text):
        raise ConfigError("There are no scorecard marks to fill.", file=file, remedy="add `<!-- scorecard: Demand -->`")
    filled = marks.sub(
        lambda found: f"{found[1]}{markdown(tables[found[2]])}\n{found[3]}" if found[2] in tables else found[0], text
    )
    file.write_text(filled, encoding="utf-8")


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
