"""Young series lean on their group: credibility by hand, no unit made up, better first forecasts."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features import demand
from features.demand import Vocabulary, rows_at, scale_of
from features.panel import Panel
from features.season import RHYTHMS
from features.warm_start import warmed
from pipelines.demand.origins import Origins
from pipelines.settings import Settings
from tests.made_panel import GRIDS

WEEK = RHYTHMS["week"]
START = GRIDS["week"].number(date(2022, 1, 3))


def launches(levels: list[list[float]], periods: int = 60) -> np.ndarray:
    """One row a series, known from one period after another on; the given values are repeated to the end."""
    history = np.full((len(levels), periods), np.nan, dtype=np.float32)
    for row, values in enumerate(levels):
        history[row, 10 + row :] = np.resize(values, periods - 10 - row)
    return history


def scales(history: np.ndarray, group: list[int] | None = None) -> np.ndarray:
    groups = [np.zeros(len(history), dtype=np.int64)] + ([] if group is None else [np.array(group)])
    return warmed(scale_of(history, WEEK.year), history, groups, WEEK)


def test_credibility_of_a_young_series_by_hand():
    pairs = [[2.0, 4.0], [4.0, 6.0], [6.0, 8.0], [8.0, 10.0], [10.0, 12.0]]
    history = np.vstack([launches(pairs), np.full((1, 60), np.nan, dtype=np.float32)])
    history[5, -3:] = 1.0
    windows = [np.resize(pair, 13) for pair in pairs]  # the first 13 weeks of each
    means = np.array([window.mean() for window in windows])
    within = np.mean([window.var(ddof=1) for window in windows])
    kappa = within / (means.var(ddof=1) - within / 13) * (1 - 3 / 4)
    expected = 3 / (3 + kappa) * 1.0 + kappa / (3 + kappa) * means.mean()
    found = scales(history, [0] * 6)
    assert found[5] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(
        found[:5], scale_of(history, WEEK.year)[:5], "those with a record speak for themselves"
    )


def test_an_unheard_series_gets_the_level_of_its_group_and_few_series_are_no_group():
    small, large = [[1.0, 3.0]] * 5, [[50.0, 70.0]] * 5
    history = np.vstack([launches(small + large), np.full((2, 60), np.nan, dtype=np.float32)])
    found = scales(history, [0] * 5 + [1] * 5 + [0, 1])
    firsts = [np.resize(values, 13).mean() for values in (small[0], large[0])]
    np.testing.assert_allclose(found[-2:], firsts, rtol=1e-5)
    few = scales(history[[0, 1, 10]], [0, 0, 0])
    assert few[-1] == 1, "two series are no group"


def test_scales_follow_the_unit_of_demand():
    rng = np.random.default_rng(0)
    history = np.vstack([launches(rng.poisson(3, (8, 20)).tolist()), np.full((1, 60), np.nan), np.zeros((1, 60))])
    history = history.astype(np.float32)
    history[0, :-2] = np.nan
    for unit in (1e-3, 1e6):
        scaled = scales((history * np.float32(unit)).astype(np.float32))
        np.testing.assert_allclose(scaled, scales(history) * unit, rtol=1e-4)


def range_of_products(seed: int, unheard: bool) -> tuple[Panel, np.ndarray, np.ndarray]:
    """Sixty products with a record and thirty that are new; levels by category. Levels and what comes."""
    rng = np.random.default_rng(seed)
    weeks, kinds, levels = 70, np.arange(90) % 3, np.array([0.3, 1.0, 8.0])
    level = levels[kinds] * rng.lognormal(0, 0.3, 90)
    sold = rng.poisson(level[:, None], (90, weeks + 4)).astype(float)
    born = np.where(np.arange(90) < 60, rng.integers(0, weeks - 12, 90), weeks - rng.integers(1, 4, 90))
    sold[np.arange(90), born] = np.maximum(sold[np.arange(90), born], 1)
    cells = pl.DataFrame(
        {
            "product_id": np.repeat([f"p{i:02d}" for i in range(90)], weeks),
            "n": np.tile(np.arange(weeks, dtype=np.int32), 90),
            "quantity": sold[:, :weeks].ravel(),
            "kept": (np.arange(weeks) >= born[:, None]).ravel(),
            "new": np.repeat(born >= weeks - 3, weeks),
        }
    )
    if unheard:
        empty = pl.when("new").then(None).otherwise("quantity")
        cells = cells.with_columns(quantity=empty).filter(~pl.col("new") | (pl.col("n") == weeks - 1))
    period = GRIDS["week"].labels(pl.col("n") + START)
    attributes = (
        cells.select("product_id").unique(maintain_order=True).with_columns(kind=pl.Series(kinds).cast(pl.String))
    )
    table = cells.filter("kept").select("product_id", period=period, quantity="quantity")
    return Panel.build(table, ["product_id"], GRIDS["week"], attributes=attributes), level[60:], sold[60:, weeks:]


@pytest.mark.parametrize("seed", range(3))
def test_the_scale_of_products_a_few_weeks_old_is_nearer_to_what_they_sell(seed: int, monkeypatch: pytest.MonkeyPatch):
    panel, level, _ = range_of_products(seed, unheard=False)

    def missed() -> float:
        rows = rows_at(panel, panel.last, 1, Vocabulary.of(panel.known(panel.last)))
        return float(np.abs(np.log(rows["scale"].to_numpy()[60:] / level)).mean())

    warm = missed()
    assert warm < 0.5 * np.abs(np.log(np.nanmean(panel.quantity) / level)).mean(), "the mean of all products"
    monkeypatch.setattr(demand, "warmed", lambda scale, *_: scale)
    cold = missed()
    assert warm < 0.7 * cold, (warm, cold)


def test_first_forecasts_of_products_not_sold_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    panel, _, truth = range_of_products(3, unheard=True)
    plan = {"horizon": 4, "trees": 12, "training_rows": 3000}
    shop = Settings(shop="x", data_dir=str(tmp_path), sources=[{"table": "demand", "path": "x"}], demand=plan)

    def wape() -> float:
        origins = Origins(panel, shop, 4)
        mean, _ = origins.trees(panel.last).predict(rows := origins.rows(panel.last))
        told = (mean * rows["scale"].to_numpy()).reshape(90, 4)[60:]
        return float(np.abs(told - truth).sum() / truth.sum())

    warm = wape()
    assert warm < 0.75 * np.abs(np.nanmean(panel.quantity) - truth).sum() / truth.sum(), "the mean of all products"
    monkeypatch.setattr(demand, "warmed", lambda scale, *_: scale)
    assert warm < 0.8 * wape()
