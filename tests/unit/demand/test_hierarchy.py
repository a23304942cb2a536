"""A configured hierarchy: judged by level, totals that are the sums of their parts, unknown columns refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from features.tables import TABLES
from pipelines.demand import jobs
from pipelines.errors import ConfigError
from tests.unit.demand.conftest import MadeShop, make_shop, settings_for
from tests.unit.demand.test_jobs import Kept

KEYS = ["store", "item"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    home = tmp_path_factory.mktemp("hierarchy")
    shop = make_shop(home)
    shop.settings = settings_for(home, hierarchy=[["store"]], backtest_origins=1, trees=20)
    tracker = Kept(home / "kept")
    jobs.train(shop.settings, shop.lake, tracker)
    jobs.score(shop.settings, shop.lake, tracker)
    return shop


def test_totals_are_the_sums_of_their_series(shop: MadeShop):
    totals, forecasts = shop.lake.read("forecast_totals"), shop.lake.read("forecasts")
    TABLES["forecast_totals"].schema.validate(totals)
    sums = forecasts.group_by("store", "period").agg(pl.col("mean").sum(), series=pl.len())
    both = totals.join(sums, left_on=["group", "period"], right_on=["store", "period"], suffix="_summed")
    assert both.height == totals.height == 4 * 4
    assert both["mean"].to_list() == pytest.approx(both["mean_summed"].to_list())
    assert both["series"].to_list() == both["series_summed"].to_list()


def test_every_level_is_judged(shop: MadeShop):
    evaluation = shop.lake.read("evaluation").filter(slice="level=store", model="demand", metric="wape_of_mean")
    single = shop.lake.read("evaluation").filter(slice="all", model="demand", metric="wape_of_mean")
    assert evaluation.filter(cut="mean")["value"].item() < single.filter(cut="mean")["value"].item(), (
        "sums are smoother"
    )


def test_an_unknown_column_is_named_with_those_there_are(tmp_path: Path):
    shop = make_shop(tmp_path)
    settings = settings_for(tmp_path, hierarchy=[["region"]])
    with pytest.raises(ConfigError, match="hierarchy") as error:
        jobs.forecast(settings, shop.lake, out=tmp_path / "f.parquet")
    assert "store" in str(error.value.remedy)
