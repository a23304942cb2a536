"""Outliers that were planted are found, and season, promotions of the whole shop and sparse sales are none."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from features.demand import Vocabulary, clipped, features_of, rows_at
from features.outliers import FAR, outliers, robust_z
from features.panel import Panel
from features.season import RHYTHMS
from tests.made_panel import GRIDS, panel_of, scrambled, tables

START = GRIDS["week"].number(date(2022, 1, 3))


def shop(seed: int = 0, series: int = 60, weeks: int = 110) -> np.ndarray:
    """Levels from one sale in ten weeks to hundreds a week, a yearly season, and one week in which all sell thrice."""
    rng = np.random.default_rng(seed)
    season = 1 + 0.6 * np.sin(2 * np.pi * np.arange(weeks) / 52)
    season[weeks - 20] *= 3
    return rng.poisson(np.geomspace(0.1, 300, series)[:, None] * season).astype(np.float32)


def made(history: np.ndarray) -> Panel:
    series, weeks = history.shape
    table = pl.DataFrame(
        {
            "item": np.repeat([f"i{n:02d}" for n in range(series)], weeks),
            "n": np.tile(np.arange(weeks, dtype=np.int32), series),
            "quantity": history.ravel().astype(np.float64),
        }
    ).with_columns(period=GRIDS["week"].labels(pl.col("n") + START))
    return Panel.build(table.drop("n"), ["item"], GRIDS["week"])


def test_planted_outliers_are_found_and_nothing_else():
    history = shop()
    assert outliers(made(history), START + 109).height <= history.size * 52 / 110 * 1e-3
    history[55, 80] *= 20
    history[40, 70] = 900
    history[15, 100] = 60  # sells one in most weeks
    found = outliers(made(history), START + 109)
    weeks = [GRIDS["week"].name(START + week) for week in (80, 70, 100)]
    assert {("i55", weeks[0]), ("i40", weeks[1]), ("i15", weeks[2])} <= set(found.select("item", "period").iter_rows())
    assert (found["z"].abs() >= FAR).all()
    assert found["z"].abs().is_sorted(descending=True)
    first = found.filter(item="i40").row(0, named=True)
    assert first["quantity"] == 900
    assert first["usual"] == pytest.approx(np.median(history[40, 63:77]), rel=0.5)


def test_what_is_usual_has_a_unit_and_how_far_has_none():
    history = shop()[30:] + np.float32(0.5)
    z, usual = robust_z(history, RHYTHMS["week"])
    other, larger = robust_z(history * 1024, RHYTHMS["week"])
    np.testing.assert_allclose(z, other, atol=1e-3)
    np.testing.assert_allclose(usual * 1024, larger, rtol=1e-4)


@pytest.mark.parametrize(
    "history", [np.zeros((3, 60)), np.full((2, 60), 5.0), np.full((2, 9), np.nan), np.ones((1, 1))]
)
def test_nothing_is_far_where_nothing_varies(history: np.ndarray):
    z, _ = robust_z(history.astype(np.float32), RHYTHMS["week"])
    assert not (np.abs(np.nan_to_num(z)) > 0).any()


def test_outliers_and_winsorised_rows_do_not_see_what_comes_after_the_origin():
    parts = tables("week")
    whole = panel_of("week", parts)
    origin = whole.last - 9
    later = panel_of("week", scrambled("week", parts, origin))
    assert outliers(whole, origin).equals(outliers(later, origin))
    one, other = (rows_at(p, origin, 4, Vocabulary(), winsorise=0.9).drop("series") for p in (whole, later))
    assert all(one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes() for name in one.columns)
    assert not one.equals(rows_at(whole, origin, 4, Vocabulary()).drop("series"))


def test_winsorising_takes_the_edge_off_one_wild_week():
    history = shop()
    wild = history.copy()
    wild[50, -3] = 1e6
    calm, torn, mended = (
        rows_at(made(h), START + 109, 1, Vocabulary(), winsorise=share).filter(series=50)
        for h, share in ((history, None), (wild, None), (wild, 0.995))
    )
    assert torn["scale"][0] > 50 * calm["scale"][0]
    assert mended["scale"][0] < 3 * calm["scale"][0]
    limit = clipped(np.arange(1.0, 1001.0), 0.995).max()
    assert limit == pytest.approx(np.quantile(np.arange(1.0, 1001.0), 0.995))
    assert "largest" in features_of(mended)
