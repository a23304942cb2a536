"""Matching returns to sales, against the rule spelled out as a plain loop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.returns import match_returns

START = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = {
    "order_id": pl.String,
    "line_no": pl.Int64,
    "ordered_at": pl.Datetime("us", "UTC"),
    "customer_id": pl.String,
    "product_id": pl.String,
    "kind": pl.String,
    "quantity": pl.Float64,
    "cancels_order_id": pl.String,
    "cancels_line_no": pl.Int64,
}


def by_hand(lines: list[dict]) -> dict[tuple[str, int], tuple[str, int]]:
    """Return key → sale key, one return after the other."""
    sales = [line for line in lines if line["kind"] == "sale"]
    left = {(sale["order_id"], sale["line_no"]): sale["quantity"] for sale in sales}
    for line in lines:
        if line["cancels_order_id"] is not None:
            left[line["cancels_order_id"], line["cancels_line_no"]] -= line["quantity"]
    waiting = [line for line in lines if line["kind"] == "return" and line["cancels_order_id"] is None]
    links = {}
    for back in sorted(waiting, key=lambda line: (line["ordered_at"], line["order_id"], line["line_no"])):
        fitting = [
            sale
            for sale in sales
            if back["customer_id"] is not None
            and (sale["customer_id"], sale["product_id"]) == (back["customer_id"], back["product_id"])
            and sale["ordered_at"] <= back["ordered_at"]
            and left[sale["order_id"], sale["line_no"]] >= back["quantity"]
        ]
        if fitting:
            latest = max(fitting, key=lambda sale: (sale["ordered_at"], sale["order_id"], sale["line_no"]))
            key = latest["order_id"], latest["line_no"]
            left[key] -= back["quantity"]
            links[back["order_id"], back["line_no"]] = key
    return links


line = st.tuples(
    st.integers(0, 6),  # hours after the start: many share a moment
    st.sampled_from(["ann", "bob", None]),
    st.sampled_from(["cup", "pot"]),
    st.sampled_from(["sale", "return"]),
    st.integers(1, 4),
)


def lines_of(drawn: list[tuple]) -> list[dict]:
    return [
        {
            "order_id": f"o{number % 5}",
            "line_no": number // 5 + 1,
            "ordered_at": START + timedelta(hours=hours),
            "customer_id": customer,
            "product_id": product,
            "kind": kind,
            "quantity": float(quantity),
            "cancels_order_id": None,
            "cancels_line_no": None,
        }
        for number, (hours, customer, product, kind, quantity) in enumerate(drawn)
    ]


def matched(lines: list[dict]) -> dict[tuple[str, int], tuple[str, int]]:
    links = match_returns(pl.DataFrame(lines, schema=SCHEMA))
    return {(row[0], row[1]): (row[2], row[3]) for row in links.iter_rows()}


@settings(max_examples=200, deadline=None)
@given(st.lists(line, max_size=40), st.randoms(use_true_random=False))
def test_same_links_as_the_plain_loop_in_any_row_order(drawn: list[tuple], random: object) -> None:
    lines = lines_of(drawn)
    expected = by_hand(lines)
    random.shuffle(lines)
    assert matched(lines) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(line, max_size=40), st.integers(0, 6))
def test_links_that_are_there_stay_and_use_up_their_sale(drawn: list[tuple], until: int) -> None:
    lines = lines_of(drawn)
    early = [one for one in lines if one["ordered_at"] <= START + timedelta(hours=until)]
    for key, sale in by_hand(early).items():
        for one in lines:
            if (one["order_id"], one["line_no"]) == key:
                one["cancels_order_id"], one["cancels_line_no"] = sale
    assert matched(lines) == by_hand(lines)


def test_a_giant_order_taken_back_minutes_later() -> None:
    drawn = [(0, "ann", "cup", "sale", 1), (1, "ann", "cup", "sale", 4), (1, "ann", "cup", "return", 4)]
    assert matched(lines_of(drawn)) == {("o2", 1): ("o1", 1)}
