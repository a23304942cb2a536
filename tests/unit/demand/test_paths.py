"""Joint ranks: against copulas that are known, and against sums of weeks that were never seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from features.panel import Panel
from features.tables import TABLES, quantile_column
from pipelines.demand.model import DemandModel
from pipelines.demand.origins import Origins
from pipelines.demand.paths import PATHS, JointRanks, kinds, outcomes
from pipelines.supply.paths import sample_paths
from tests.made_panel import panel_of, tables
from tests.unit.demand.conftest import START, WEEKS, settings_for

LEVELS = [0.005, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.995]
NAMES = [quantile_column(level) for level in LEVELS]
HORIZON = 6
REGULAR = kinds(np.array([1.0]), np.array([1]))[0]


def vectors(correlation: np.ndarray, count: int, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """One window of ranks whose normal scores correlate like this, all of one kind."""
    rng = np.random.default_rng(seed)
    scores = rng.multivariate_normal(np.full(len(correlation), shift), correlation, count, method="cholesky")
    return stats.norm.cdf(scores), np.full(count, REGULAR)


def autoregressive(phi: float, horizon: int = HORIZON) -> np.ndarray:
    return phi ** np.abs(np.subtract.outer(np.arange(horizon), np.arange(horizon)))


def pool_of(joint: JointRanks, kind: int = REGULAR) -> np.ndarray:
    return joint.ranks[joint.pools(np.array([kind]))[0]]


def scores_of(ranks: np.ndarray) -> np.ndarray:
    return stats.norm.ppf((ranks + 0.5) / len(ranks))


def unknown() -> JointRanks:
    """Learned from nothing."""
    return JointRanks.learn([(np.empty((0, HORIZON)), np.empty(0, dtype=np.int64))], HORIZON)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_the_copula_of_the_vectors_is_kept(phi: float):
    joint = JointRanks.learn([vectors(autoregressive(phi), 700, seed) for seed in (1, 2, 3)], HORIZON)
    found = np.corrcoef(scores_of(pool_of(joint)).T)
    np.testing.assert_allclose(found, autoregressive(phi), atol=0.19)  # three standard errors of 256 paths
    assert np.abs(found - autoregressive(phi)).mean() < 0.08
    spread = scores_of(pool_of(joint)).sum(axis=1).std()
    assert spread == pytest.approx(np.sqrt(autoregressive(phi).sum()), rel=0.05), "what adds up keeps its spread"


def test_every_period_holds_every_rank_once():
    for joint in (JointRanks.learn([vectors(autoregressive(0.7), 900)], HORIZON), unknown()):
        assert joint.ranks.shape[1:] == (PATHS, HORIZON)
        assert (np.sort(joint.ranks, axis=1) == np.arange(PATHS)[None, :, None]).all()
        table = joint.table().with_columns(issued_on=pl.date(2024, 1, 1))
        TABLES["path_ranks"].schema.validate(table)
        assert JointRanks.from_dict(joint.as_dict()).table().equals(joint.table())


def test_the_order_of_series_does_not_matter():
    ranks, kind = vectors(autoregressive(0.5), 600)
    shuffled = np.random.default_rng(9).permutation(600)
    one, other = (JointRanks.learn([(ranks[rows], kind)], HORIZON) for rows in (np.arange(600), shuffled))
    np.testing.assert_array_equal(one.ranks, other.ranks)


def test_series_that_sell_alike_share_a_pool_and_rare_ones_borrow():
    often = np.repeat([1.0, 0.5, 0.5, 0.0], [300, 200, 100, 40])
    large = np.repeat([1, 1, 0, 0], [300, 200, 100, 40])
    together = stats.norm.cdf(np.random.default_rng(0).normal(size=(640, 1)).repeat(HORIZON, axis=1))
    alone = np.random.default_rng(1).random((640, HORIZON))
    kind = kinds(often, large)
    regular = (often == 1.0)[:, None]
    joint = JointRanks.learn([(np.where(regular, together, alone), kind)], HORIZON)
    regular_pool, intermittent, silent = (joint.pools(kind[[row]])[0] for row in (0, 300, 639))
    assert joint.pools(kind[[300]]) == joint.pools(kind[[500]]), "large and small ones together are enough"
    assert [joint.learned_from[pool] for pool in (regular_pool, intermittent, silent)] == [300, 300, 640]
    correlation = [np.corrcoef(scores_of(joint.ranks[pool]).T)[0, 1] for pool in (regular_pool, intermittent, silent)]
    assert correlation[0] > 0.99
    assert abs(correlation[1]) < 0.15
    assert 0.3 < correlation[2] < 0.7, "no pool of its own: half of each"


def test_a_shock_of_a_window_is_one_of_many_there_could_be():
    """Three windows shifted as a whole: the sums spread as far, but not into three heaps."""
    shifts = (-1.5, 0.0, 1.5)
    windows = [vectors(0.04 * np.eye(HORIZON), 400, seed, shift) for seed, shift in enumerate(shifts)]
    sums = scores_of(pool_of(JointRanks.learn(windows, HORIZON))).mean(axis=1)
    assert sums.std() == pytest.approx(1.0, abs=0.1), "periods go together almost wholly"
    assert stats.kstest(sums / sums.std(), "norm").statistic < 0.05
    raw = np.concatenate([ranks for ranks, _ in windows])
    heaps = stats.norm.ppf((stats.rankdata(raw, axis=0) - 0.5) / len(raw)).mean(axis=1)
    gaps = np.diff(np.sort(heaps))
    assert np.diff(np.sort(sums))[10:-10].max() < gaps[10:-10].max() / 2


def test_with_little_to_learn_from_one_factor_holds_periods_together():
    few, kind = vectors(np.full((HORIZON, HORIZON), 0.7) + 0.3 * np.eye(HORIZON), 120)
    few[:, -1] = np.nan  # no vector is whole
    found = np.corrcoef(scores_of(pool_of(JointRanks.learn([(few, kind)], HORIZON))).T)
    others = found[~np.eye(HORIZON, dtype=bool)]
    assert others.mean() == pytest.approx(0.7, abs=0.08)
    nothing = np.corrcoef(scores_of(pool_of(unknown())).T)
    assert 0.1 < nothing[~np.eye(HORIZON, dtype=bool)].mean() < 0.3


@pytest.mark.parametrize("rate", [0.2, 3.0, 60.0])
def test_outcomes_of_a_true_forecast_are_even(rate: float):
    """Counts, most of them zero or hardly any: their ranks are drawn within what each count stands for."""
    rng, n = np.random.default_rng(4), 20_000
    levels = np.arange(1, 200) / 200
    law = stats.poisson(rate)
    # the curve whose rounded values are Poisson: each count spread evenly over half a unit to either side
    edges = np.maximum(np.arange(0, law.ppf(1 - 1e-9) + 3) - 0.5, 0.0)
    curve = np.interp(levels, np.concatenate([[0.0], law.cdf(np.arange(len(edges) - 1))]), edges)
    ranks = outcomes(
        rng.poisson(rate, n).astype(float), levels, np.tile(curve, (n, 1)), np.full(n, rate), rng.random(n), 1.0
    )
    assert stats.kstest(ranks, "uniform").statistic < 0.02
    unknown = outcomes(np.array([np.nan]), levels, curve[None], np.array([rate]), np.array([0.5]), 1.0)
    assert np.isnan(unknown).all()


def test_chance_of_a_series_is_its_own(tmp_path: Path):
    parts = tables("week")
    few = parts | {name: parts[name].filter(pl.col("store") > "s05") for name in ("demand", "attributes", "revisions")}
    settings = settings_for(tmp_path, series=["store"])
    drawn = []
    for panel in (panel_of("week", parts), panel_of("week", few)):
        origins = Origins(panel, settings, HORIZON)
        rows = origins.rows(panel.last - 20)
        chance = rows.select("horizon", store=panel.series["store"].gather(rows["series"]), u=origins.chance(rows))
        drawn.append(chance.filter(pl.col("store") > "s05").sort("store", "horizon"))
    assert drawn[0].height >= 5 * HORIZON
    assert drawn[0].equals(drawn[1])
    assert drawn[0]["u"].n_unique() == drawn[0].height


@dataclass
class Held:
    """A fitted model, what it forecast, and what came true."""

    model: DemandModel
    forecasts: pl.DataFrame
    lead_time: pl.DataFrame
    actual: np.ndarray

    def paths(self) -> np.ndarray:
        fan, mean = self.fan(self.forecasts), self.forecasts["mean"].to_numpy().reshape(-1, HORIZON)
        return self.model.joint.sample(self.pool, LEVELS, fan, mean, whole=self.model.whole)

    @property
    def pool(self) -> np.ndarray:
        return self.lead_time.filter(periods=1)["pool"].to_numpy()

    def fan(self, frame: pl.DataFrame) -> np.ndarray:
        return frame.select(NAMES).to_numpy().reshape(-1, HORIZON, len(LEVELS))


def held(home: Path, noise: float, seed: int, series: int = 1000, weeks: int = 56) -> Held:
    """A made shop whose levels wander (log-autoregressive, 0.9 a week), with t-distributed log-noise on top."""
    rng = np.random.default_rng(seed)
    wander = np.zeros((series, weeks))
    for week in range(1, weeks):
        wander[:, week] = 0.9 * wander[:, week - 1] + rng.normal(0, 0.3, series)
    heavy = noise * np.clip(rng.standard_t(3, wander.shape), -8, 8)
    quantity = rng.poisson(np.exp(rng.uniform(0, 4, (series, 1)) + wander + heavy)).astype(float)
    demand = pl.DataFrame({"item": np.repeat(np.arange(series), weeks), "n": np.tile(np.arange(weeks), series)})
    demand = demand.select(
        "item", period=WEEKS.labels(pl.col("n").cast(pl.Int32) + START), quantity=pl.Series(quantity.ravel())
    )
    plan = {"series": ["item"], "horizon": HORIZON, "quantiles": LEVELS, "trees": 30, "training_rows": 12_000}
    settings = settings_for(home, **plan, holidays=None)
    origins = Origins(Panel.build(demand, ["item"], WEEKS), settings, HORIZON)
    cutoff = origins.panel.last - HORIZON
    model = DemandModel.fit(origins, cutoff, LEVELS)
    rows = origins.rows(cutoff)
    lead_time = model.predict_lead_time(rows).sort("series", "periods")
    return Held(model, model.predict(rows), lead_time, origins.actual(rows, origins.panel.last))


@pytest.fixture(scope="module")
def wandering(tmp_path_factory: pytest.TempPathFactory) -> Held:
    return held(tmp_path_factory.mktemp("wandering"), noise=0.0, seed=2)


def misses(sums: np.ndarray, actual: np.ndarray, levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)):
    """How far share(y < q) ≤ level ≤ share(y ≤ q) is missed at most."""
    q = np.quantile(sums, levels, axis=1)
    below, upto = (actual < q).mean(axis=1), (actual <= q).mean(axis=1)
    return np.maximum(np.maximum(below - levels, levels - upto), 0).max()


def test_sums_of_paths_are_calibrated_where_independent_draws_are_not(wandering: Held):
    paths, actual = wandering.paths(), wandering.actual.reshape(-1, HORIZON)
    shuffled = paths.copy()
    for step in range(HORIZON):
        shuffled[:, :, step] = shuffled[:, np.random.default_rng(step).permutation(PATHS), step]
    for steps in (3, HORIZON):
        true = actual[:, :steps].sum(axis=1)
        assert misses(paths[:, :, :steps].sum(axis=2), true) < 0.05
        assert misses(shuffled[:, :, :steps].sum(axis=2), true) > 0.05, "independent weeks are too sure of their sum"


def test_sums_of_paths_agree_with_demand_over_the_lead_time(wandering: Held):
    """Two ways to one distribution: within 10 % by third of volume at the median and the ninth decile."""
    sums = wandering.paths().sum(axis=2)
    whole = wandering.lead_time.filter(periods=HORIZON)
    third = np.argsort(np.argsort(whole["mean"].to_numpy())) * 3 // whole.height
    for level in (0.5, 0.9):
        drawn, target = np.quantile(sums, level, axis=1), whole[quantile_column(level)].to_numpy()
        for volume in range(3):
            gap = np.abs(drawn - target)[third == volume].sum() / target[third == volume].sum()
            assert gap < 0.1, (level, volume)
    means = wandering.forecasts["mean"].to_numpy().reshape(-1, HORIZON).sum(axis=1)
    for volume in range(3):
        assert sums.mean(axis=1)[third == volume].sum() == pytest.approx(means[third == volume].sum(), rel=0.03)


def test_supply_draws_sums_exactly_as_forecast(wandering: Held):
    joint = (wandering.model.joint.ranks + 0.5) / PATHS
    frames = (wandering.forecasts, wandering.lead_time)
    fans, means = zip(*((wandering.fan(f), f["mean"].to_numpy().reshape(-1, HORIZON)) for f in frames), strict=True)
    ranks = (joint[wandering.pool, :, k] for k in range(HORIZON))
    paths = sample_paths(ranks, np.array(LEVELS), fans[0], means[0], fans[1], means[1])
    for level in (0.1, 0.5, 0.9):
        drawn, target = np.quantile(paths[:, HORIZON], level, axis=1), fans[1][:, -1, LEVELS.index(level)]
        assert np.abs(drawn - target).sum() < 0.02 * target.sum()


def test_extreme_quantiles_hold_where_tails_are_heavy(tmp_path: Path):
    """p005 and p995 within a hundredth, of demand whose log has t-distributed noise of three degrees of freedom."""
    found = held(tmp_path, noise=0.5, seed=2, series=700)
    for level in (0.005, 0.025, 0.975, 0.995):
        q = found.forecasts[quantile_column(level)].to_numpy()
        assert (found.actual < q).mean() - 0.01 <= level <= (found.actual <= q).mean() + 0.01
        extreme = found.lead_time.filter(periods=HORIZON)[quantile_column(level)].to_numpy()
        total = found.actual.reshape(-1, HORIZON).sum(axis=1)
        assert (total < extreme).mean() - 0.02 <= level <= (total <= extreme).mean() + 0.02
