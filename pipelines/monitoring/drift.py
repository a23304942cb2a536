"""What is compared: the newest rows of each table in the lake, and the reference they should resemble.

Order lines and demand are compared by time (the last `monitoring.current_days` against the `monitoring.reference_days`
before them), scores and forecasts with their previous issue, subscriptions with the version before the last ingest.
Amounts with long tails are compared as log(1 + x): on their own scale nearly all rows would share one histogram bin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl
import polars.selectors as cs

from pipelines.lake import Lake
from pipelines.settings import Monitoring, Settings

# Columns that tell rows apart or date them, but say nothing about how the data is distributed.
_SCORES = ("churn_probability", "p_alive", "expected_orders", "value", "days_since_last_order", "orders", "spend")
_LONG_TAILED = ("expected_orders", "value", "orders", "spend", "mean", "quantity", "unit_price", "price")
_RARE = "other"
MOST_CATEGORIES = 20


@dataclass(frozen=True)
class Comparison:
    """Newest rows and reference rows of one data set, with the same columns.

    Attributes:
        dataset: The table they come from.
        current: The newest rows, sampled.
        reference: What they are compared with, sampled.
        what: Both in words, for the report.
        rates: Events a day → (newest, reference): shown beside the distributions, never a drift of their own.
    """

    dataset: str
    current: pl.DataFrame
    reference: pl.DataFrame
    what: str
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def numeric(self) -> list[str]:
        """Columns compared as numbers."""
        return self.current.select(cs.numeric()).columns

    @property
    def categorical(self) -> list[str]:
        """Columns compared as categories."""
        return self.current.select(cs.string()).columns

    def noise(self) -> float:
        """PSI to expect between two samples of this size from one distribution.

        PSI · n m / (n + m) is about χ² with B − 1 degrees of freedom (Yurdakul 2018, Statistical Properties of the
        Population Stability Index, section 3), so its mean is (B − 1)(1 / n + 1 / m), here with Sturges' number of
        bins B.
        """
        n, m = self.current.height, self.reference.height
        if not n or not m:
            return math.inf
        bins = math.ceil(math.log2(n + m)) + 1
        return (bins - 1) * (1 / n + 1 / m)


def comparisons(settings: Settings, lake: Lake) -> list[Comparison]:
    """Every comparison this shop's tables allow; empty frames and single issues make none."""
    found = (
        _order_lines(settings, lake),
        _demand(settings, lake),
        _issues(lake, "customer_scores", "as_of", [*_SCORES, "segment", "status"], settings),
        _issues(lake, "forecasts", "issued_on", ["mean", "p_zero"], settings),
        _contracts(settings, lake),
    )
    return [one for one in found if one is not None and one.current.height and one.reference.height]


def compare(
    dataset: str, current: pl.DataFrame, reference: pl.DataFrame, settings: Settings, what: str
) -> Comparison | None:
    """Sample, put on comparable scales, and keep the columns that both sides know.

    Args:
        dataset: Name of the data set.
        current: Newest rows: only columns worth comparing.
        reference: Reference rows with the same columns.
        settings: The shop (sample size, seed).
        what: Both sides in words.
    """
    current, reference = (_sampled(frame, settings) for frame in (current, reference))
    columns = [
        column
        for column in current.columns
        if column in reference.columns and current[column].count() and reference[column].count()
    ]
    if not columns:
        return None
    logs = [pl.col(column).clip(0).log1p() for column in columns if column in _LONG_TAILED]
    current, reference = (frame.select(columns).with_columns(*logs) for frame in (current, reference))
    frequent = _frequent(reference.select(cs.string()))
    keep = [
        pl.when(pl.col(column).is_in(values)).then(pl.col(column)).otherwise(pl.lit(_RARE)).alias(column)
        for column, values in frequent.items()
    ]
    return Comparison(dataset, current.with_columns(*keep), reference.with_columns(*keep), what)


