from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.calendar import Grid

days = st.dates(date(1990, 1, 1), date(2060, 12, 31))
grids = st.one_of(
    st.builds(Grid, st.just("day"), st.just(date(1970, 1, 1)), st.sampled_from(["start", "end"])),
    st.builds(Grid, st.just("week"), days, st.sampled_from(["start", "end"])),
    st.builds(
        Grid,
        st.just("month"),
        st.sampled_from([date(1970, 1, 1), date(1970, 1, 31), date(1970, 1, 15)]),
        st.just("end"),
    ),
)


@given(grid=grids, day=days)
def test_every_day_lies_in_exactly_the_period_that_contains_it(grid, day):
    number = grid.number_containing(day)
    assert grid.first_day(number) <= day <= grid.last_day(number)
    assert grid.first_day(number + 1) == grid.last_day(number) + timedelta(days=1)


@given(grid=grids, number=st.integers(1000, 2000))
def test_labels_and_numbers_are_inverse(grid, number):
    assert grid.number(grid.name(number)) == number


@given(weekday=st.integers(0, 6), start=days, length=st.integers(1, 30), odd=st.integers(0, 3))
def test_the_weekday_is_found_from_the_data(weekday, start, length, odd):
    first = start + timedelta(days=(weekday - start.weekday()) % 7)
    labels = [first + timedelta(weeks=i) for i in range(length + 2 * odd)]
    labels += [label + timedelta(days=1) for label in labels[:odd]]
    grid = Grid.from_labels("week", pl.Series(labels))
    assert grid.name(grid.number(first)).weekday() == weekday


@pytest.mark.parametrize(
    ("labels", "last_day"),
    [
        ([date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)], date(2024, 3, 31)),
        ([date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)], date(2024, 3, 31)),
    ],
)
def test_months_keep_the_style_of_their_labels(labels, last_day):
    grid = Grid.from_labels("month", pl.Series(labels))
    numbers = pl.select(grid.index(pl.lit(pl.Series(labels)))).to_series()
    assert numbers.diff().drop_nulls().to_list() == [1, 1]
    assert pl.select(grid.labels(pl.lit(numbers))).to_series().to_list() == labels
    assert grid.last_day(numbers[-1]) == last_day


def test_a_label_off_the_grid_is_seen():
    weeks = Grid("week", date(2024, 1, 1))
    labels = pl.Series([date(2024, 1, 8), date(2024, 1, 9)])
    assert pl.select(weeks.on_grid(pl.lit(labels))).to_series().to_list() == [True, False]


def test_no_period_no_grid():
    with pytest.raises(ValueError, match="no period"):
        Grid.from_labels("week", pl.Series([], dtype=pl.Date))
