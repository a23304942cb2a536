"""Moves between issues, worked out by hand."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.tables import TABLES
from pipelines.demand.vintages import changes, largest

PERIODS = [date(2024, 2, 5), date(2024, 2, 12), date(2024, 2, 19)]


def issue(day: int, periods: list[date], mean: list[float], model: list[float | None], version: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item": "a",
            "period": periods,
            "issued_on": date(2024, 1, day),
            "mean": mean,
            "mean_model": pl.Series(model, dtype=pl.Float64),
            "model_version": version,
        }
    )


BEFORE = issue(1, PERIODS[:2], [10.0, 20.0], [10.0, 15.0], "1")


def reasons(moves: pl.DataFrame) -> list[tuple[float, float | None, float]]:
    return moves.select("from_data", "from_model", "from_override").rows()


def test_moves_of_periods_that_both_issues_forecast_are_told_apart() -> None:
    now = issue(8, PERIODS[1:], [26.0, 9.0], [18.0, 9.0], "2")
    former = pl.DataFrame({"item": "a", "period": PERIODS[1:], "mean": [16.0, 8.0]})
    moves = changes(BEFORE, now, ["item"], former)
    assert moves["period"].to_list() == [PERIODS[1]]
    # model: 15 → 16 by data, 16 → 18 by the new model; planners: 5 on top → 8 on top
    assert reasons(moves) == [(1.0, 2.0, 3.0)]
    assert moves["issued_before"].to_list() == [date(2024, 1, 1)]
    TABLES["forecast_changes"].schema_with(dict(moves.schema), ("item",)).validate(moves)


def test_the_same_model_moves_nothing_and_an_unknown_one_cannot_be_told() -> None:
    same, other = (issue(8, PERIODS[1:2], [26.0], [18.0], version) for version in ("1", "2"))
    assert reasons(changes(BEFORE, same, ["item"])) == [(3.0, 0.0, 3.0)]
    assert reasons(changes(BEFORE, other, ["item"])) == [(3.0, None, 3.0)]


def test_an_issue_from_before_planners_were_heard_counts_as_the_models() -> None:
    old = issue(1, PERIODS[1:2], [20.0], [None], "1")
    assert reasons(changes(old, issue(8, PERIODS[1:2], [26.0], [18.0], "1"), ["item"])) == [(-2.0, 0.0, 8.0)]


def test_the_largest_moves_come_first_whatever_their_sign() -> None:
    now = issue(8, PERIODS[:2], [11.0, 2.0], [11.0, 2.0], "1")
    assert largest(changes(BEFORE, now, ["item"]), ["item"])["move"].to_list() == [-18.0, 1.0]


sizes = st.floats(0, 1e6)


@given(sizes, sizes, sizes, sizes, sizes)
def test_the_reasons_add_up_to_the_move(was: float, was_model: float, now: float, model: float, former: float) -> None:
    before = issue(1, PERIODS[:1], [was], [was_model], "1")
    after = issue(8, PERIODS[:1], [now], [model], "2")
    today = pl.DataFrame({"item": "a", "period": PERIODS[:1], "mean": [former]})
    (row,) = reasons(changes(before, after, ["item"], today))
    assert sum(part or 0.0 for part in row) == pytest.approx(now - was, abs=1e-8)
    assert row[1] == model - former