def _order_lines(settings: Settings, lake: Lake) -> Comparison | None:
    if not lake.exists("order_lines"):
        return None
    sales = lake.scan("order_lines").filter(pl.col("kind") == "sale")
    local = pl.col("ordered_at").dt.convert_time_zone(settings.timezone)
    lines = sales.select(
        "order_id",
        "line_no",
        "customer_id",
        "quantity",
        "unit_price",
        "channel",
        day=local.dt.date(),
        hour=local.dt.hour().cast(pl.Float64),
        weekday=local.dt.strftime("%A"),
    ).collect()
    if lake.exists("customers"):
        customers = lake.read("customers")
        if "country" in customers.columns:
            lines = lines.join(customers.select("customer_id", "country"), on="customer_id", how="left")
    newest, before = _windows(lines, "day", settings.monitoring)
    keys = ["order_id", "line_no"]
    dropped = (*keys, "customer_id", "day")
    both = compare(
        "order_lines",
        newest.sort(keys).drop(dropped),
        before.sort(keys).drop(dropped),
        settings,
        f"sale lines of {_span(newest, 'day')} against {_span(before, 'day')}",
    )
    if both is not None:
        both.rates["lines_a_day"] = (_a_day(newest, "day"), _a_day(before, "day"))
    return both


def _demand(settings: Settings, lake: Lake) -> Comparison | None:
    if not lake.exists("demand"):
        return None
    keys = [*settings.demand.series, "period"]
    demand = lake.read("demand").filter(pl.col("quantity").is_not_null()).sort(keys)
    known = [name for name in ("quantity", "available", "price", "promotion") if name in demand.columns]
    newest, before = _windows(demand, "period", settings.monitoring)
    what = f"demand of periods {_span(newest, 'period')} against {_span(before, 'period')}"
    return compare("demand", newest.select(known), before.select(known), settings, what)


def _issues(lake: Lake, table: str, issued: str, columns: Sequence[str], settings: Settings) -> Comparison | None:
    if not lake.exists(table):
        return None
    rows = lake.read(table)
    issues = rows[issued].unique().sort(descending=True)
    if issues.len() < 2:
        return None
    if "override_id" in rows.columns:  # what planners said is no drift
        rows = rows.with_columns(
            mean=pl.coalesce("mean_model", "mean"), p_zero=pl.when(pl.col("override_id").is_null()).then("p_zero")
        )
    known = [column for column in columns if column in rows.columns]
    newest, before = (rows.filter(pl.col(issued) == issue).sort(rows.columns[:3]).select(known) for issue in issues[:2])
    return compare(table, newest, before, settings, f"{table} of {issues[0]} against those of {issues[1]}")


def _contracts(settings: Settings, lake: Lake) -> Comparison | None:
    version = lake.version("contracts")
    if not version:
        return None
    newest, before = (
        lake.read("contracts", version=number).sort("customer_id").drop("customer_id", cs.temporal())
        for number in (version, version - 1)
    )
    return compare("contracts", newest, before, settings, "contracts as they are against those before the last ingest")


def _windows(frame: pl.DataFrame, dated: str, monitoring: Monitoring) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of the last `current_days` and of the `reference_days` before them; at least the newest date."""
    newest_day = frame[dated].max()
    cut = pl.lit(newest_day) - timedelta(days=monitoring.current_days)
    start = cut - timedelta(days=monitoring.reference_days)
    day = pl.col(dated)
    return frame.filter(day > cut), frame.filter((day <= cut) & (day > start))


def _sampled(frame: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    rows = settings.monitoring.sample_rows
    sample = frame.sample(rows, seed=settings.seed) if frame.height > rows else frame
    return sample.with_columns(
        cs.boolean().cast(pl.String), (cs.integer() | cs.float() | cs.decimal()).cast(pl.Float64)
    )


def _frequent(reference: pl.DataFrame) -> dict[str, list[str]]:
    """The most frequent values of each category; the rest is compared as one."""
    return {
        column: reference[column].drop_nulls().value_counts(sort=True)[column].head(MOST_CATEGORIES).to_list()
        for column in reference.columns
    }


def _span(frame: pl.DataFrame, dated: str) -> str:
    if frame.is_empty():
        return "nothing"
    first, last = _ends(frame, dated)
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _a_day(frame: pl.DataFrame, dated: str) -> float:
    """Rows a day between the first and the last date."""
    if frame.is_empty():
        return math.nan
    first, last = _ends(frame, dated)
    return frame.height / ((last - first).days + 1)


def _ends(frame: pl.DataFrame, dated: str) -> tuple[date, date]:
    ends: tuple[date, date] = frame.select(first=pl.col(dated).min(), last=pl.col(dated).max()).row(0)
    return ends
