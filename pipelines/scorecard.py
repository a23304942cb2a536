"""How good the models are on cuts they had not seen, beside their baselines: tables for people."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from pipelines.errors import ConfigError
from pipelines.lake import Lake

MEAN = "mean"
# What a person wants to see first, in this order; everything else stays in the lake and in MLflow.
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Demand": ("demand", ("wape", "scaled_pinball", "bias_share", "rmsse", "calibration_gap")),
    "Customers": ("customers", ("auc", "ece", "brier", "lift_10")),
    "Value": ("value", ("gini", "total_ratio", "spearman")),
}
MORE_IS_BETTER = {"auc", "gini"}


def scorecard(lake: Lake) -> dict[str, pl.DataFrame]:
    """One table a capability: a row a model and slice, a column a metric, means over the cuts.

    Args:
        lake: The shop's tables; a shop that has not been trained yet gets no tables.
    """
    if not lake.exists("evaluation"):
        return {}
    evaluation = lake.read("evaluation").filter(pl.col("cut") == MEAN)
    tables = {}
    for title, (capability, metrics) in TABLES.items():
        rows = evaluation.filter((pl.col("capability") == capability) & pl.col("metric").is_in(metrics))
        if rows.height:
            tables[title] = _wide(rows, metrics)
    return tables


def markdown(frame: pl.DataFrame) -> str:
    """A Markdown table.

    Example:
        >>> print(markdown(pl.DataFrame({"model": ["a"], "wape": [0.51234]})))
        | model | wape |
        |---|---|
        | a | 0.512 |
    """
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


def _wide(rows: pl.DataFrame, metrics: tuple[str, ...]) -> pl.DataFrame:
    wide = rows.pivot("metric", index=["slice", "model"], values="value", maintain_order=True)
    present = [metric for metric in metrics if metric in wide.columns]
    best_first = wide.sort(present[0], descending=present[0] in MORE_IS_BETTER)
    return best_first.sort(pl.col("slice") != "all", "slice", maintain_order=True).select("slice", "model", *present)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
