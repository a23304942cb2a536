"""The first law for customers: a snapshot knows nothing later; and it equals a slow reading of the same lines."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from statistics import fmean, mean, median, stdev
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features.customers
from features.customers import FEATURES, WHERE_BROUGHT, WINDOW_WEEKS, describe, ledger, snapshot
from features.ledger import LEAST_SHARE
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
        "channel": st.sampled_from([None, "shop", "web", "web"]),
        "promised": st.sampled_from([None, 2, 9]),
        "delivered": st.sampled_from([None, 1, 5, 60]),
    }
)
answer = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from(["a", "b", "nobody"]),
        "day": st.integers(0, 400),
        "kind": st.sampled_from(["csat", "csat", "nps", "complaint"]),
        "score": st.sampled_from([None, 0.0, 2.5, 5.0]),
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
                "channel": row["channel"],
                **{f"{name}_on": after(ordered_at.date(), row[name]) for name in ("promised", "delivered")},
            }
        )
    times = pl.Datetime("us", "UTC")
    types = {"customer_id": pl.String, "ordered_at": times, "known_at": times, "channel": pl.String}
    return pl.DataFrame(rows, schema_overrides=types | {"promised_on": pl.Date, "delivered_on": pl.Date})


def after(day: date, days: int | None) -> date | None:
    return None if days is None else day + timedelta(days=days)


def answers(drawn: list[dict[str, Any]]) -> pl.DataFrame:
    rows = [{**row, "at": START + timedelta(days=row["day"], hours=20)} for row in drawn]
    types = {"customer_id": pl.String, "at": pl.Datetime("us", "UTC"), "kind": pl.String, "score": pl.Float64}
    return pl.DataFrame(rows, schema_overrides=types, schema=None if rows else types).select(list(types))


def month(row: dict[str, Any]) -> tuple[int, int]:
    return row["known_at"].year, row["known_at"].month


def most_often(sales: list[dict[str, Any]], value: str, before: tuple[int, int], least_share: float = 0) -> Any:
    """The value seen most often in the months before; of several, the one that came up to the others last."""
    seen: dict[Any, int] = {}
    usual, most = None, 0
    for period in sorted({month(row) for row in sales if month(row) < before}):
        now = [row[value] for row in sales if month(row) == period]
        for one in now:
            seen[one] = seen.get(one, 0) + 1
        for count, one in sorted((seen[one], one) for one in set(now)):
            if count >= most:
                usual, most = one, count
    return usual if most >= least_share * sum(seen.values()) else None


def share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def where_brought(
    own: list[dict[str, Any]], known: list[dict[str, Any]], said: list[dict[str, Any]], as_of: date, *, heard: bool
) -> dict[str, float | None]:
    """What only some shops can say of a customer, from the sales, all sales of the shop and the own answers."""
    stated = [row for row in known if row["channel"] is not None]
    orders: dict[str, dict[str, Any]] = {}
    for row in sorted(own, key=lambda row: (row["known_at"].date(), row["channel"] is None, row["channel"])):
        orders.setdefault(row["order_id"], row)
    through = [
        (row["ordered_at"].date(), row["channel"] == main)
        for row in orders.values()
        if row["channel"] is not None and (main := most_often(stated, "channel", month(row))) is not None
    ]
    last_day = max((day for day, _ in through), default=None)
    there = [
        (row["delivered_on"] - row["promised_on"]).days
        for row in own
        if row["promised_on"] and row["delivered_on"] and row["delivered_on"] <= as_of
        if (as_of - row["ordered_at"].date()).days < 26 * 7
    ]
    listed, saved = 0.0, 0.0
    for row in own:
        product = [other for other in known if other["product_id"] == row["product_id"]]
        usual = most_often(product, "unit_price", month(row), LEAST_SHARE)
        if usual is not None:
            listed += row["quantity"] * usual
            saved += row["quantity"] * max(usual - row["unit_price"], 0)

    def ago(row: dict[str, Any]) -> int:
        return (as_of - row["at"].date()).days

    def scores(kind: str, within: int) -> list[float]:
        return [row["score"] for row in said if row["kind"] == kind and row["score"] is not None and ago(row) < within]

    def last(kind: str) -> float | None:
        scored = [row for row in said if row["kind"] == kind and row["score"] is not None]
        return fmean(scores(kind, min(map(ago, scored)) + 1)) if scored else None

    complaints = [ago(row) for row in said if row["kind"] == "complaint"]
    return {
        "discount_share": share(saved, listed),
        "channels": len({row["channel"] for row in own} - {None}) or None,
        "main_channel_share": share(sum(main for _, main in through), len(through)),
        "last_main_channel_share": fmean(main for day, main in through if day == last_day) if through else None,
        "delay_days_26w": fmean(there) if there else None,
        "late_share_26w": share(sum(days > 0 for days in there), len(there)),
        "last_csat": last("csat"),
        "mean_csat_26w": fmean(recent) if (recent := scores("csat", 26 * 7)) else None,
        "last_nps": last("nps"),
        "complaints_13w": sum(days < 13 * 7 for days in complaints) if heard else None,
        "complaints_26w": sum(days < 26 * 7 for days in complaints) if heard else None,
        "days_since_complaint": min(complaints, default=None),
    }


def slowly(lines: pl.DataFrame, feedback: pl.DataFrame, as_of: date) -> dict[str, dict[str, float | None]]:
    """The same columns, one customer and one line at a time."""
    found: dict[str, dict[str, float | None]] = {}
    known = [row for row in lines.to_dicts() if row["known_at"].date() <= as_of and row["customer_id"]]
    all_sales = [row for row in known if row["kind"] == "sale"]
    buyers = {row["customer_id"] for row in all_sales}
    said = [row for row in feedback.to_dicts() if row["at"].date() <= as_of and row["customer_id"] in buyers]
    heard = any(row["kind"] == "complaint" or row["score"] is not None for row in said)
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
            "gap_variation": stdev(between) / mean(between) if len(between) > 1 else None,
            "last_gap_to_mean": between[-1] / mean(between) if between else None,
        }
        facts |= where_brought(
            sales, all_sales, [row for row in said if row["customer_id"] == customer], as_of, heard=heard
        )
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
@given(st.lists(line, min_size=1, max_size=40), st.lists(answer, max_size=6))
def test_a_snapshot_equals_a_slow_reading(drawn: list[dict[str, Any]], said: list[dict[str, Any]]) -> None:
    lines, feedback = order_lines(drawn), answers(said)
    expected = slowly(lines, feedback, AS_OF)
    rows = {row.pop("customer_id"): row for row in snapshot(lines, AS_OF, feedback).to_dicts()}
    assert rows.keys() == expected.keys()
    for customer, facts in expected.items():
        assert facts.keys() == set(FEATURES)
        assert rows[customer] == pytest.approx(facts, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(line, min_size=1, max_size=40), st.lists(answer, max_size=6), st.randoms(use_true_random=False))
def test_nothing_known_later_changes_a_snapshot(
    drawn: list[dict[str, Any]], said: list[dict[str, Any]], random: Any
) -> None:
    lines, feedback = order_lines(drawn), answers(said)
    later, to_come = pl.col("known_at").dt.date() > AS_OF, pl.col("delivered_on") > AS_OF
    untold = pl.col("at").dt.date() > AS_OF
    deleted = lines.filter(~later).with_columns(delivered_on=pl.when(~to_come).then("delivered_on"))
    scrambled = lines.with_columns(
        quantity=pl.when(later).then(pl.lit(1e6)).otherwise("quantity"),
        unit_price=pl.when(later).then(pl.lit(0.5)).otherwise("unit_price"),
        product_id=pl.when(later).then(pl.lit("scrambled")).otherwise("product_id"),
        channel=pl.when(later).then(pl.lit("scrambled")).otherwise("channel"),
        kind=pl.when(later).then(pl.lit("return")).otherwise("kind"),
        delivered_on=pl.when(to_come).then(pl.col("delivered_on") + timedelta(days=9)).otherwise("delivered_on"),
    ).sample(fraction=1.0, shuffle=True, seed=random.randrange(2**31))
    noise = feedback.with_columns(
        kind=pl.when(untold).then(pl.lit("complaint")).otherwise("kind"),
        score=pl.when(untold).then(pl.lit(1e6)).otherwise("score"),
    )
    untouched = frame_digest(snapshot(lines, AS_OF, feedback))
    assert frame_digest(snapshot(deleted, AS_OF, feedback.filter(~untold))) == untouched
    assert frame_digest(snapshot(scrambled, AS_OF, noise)) == untouched


SALE = {"customer_id": "a", "order": 0, "product_id": "x", "kind": "sale", "quantity": 1.0, "unit_price": 1.0,
        "hour": 9, "late": 0, "channel": "web", "promised": 2, "delivered": 1}  # fmt: skip
COMPLAINT = {"customer_id": "a", "kind": "complaint", "score": None}
LEAKS = {
    "an order": ([{"day": 0}, {"day": 30}, {"day": 300}], [], "orders"),
    "a delivery": ([{"day": 170, "delivered": 60}], [], "delay_days_26w"),
    "a complaint": ([{"day": 0}], [{"day": 300}], "complaints_26w"),
    "another price": ([{"day": 0}, {"day": 300, "unit_price": 0.5}], [], "discount_share"),
    "a channel": ([{"day": 0}, {"day": 300, "channel": "shop"}], [], "channels"),
}


@pytest.mark.parametrize("what", LEAKS)
def test_the_check_notices_a_planted_leak(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    days, said, column = LEAKS[what]
    book = ledger(order_lines([SALE | day for day in days]), answers([COMPLAINT | day for day in said]))
    honest = describe(book, AS_OF)
    monkeypatch.setattr(features.customers, "known_by", lambda ledger, as_of: ledger)
    leaking = describe(book, AS_OF)
    assert frame_digest(leaking) != frame_digest(honest)
    assert leaking[column].to_list() != honest[column].to_list()


@settings(max_examples=30, deadline=None)
@given(st.lists(line, min_size=1, max_size=40))
def test_what_a_shop_does_not_say_is_unknown_and_changes_nothing_else(drawn: list[dict[str, Any]]) -> None:
    lines = order_lines(drawn)
    plain = snapshot(lines.drop("channel", "promised_on", "delivered_on"), AS_OF)
    unsaid = [name for name in WHERE_BROUGHT if plain[name].is_not_null().any()]
    assert unsaid == []
    assert plain.schema == snapshot(lines, AS_OF).schema
    shared = [name for name in plain.columns if name not in WHERE_BROUGHT]
    assert plain.select(shared).equals(snapshot(lines, AS_OF).select(shared))
