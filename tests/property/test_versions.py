"""Late lines, corrections and returns: what was known at every moment, against a slow reading of the same versions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.calendar import Grid
from features.customers import snapshot
from features.orders import demand_from_orders
from features.panel import Panel

MONDAY = datetime(2024, 1, 1, 12, tzinfo=UTC)
WEEKS = Grid.starting_monday("week")
FIRST = WEEKS.number(MONDAY.date())
DAYS = 42
TIMES = pl.Datetime("us", "UTC")

line = st.fixed_dictionaries(
    {
        "product_id": st.sampled_from(["cup", "pot", "pan"]),
        "customer_id": st.sampled_from(["ann", "bob"]),
        "quantity": st.integers(1, 9),
        "day": st.integers(0, DAYS - 1),
        "late": st.sampled_from([0, 0, 0, 3, 20, 60]),
        "corrected": st.sampled_from([None, None, 1, 15]),
        "becomes": st.tuples(
            st.sampled_from(["cup", "pot", "new"]), st.sampled_from(["ann", "cat"]), st.integers(1, 9)
        ),
        "returned": st.sampled_from([None, None, 0, 12]),
    }
)


def versions(drawn: list[dict[str, Any]]) -> pl.DataFrame:
    """Every version of the lines drawn, a sale on the first day and one on the last."""
    edge = {"product_id": "tea", "customer_id": "eve", "quantity": 1, "late": 0, "corrected": None, "returned": None}
    rows = []
    for number, one in enumerate([edge | {"day": 0}, edge | {"day": DAYS - 1}, *drawn]):
        at = MONDAY + timedelta(days=one["day"], hours=0 if number == 0 else 1)
        known = at + timedelta(days=one["late"])
        sale = {"order_id": f"{number}", "line_no": 1, "kind": "sale", "unit_price": 2.0, "ordered_at": at}
        sale |= {name: one[name] for name in ("product_id", "customer_id", "quantity")}
        until = None if one["corrected"] is None else known + timedelta(days=one["corrected"])
        rows.append(sale | {"known_at": known, "known_until": until})
        if until is not None:
            product, customer, quantity = one["becomes"]
            now = {"product_id": product, "customer_id": customer, "quantity": quantity}
            rows.append(sale | now | {"known_at": until, "known_until": None})
        if one["returned"] is not None:
            back = at + timedelta(days=one["returned"])
            links = {"order_id": f"R{number}", "kind": "return", "cancels_order_id": f"{number}", "cancels_line_no": 1}
            rows.append(
                sale | links | {"quantity": 1, "ordered_at": back, "known_at": max(back, known), "known_until": None}
            )
    types = dict.fromkeys(("ordered_at", "known_at", "known_until"), TIMES)
    types |= {"cancels_order_id": pl.String, "cancels_line_no": pl.Int64, "quantity": pl.Float64}
    lines = pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None)
    for name in ("cancels_order_id", "cancels_line_no"):
        if name not in lines.columns:
            lines = lines.with_columns(pl.lit(None, dtype=types[name]).alias(name))
    return lines.filter(pl.col("ordered_at") <= MONDAY + timedelta(days=DAYS - 1, hours=1))


def slowly(rows: list[dict[str, Any]], end: date | None) -> tuple[set[str], dict[tuple[str, int], float]]:
    """Series ever heard of and demand by series and week, as known at the end of a day (None: now)."""

    def known(row: dict[str, Any]) -> bool:
        until = row["known_until"]
        return row["known_at"].date() <= (end or date.max) and (until is None or (end and until.date() > end))

    sales = [row for row in rows if row["kind"] == "sale"]
    listed = {row["product_id"] for row in sales if row["known_at"].date() <= (end or date.max)}
    cells: dict[tuple[str, int], float] = {}
    for sale in filter(known, sales):
        back = [row for row in rows if row["cancels_order_id"] == sale["order_id"] and known(row)]
        cell = (sale["product_id"], WEEKS.number_containing(sale["ordered_at"].date()) - FIRST)
        cells[cell] = cells.get(cell, 0) + sale["quantity"] - sum(row["quantity"] for row in back)
    return listed, cells


@settings(max_examples=80, deadline=None)
@given(st.lists(line, max_size=12))
def test_demand_at_every_origin_equals_a_slow_reading(drawn: list[dict[str, Any]]) -> None:
    lines = versions(drawn)
    rows = lines.to_dicts()
    demand, revisions = demand_from_orders(lines, ["product_id"], WEEKS, "UTC")
    panel = Panel.build(demand, ["product_id"], WEEKS, revisions=revisions)
    assert (panel.first, panel.last) == (FIRST, FIRST + DAYS // 7 - 1)
    for origin in range(panel.first, panel.last + 1):
        now = origin == panel.last
        view = panel.known(origin)
        listed, cells = slowly(rows, None if now else WEEKS.last_day(origin))
        names = view.series["product_id"].to_list()
        assert set(names) == listed
        expected = np.zeros(view.quantity.shape)
        for (name, column), quantity in cells.items():
            expected[names.index(name), column] = quantity
        np.testing.assert_allclose(np.nan_to_num(view.quantity), expected)
        unknown = np.isnan(view.quantity)
        assert (unknown == (np.arange(view.quantity.shape[1]) < view.listed[:, None])).all(), "dense from its beginning"
        if not now:
            cut = Panel.build(demand, ["product_id"], WEEKS, revisions=revisions, last=origin).known(origin)
            np.testing.assert_array_equal(
                cut.quantity, view.quantity[:, view.quantity.shape[1] - cut.quantity.shape[1] :]
            )


@settings(max_examples=80, deadline=None)
@given(st.lists(line, max_size=12), st.integers(0, DAYS + 60))
def test_customers_on_every_day_equal_those_of_the_lines_as_they_stood(drawn: list[dict[str, Any]], day: int) -> None:
    lines = versions(drawn)
    as_of = MONDAY.date() + timedelta(days=day)
    until = pl.col("known_until").dt.date()
    stood = lines.filter(pl.col("known_at").dt.date() <= as_of, until.is_null() | (until > as_of)).drop("known_until")
    heard = "discount_share"  # from list prices as they were believed to be when a line became known
    assert_frame_equal(snapshot(lines, as_of).drop(heard), snapshot(stood, as_of).drop(heard))
