"""A selling price knows nothing that was not known at the opening of the day."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.supply.prices import selling_prices


def a_shop(home, **demand):
    settings = Settings(
        shop="priced",
        data_dir=str(home),
        timezone="Europe/London",
        sources=[{"table": "demand", "path": "demand.parquet"}],
        demand=demand,
    )
    lake = Lake(settings.lake_url)
    lake.append("lead_time_demand", pl.DataFrame({"product_id": ["p"]}))
    return settings, lake


def price(settings, lake, day):
    return selling_prices(settings, lake, day)["price"].to_list()


@pytest.mark.parametrize(
    ("frequency", "label", "periods", "over_on"),
    [
        ("day", "start", [date(2024, 1, 1), date(2024, 1, 2)], date(2024, 1, 3)),
        ("week", "start", [date(2024, 1, 1), date(2024, 1, 8)], date(2024, 1, 15)),
        ("week", "end", [date(2024, 1, 7), date(2024, 1, 14)], date(2024, 1, 15)),
        ("month", "start", [date(2023, 12, 1), date(2024, 1, 1)], date(2024, 2, 1)),
        ("month", "end", [date(2023, 12, 31), date(2024, 1, 31)], date(2024, 2, 1)),
    ],
)
def test_a_period_counts_once_it_is_over(tmp_path, frequency, label, periods, over_on):
    settings, lake = a_shop(tmp_path, frequency=frequency, period_label=label)
    one = pl.DataFrame({"product_id": "p", "period": periods, "quantity": [1.0, 3.0], "price": [10.0, 50.0]})
    lake.append("demand", one)
    assert price(settings, lake, over_on) == [40.0]
    assert price(settings, lake, date.fromordinal(over_on.toordinal() - 1)) == [10.0]


def test_a_line_counts_once_and_as_long_as_it_is_known(tmp_path):
    settings, lake = a_shop(tmp_path)

    def times(*moments):
        return pl.Series([datetime(2024, 6, *moment, tzinfo=UTC) for moment in moments])

    sales = pl.DataFrame(
        {
            "order_id": ["a", "b", "c"],
            "line_no": 1,
            "product_id": "p",
            "kind": "sale",
            "quantity": 1.0,
            "unit_price": [10.0, 20.0, 60.0],
            "ordered_at": times((1, 12), (2, 12), (3, 23, 30)),  # the last is made on the 4th, local time
            "known_at": times((1, 12), (9, 12), (3, 23, 30)),
        }
    )
    lake.append("order_lines", sales)
    days = [date(2024, 6, day) for day in (1, 4, 5, 9, 10)]
    assert [price(settings, lake, day) for day in days] == [[], [10.0], [35.0], [35.0], [30.0]]
    was = sales.filter(order_id="b").with_columns(  # the line of the 2nd came in time, and was corrected on the 9th
        known_at="ordered_at", known_until="known_at", unit_price=50.0
    )
    lake.append("superseded_lines", was)
    assert [price(settings, lake, day) for day in days] == [[], [30.0], [40.0], [40.0], [30.0]]
