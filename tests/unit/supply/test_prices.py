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


def test_a_line_counts_once_it_is_known(tmp_path):
    settings, lake = a_shop(tmp_path)
    at = [datetime(2024, 6, 1, 12), datetime(2024, 6, 2, 12), datetime(2024, 6, 3, 23, 30)]  # the last is the 4th there
    known = [at[0], datetime(2024, 6, 9, 12), at[2]]
    sales = pl.DataFrame({"product_id": "p", "kind": "sale", "quantity": 1.0, "unit_price": [10.0, 20.0, 60.0]})
    lake.append(
        "order_lines",
        sales.with_columns(
            ordered_at=pl.Series([moment.replace(tzinfo=UTC) for moment in at]),
            known_at=pl.Series([moment.replace(tzinfo=UTC) for moment in known]),
        ),
    )
    days = [date(2024, 6, day) for day in (1, 4, 5, 9, 10)]
    assert [price(settings, lake, day) for day in days] == [[], [10.0], [35.0], [35.0], [30.0]]
