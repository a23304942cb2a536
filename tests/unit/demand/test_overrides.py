"""What planners say, on made forecasts: order, spread, fans, sums, and what must not be touched."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.stats import poisson

from features.tables import TABLES
from pipelines.demand.overrides import apply

KEYS = ["store", "item"]
WEEK = [date(2024, 1, 1) + timedelta(weeks=n) for n in range(4)]
NOW = datetime(2024, 1, 1, 12, tzinfo=UTC)
LEVELS = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
MEANS = {("A", 1): [10.0, 10.0, 20.0, 20.0], ("A", 2): [30.0, 30.0, 20.0, 20.0], ("B", 1): [5.0, 5.0, 5.0, 0.0]}


def issue() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Three series over four weeks; quantiles .5, .9 and 2 times the mean, narrower for sums."""
    cells = [(*key, WEEK[n], n + 1, mean) for key, means in MEANS.items() for n, mean in enumerate(means)]
    schema = {"store": pl.String, "item": pl.Int64, "period": pl.Date, "horizon": pl.Int32, "mean": pl.Float64}
    forecasts = pl.DataFrame(cells, schema=schema, orient="row")
    sums = forecasts.select(*KEYS, periods="horizon", mean=pl.col("mean").cum_sum().over(KEYS))
    fan = {"p10": 0.5, "p50": 0.9, "p90": 2.0}
    forecasts = forecasts.with_columns(
        *((pl.col("mean") * share).alias(name) for name, share in fan.items()),
        p_zero=pl.when(pl.col("mean") > 0).then(0.0).otherwise(1.0),
        life=1.0,
    )
    narrowing = pl.col("periods").cast(pl.Float64).sqrt()
    return forecasts, sums.with_columns(
        (pl.col("mean") * (1 + (share - 1) / narrowing)).alias(name) for name, share in fan.items()
    )


def said(*rows: dict[str, object]) -> pl.DataFrame:
    """Overrides, each said a minute after the one before it, of every week unless it says otherwise."""
    plain = {"store": None, "item": None, "who": "anna", "why": "fair", "from_period": WEEK[0], "to_period": WEEK[3]}
    full = [
        plain
        | {"override_id": f"o{n}", "at": NOW - timedelta(days=1) + timedelta(minutes=n), "withdrawn_at": None}
        | row
        for n, row in enumerate(rows)
    ]
    schema = {"store": pl.String, "item": pl.Int64, **TABLES["overrides"].schema.create_empty().schema}
    return pl.DataFrame(full, schema=schema)


def applied(*rows: dict[str, object]) -> tuple[pl.DataFrame, pl.DataFrame]:
    return apply(*issue(), said(*rows), NOW, KEYS)


def means(frame: pl.DataFrame, store: str, item: int) -> list[float]:
    return frame.filter(store=store, item=item).sort("horizon")["mean"].to_list()


def test_without_overrides_every_bit_stays() -> None:
    forecasts, sums = issue()
    for nothing in (None, said(), said({"kind": "set", "value": 1.0, "item": 99})):
        moved, same = apply(forecasts, sums, nothing, NOW, KEYS)
        assert_frame_equal(moved.select(forecasts.columns), forecasts, check_exact=True)
        assert_frame_equal(same, sums, check_exact=True)
        assert moved["override_id"].null_count() == moved.height
        assert_frame_equal(moved.select("mean_model"), forecasts.select(mean_model="mean"), check_exact=True)


def test_each_kind_does_what_it_says() -> None:
    product = {"store": "A", "item": 1, "from_period": WEEK[1], "to_period": WEEK[2]}
    assert means(applied(product | {"kind": "multiply", "value": 1.5})[0], "A", 1) == [10, 15, 30, 20]
    assert means(applied(product | {"kind": "add", "value": -4.0})[0], "A", 1) == [10, 6, 16, 20]
    assert means(applied(product | {"kind": "set", "value": 7.0})[0], "A", 1) == [10, 7, 7, 20]
    assert means(applied(product | {"kind": "add", "value": -40.0})[0], "A", 1) == [10, 0, 0, 20], "never below zero"


def test_a_total_is_spread_in_proportion_to_the_means() -> None:
    moved, _ = applied({"store": "A", "kind": "set", "value": 80.0})
    assert means(moved, "A", 1) == [20, 20, 40, 40]
    assert means(moved, "A", 2) == [60, 60, 40, 40]
    assert means(moved, "B", 1) == MEANS["B", 1]
    whole_shop, _ = applied({"kind": "add", "value": 45.0})
    assert whole_shop.group_by("period").agg(pl.col("mean").sum()).sort("period")["mean"].to_list() == [90, 90, 90, 85]
    assert set(whole_shop["override_id"]) == {"o0"}


