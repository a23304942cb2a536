"""Properties of demand: fast window arithmetic against a slow reading, ledgers that add up, fans that never cross."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from features import windows as w
from features.calendar import Grid
from features.demand import Vocabulary, rows_at
from features.orders import demand_from_orders
from features.panel import Panel
from pipelines.demand.distribution import Errors, conform, interpolate

CELL = st.one_of(st.none(), st.integers(0, 9).map(float))
HISTORY = st.lists(CELL, min_size=1, max_size=120)
MONDAY = datetime(2023, 1, 2, 12, tzinfo=UTC)


def slow_mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan


def slow_median(values: list[float | None]) -> float:
    known = sorted(value for value in values if value is not None)
    return math.nan if not known else (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2


def array(values: list[float | None]) -> np.ndarray:
    return np.array([[math.nan if value is None else value for value in values]], dtype=np.float32)


@given(HISTORY, st.integers(1, 60))
def test_windows_agree_with_a_slow_reading(history: list[float | None], periods: int):
    last = history[-periods:]
    window = w.tail(array(history), periods)
    known = [value for value in last if value is not None]
    np.testing.assert_allclose(w.mean(window)[0], slow_mean(last), rtol=1e-6)
    np.testing.assert_allclose(w.median(window)[0], slow_median(last))
    np.testing.assert_allclose(w.deviation(window)[0], np.std(known) if known else math.nan, rtol=1e-5, atol=1e-6)
    share = sum(value > 0 for value in known) / len(known) if known else math.nan
    np.testing.assert_allclose(w.share_positive(window)[0], share, rtol=1e-6)
    everything = [value for value in history if value is not None][-periods:]
    np.testing.assert_allclose(w.last_valid_mean(array(history), periods)[0], slow_mean(everything), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(HISTORY.filter(lambda values: any(values)), st.integers(1, 60))
def test_rows_agree_with_a_slow_reading_of_one_series(history: list[float | None], horizon: int):
    grid = Grid.starting_monday("week")
    demand = pl.DataFrame(
        {"s": "a", "period": [(MONDAY + timedelta(weeks=i)).date() for i in range(len(history))], "quantity": history}
    )
    panel = Panel.build(demand.cast({"quantity": pl.Float64}), ["s"], grid, last=grid.number(demand["period"][-1]))
    rows = rows_at(panel, panel.last, horizon, Vocabulary())

    launched = next(i for i, value in enumerate(history) if value)
    y = [None] * launched + history[launched:]
    recent = [value for value in y if value is not None][-52:]
    sizes = [value for value in y if value]
    scale = max(slow_mean(recent), slow_mean(sizes) / 52)
    np.testing.assert_allclose(rows["scale"], scale, rtol=1e-5)
    np.testing.assert_allclose(rows["mean_13"], slow_mean(y[-13:]) / scale, rtol=1e-4)
    np.testing.assert_allclose(rows["median_8"], slow_median(y[-8:]) / scale, rtol=1e-4)
    np.testing.assert_allclose(rows["lag_0"], (math.nan if y[-1] is None else y[-1]) / scale, rtol=1e-4)
    assert rows["since_sale"][0] == next(i for i, value in enumerate(reversed(y)) if value)
    for step in range(1, horizon + 1):
        place = len(y) - 1 + step - 52
        then = y[place] if 0 <= place < len(y) else None
        expected = math.nan if then is None else then / scale
        np.testing.assert_allclose(rows["year_ago_1"][step - 1], expected, rtol=1e-4)
        around = [y[i] if 0 <= i < len(y) else None for i in (place - 1, place, place + 1)]
        np.testing.assert_allclose(rows["year_ago_1_around"][step - 1], slow_mean(around) / scale, rtol=1e-4)


SALE = st.tuples(st.integers(0, 69), st.integers(1, 20), st.integers(0, 30), st.integers(0, 20))


@settings(max_examples=60, deadline=None)
@given(st.lists(SALE, min_size=1, max_size=25))
def test_demand_as_known_at_the_end_is_sales_less_cancellations(sales: list[tuple[int, int, int, int]]):
    """Day of sale, quantity, days until it is cancelled, quantity cancelled: the ledger adds up to the unit."""
    lines = [("open", MONDAY, 1, "sale", None), ("close", MONDAY + timedelta(days=110), 1, "sale", None)]
    for number, (day, quantity, wait, cancelled) in enumerate(sales):
        at = MONDAY + timedelta(days=day)
        lines.append((f"s{number}", at, quantity, "sale", None))
        if cancelled := min(cancelled, quantity):
            lines.append((f"r{number}", at + timedelta(days=wait), cancelled, "return", f"s{number}"))
    frame = pl.DataFrame(
        [
            (order, 1, at, "tea", kind, float(quantity), 1.0, of, 1 if of else None, at)
            for order, at, quantity, kind, of in lines
        ],
        schema=[
            "order_id",
            "line_no",
            "ordered_at",
            "product_id",
            "kind",
            "quantity",
            "unit_price",
            "cancels_order_id",
            "cancels_line_no",
            "known_at",
        ],
        orient="row",
        schema_overrides={"cancels_order_id": pl.String, "cancels_line_no": pl.Int64},
    )
    demand, revisions = demand_from_orders(frame, ["product_id"], Grid.starting_monday("week"), "UTC")
    expected = 1 + sum(quantity - min(cancelled, quantity) for _, quantity, _, cancelled in sales)
    assert demand["quantity"].sum() + revisions["quantity"].sum() == expected
    assert (revisions["known_period"] > revisions["period"]).all()
    assert demand.height == 15  # 2023-01-02 … 2023-04-16, whole weeks only


@given(
    st.lists(st.lists(st.floats(0, 1e6), min_size=5, max_size=5), min_size=1, max_size=20),
    st.lists(st.floats(-50, 50), min_size=5, max_size=5),
)
def test_fans_never_cross_and_never_go_below_zero(anchors: list[list[float]], shifts: list[float]):
    levels = [0.05, 0.3, 0.5, 0.9, 0.975]
    fan = interpolate(np.sort(np.array(anchors), axis=1), (0.1, 0.25, 0.5, 0.75, 0.9), levels)
    cell = np.zeros(len(fan), dtype=np.int64)
    fan = conform(fan, np.ones(len(fan)), cell, Errors(levels, shifts, {}))
    assert (fan >= 0).all()
    assert (np.diff(fan, axis=1) >= 0).all()
