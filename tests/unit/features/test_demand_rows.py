"""The first law for demand: rows of an origin depend on nothing later; one series at a time reads the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.demand import Vocabulary, features_of, rows_at, scale_of, without_leading_zeros
from features.panel import Panel
from tests.made_panel import GRIDS, newcomers, panel_of, scrambled, tables


def rows(panel: Panel, origin: int, vocabulary: Vocabulary | None = None) -> pl.DataFrame:
    known = vocabulary or Vocabulary.of(panel.known(origin))
    made = rows_at(panel, origin, 8, known, country="GB")
    return made.with_columns(series=panel.series["store"].gather(made["series"]))


def assert_same_bytes(one: pl.DataFrame, other: pl.DataFrame) -> None:
    assert one.columns == other.columns
    for name in one.columns:
        same = one[name].equals(other[name]) if one.schema[name] == pl.String else None
        assert same or one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes(), name


Later = Callable[[str, dict[str, pl.DataFrame], int], Panel]
LATER: dict[str, Later] = {
    "scrambled": lambda frequency, parts, origin: panel_of(frequency, scrambled(frequency, parts, origin)),
    "joined": lambda frequency, parts, origin: panel_of(frequency, newcomers(frequency, parts, origin)),
    "deleted": lambda frequency, parts, origin: panel_of(frequency, parts, last=origin),
}


@pytest.mark.parametrize("frequency", GRIDS)
@pytest.mark.parametrize("how", LATER)
def test_rows_do_not_see_what_comes_after_the_origin(frequency: str, how: str):
    parts = tables(frequency)
    whole = panel_of(frequency, parts)
    for back in (3, 17):
        origin = whole.last - back
        changed = LATER[how](frequency, parts, origin)
        assert_same_bytes(rows(whole, origin), rows(changed, origin))


def test_a_planted_leak_trips_the_gate():
    parts = tables("week")
    whole = panel_of("week", parts)
    origin = whole.last - 9

    def leaking(panel: Panel) -> pl.DataFrame:
        honest = rows(panel, origin)
        place = panel.series["store"].to_list()
        tomorrow = panel.quantity[[place.index(name) for name in honest["series"]], origin + 1 - panel.first]
        return honest.with_columns(leak=pl.Series(tomorrow))

    with pytest.raises(AssertionError, match="leak"):
        assert_same_bytes(leaking(whole), leaking(LATER["scrambled"]("week", parts, origin)))


def test_codes_do_not_change_when_series_are_added_later():
    parts = tables("week")
    whole = panel_of("week", parts)
    early = whole.known(whole.first + 5)
    assert 0 < early.series.height < whole.series.height
    for name, values in Vocabulary.of(early).codes.items():
        assert Vocabulary.of(whole).codes[name][: len(values)] == values


def test_row_order_of_the_tables_does_not_matter():
    parts = tables("week")
    shuffled = {name: frame.sample(fraction=1, shuffle=True, seed=1) for name, frame in parts.items()}
    one, other = panel_of("week", parts), panel_of("week", shuffled)
    assert_same_bytes(rows(one, one.last - 4), rows(other, other.last - 4))


@pytest.mark.parametrize("frequency", GRIDS)
def test_a_series_alone_has_the_own_features_it_has_in_a_batch(frequency: str):
    parts = tables(frequency)
    whole = panel_of(frequency, parts)
    vocabulary = Vocabulary.of(whole)
    together = rows(whole, whole.last - 2, vocabulary)
    for place in (0, 5, 11):
        name = whole.series["store"][place]
        single = panel_of(frequency, {key: frame.filter(store=name) for key, frame in parts.items()})
        own = [c for c in features_of(together) if not c.startswith(("season_", "momentum_", "growth_"))]
        alone = rows(single, whole.last - 2, vocabulary)
        assert_frame_equal(alone.select(own), together.filter(series=name).select(own), check_exact=True)


def test_demand_is_as_known_at_the_origin():
    parts = tables("week")
    panel = panel_of("week", parts)
    revision = parts["revisions"].row(0, named=True)
    place = panel.series["store"].to_list().index(revision["store"])
    column = panel.grid.number(revision["period"]) - panel.first
    known = panel.grid.number(revision["known_period"])
    before, after = panel.known(known - 1), panel.known(known)
    at = {int(p): i for i, p in enumerate(before.position)}[place]
    later = {int(p): i for i, p in enumerate(after.position)}[place]
    told = before.quantity[at, column]
    if np.isnan(told):
        pytest.skip("out of stock")
    assert after.quantity[later, column] <= told
    assert told == panel.quantity[place, column]


def test_out_of_stock_is_unknown_and_absent_rows_are_unknown():
    period = [date(2024, 1, 1) + timedelta(weeks=i) for i in (0, 1, 3)]
    demand = pl.DataFrame({"store": "a", "period": period, "quantity": [4.0, 0.0, 2.0], "available": [1.0, 0.0, None]})
    panel = Panel.build(demand, ["store"], GRIDS["week"])
    np.testing.assert_array_equal(panel.quantity, np.array([[4, np.nan, np.nan, 2]], dtype=np.float32))


def test_scale_is_the_last_years_mean_with_a_floor_of_one_sale_a_year():
    y = np.zeros((4, 60), dtype=np.float32)
    y[0] = 3
    y[1, 0] = 26  # sold once, 60 weeks ago
    y[3] = np.nan
    np.testing.assert_allclose(scale_of(y, 52), [3, 0.5, 1, 1])


def test_leading_zeros_are_no_life():
    y = np.array([[0, 0, 2, 0], [0, 0, 0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(without_leading_zeros(y), np.array([[np.nan, np.nan, 2, 0], [0, 0, 0, 0]]))