def test_where_nothing_is_expected_a_total_is_spread_evenly() -> None:
    zero = {"kind": "multiply", "value": 0.0, "store": "A"}
    moved, _ = applied(zero, {"kind": "set", "value": 12.0, "store": "A"})
    assert means(moved, "A", 1) == means(moved, "A", 2) == [6.0] * 4


def test_an_override_never_lands_outside_the_life_of_a_series() -> None:
    """A1 ends after two weeks: of a total for store A the other gets all, and what is said of A1 alone is idle."""
    forecasts, sums = issue()
    ended = (pl.col("store") == "A") & (pl.col("item") == 1) & (pl.col("horizon") > 2)
    forecasts = forecasts.with_columns(life=pl.when(ended).then(0.0).otherwise(1.0))
    forecasts = forecasts.with_columns(
        pl.when(ended).then(0.0).otherwise(pl.col(name)).alias(name) for name in ("mean", *LEVELS)
    )
    nothing = {"kind": "multiply", "value": 0.0, "store": "A"}
    moved, _ = apply(forecasts, sums, said(nothing, {"kind": "set", "value": 12.0, "store": "A"}), NOW, KEYS)
    assert means(moved, "A", 1) == [6, 6, 0, 0]
    assert means(moved, "A", 2) == [6, 6, 12, 12]
    alone, _ = apply(forecasts, sums, said({"kind": "set", "value": 9.0, "store": "A", "item": 1}), NOW, KEYS)
    assert means(alone, "A", 1)[:2] == [9, 9]
    assert alone.filter(ended)["override_id"].to_list() == [None, None]


def test_overrides_apply_in_the_order_they_were_said() -> None:
    one = {"store": "B", "item": 1, "to_period": WEEK[0]}
    ten, double = one | {"kind": "set", "value": 10.0}, one | {"kind": "multiply", "value": 2.0}
    assert means(applied(ten, double)[0], "B", 1)[0] == 20, "a factor on what was set"
    assert means(applied(double, ten)[0], "B", 1)[0] == 10, "the newest set stands"
    assert means(applied(ten, one | {"kind": "set", "value": 3.0})[0], "B", 1)[0] == 3
    late, early = ten | {"at": NOW - timedelta(hours=1)}, double | {"at": NOW - timedelta(hours=2)}
    moved, _ = applied(late, early)
    assert means(moved, "B", 1)[0] == 10, "the order of rows is not the order of time"
    assert moved.filter(store="B", horizon=1)["override_id"].item() == "o0"


def test_what_was_said_later_or_withdrawn_by_then_does_not_count() -> None:
    forecasts, sums = issue()
    row = {"kind": "multiply", "value": 2.0, "at": NOW - timedelta(hours=2), "withdrawn_at": NOW - timedelta(hours=1)}
    for moment, factor in ((-3.0, 1.0), (-1.5, 2.0), (-1.0, 1.0), (5.0, 1.0)):
        moved, _ = apply(forecasts, sums, said(row), NOW + timedelta(hours=moment), KEYS)
        assert moved["mean"].sum() == pytest.approx(factor * forecasts["mean"].sum())


def test_quantiles_move_with_their_mean_and_so_do_sums() -> None:
    forecasts, sums = issue()
    moved, summed = applied({"store": "A", "item": 1, "to_period": WEEK[1], "kind": "multiply", "value": 3.0})
    touched = (pl.col("store") == "A") & (pl.col("item") == 1) & (pl.col("period") <= WEEK[1])
    for name in LEVELS:
        np.testing.assert_allclose(moved.filter(touched)[name], 3 * forecasts.filter(touched)[name])
    assert_frame_equal(moved.filter(~touched).select(forecasts.columns), forecasts.filter(~touched), check_exact=True)
    one, before = (frame.filter(store="A", item=1).sort("periods") for frame in (summed, sums))
    assert one["mean"].to_list() == [30, 60, 80, 100]
    for name in LEVELS:
        away = [forecasts.filter(store="A", item=1)[name] - forecasts.filter(store="A", item=1)["mean"]]
        away.append(moved.filter(store="A", item=1)[name] - moved.filter(store="A", item=1)["mean"])
        was, now = (np.sqrt(np.cumsum(one_by_one.to_numpy() ** 2)) for one_by_one in away)
        np.testing.assert_allclose((one[name] - one["mean"]) / (before[name] - before["mean"]), now / was)
    assert_frame_equal(summed.filter(store="B"), sums.filter(store="B"), check_exact=True)


def test_more_periods_never_mean_less_demand() -> None:
    _, summed = applied({"from_period": WEEK[2], "to_period": WEEK[2], "kind": "set", "value": 0.0})
    rises = summed.sort(*KEYS, "periods").select(pl.col(*LEVELS).diff().over(KEYS)).drop_nulls()
    assert rises.to_numpy().min() >= 0


