"""Sample paths of cumulative demand, drawn so that every sum keeps the distribution that was forecast for it.

Period by period, demand drawn from the period's own quantiles is added to each path; the sums then only rank the
paths, and the path of each rank takes the value its rank has among the forecast of that sum (a Schaake shuffle: Clark
et al. 2004, doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2). Which good and bad weeks come together is learned by
demand (table path_ranks); where it is not known, they do as far as the variances of the sums say. All series share one
set of quasi-random numbers, so a decision depends on nothing but its own line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtr, ndtri

from features.quantiles import demand_at

Array = npt.NDArray[np.float64]

_SPREAD_RANKS = (np.arange(16) + 0.5) / 16


def draws(paths: int, horizon: int, seed: int) -> Array:
    """Quasi-random numbers shared by all series: a scrambled Sobol sequence.

    Args:
        paths: How many paths; a power of two keeps every margin evenly covered.
        horizon: Periods ahead.
        seed: Seed of the scrambling.

    Returns:
        Numbers in (0, 1), shape (2 + horizon, paths): row 0 draws the lead time, row 1 what all periods of a path
        share, row 1 + k what is the period k's own.
    """
    from scipy.stats import qmc

    drawn = qmc.Sobol(2 + horizon, scramble=True, rng=seed).random(paths)
    return np.asarray(np.clip(np.ascontiguousarray(drawn.T), 1e-9, 1 - 1e-9))


def spread(levels: Array, quantiles: Array, mean: Array) -> Array:
    """Standard deviation of demand that its quantiles imply, units, shape of `mean`."""
    flat = demand_at(_SPREAD_RANKS[None, :], levels, quantiles.reshape(-1, len(levels)), mean.reshape(-1))
    return np.asarray(flat.std(axis=1).reshape(mean.shape))


def shared_part(sums: Array, periods: Array) -> Array:
    """How much of the variation all periods of a path share: their mutual correlation.

    From Var(Σ D_k) = Σ Var(D_k) + ρ Σ_{j≠k} sd_j sd_k at the last period.

    Args:
        sums: Standard deviations of demand summed over 1 … K periods, shape (n, K).
        periods: Standard deviations of the single periods 1 … K, shape (n, K).

    Returns:
        Correlations in [0, 1], shape (n,): at 0 the periods are independent, at 1 they move as one.
    """
    alone = (periods**2).sum(axis=1)
    together = periods.sum(axis=1) ** 2 - alone
    more = sums[:, -1] ** 2 - alone
    return np.asarray(np.clip(more / np.where(together > 0, together, 1.0), 0.0, 1.0))


def one_factor_ranks(drawn: Array, shared: Array) -> Iterator[Array]:
    """Ranks of each period when all that hold periods together is one factor (a Gaussian copula).

    Args:
        drawn: From `draws`, without its first row: shape (1 + K, paths).
        shared: From `shared_part`, shape (n,).

    Yields:
        For each of K periods: shape (n, paths).
    """
    scores = ndtri(drawn)
    common, own = np.sqrt(shared)[:, None] * scores[0], np.sqrt(1 - shared)[:, None]
    for score in scores[1:]:
        yield ndtr(common + own * score)


def sample_paths(
    ranks: Iterable[Array], levels: Array, periods: Array, periods_mean: Array, sums: Array, sums_mean: Array
) -> Array:
    """Paths of cumulative demand.

    Args:
        ranks: For each of K periods the rank of every path, in (0, 1), shape (n, paths).
        levels: Levels of the quantiles, shape (q,).
        periods: Quantiles of demand in each of K periods, shape (n, K, q), units.
        periods_mean: Their means, shape (n, K), units.
        sums: Quantiles of demand summed over 1 … K periods, shape (n, K, q), units.
        sums_mean: Their means, shape (n, K), units.

    Returns:
        Units, shape (n, K + 1, paths); [:, 0] is zero and no path ever falls.
    """
    lines, steps = sums_mean.shape
    paths = np.zeros((lines, steps + 1, 0))
    for k, rank in enumerate(ranks):
        if not k:
            paths = np.zeros((lines, steps + 1, rank.shape[1]))
        drawn = paths[:, k] + demand_at(rank, levels, periods[:, k], periods_mean[:, k])
        evenly = (np.arange(drawn.shape[1])[None, :] + 0.5) / drawn.shape[1]
        until_k = np.empty_like(drawn)
        np.put_along_axis(until_k, _ascending(drawn), demand_at(evenly, levels, sums[:, k], sums_mean[:, k]), axis=1)
        np.maximum(until_k, paths[:, k], out=paths[:, k + 1])
    return paths


def _ascending(drawn: Array) -> npt.NDArray[np.int64]:
    """Places of each row's values in ascending order, equal ones in the order of the paths.

    Values that are not negative have the order of their bits, so value and place are sorted as one whole number, which
    is several times faster than a stable sort of places. Single precision is enough to rank paths.
    """
    bits = drawn.astype(np.float32).view(np.uint32).astype(np.uint64)
    ordered = np.sort((bits << np.uint64(32)) | np.arange(drawn.shape[1], dtype=np.uint64), axis=1)
    return (ordered & np.uint64(0xFFFFFFFF)).astype(np.int64)


def lead_times(rank: Array, mean: Array, deviation: Array, observed: Array | None = None) -> Array:
    """Lead times of each path.

    One of those observed; where there are none, gamma with this mean and standard deviation, or the mean itself where
    the deviation is zero.

    Args:
        rank: Shape (paths,).
        mean: Any unit of time, shape (n,).
        deviation: The same unit, shape (n,).
        observed: The same unit, ascending, shape (n, m), padded with not-a-number; None where there are none.

    Returns:
        The same unit, shape (n, paths).
    """
    varies = (deviation > 0) & (mean > 0)
    shape = np.where(varies, (mean / np.where(varies, deviation, 1.0)) ** 2, 1.0)
    drawn = gammaincinv(shape[:, None], rank[None, :]) * (mean / shape)[:, None]
    drawn = np.where(varies[:, None], drawn, mean[:, None])
    if observed is None or not observed.shape[1]:
        return drawn
    count = np.isfinite(observed).sum(axis=1)[:, None]
    place = np.minimum((rank[None, :] * count).astype(np.int64), np.maximum(count - 1, 0))
    return np.where(count > 0, np.take_along_axis(observed, place, axis=1), drawn)


def comes(confidence: Array, paths: int, seed: int) -> npt.NDArray[np.bool_]:
    """Whether each open order comes, path by path: on the share of paths that its confidence says.

    The ranks of one slot are a permutation of their own, so that what comes does not depend on demand, on the lead time
    or on how many slots other lines have.

    Args:
        confidence: Probability that it comes, shape (n, s).
        paths: How many.
        seed: Seed of the permutations.

    Returns:
        Shape (n, s, paths).
    """
    slots = range(confidence.shape[1])
    ranks = [np.random.default_rng([seed, slot]).permutation(paths) for slot in slots]
    return np.asarray((np.array(ranks)[None] + 0.5) / paths < confidence[:, :, None])


def until(paths: Array, time: Array) -> Array:
    """Cumulative demand up to any moment: linear within a period, at the path's mean rate beyond the last.

    Args:
        paths: From `sample_paths`, shape (n, K + 1, paths).
        time: Periods since the forecast was issued, shape (n, 1) or (n, paths).

    Returns:
        Units, shape (n, paths).
    """
    horizon, width = paths.shape[1] - 1, paths.shape[2]
    whole = np.minimum(time.astype(np.int64), horizon - 1)
    part = np.minimum(time, horizon) - whole
    rows = np.arange(len(paths))[:, None]
    if time.shape[1] == 1:
        low, high = paths[rows[:, 0], whole[:, 0]], paths[rows[:, 0], whole[:, 0] + 1]
    else:
        place = (rows * (horizon + 1) + whole) * width + np.arange(width)
        low, high = paths.reshape(-1).take(place), paths.reshape(-1).take(place + width)
    return np.asarray((low + (high - low) * part) * np.maximum(time / horizon, 1.0))
