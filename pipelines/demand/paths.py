"""Which good and bad periods come together: joint ranks, learned from how past forecasts came out.

Each series in each past window gives one vector: the rank its demand took, in every period ahead, in the distribution
that had been forecast for it (Schefzik, Thorarinsdottir & Gneiting 2013, doi:10.1214/13-STS443). The ranks of many
vectors, made even in every period, are an empirical copula: sample paths take their values from the quantiles of
today and their order from it (Clark et al. 2004, doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2).

Series that sell alike share a pool. What all series of a pool missed together in one window is a shock, and a few
windows are a few observations of shocks, not the only ones there can be: it is taken out of the vectors and given
back as a normal variable of the same variance (unbiased for few windows, less the noise of their means).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtri

from features.quantiles import demand_at, rank_of
from features.windows import Float64Array, Int64Array

PATHS = 256  # a power of two, so that quasi-random numbers cover every margin evenly
_OFTEN = (0.05, 1 / 3, 0.8)  # share of recent periods with demand: silent, sparse, intermittent, regular
_KINDS = 2 * (len(_OFTEN) + 1)
_EVERYONE = tuple(range(_KINDS))
_LEAST = 1e-6  # outcomes below or above all that was thought possible are still told apart by chance
# Before anything is known, periods of a series go together a little: as much as this many pairs would say.
_PRIOR_CORRELATION, _PRIOR_PAIRS = 0.2, 50.0


def kinds(share_positive: Float64Array, large: npt.ArrayLike) -> Int64Array:
    """The kind of each series: how often it sold lately × large or small volume."""
    often = np.digitize(np.nan_to_num(share_positive), _OFTEN)
    return np.asarray(often * 2 + np.asarray(large, dtype=np.int64), dtype=np.int64)


def outcomes(
    actual: Float64Array,
    levels: Sequence[float],
    quantiles: Float64Array,
    mean: Float64Array,
    chance: Float64Array,
    smallest: npt.ArrayLike,
) -> Float64Array:
    """The rank that demand took in its forecast distribution: the randomised probability integral transform.

    A value stands for all that round to it, so the rank is drawn evenly between those of half a smallest unit less and
    half a smallest unit more (Czado, Gneiting & Held 2009, doi:10.1111/j.1541-0420.2009.01191.x).

    Args:
        actual: Demand, units, shape (n,), NaN where unknown.
        levels: Levels of the quantiles, shape (q,).
        quantiles: Forecast quantiles, units, shape (n, q).
        mean: Forecast means, units, shape (n,).
        chance: Draws in [0, 1), shape (n,).
        smallest: Smallest step of demand, units (1 for whole units), shape (n,) or one for all.

    Returns:
        Ranks in [0, 1], shape (n,), NaN where demand is unknown.
    """
    half = np.asarray(smallest, dtype=np.float64) / 2
    tau = np.asarray(levels, dtype=np.float64)
    upper = rank_of(actual + half, tau, quantiles, mean)
    lower = np.where(actual > half, rank_of(actual - half, tau, quantiles, mean), 0.0)
    return np.asarray(np.where(np.isnan(actual), np.nan, lower + chance * np.maximum(upper - lower, _LEAST)))


@dataclass(frozen=True)
class JointRanks:
    """Joint ranks of every pool of series.

    Attributes:
        ranks: Whole ranks 0 … PATHS − 1, shape (pools, PATHS, horizon): every period of a pool holds each of them
            once. Paths are ordered from the least to the most demand.
        pool_of: The pool of each kind of series.
        learned_from: How many vectors each pool was learned from.
    """

    ranks: Int64Array
    pool_of: list[int]
    learned_from: list[int]

    @classmethod
    def learn(cls, windows: Sequence[tuple[Float64Array, Int64Array]], horizon: int) -> JointRanks:
        """Learn from past windows.

        A kind of series has a pool of its own where it has at least `PATHS` whole vectors; else it shares one with the
        other volume, else with all series. Where all together are too few, periods hang together through one common
        factor, as strongly as the known pairs of periods say.

        Args:
            windows: For each past window the outcomes (series × horizon, NaN = unknown) and the kinds of its series.
            horizon: Periods ahead.
        """
        whole = [~np.isnan(ranks).any(axis=1) for ranks, _ in windows]
        known = [kind[full] for (_, kind), full in zip(windows, whole, strict=True)]
        pools: dict[tuple[int, ...], int] = {}
        joint, learned_from, pool_of = [], [], []
        for one in range(_KINDS):
            alike = next((group for group in _groups(one) if _count(known, group) >= PATHS), _EVERYONE)
            if alike not in pools:
                pools[alike] = len(pools)
                vectors = [ranks[np.isin(kind, alike)] for ranks, kind in windows]
                learned_from.append(_count(known, alike))
                enough = learned_from[-1] >= PATHS
                joint.append(_empirical(vectors) if enough else one_factor(_correlation(vectors), horizon))
            pool_of.append(pools[alike])
        return cls(np.stack(joint), pool_of, learned_from)

    @classmethod
    def none(cls) -> JointRanks:
        """What is known before anything is learned: no pool."""
        return cls(np.empty((0, PATHS, 0), dtype=np.int64), [], [])

    def pools(self, kind: Int64Array) -> Int64Array:
        """The pool of each series, from its kind."""
        return np.asarray(self.pool_of, dtype=np.int64)[kind]

    def sample(
        self,
        pool: Int64Array,
        levels: Sequence[float],
        quantiles: Float64Array,
        mean: Float64Array,
        *,
        whole: bool = False,
    ) -> Float64Array:
        """Sample paths of demand: as many of each series as its pool has, evenly through its quantiles.

        Args:
            pool: Pool of each series, shape (n,).
            levels: Levels of the quantiles, shape (q,).
            quantiles: Quantiles of each period, units, shape (n, H, q); H at most the horizon.
            mean: Means of each period, units, shape (n, H).
            whole: Whether demand comes in whole units: many small fractions add up to a sum that never is zero.

        Returns:
            Units, shape (n, PATHS, H).

        Example:
            >>> together = JointRanks(np.arange(4)[None, :, None].repeat(2, axis=2), [0], [0])
            >>> fan, mean = np.array([[[0.0, 3.0], [0.0, 30.0]]]), np.array([[2.0, 20.0]])
            >>> together.sample(np.array([0]), [0.25, 0.75], fan, mean, whole=True)[0].tolist()
            [[0.0, 0.0], [0.0, 3.0], [2.0, 19.0], [5.0, 49.0]]
        """
        tau, even = np.asarray(levels, dtype=np.float64), (self.ranks[pool] + 0.5) / self.ranks.shape[1]
        steps = range(mean.shape[1])
        paths = np.stack([demand_at(even[:, :, k], tau, quantiles[:, k], mean[:, k]) for k in steps], axis=2)
        return np.rint(paths) if whole else paths

    def table(self) -> pl.DataFrame:
        """Rows of table path_ranks but for `issued_on`; ranks in (0, 1)."""
        pools, paths, horizon = self.ranks.shape
        pool, path, step = (axis.ravel() for axis in np.indices((pools, paths, horizon), dtype=np.int32))
        rank = (self.ranks.ravel() + 0.5) / paths
        return pl.DataFrame({"pool": pool, "path": path, "horizon": step + np.int32(1), "rank": rank})

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"ranks": self.ranks.tolist(), "pool_of": self.pool_of, "learned_from": self.learned_from}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> JointRanks:
        """From plain data."""
        return cls(np.asarray(data["ranks"], dtype=np.int64), data["pool_of"], data["learned_from"])


def _groups(kind: int) -> tuple[tuple[int, ...], ...]:
    """The kinds that may share a pool with this one, narrowest first."""
    return (kind,), (kind & ~1, kind | 1)


def _count(known: list[Int64Array], group: tuple[int, ...]) -> int:
    return sum(int(np.isin(kind, group).sum()) for kind in known)


def _scores(vectors: Sequence[Float64Array]) -> tuple[Float64Array, Int64Array]:
    """Normal scores of all vectors and the window of each.

    Ranks are made even in each period first: what a margin missed says nothing of how periods hang together.
    """
    ranks = np.concatenate(list(vectors))
    known = ~np.isnan(ranks)
    place = np.argsort(np.argsort(ranks, axis=0, kind="stable"), axis=0, kind="stable")
    even = np.where(known, (place + 0.5) / np.maximum(known.sum(axis=0), 1), np.nan)
    return ndtri(even), np.repeat(np.arange(len(vectors)), [len(window) for window in vectors])


def _empirical(vectors: Sequence[Float64Array]) -> Int64Array:
    """Whole ranks (PATHS × horizon) of vectors, window by window (each vectors × horizon)."""
    scores, window = _scores([ranks[~np.isnan(ranks).any(axis=1)] for ranks in vectors])
    _, window, count = np.unique(window, return_inverse=True, return_counts=True)
    shocks = np.array([scores[window == one].mean() for one in range(len(count))])
    own = scores - shocks[window][:, None]
    order = np.argsort(own.sum(axis=1), kind="stable")
    # evenly along the sum, so that what adds up over the horizon keeps its spread though vectors are left out
    chosen = own[order[((np.arange(PATHS) + 0.5) * len(order) / PATHS).astype(np.int64)]]
    noise = (own.mean(axis=1).var() / count).mean()  # of a window's mean, were there no shocks
    size = np.sqrt(max(shocks.var(ddof=1) - noise, 0.0)) if len(shocks) > 1 else 0.0
    return _even(chosen + size * ndtri(_scattered(PATHS))[:, None])


def one_factor(correlation: float, horizon: int) -> Int64Array:
    """Whole ranks (PATHS × horizon) of a Gaussian copula in which every two periods correlate alike."""
    from scipy.stats import qmc

    drawn = ndtri(np.clip(qmc.Sobol(1 + horizon, scramble=True, rng=0).random(PATHS), 1e-9, 1 - 1e-9))
    return _even(np.sqrt(correlation) * drawn[:, :1] + np.sqrt(1 - correlation) * drawn[:, 1:])


def _correlation(vectors: Sequence[Float64Array]) -> float:
    """Mean correlation of the scores of two periods, from all pairs that are known."""
    scores, _ = _scores(vectors)
    known = ~np.isnan(scores)
    total, squares = np.nansum(scores, axis=1), np.nansum(scores**2, axis=1)
    pairs = known.sum(axis=1) * (known.sum(axis=1) - 1)
    together = (total**2 - squares).sum() + _PRIOR_CORRELATION * _PRIOR_PAIRS
    return float(np.clip(together / (pairs.sum() + _PRIOR_PAIRS), 0.0, 0.95))


def _even(scores: Float64Array) -> Int64Array:
    """Whole ranks in each period, paths ordered by their sum."""
    ranks = np.argsort(np.argsort(scores, axis=0, kind="stable"), axis=0, kind="stable")
    return np.asarray(ranks[np.argsort(ranks.sum(axis=1), kind="stable")], dtype=np.int64)


def _scattered(count: int) -> Float64Array:
    """Evenly spaced numbers in (0, 1) in van der Corput's order: unrelated to any order of the paths."""
    bits = count.bit_length() - 1
    place = np.arange(count)
    reversed_bits = sum(((place >> bit) & 1) << (bits - 1 - bit) for bit in range(bits))
    return np.asarray((reversed_bits + 0.5) / count)
