"""The first law for models: what is fitted at a cutoff depends on nothing later; a backtest is what was possible."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.panel import Panel
from pipelines.demand import jobs
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins, _draws, _numbered
from pipelines.errors import ConfigError
from pipelines.lake import Lake
from pipelines.settings import Settings
from tests.made_panel import newcomers, panel_of, scrambled, tables
from tests.unit.demand.conftest import START, WEEKS, settings_for, totals

BACK = 14


def small(home: Path, **demand: object) -> Settings:
    """So few trees and rows that thinning and striding are at work."""
    return settings_for(home, trees=8, training_rows=1500, **demand)


def fitted(panel: Panel, cutoff: int, settings: Settings) -> tuple[dict[str, bytes], DemandModel]:
    """All that is learned from at a cutoff, as bytes, and what is learned."""
    origins = Origins(panel, settings, 4)
    rows, target, weight = origins.training_rows(cutoff)
    assert rows["origin"].n_unique() < 60 < 1000 < rows.height, "thinned and strided"
    named = rows.with_columns(series=panel.series["store"].gather(rows["series"]))
    seen = {name: named[name].to_numpy().tobytes() for name in named.columns if name != "series"}
    seen["series"] = ",".join(named["series"]).encode()
    return seen | {"target": target.tobytes(), "weight": weight.tobytes()}, DemandModel.fit(
        origins, cutoff, [0.1, 0.5, 0.9]
    )


Later = Callable[[dict[str, pl.DataFrame], int], Panel]
LATER: dict[str, Later] = {
    "scrambled": lambda parts, cutoff: panel_of("week", scrambled("week", parts, cutoff)),
    "joined": lambda parts, cutoff: panel_of("week", newcomers("week", parts, cutoff)),
    "deleted": lambda parts, cutoff: panel_of("week", parts, last=cutoff),
}


@pytest.mark.parametrize("how", LATER)
def test_what_is_learned_at_a_cutoff_depends_on_nothing_later(tmp_path: Path, how: str):
    parts = tables("week")
    whole = panel_of("week", parts)
    cutoff = whole.last - BACK
    settings = small(tmp_path, series=["store"])
    one, model = fitted(whole, cutoff, settings)
    other, again = fitted(LATER[how](parts, cutoff), cutoff, settings)
    assert [name for name in one if one[name] != other.get(name)] == []
    assert list(one) == list(other)
    assert model.fan == again.fan
    assert model.joint.as_dict() == again.joint.as_dict()
    assert model.lead_time_errors == again.lead_time_errors
    assert (model.blend, model.alignment) == (again.blend, again.alignment)
    assert (model.large, model.whole) == (again.large, again.whole)
    assert model.trees.mean.model_to_string() == again.trees.mean.model_to_string()


def test_demand_that_was_known_does_change_what_is_learned(tmp_path: Path):
    """The comparison above can fail: one period earlier the same scrambling is seen."""
    parts = tables("week")
    whole = panel_of("week", parts)
    cutoff = whole.last - BACK
    settings = small(tmp_path, series=["store"])
    one, _ = fitted(whole, cutoff, settings)
    other, _ = fitted(LATER["scrambled"](parts, cutoff - 1), cutoff, settings)
    assert one["target"] != other["target"]


def growing(home: Path) -> tuple[Settings, Lake]:
    """A shop that doubles its range near the end of the record: the new series are each of a kind of their own."""
    settings = small(home)
    lake = Lake(settings.lake_url)
    demand, covariates = totals(series=40)
    new = (pl.col("item") % 2 == 1) & (pl.col("period") < WEEKS.name(START + 103))
    lake.replace("demand", demand.filter(~new))
    lake.replace("covariates", covariates)
    named = demand.select("store", "item").unique().sort("item")
    kind = (
        pl.when(pl.col("item") % 2 == 1)
        .then(pl.format("kind {}", "item"))
        .otherwise(pl.format("{}", pl.col("item") % 4))
    )
    lake.replace("series", named.with_columns(kind=kind))
    return settings, lake


def test_a_backtest_is_the_forecast_that_was_possible_at_its_cutoff(tmp_path: Path):
    settings, lake = growing(tmp_path)
    out = tmp_path / "backtest.parquet"
    jobs.backtest(settings, lake, origins=3, out=out)
    rolled = pl.read_parquet(out).drop("actual")
    assert rolled.group_by("cutoff").len()["len"].n_unique() > 1, "series join between the cutoffs"
    for (cutoff,), frame in rolled.group_by("cutoff"):
        jobs.forecast(settings, lake, cutoff=cutoff, out=tmp_path / "forecast.parquet")
        told = pl.read_parquet(tmp_path / "forecast.parquet")
        frame = frame.drop("cutoff")
        assert frame.columns == told.columns
        for name in told.columns:
            assert frame[name].to_list() == told[name].to_list(), name


def test_thinning_takes_an_even_share_of_every_horizon_and_series():
    keys = pl.DataFrame({"a": [f"s{i % 50}" for i in range(500)], "b": range(500)})
    draws = np.stack([_draws(_numbered(keys), 8, origin) for origin in range(40)])
    kept = draws < 0.25
    assert kept.mean() == pytest.approx(0.25, abs=0.005)
    for axis in ((0, 1), (1, 2), (0, 2)):
        spread = kept.mean(axis=axis)
        cells = kept.size / len(spread)
        assert np.abs(spread - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / cells)
    assert (_draws(_numbered(keys[100:]), 3, 7) == _draws(_numbered(keys), 8, 7)[100:, :3]).all(), (
        "by name, not by place"
    )


def test_what_a_series_draws_hangs_on_its_name_and_on_no_library():
    """Pinned: another number here thins other rows, and every forecast moves."""
    keys = pl.DataFrame({"store": ["S1", "S1", "ß"], "item": [7, None, 7]})
    digests = [hashlib.blake2b(name, digest_size=8).digest() for name in (b"S1\x007", b"S1", "ß\x007".encode())]
    assert _numbered(keys).tolist() == [int.from_bytes(digest, "little") for digest in digests]
    assert _numbered(keys)[0] == 712975558616430865


def test_what_is_optimised_for_decides_what_a_row_weighs(tmp_path: Path):
    """Within one origin recency is the same, so weights compare as what counts: nothing, units, or their worth."""
    panel = panel_of("week", tables("week"))
    found = {}
    for metric in ("wape", "rmsse", "mase", "money"):
        origins = Origins(panel, small(tmp_path, series=["store"], optimise_for=metric), 4)
        rows, _, weight = origins.training_rows(panel.last)
        newest = (rows["origin"] == rows["origin"].max()).to_numpy()
        scale = rows["scale"].to_numpy().astype(float)[newest]
        price = rows["seen_price"].to_numpy().astype(float)[newest]
        found[metric] = weight[newest] / weight[newest][0]
    np.testing.assert_allclose(found["wape"], np.sqrt(scale / scale[0]), rtol=1e-6)
    np.testing.assert_allclose(found["money"], np.sqrt(scale * price / (scale * price)[0]), rtol=1e-6)
    assert (found["rmsse"] == 1).all()
    assert (found["mase"] == 1).all()


def test_money_cannot_be_optimised_for_without_prices(tmp_path: Path):
    parts = tables("week")
    panel = panel_of("week", parts | {"demand": parts["demand"].drop("price")})
    with pytest.raises(ConfigError, match="without prices"):
        Origins(panel, small(tmp_path, series=["store"], optimise_for="money"), 4).training_rows(panel.last)
