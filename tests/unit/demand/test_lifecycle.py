"""Launch, end and substitution in a shop's forecasts."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.tables import quantile_column
from pipelines.demand.inputs import notes_on_lifecycle, open_panel
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins
from pipelines.demand.outputs import decide
from pipelines.errors import DataError
from pipelines.lake import Lake
from tests.unit.demand.conftest import START, WEEKS, MadeShop, settings_for, totals

NEXT = WEEKS.first_day(START + 70)  # the first day that is forecast


@pytest.fixture
def shop(tmp_path: Path) -> MadeShop:
    settings = settings_for(tmp_path, trees=8, training_rows=1500)
    lake = Lake(settings.lake_url)
    demand, covariates = totals(series=12, weeks=70)
    lake.replace("demand", demand)
    lake.replace("covariates", covariates)
    return MadeShop(settings, lake, tmp_path)


def said(*rows: tuple[str, int, date | None, date | None, str | None]) -> pl.DataFrame:
    schema = {
        "store": pl.String,
        "item": pl.Int64,
        "launched_on": pl.Date,
        "discontinued_on": pl.Date,
        "replaces": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def forecasts(shop: MadeShop, cutoff: date | None = None) -> tuple[pl.DataFrame, pl.DataFrame]:
    panel = open_panel(shop.settings, shop.lake, cutoff=cutoff)
    origins = Origins(panel, shop.settings, 4)
    model = DemandModel.fit(origins, panel.last, shop.settings.demand.quantiles)
    return decide(model, origins.rows(panel.last), panel, shop.settings)


def test_an_ended_series_is_forecast_to_its_last_day(shop: MadeShop):
    plain, plain_sums = forecasts(shop)
    shop.lake.replace(
        "series",
        said(
            ("S1", 1, None, NEXT + timedelta(days=9), None),  # three days of the second week are left
            ("S2", 2, None, NEXT - timedelta(days=1), None),
            ("S3", 3, None, NEXT + timedelta(days=27), None),  # with the last day that is forecast
        ),
    )
    now, sums = forecasts(shop)
    columns = ["mean", *map(quantile_column, shop.settings.demand.quantiles)]
    left = {1: [1, 3 / 7, 0, 0], 2: [0, 0, 0, 0]}
    for item in range(12):
        share = np.array(left.get(item, [1, 1, 1, 1]))
        one, other = now.filter(item=item), plain.filter(item=item)
        expected = other.select(columns).to_numpy() * share[:, None]
        np.testing.assert_allclose(one.select(columns).to_numpy(), expected)
        assert ((one["p_zero"] == 1).to_numpy() == (share == 0)).all() or item not in left
        assert [("discontinued" in flags) for flags in one["flags"]] == [s < 1 for s in share]
        total, before = sums.filter(item=item), plain_sums.filter(item=item)
        np.testing.assert_allclose(total["mean"], one["mean"].cum_sum())
        if item not in left:
            assert total.equals(before)
    assert (sums.filter(item=2).select(columns).to_numpy() == 0).all()


def test_a_planned_successor_is_forecast_from_its_launch_with_the_history_of_the_old(shop: MadeShop):
    covariates = shop.lake.read("covariates")
    alike = covariates.filter(item=0).with_columns(item=pl.lit(99, dtype=pl.Int64))
    shop.lake.replace("covariates", pl.concat([covariates, alike]))
    plain, _ = forecasts(shop)
    shop.lake.replace(
        "series",
        said(
            ("S0", 99, NEXT + timedelta(days=7), None, "0"),
            ("S0", 98, NEXT + timedelta(days=300), None, None),  # beyond what is forecast
        ),
    )
    now, sums = forecasts(shop)
    assert 98 not in now["item"]
    new, old, before = now.filter(item=99), now.filter(item=0), plain.filter(item=0)
    assert new["mean"][0] == 0 == new["p90"][0]
    assert new["p_zero"][0] == 1
    np.testing.assert_allclose(new["mean"][1:], before["mean"][1:], rtol=0.1)
    assert [flags.split(",") for flags in new["flags"]] == [["not_launched", "substitute"], *[["substitute"]] * 3]
    assert (old["mean"][1:] == 0).all()
    assert old["mean"][0] == pytest.approx(before["mean"][0], rel=0.1)
    assert old["flags"].to_list() == ["", *["discontinued"] * 3]
    np.testing.assert_allclose(sums.filter(item=99)["mean"], new["mean"].cum_sum())
    past, _ = forecasts(shop, cutoff=WEEKS.name(START + 69))
    assert 99 not in past["item"], "at a cutoff plans are not known"
    assert past.select("item", "mean").equals(plain.select("item", "mean"))


def test_what_cannot_be_replaced_is_said(shop: MadeShop):
    shop.lake.replace("series", said(("S0", 0, None, None, "4"), ("S1", 1, None, None, "777")))
    notes = notes_on_lifecycle(shop.lake, open_panel(shop.settings, shop.lake))
    assert len(notes) == 1
    for part in ("series", "S1 1", "'777'", "without demand"):
        assert part in notes[0]
    shop.lake.replace(
        "series", said(("S0", 0, None, None, "4"), ("S0", 4, None, None, "8"), ("S0", 8, None, None, "0"))
    )
    with pytest.raises(DataError, match="circle: S0 0, S0 4, S0 8") as caught:
        open_panel(shop.settings, shop.lake)
    assert caught.value.where["column"] == "replaces"
    assert "empty `replaces`" in (caught.value.remedy or "")
