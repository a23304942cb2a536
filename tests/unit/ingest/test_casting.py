"""What a value becomes, and what is refused: checked against Python's own parsers where there is one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.casting import cast, local_to_utc, narrowest

TIME = pl.Datetime("us", "UTC")


def one(value: object, dtype: pl.DataType, timezone: str = "UTC", given: pl.DataType | None = None) -> object:
    frame = pl.DataFrame({"_row": [7], "x": pl.Series([value], dtype=given)})
    typed, refused = cast(frame, {"x": dtype}, timezone)
    if refused.height:
        assert refused["_row"].to_list() == [7]
        return refused["reason"].item()
    return typed["x"].item()


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (17850, pl.String(), "17850"),
        (17850.0, pl.String(), "17850"),
        (1.5, pl.String(), "1.5"),
        (float("nan"), pl.String(), None),
        ("  a ", pl.String(), "a"),
        ("  ", pl.String(), None),
        (True, pl.String(), "true"),
        ("3.0", pl.Int64(), 3),
        (" 3 ", pl.Int64(), 3),
        (3.5, pl.Int64(), "x '3.5' is not a whole number"),
        ("9007199254740993", pl.Int64(), 9007199254740993),
        ("1e2", pl.Float64(), 100.0),
        ("1,5", pl.Float64(), "x '1,5' is not a number"),
        (True, pl.Float64(), 1.0),
        (float("nan"), pl.Float64(), None),
        (1, pl.Boolean(), True),
        (0.0, pl.Boolean(), False),
        ("Yes", pl.Boolean(), True),
        ("f", pl.Boolean(), False),
        (2, pl.Boolean(), "x '2' is not true or false (1/0, yes/no)"),
        ("2024-02-29", pl.Date(), date(2024, 2, 29)),
        ("2024-02-29 10:00", pl.Date(), date(2024, 2, 29)),
        ("2024-02-30", pl.Date(), "x '2024-02-30' is not a date as in 2024-01-31"),
        ("2024-02-29abc", pl.Date(), "x '2024-02-29abc' is not a date as in 2024-01-31"),
        ("03/04/2024", pl.Date(), "x '03/04/2024' is not a date as in 2024-01-31"),
        (20240229, pl.Date(), "x '20240229' is not a date as in 2024-01-31"),
        (datetime(2024, 2, 29, 23), pl.Date(), date(2024, 2, 29)),
        (date(2024, 2, 29), TIME, datetime(2024, 2, 29, tzinfo=UTC)),
        ("soon", TIME, "x 'soon' is not a time as in 2024-01-31 13:45"),
    ],
)
def test_values(value: object, dtype: pl.DataType, expected: object) -> None:
    assert one(value, dtype) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-01T12:00:00",
        "2024-07-01 12:00",
        "2024-07-01",
        "2024-07-01 12:00:00.250",
        "2024-07-01T12:00:00Z",
        "2024-07-01T12:00:00+02:00",
        "2024-07-01 12:00:00.5-05:30",
    ],
)
def test_iso_times_mean_what_python_reads(text: str) -> None:
    expected = datetime.fromisoformat(text)
    if expected.tzinfo is None:
        expected = expected.replace(tzinfo=ZoneInfo("America/New_York"))
    assert one(text, TIME, "America/New_York") == expected.astimezone(UTC)


def test_a_zoned_time_is_dated_in_the_shop() -> None:
    late = datetime(2024, 1, 1, 23, tzinfo=UTC)
    assert one(late, pl.Date(), "Asia/Tokyo") == date(2024, 1, 2)


@settings(deadline=None)
@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2037, 12, 31)),
    st.sampled_from(
        ["Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"]
    ),
)
def test_local_times_agree_with_zoneinfo(local: datetime, zone: str) -> None:
    """fold=0 is the first of two equal times and, in a gap, the offset before the clocks moved (PEP 495)."""
    expected = local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
    assert pl.select(local_to_utc(pl.lit(local), zone)).item() == expected


def test_every_minute_of_both_clock_changes_is_read() -> None:
    for start in (datetime(2010, 3, 28), datetime(2010, 10, 31)):
        minutes = [start + timedelta(minutes=i) for i in range(240)]
        got = pl.select(local_to_utc(pl.lit(pl.Series(minutes)), "Europe/London")).to_series().to_list()
        assert got == [minute.replace(tzinfo=ZoneInfo("Europe/London")).astimezone(UTC) for minute in minutes]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["1", "2"], pl.Float64),
        (["1", None, "2.5"], pl.Float64),
        (["007", "8"], pl.String),
        (["yes", "no"], pl.Boolean),
        (["2024-01-01", ""], pl.Date),
        (["1", "x"], pl.String),
        ([None, ""], pl.String),
    ],
)
def test_narrowest(values: list[str | None], dtype: type[pl.DataType]) -> None:
    assert narrowest(pl.Series(values, dtype=pl.String)) == dtype
