"""Whether a shop's record can carry the models of customers: findings before anything is trained.

Each finding has a level: `error` (training will refuse, or say nothing of worth), `warning` (results will be poor),
`advice`, `ok`.
"""

from __future__ import annotations

import polars as pl

from pipelines.customers.attributes import describe
from pipelines.lake import Lake
from pipelines.settings import Customers, Settings
from pipelines.summary import Summary

LEVELS = ("error", "warning", "advice", "ok")
FEW_CUSTOMERS, ENOUGH_CUSTOMERS = 20, 200
MOST_GUESTS = 0.3  # share of order lines without a customer
LEAST_REPEATERS = 0.05  # share of customers with a second day of orders
LONGEST_SILENCE_DAYS = 14
LARGEST_CUSTOMER = 0.2  # share of all revenue
MOST_MISSING = 0.2  # share of an attribute

Finding = tuple[str, str, str, str]


def assess(settings: Settings, lake: Lake) -> pl.DataFrame:
    """Findings about what the lake holds: check, level, finding, what_to_do; the worst first.

    A shop that has taken in nothing yet gets one finding that says so.
    """
    table = "contracts" if settings.customers.kind == "contractual" else "order_lines"
    if not lake.exists(table):
        findings = [("record", "error", f"Nothing has been taken into {table} yet.", "run `purvey ingest`")]
    elif table == "contracts":
        findings = of_contracts(lake.read(table), settings.customers)
    else:
        wanted = ["order_id", "product_id", "customer_id", "kind", "quantity", "unit_price", "ordered_at"]
        findings = of_orders(lake.read(table, columns=wanted), settings.customers)
    frame = pl.DataFrame(findings, schema=["check", "level", "finding", "what_to_do"], orient="row")
    return frame.sort(pl.col("level").cast(pl.Enum(LEVELS)), maintain_order=True)


def report(settings: Settings, lake: Lake) -> Summary:
    """The findings, for people and programs."""
    findings = assess(settings, lake)
    counts = dict(findings.group_by("level").len().iter_rows())
    return Summary(
        "usability",
        lake.versions(["order_lines", "contracts"]),
        figures={level: counts.get(level, 0) for level in LEVELS},
        tables={"what the record can carry": findings},
        changed=False,
    )


def notes(findings: pl.DataFrame) -> list[str]:
    """Errors and warnings as sentences."""
    bad = findings.filter(pl.col("level").is_in(["error", "warning"]))
    return [f"{finding} {remedy.capitalize()}." for finding, remedy in bad.select("finding", "what_to_do").rows()]


def of_orders(lines: pl.DataFrame, terms: Customers) -> list[Finding]:
    """Findings about order lines."""
    sales = lines.filter(kind="sale").with_columns(day=pl.col("ordered_at").dt.date())
    named = sales.drop_nulls("customer_id")
    if named.is_empty():
        return [("customers", "error", "No order names its customer.", "map the column that names the customer")]
    days = sales["day"].unique().sort()
    record_days = int((days[-1] - days[0]).days)
    silence = int(days.diff().dt.total_days().max() or 0)  # type: ignore[arg-type]  # polars types it loosely
    buyers = named.group_by("customer_id").agg(
        days=pl.col("day").n_unique(), spend=(pl.col("quantity") * pl.col("unit_price")).sum()
    )
    repeaters = float((buyers["days"] > 1).to_numpy().mean())
    spend = buyers["spend"].to_numpy()
    largest = float(spend.max() / spend.sum()) if spend.sum() > 0 else 0.0
    guests = 1 - named.height / sales.height
    twice = float(sales.is_duplicated().to_numpy().mean())
    need = 2 * terms.churn_horizon_days
    return [
        _judge(
            "history",
            "error" if record_days < need else "advice" if record_days < 365 else "ok",
            f"The record runs over {record_days} days; {need} are needed, a year shows the season.",
            "bring a longer record, or shorten customers.churn_horizon_days",
        ),
        _of_customers(buyers.height),
        _judge(
            "repeat buyers",
            "error" if repeaters == 0 else "warning" if repeaters < LEAST_REPEATERS else "ok",
            f"{repeaters:.1%} of customers ordered on more than one day.",
            "bring a longer record; without repeat buyers nobody can be said to stay",
        ),
        _judge(
            "gaps",
            "warning" if silence > LONGEST_SILENCE_DAYS else "ok",
            f"The longest time without any order is {silence} days.",
            "look for a missing file; a silence looks as if everybody had left",
        ),
        _judge(
            "guests",
            "warning" if guests > MOST_GUESTS else "ok",
            f"{guests:.1%} of order lines name no customer.",
            "tie guest orders to customers, e.g. by e-mail; they teach nothing",
        ),
        _judge(
            "one large customer",
            "advice" if largest > LARGEST_CUSTOMER else "ok",
            f"The largest customer holds {largest:.1%} of revenue.",
            "look at them by hand; means of value follow one customer",
        ),
        _judge(
            "duplicates",
            "advice" if twice > 0.01 else "ok",
            f"{twice:.1%} of lines are equal to another in order, product, quantity, price and time.",
            "check that no file was exported twice",
        ),
    ]


def of_contracts(contracts: pl.DataFrame, terms: Customers) -> list[Finding]:
    """Findings about contracts."""
    known = contracts["churned"].drop_nulls() if "churned" in contracts.columns else pl.Series(dtype=pl.Boolean)
    ended = int(known.sum())
    rarer = min(ended, known.len() - ended)
    rows = describe(contracts, terms.protected).drop("customer_id")
    missing = {name: rows[name].null_count() / max(rows.height, 1) for name in rows.columns if name != "started_on"}
    empty = sorted(name for name, share in missing.items() if share > MOST_MISSING)
    twins = float(rows.is_duplicated().to_numpy().mean()) if rows.width else 0.0
    return [
        _of_customers(contracts.height),
        _judge(
            "outcomes",
            "error" if rarer < 10 else "warning" if rarer < 50 else "ok",
            f"Of {known.len()} contracts whose outcome is known {ended} have ended.",
            "map the column that says who left to `churned`, or bring more contracts",
        ),
        _judge(
            "missing values",
            "advice" if empty else "ok",
            f"More than {MOST_MISSING:.0%} is missing in: {', '.join(empty) or 'no attribute'}.",
            "fill these columns at the source, or leave them out",
        ),
        _judge(
            "duplicates",
            "advice" if twins > 0.01 else "ok",
            f"{twins:.1%} of contracts are alike in every attribute.",
            "check that no contract was exported twice; twins are never judged by each other",
        ),
    ]


def _of_customers(customers: int) -> Finding:
    level = "error" if customers < FEW_CUSTOMERS else "warning" if customers < ENOUGH_CUSTOMERS else "ok"
    return _judge("customers", level, f"There are {customers} customers.", "bring more of them before trusting figures")


def _judge(check: str, level: str, finding: str, remedy: str) -> Finding:
    return check, level, finding, "" if level == "ok" else remedy
