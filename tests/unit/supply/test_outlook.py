"""Outlooks: joint ranks of the lake decide which periods are lean together; without them the variances do."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from features.tables import TABLES
from pipelines.settings import Supply
from pipelines.supply.decision import PATHS, decide
from pipelines.supply.jobs import replenish
from pipelines.supply.outlook import outlook
from pipelines.supply.paths import draws
from tests.unit.supply.conftest import ISSUED

HORIZON = 8
DRAWN = draws(PATHS, HORIZON, seed=1)


def path_ranks(*pools: np.ndarray) -> pl.DataFrame:
    """Table path_ranks from whole ranks (paths × horizon) of each pool."""
    pool, path, step = (axis.ravel() for axis in np.indices((len(pools), *pools[0].shape), dtype=np.int32))
    rank = (np.stack(pools).ravel() + 0.5) / len(pools[0])
    frame = pl.DataFrame(
        {"issued_on": [ISSUED] * len(pool), "pool": pool, "path": path, "horizon": step + 1, "rank": rank}
    )
    return TABLES["path_ranks"].schema.validate(frame.with_columns(pl.col("horizon").cast(pl.Int32)))


def apart() -> np.ndarray:
    return np.stack([np.random.default_rng(k).permutation(PATHS) for k in range(HORIZON)], axis=1)


def together() -> np.ndarray:
    return np.repeat(np.arange(PATHS)[:, None], HORIZON, axis=1)


@pytest.fixture
def issue(shop):
    """Forecasts of independent gamma weeks for six series: the first three in pool 0, the others in pool 1."""
    made = shop()
    forecasts, sums = made.forecast()
    sums = sums.with_columns(pool=pl.when(pl.col("product_id") < "P003").then(0).otherwise(1).cast(pl.Int32))
    return made, forecasts, sums


def test_periods_of_a_pool_move_as_its_ranks_say(issue):
    made, forecasts, sums = issue
    ahead = outlook(made.keys(), forecasts, sums, made.series, path_ranks(together(), apart()))
    assert ahead.known().all()
    weeks = np.diff(ahead.paths(DRAWN, HORIZON), axis=1)
    for line, between in ((1, 0.9), (4, 0.0)):
        found = stats.spearmanr(weeks[line, 0], weeks[line, 1]).statistic
        assert found == pytest.approx(between, abs=0.15)


def test_whatever_the_ranks_every_sum_keeps_its_forecast(issue):
    made, forecasts, sums = issue
    for ranks in (None, path_ranks(together(), apart())):
        paths = outlook(made.keys(), forecasts, sums, made.series, ranks).paths(DRAWN, HORIZON)
        for line in (1, 4):
            exact = stats.gamma.ppf([0.1, 0.5, 0.9], 6.0 * HORIZON, scale=(2 + 3 * line) / 6)
            np.testing.assert_allclose(np.quantile(paths[line, -1], [0.1, 0.5, 0.9]), exact, rtol=0.02)


@pytest.mark.parametrize("what", ["none", "empty", "a pool is missing", "a period is missing", "no pools"])
def test_without_whole_ranks_the_variances_say_how_periods_move(issue, what):
    made, forecasts, sums = issue
    whole = path_ranks(together(), apart())
    given = {
        "none": None,
        "empty": whole.clear(),
        "a pool is missing": whole.filter(pool=0),
        "a period is missing": whole.filter(pl.col("horizon") < HORIZON),
    }.get(what, whole)
    if what == "no pools":
        sums = sums.with_columns(pool=pl.lit(None, dtype=pl.Int32))
    ahead = outlook(made.keys(), forecasts, sums, made.series, given)
    assert ahead.joint is None
    weeks = np.diff(ahead.paths(DRAWN, HORIZON), axis=1)
    assert abs(stats.spearmanr(weeks[1, 0], weeks[1, 1]).statistic) < 0.3, "sums of independent weeks"


def test_a_line_is_decided_alike_alone_and_among_others(issue):
    from tests.unit.supply.test_decision import lines_of

    made, forecasts, sums = issue
    ahead = outlook(made.keys(), forecasts, sums, made.series, path_ranks(together(), apart()))
    lines = lines_of([0.0, 3, 1, 4, 2, 8], lead=2, lead_sd=0.5)
    all_of_them = decide(lines, ahead, Supply(), seed=1)
    chosen = np.array([4])
    alone = decide(lines.rows(chosen), ahead.rows(chosen), Supply(), seed=1)
    assert alone.equals(all_of_them[4:5])


def test_orders_look_at_the_ranks_of_their_issue(issue):
    made, _, sums = issue
    made.lake.replace("lead_time_demand", sums)
    made.stock(3)
    made.terms(lead_time_days=14.0)
    without = replenish(made.settings, made.lake).figures["run"]
    made.lake.replace("path_ranks", path_ranks(together(), apart()).with_columns(issued_on=pl.date(2024, 4, 8)))
    assert replenish(made.settings, made.lake).figures["run"] == without, "another issue's ranks are not its own"
    made.lake.replace("path_ranks", path_ranks(together(), apart()))
    summary = replenish(made.settings, made.lake)
    assert summary.figures["run"] != without
    assert "path_ranks" in summary.read
