"""The whole engine on a shop whose stock runs out when demand is high, judged against the demand it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.panel import Panel
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins
from pipelines.demand.outputs import decide
from tests.made_stock import Array, shelves
from tests.unit.demand.conftest import START, WEEKS, settings_for

HORIZON = 8
PERIODS = 156


def panel_of(sales: Array, available: Array | None = None) -> Panel:
    series, weeks = sales.shape
    demand = pl.DataFrame(
        {
            "item": np.repeat(np.arange(series), weeks),
            "period": [WEEKS.name(START + week) for week in range(weeks)] * series,
            "quantity": sales.ravel(),
        }
    ).with_columns(pl.col("quantity").fill_nan(None))
    if available is not None:
        demand = demand.with_columns(available=pl.Series(available.ravel()).fill_nan(None))
    return Panel.build(demand, ["item"], WEEKS, last=START + weeks - 1)


def origins_of(home: Path, panel: Panel) -> Origins:
    settings = settings_for(home, series=["item"], horizon=HORIZON, trees=30, training_rows=20_000)
    return Origins(panel, settings, HORIZON)


def forecast(home: Path, panel: Panel) -> tuple[pl.DataFrame, DemandModel]:
    origins = origins_of(home, panel)
    model = DemandModel.fit(origins, panel.last, [0.1, 0.5, 0.9])
    return model.predict(origins.rows(panel.last)), model


def test_forecasts_are_nearly_those_of_true_demand(tmp_path: Path):
    shop = shelves(200, PERIODS + HORIZON, cover=1.7, seed=0)
    sales, share, flag = (values[:, :PERIODS] for values in (shop.sales, shop.share, shop.flag))
    assert (share < 1).mean() == pytest.approx(0.19, abs=0.03)
    expected = shop.rate[:, PERIODS:].sum()

    def bias(panel: Panel) -> float:
        forecasts, model = forecast(tmp_path, panel)
        assert model.whole, "what is estimated does not make demand fractional"
        return float(forecasts["mean"].sum() / expected - 1)

    ignored, dropped = bias(panel_of(sales)), bias(panel_of(np.where(share < 1, np.nan, sales)))
    assert dropped < ignored < -0.1, "the case is not an easy one"
    for available in (share, flag):
        mine = bias(panel_of(sales, available))
        assert abs(mine) < abs(ignored) / 3
        assert abs(mine) < abs(dropped)


def test_what_ran_out_is_learned_from_but_not_judged_by(tmp_path: Path):
    shop = shelves(20, 60, cover=1.3, seed=1)
    panel = panel_of(shop.sales, shop.share)
    origins = origins_of(tmp_path, panel)
    rows = origins.rows(panel.last - HORIZON)
    learned, judged = (origins.actual(rows, panel.last, scored=scored) for scored in (False, True))
    place = rows["series"].to_numpy(), (rows["origin"] + rows["horizon"]).to_numpy() - panel.first
    ran_out, sold = shop.share[place] < 1, shop.sales[place]
    assert 0 < ran_out.sum() < len(ran_out)
    assert np.isnan(judged[ran_out]).all()
    assert (learned[ran_out & (sold > 0)] >= sold[ran_out & (sold > 0)]).all()
    np.testing.assert_array_equal(judged[~ran_out], sold[~ran_out])
    np.testing.assert_array_equal(learned[~ran_out], sold[~ran_out])


@pytest.mark.parametrize("cutoff", [30, 8], ids=["long record", "too short to look back"])
def test_what_is_told_of_stock_after_the_cutoff_changes_no_forecast(tmp_path: Path, cutoff: int):
    """Not even that it will be told."""
    shop = shelves(12, 40, cover=1.3, seed=2)
    available = np.full_like(shop.share, np.nan)
    available[:, cutoff:] = shop.share[:, cutoff:]
    told, untold = panel_of(shop.sales, available), panel_of(shop.sales[:, :cutoff], available[:, :cutoff])
    assert told.censored is not None
    assert untold.censored is None
    fans = []
    for panel in (told, untold):
        origins = origins_of(tmp_path, panel)
        fans.append(DemandModel.fit(origins, untold.last, [0.1, 0.5, 0.9]).predict(origins.rows(untold.last)))
    assert fans[0].equals(fans[1])


def test_stock_told_of_since_the_middle_of_a_short_record_can_be_learned_from(tmp_path: Path):
    shop = shelves(12, 9, cover=1.3, seed=3)
    available = np.where(np.arange(9) < 6, np.nan, shop.share)
    panel = panel_of(shop.sales, available)
    origins = origins_of(tmp_path, panel)
    settings = origins.settings
    model = DemandModel.fit(origins, panel.last, settings.demand.quantiles)
    assert "since_stock_out" in model.trees.features
    forecasts, _ = decide(model, origins.rows(panel.last), panel, settings)
    assert forecasts["mean"].is_finite().all()
    lately = dict(forecasts.select("item", flagged=pl.col("flags").str.contains("censored")).unique().rows())
    assert lately == dict(enumerate((shop.share[:, 6:] < 1).any(axis=1).tolist()))
    assert 0 < sum(lately.values()) < len(lately)
