"""The first law for customers: a snapshot knows nothing later; and it equals a slow reading of the same lines."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import mean, median, stdev
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features.customers
from features.customers import FEATURES, WINDOW_WEEKS, describe, ledger, snapshot
from pipelines.lake import frame_digest

START = datetime(2023, 1, 2, tzinfo=UTC)
AS_OF = date(2023, 7, 1)

line = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from(["a", "b", "c", None]),
        "order": st.integers(0, 3),
        "product_id": st.sampled_from(["x", "y", "z"]),
        "kind": st.sampled_from(["sale", "sale", "sale", "return"]),
        "quantity": st.integers(1, 9).map(float),
        "unit_price": st.integers(0, 999).map(lambda cents: cents / 100),
        "day": st.integers(0, 400),
        "hour": st.integers(0, 23),
        "late": st.sampled_from([0, 0, 0, 1, 40]),
    }
)


def order_lines(drawn: list[dict[str, Any]]) -> pl.DataFrame:
    rows = []
    for row in drawn:
        ordered_at = START + timedelta(days=row["day"], hours=row["hour"])
        rows.append(
            {
                "customer_id": row["customer_id"],
                "order_id": f"{row['customer_id']}-{row['day']}-{row['order']}",
                "product_id": row["product_id"],
                "kind": row["kind"],
                "quantity": row["quantity"],
                "unit_price": row["unit_price"],
                "ordered_at": ordered_at,
                "known_at": ordered_at + timedelta(days=row["late"]),
            }
        )
    times = pl.Datetime("us", "UTC")
    return pl.DataFrame(rows, schema_overrides={"customer_id": pl.String, "ordered_at": times, "known_at": times})


def slowly(lines: pl.DataFrame, as_of: date) -> dict[str, dict[str, float | None]]:
    """The same columns, one customer and one line at a time."""
    found: dict[str, dict[str, float | None]] = {}
    known = [row for row in lines.to_dicts() if row["known_at"].date() <= as_of and row["customer_id"]]
    for customer in {row["customer_id"] for row in known}:
        own = [row for row in known if row["customer_id"] == customer]
        sales = [row for row in own if row["kind"] == "sale"]
        if not sales:
            continue
        days = sorted({row["ordered_at"].date() for row in sales})
        between = [(after - before).days for before, after in pairwise(days)]
        since, age = (as_of - days[-1]).days, (as_of - days[0]).days

        def worth(rows: list[dict[str, Any]]) -> float:
            return sum(row["quantity"] * row["unit_price"] for row in rows)

        def recent(rows: list[dict[str, Any]], weeks: int) -> list[dict[str, Any]]:
            return [row for row in rows if (as_of - row["ordered_at"].date()).days < 7 * weeks]

        returns = [row for row in own if row["kind"] == "return"]
        orders = len({row["order_id"] for row in sales})
        gross, back = worth(sales), worth(returns)
        facts: dict[str, float | None] = {
            "frequency": len(days) - 1,
            "recency": (age - since) / 7,
            "T": age / 7,
            "days_since_last_order": since,
            "orders": orders,
            "spend": gross - back,
            "mean_order_value": gross / orders,
            "last_order_value": worth([row for row in sales if row["ordered_at"].date() == days[-1]]),
            "gap_mean_days": mean(between) if between else None,
            "gap_sd_days": stdev(between) if len(between) > 1 else None,
            "gap_median_days": median(between) if between else None,
            "since_to_gap": since / mean(between) if between else None,
            "products": len({row["product_id"] for row in sales}),
            "lines_per_order": len(sales) / orders,
            "units_per_order": sum(row["quantity"] for row in sales) / orders,
            "return_share": back / gross if gross > 0 else None,
            "mean_hour": mean(row["ordered_at"].hour for row in sales),
            "weekend_share": sum(day.weekday() > 4 for day in days) / len(days),
        }
        for weeks in WINDOW_WEEKS:
            facts[f"orders_{weeks}w"] = len({row["order_id"] for row in recent(sales, weeks)})
            facts[f"spend_{weeks}w"] = worth(recent(sales, weeks)) - worth(recent(returns, weeks))
        newer, older = (worth(recent(sales, weeks)) for weeks in (13, 26))
        facts["spend_trend"] = (newer + 1) / (older - newer + 1)
        counts = [len({row["order_id"] for row in recent(sales, weeks)}) for weeks in (13, 26)]
        facts["orders_trend"] = (counts[0] + 1) / (counts[1] - counts[0] + 1)
        found[customer] = facts
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(line, min_size=1, max_size=40))
def test_a_snapshot_equals_a_slow_reading(drawn: list[dict[str, Any]]) -> None:
    lines = order_lines(drawn)
    expected = slowly(lines, AS_OF)
    rows = {row.pop("customer_id"): row for row in snapshot(lines, AS_OF).to_dicts()}
    assert rows.keys() == expected.keys()
    for customer, facts in expected.items():
        assert facts.keys() == set(FEATURES)
        assert rows[customer] == pytest.approx(facts, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(line, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_nothing_known_later_changes_a_snapshot(drawn: list[dict[str, Any]], random: Any) -> None:
    lines = order_lines(drawn)
    later = pl.col("known_at").dt.date() > AS_OF
    deleted = lines.filter(~later)
    scrambled = lines.with_columns(
        quantity=pl.when(later).then(pl.lit(1e6)).otherwise("quantity"),
        product_id=pl.when(later).then(pl.lit("scrambled")).otherwise("product_id"),
        kind=pl.when(later).then(pl.lit("return")).otherwise("kind"),
    ).sample(fraction=1.0, shuffle=True, seed=random.randrange(2**31))
    untouched = frame_digest(snapshot(lines, AS_OF))
    assert frame_digest(snapshot(deleted, AS_OF)) == untouched
    assert frame_digest(snapshot(scrambled, AS_OF)) == untouched


def test_the_check_notices_a_planted_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = order_lines(
        [
            {"customer_id": "a", "order": 0, "product_id": "x", "kind": "sale", "quantity": 1.0, "unit_price": 1.0,
             "day": day, "hour": 9, "late": 0}
            for day in (0, 30, 300)
        ]
    )  # fmt: skip
    honest = describe(ledger(lines), AS_OF)
    monkeypatch.setattr(features.customers, "known_by", lambda ledger, as_of: ledger)
    assert frame_digest(describe(ledger(lines), AS_OF)) != frame_digest(honest)
