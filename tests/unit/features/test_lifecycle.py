"""Launch, end and substitution against a slow reading; past origins know nothing of plans."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.demand import Vocabulary, rows_at
from features.lifecycle import cycle, joined, linked, shares
from features.panel import Panel
from tests.made_panel import GRIDS, panel_of, scrambled, tables

WEEKS = GRIDS["week"]
FIRST = WEEKS.number(date(2024, 1, 1))


def monday(week: int) -> date:
    return date(2024, 1, 1) + timedelta(weeks=week)


def panel(demand: dict[str, list[float | None]], last: int | None = None, **said: list[object]) -> Panel:
    """Series by name, aligned at week 0; None = no row."""
    long = pl.DataFrame(
        [
            (name, monday(week), float(value))
            for name, values in demand.items()
            for week, value in enumerate(values)
            if value is not None
        ],
        schema={"item": pl.String, "period": pl.Date, "quantity": pl.Float64},
        orient="row",
    )
    types = {"launched_on": pl.Date, "discontinued_on": pl.Date, "replaces": pl.String}
    facts = pl.DataFrame({"item": list(demand)} | said, schema_overrides={n: types[n] for n in said})
    attributes = joined(facts.select("item"), facts, ["item"], ["item"])
    return Panel.build(long, ["item"], WEEKS, attributes=attributes, last=None if last is None else FIRST + last)


def history(view: Panel, name: str) -> list[float | None]:
    row = view.series["item"].to_list().index(name)
    return [None if np.isnan(value) else float(value) for value in view.quantity[row]]


def dates(view: Panel, column: str) -> dict[str, date | None]:
    return dict(view.series.select("item", column).iter_rows())


def test_periods_before_the_launch_are_no_history():
    made = panel({"a": [0, 0, 3, 4], "b": [1, 2, 3, 4]}, launched_on=[monday(2), None])
    assert history(made.known(made.last), "a") == [None, None, 3, 4]
    assert history(made.known(made.last), "b") == [1, 2, 3, 4]
    assert history(made.known(FIRST + 1), "a") == [0, 0], "at that time the launch was still to come"


def test_a_successor_carries_on_what_it_replaces_and_chains_are_followed():
    made = panel(
        {"a": [5, 6, 7, 1, 0, 0], "b": [None, None, None, 8, 9, 2], "c": [None] * 5 + [4]},
        replaces=[None, "a", "b"],
    )
    now = made.known(made.last)
    assert history(now, "a") == [5, 6, 7, 1, 0, 0]
    assert history(now, "b") == [5, 6, 7, 8, 9, 2]
    assert history(now, "c") == [5, 6, 7, 8, 9, 4]
    assert dates(now, "discontinued_on") == {"a": monday(3) - timedelta(1), "b": monday(5) - timedelta(1), "c": None}
    before = made.known(FIRST + 4)
    assert dates(before, "discontinued_on") == {"a": monday(3) - timedelta(1), "b": None}


def test_a_dense_table_starts_a_successor_with_its_first_sale():
    made = panel({"new": [0, 0, 0, 8], "old": [5, 6, 7, 1]}, replaces=["old", None])
    assert history(made.known(made.last), "new") == [5, 6, 7, 8]
    before = made.known(FIRST + 2)
    assert history(before, "new") == [0, 0, 0]
    assert dates(before, "discontinued_on") == {"new": None, "old": None}


def test_what_is_heard_of_later_changes_nothing():
    said = {"replaces": ["old", None, None], "launched_on": [monday(3), None, monday(5)]}
    said["discontinued_on"] = [None, monday(4), monday(5)]
    demand = {"new": [None] * 3 + [8, 9, 9], "old": [5, 6, 7, 1, 0, 0], "other": [1] * 6}
    made, plain = panel(demand, **said), panel(demand)
    early, without = made.known(FIRST + 2), plain.known(FIRST + 2)
    assert early.quantity.tobytes() == without.quantity.tobytes()
    for column in ("launched_on", "discontinued_on", "replaces"):
        assert early.series[column].null_count() == early.series.height
    cut = panel(demand, last=4, **said)
    whole, part = made.known(FIRST + 4), cut.known(cut.last)
    assert whole.series.equals(part.series)
    assert whole.quantity.tobytes() == part.quantity.tobytes()
    assert dates(made.known(made.last), "discontinued_on")["other"] == monday(5)


def facts(origin: int, *, changed: bool = False) -> pl.DataFrame:
    """s01, s03 and s05 replace their neighbours; some launch and end before the origin, some after it."""
    index, now = pl.int_range(pl.len()), pl.lit(WEEKS.last_day(origin))
    launch, end = (now + pl.duration(days=index * 9 - days) for days in (40, 10))
    if changed:
        launch, end = (pl.when(day <= now).then(day).otherwise(day + pl.duration(days=40)) for day in (launch, end))
    return pl.DataFrame({"store": [f"s{i:02d}" for i in range(12)]}).with_columns(
        launched_on=pl.when(index % 4 == 2).then(launch),
        discontinued_on=pl.when(index % 3 == 0).then(end),
        replaces=pl.when((index % 2 == 1) & (index < 6)).then(pl.struct(store=pl.col("store").shift(1))),
    )


@pytest.mark.parametrize("back", [3, 40])
def test_rows_with_lifecycle_do_not_see_what_comes_after_the_origin(back: int):
    parts = tables("week")
    origin = panel_of("week", parts).last - back

    def rows(parts: dict[str, pl.DataFrame], said: pl.DataFrame | None, last: int | None = None) -> pl.DataFrame:
        if said is not None:
            parts = parts | {"attributes": parts["attributes"].join(said, on="store", how="left")}
        made = panel_of("week", parts, last=last)
        found = rows_at(made, origin, 4, Vocabulary.of(made.known(origin)), country="GB")
        return found.with_columns(series=made.series["store"].gather(found["series"]))

    one = rows(parts, facts(origin))
    assert not one["lag_0"].equals(rows(parts, None)["lag_0"]), "what was known then does change the rows"
    later = scrambled("week", parts, origin)
    for other in (rows(later, facts(origin, changed=True)), rows(parts, facts(origin), last=origin)):
        assert one.columns == other.columns
        for name in other.columns:
            same = one[name].equals(other[name]) if name == "series" else None
            assert same or one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes(), name


DAY = st.one_of(st.none(), st.integers(-60, 120))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(GRIDS)), DAY, DAY)
def test_shares_agree_with_counting_days(frequency: str, launch: int | None, end: int | None):
    grid = GRIDS[frequency]
    today = date(2024, 2, 4)
    origin = grid.number_containing(today)
    launched_on, ended_on = (None if day is None else today + timedelta(days=day) for day in (launch, end))
    series = pl.DataFrame(
        {"launched_on": [launched_on], "discontinued_on": [ended_on]},
        schema={"launched_on": pl.Date, "discontinued_on": pl.Date},
    )
    from_launch, to_end = shares(series, grid, origin, 3)
    for step in range(3):
        opened, closed = grid.first_day(origin + step + 1), grid.last_day(origin + step + 1)
        days = [opened + timedelta(days=i) for i in range((closed - opened).days + 1)]
        alive = [launched_on is None or day >= launched_on for day in days]
        assert from_launch[0, step] == pytest.approx(np.mean(alive))
        alive = [ended_on is None or day <= ended_on for day in days]
        assert to_end[0, step] == pytest.approx(np.mean(alive))


@pytest.mark.parametrize(("old", "circle"), [([None, 0, 1], []), ([1, 0, 1], [0, 1]), ([None, 1], [1]), ([], [])])
def test_circles_are_found(old: list[int | None], circle: list[int]):
    assert cycle(pl.DataFrame({"replaces": pl.Series(old, dtype=pl.Int32)})) == circle


def test_what_a_product_replaces_is_meant_in_every_location_and_dates_meet():
    keys = ["location_id", "product_id"]
    series = pl.DataFrame({"location_id": ["x", "x", "y"], "product_id": [1, 2, 2]})
    products = pl.DataFrame(
        {
            "product_id": [2],
            "replaces": ["1"],
            "launched_on": [monday(4)],
            "discontinued_on": [monday(9)],
            "kind": ["k"],
        }
    )
    locations = pl.DataFrame(
        {
            "location_id": ["x", "y"],
            "launched_on": [monday(2), monday(6)],
            "discontinued_on": [monday(7), None],
            "kind": ["l", "m"],
        }
    )
    found = joined(joined(series, products, ["product_id"], keys), locations, ["location_id"], keys)
    assert found["launched_on"].to_list() == [monday(2), monday(4), monday(6)]
    assert found["discontinued_on"].to_list() == [monday(7), monday(7), monday(9)]
    assert found["kind"].to_list() == [None, "k", "k"]
    assert linked(found, keys)["replaces"].to_list() == [None, 0, None]
