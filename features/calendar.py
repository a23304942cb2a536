"""Periods: a regular grid of days, weeks or months, and what is known of a date in advance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import polars as pl

Frequency = Literal["day", "week", "month"]
PeriodLabel = Literal["start", "end"]

_STEP_DAYS = {"day": 1, "week": 7}
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Grid:
    """A regular grid of periods, numbered by whole numbers that grow by one a period.

    A period is named by one date, its label: the first or the last day of it (`label`). Weeks keep the weekday of
    `anchor`; months keep its day of the month (a last day stays a last day).

    Attributes:
        frequency: Length of a period.
        anchor: Any label on the grid.
        label: Which end of the period the label names.

    Example:
        >>> from datetime import date
        >>> weeks = Grid("week", date(2024, 1, 1))
        >>> weeks.number(date(2024, 1, 15)) - weeks.number(date(2024, 1, 1))
        2
        >>> weeks.last_day(weeks.number(date(2024, 1, 1)))
        datetime.date(2024, 1, 7)
    """

    frequency: Frequency
    anchor: date
    label: PeriodLabel = "start"

    @property
    def season(self) -> int:
        """Periods in the season that matters most: a week of days, a year of weeks or months."""
        return {"day": 7, "week": 52, "month": 12}[self.frequency]

    @property
    def periods_a_year(self) -> float:
        """How many periods a year has on average."""
        return {"day": 365.25, "week": 365.25 / 7, "month": 12.0}[self.frequency]

    @property
    def days_a_period(self) -> float:
        """Mean length of a period in days."""
        return 365.25 / self.periods_a_year

    # -- columns -----------------------------------------------------------------------------------------------

    def index(self, labels: pl.Expr) -> pl.Expr:
        """Period numbers (Int32) of a column of labels."""
        if self.frequency == "month":
            return labels.dt.year().cast(pl.Int32) * 12 + labels.dt.month().cast(pl.Int32) - 1
        days = labels.cast(pl.Date).cast(pl.Int32) - self._anchor_days()
        return days.floordiv(_STEP_DAYS[self.frequency]) + self._anchor_number()

    def containing(self, dates: pl.Expr) -> pl.Expr:
        """Period numbers (Int32) of the periods that contain a column of dates."""
        if self.label == "end" and self.frequency == "week":
            return self.index(dates.cast(pl.Date) + pl.duration(days=6))
        return self.index(dates.cast(pl.Date))

    def labels(self, index: pl.Expr) -> pl.Expr:
        """Labels (Date) of a column of period numbers."""
        if self.frequency == "month":
            first = pl.date(index.floordiv(12), index % 12 + 1, 1)
            if self._month_end():
                return first.dt.month_end()
            return first + pl.duration(days=self.anchor.day - 1)
        days = (index - self._anchor_number()) * _STEP_DAYS[self.frequency] + self._anchor_days()
        return days.cast(pl.Int32).cast(pl.Date)

    def first_days(self, index: pl.Expr | pl.Series) -> pl.Expr:
        """First days (Date) of periods, by their numbers."""
        index = pl.lit(index) if isinstance(index, pl.Series) else index
        if self.frequency == "month":
            return pl.date(index.floordiv(12), index % 12 + 1, 1)
        back = _STEP_DAYS[self.frequency] - 1 if self.label == "end" else 0
        return self.labels(index) - pl.duration(days=back)

    def on_grid(self, labels: pl.Expr) -> pl.Expr:
        """Whether each label lies on the grid."""
        return self.labels(self.index(labels)) == labels.cast(pl.Date)

    # -- single values -----------------------------------------------------------------------------------------

    def number(self, label: date) -> int:
        """The period number of one label (for months and days: of any date in the period)."""
        return int(pl.select(self.index(pl.lit(label))).item())

    def number_containing(self, day: date) -> int:
        """The number of the period that contains one date."""
        return int(pl.select(self.containing(pl.lit(day))).item())

    def name(self, number: int) -> date:
        """The label of one period."""
        if self.frequency == "month":
            label: date = pl.select(self.labels(pl.lit(number, dtype=pl.Int32))).item()
            return label
        days = (number - self._anchor_number()) * _STEP_DAYS[self.frequency] + self._anchor_days()
        return _EPOCH + timedelta(days=days)

    def first_day(self, number: int) -> date:
        """The first day of a period."""
        return self.last_day(number - 1) + timedelta(days=1)

    def last_day(self, number: int) -> date:
        """The last day of a period: once it is over, the period's total is known."""
        if self.frequency == "month":
            year, month = divmod(number + 1, 12)
            return date(year, month + 1, 1) - timedelta(days=1)
        label = self.name(number)
        length = _STEP_DAYS[self.frequency]
        return label if self.label == "end" else label + timedelta(days=length - 1)

    @classmethod
    def from_labels(cls, frequency: Frequency, labels: pl.Series, label: PeriodLabel = "start") -> Grid:
        """The grid on which most of these labels lie.

        Args:
            frequency: Length of a period.
            labels: Dates, each standing for one period; nulls are ignored.
            label: Which end of its period a label names.

        Raises:
            ValueError: There is no label at all.
        """
        dates = labels.drop_nulls().cast(pl.Date)
        if dates.is_empty():
            raise ValueError("no period to find the grid from")
        if frequency == "day":
            return cls(frequency, _EPOCH, label)
        if frequency == "month":
            last_days = (dates == dates.dt.month_end()).mean()
            if isinstance(last_days, float) and last_days > 0.5:
                return cls(frequency, date(1970, 1, 31), label)
            day_of_month = dates.dt.day().mode().min()
            return cls(frequency, date(1970, 1, int(day_of_month)), label)  # type: ignore[arg-type]
        weekday = dates.dt.weekday().mode().min()
        return cls(frequency, date(1970, 1, 4) + timedelta(days=int(weekday)), label)  # type: ignore[arg-type]

    @classmethod
    def starting_monday(cls, frequency: Frequency) -> Grid:
        """The grid for shops that bring order lines: weeks from Monday, months from the first."""
        anchor = date(1970, 1, 5) if frequency == "week" else date(1970, 1, 1)
        return cls(frequency, anchor)

    def _anchor_days(self) -> int:
        return (self.anchor - _EPOCH).days

    def _anchor_number(self) -> int:
        return self._anchor_days() // _STEP_DAYS[self.frequency]

    def _month_end(self) -> bool:
        return self.anchor.day == 31


def holidays_between(country: str | None, first: date, last: date) -> list[date]:
    """Public holidays of a country from `first` to `last`, both included; none where no country is named.

    Args:
        country: ISO 3166 code such as `GB`.
        first: First day.
        last: Last day.

    Raises:
        ValueError: The country is not known.
    """
    if country is None or last < first:
        return []
    import holidays

    if country not in holidays.list_supported_countries():
        raise ValueError(f"no holiday calendar for {country!r}: use an ISO 3166 code such as GB")
    calendar = holidays.country_holidays(country, years=range(first.year, last.year + 1))
    return sorted(day for day in calendar if first <= day <= last)