def test_around_a_mean_of_nothing_the_fan_is_that_of_poisson() -> None:
    last = {"store": "B", "item": 1, "from_period": WEEK[3], "kind": "set"}
    for mean in (0.4, 3.0, 250.0):
        moved, summed = applied(last | {"value": mean})
        row = moved.filter(store="B", horizon=4).row(0, named=True)
        assert [row[name] for name in LEVELS] == poisson.ppf(list(LEVELS.values()), mean).tolist()
        assert row["p_zero"] == pytest.approx(poisson.pmf(0, mean), abs=0.25), "as far as three quantiles tell"
        assert summed.filter(store="B", periods=4)["mean"].item() == 15 + mean
    gone = applied(last | {"value": 0.0, "from_period": WEEK[0]})[0].filter(store="B")
    assert gone.select("mean", *LEVELS).to_numpy().max() == 0
    assert gone["p_zero"].to_list() == [1.0] * 4


def test_the_chance_of_none_agrees_with_the_quantiles() -> None:
    forecasts, sums = issue()
    rare = forecasts.with_columns(p10=0.0, p50=0.4, p90=pl.col("mean").clip(1), p_zero=0.55)
    up = apply(rare, sums, said({"kind": "multiply", "value": 4.0, "store": "A"}), NOW, KEYS)[0].filter(store="A")
    assert (up["p50"] >= 0.5).all()
    assert (up["p_zero"] < 0.5).all(), "half of all outcomes are now one unit or more"
    assert (up["p_zero"] > 0.1).all(), "p10 is still none"


def test_demand_in_fractions_of_a_unit_has_no_smallest_sale_of_one() -> None:
    forecasts, sums = issue()
    scale = [pl.col(name) * 1e-3 for name in ("mean", *LEVELS)]
    tiny, tiny_sums = (frame.with_columns(scale) for frame in (forecasts, sums))
    double = said({"kind": "multiply", "value": 2.0, "item": 2})
    for whole, expected in ((False, 0.0), (True, 0.9)):
        moved, _ = apply(tiny, tiny_sums, double, NOW, KEYS, whole=whole)
        assert moved.filter(item=2)["p_zero"].to_list() == [expected] * 4


def test_an_override_by_a_column_that_no_longer_names_series_speaks_of_none() -> None:
    forecasts, sums = issue()
    by_store = said({"store": "A", "kind": "multiply", "value": 2.0})
    items, item_sums = (frame.filter(store="A").drop("store") for frame in (forecasts, sums))
    moved, _ = apply(items, item_sums, by_store, NOW, ["item"])
    assert_frame_equal(moved.select(items.columns), items, check_exact=True)


one_said = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["set", "add", "multiply"]),
        "value": st.floats(0, 500),
        "store": st.sampled_from([None, "A", "B"]),
        "item": st.sampled_from([None, 1, 2]),
        "span": st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(one_said, max_size=4), st.randoms(use_true_random=False))
def test_means_are_those_of_a_slow_reading_whatever_the_order_of_rows(rows: list[dict], chance) -> None:
    rows = [row | {"from_period": WEEK[row["span"][0]], "to_period": WEEK[row["span"][1]]} for row in rows]
    rows = [{name: value for name, value in row.items() if name != "span"} for row in rows]
    expected = {(*key, n): mean for key, by_week in MEANS.items() for n, mean in enumerate(by_week)}
    for row in rows:
        for n in range(4):
            if not row["from_period"] <= WEEK[n] <= row["to_period"]:
                continue
            cells = [
                cell
                for cell in expected
                if cell[2] == n and row["store"] in (None, cell[0]) and row["item"] in (None, cell[1])
            ]
            total = sum(expected[cell] for cell in cells)
            for cell in cells:
                share = expected[cell] / total if total > 0 else 1 / len(cells)
                told = {"set": row["value"], "add": total + row["value"], "multiply": total * row["value"]}[row["kind"]]
                expected[cell] = share * told if row["kind"] != "multiply" else expected[cell] * row["value"]
    moved, summed = applied(*rows)
    found = {(store, item, h - 1): mean for store, item, h, mean in moved.select(*KEYS, "horizon", "mean").rows()}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    fan = moved.select("p10", "p50", "p90").to_numpy()
    assert np.isfinite(fan).all()
    assert (np.diff(fan, axis=1) >= 0).all()
    assert moved["p_zero"].is_between(0, 1).all()
    totals = moved.sort(*KEYS, "horizon").select(t=pl.col("mean").cum_sum().over(KEYS))["t"]
    np.testing.assert_allclose(summed.sort(*KEYS, "periods")["mean"], totals)
    forecasts, sums = issue()
    order = chance.sample(range(forecasts.height), forecasts.height)
    shuffled, _ = apply(forecasts[order], sums[order], said(*rows), NOW, KEYS)
    assert_frame_equal(shuffled, moved[order], check_exact=True)
