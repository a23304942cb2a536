"""Is one model better than another? Paired on the same cells, bootstrapped by series, looked at cutoff by cutoff."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from features.tables import quantile_column
from features.windows import Float64Array, Int64Array
from pipelines.demand import metrics

_CELL = ["series", "cutoff", "horizon"]
_AT_ONCE = 100  # bootstrap samples held in memory together
_MIDDLE = (0.025, 0.975)
Terms = Callable[[pl.DataFrame, Sequence[float]], Float64Array]  # cells → cells × terms
Loss = Callable[[Float64Array], Float64Array]  # sums of terms (…, terms) → loss (…)


@dataclass(frozen=True)
class Comparison:
    """How much one model's loss differs from another's; below zero, the first is better.

    Attributes:
        metric: The loss compared.
        a: The first model.
        b: The second model.
        difference: Loss of `a` less that of `b`, mean over cutoffs; None where it is undefined at all of them.
        low: Lower end of the 95 % interval of the difference; None where the difference is.
        high: Its upper end.
        by_cutoff: Cutoff → difference there, None where undefined.
    """

    metric: str
    a: str
    b: str
    difference: float | None
    low: float | None
    high: float | None
    by_cutoff: Mapping[int, float | None]

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not clear`, said of `a`.

        A model is called better only where the whole interval says so and most cutoffs agree.
        """
        known = [value for value in self.by_cutoff.values() if value is not None]
        if self.low is not None and self.high is not None:
            if self.high < 0 and 2 * sum(value < 0 for value in known) > len(known):
                return "better"
            if self.low > 0 and 2 * sum(value > 0 for value in known) > len(known):
                return "worse"
        return "not clear"


def compare(
    long: pl.DataFrame, a: str, b: str, metric: str, seed: int, *, quantiles: Sequence[float], samples: int = 1_000
) -> Comparison:
    """Compare two models of a backtest on the cells that both forecast and whose demand is known.

    Series are drawn with replacement, each with all its cutoffs and horizons, since errors of one series go together;
    the interval holds the middle 95 % of the differences (percentile bootstrap). Series that move together make it
    too narrow: hence the look at each cutoff.

    Args:
        long: What `backtest` returns.
        a: A model of it.
        b: Another.
        metric: One of `COMPARABLE`, defined as in the evaluation; of `bias_share` the size counts.
        seed: Seed of the draws: the same gives the same interval, whatever the order of the rows.
        quantiles: Probabilities of the backtest.
        samples: Bootstrap samples.

    Raises:
        ValueError: A model or metric is not there.

    Source:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    if metric not in COMPARABLE:
        raise ValueError(f"{metric!r} cannot be compared: choose one of {', '.join(COMPARABLE)}")
    for model in (a, b):
        if long.filter(model=model).is_empty():
            raise ValueError(f"the backtest has no model {model!r}")
    terms, loss = COMPARABLE[metric]
    first, second = _paired(long, a, b)
    cutoffs, cut = np.unique(first["cutoff"].to_numpy(), return_inverse=True)
    names, series = np.unique(first["series"].to_numpy(), return_inverse=True)
    sums = np.stack([_sums(terms(side, quantiles), cut, series) for side in (first, second)])
    (by_cutoff,) = _differences(sums, np.ones((1, len(names))), loss)
    defined = ~np.isnan(by_cutoff)
    found = {int(c): float(d) if ok else None for c, d, ok in zip(cutoffs, by_cutoff, defined, strict=True)}
    if not defined.any():
        return Comparison(metric, a, b, None, None, None, found)
    drawn = _resampled(sums[:, defined], loss, seed, samples)
    low, high = (float(end) for end in np.quantile(drawn[~np.isnan(drawn)], _MIDDLE))
    return Comparison(metric, a, b, float(by_cutoff[defined].mean()), low, high, found)


def _paired(long: pl.DataFrame, a: str, b: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same cells of two models, those whose demand is known, in the same order."""
    known = long.filter(pl.col("actual").is_not_nan())
    one, other = known.filter(model=a), known.filter(model=b)
    return one.join(other, on=_CELL, how="semi").sort(_CELL), other.join(one, on=_CELL, how="semi").sort(_CELL)


def _sums(terms: Float64Array, cut: Int64Array, series: Int64Array) -> Float64Array:
    """Cells × terms → cutoffs × terms × series."""
    cutoffs, count = (int(own.max()) + 1 if len(own) else 0 for own in (cut, series))
    place = cut * count + series
    columns = [np.bincount(place, term, minlength=cutoffs * count).reshape(cutoffs, count) for term in terms.T]
    return np.stack(columns, axis=1)


def _differences(sums: Float64Array, weights: Float64Array, loss: Loss) -> Float64Array:
    """Loss of the first model less the second's, with each series counted as often as a row of weights says.

    Returns:
        Rows of weights × cutoffs.
    """
    # not a matrix product: BLAS rounds differently with the number of threads
    first, second = loss(np.einsum("bs,mcts->mbct", weights, sums))
    differences: Float64Array = first - second
    return differences


def _resampled(sums: Float64Array, loss: Loss, seed: int, samples: int) -> Float64Array:
    """Mean difference over cutoffs in bootstrap samples of the series; NaN where a sample leaves it undefined."""
    rng, count = np.random.default_rng(seed), sums.shape[-1]
    means = []
    for start in range(0, samples, _AT_ONCE):
        rows = min(_AT_ONCE, samples - start)
        place = rng.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        weights = np.bincount(place.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
        means.append(_differences(sums, weights, loss).mean(axis=1))
    return np.concatenate(means)


def _ratio(sums: Float64Array) -> Float64Array:
    out: Float64Array = np.full(sums.shape[:-1], np.nan)
    np.divide(sums[..., 0], sums[..., -1], out=out, where=sums[..., -1] > 0)
    return out


def _size(sums: Float64Array) -> Float64Array:
    return np.abs(_ratio(sums))


def _root(sums: Float64Array) -> Float64Array:
    return np.sqrt(_ratio(sums))


def _with_bias(sums: Float64Array) -> Float64Array:
    return _ratio(sums[..., [0, 2]]) + np.abs(_ratio(sums[..., 1:]))


def _median_terms(cells: pl.DataFrame, quantiles: Sequence[float]) -> Float64Array:
    middle = min(quantiles, key=lambda level: abs(level - 0.5))
    y = cells["actual"].to_numpy()
    return np.column_stack([np.abs(y - cells[quantile_column(middle)].to_numpy()), np.abs(y)])


def _mean_terms(cells: pl.DataFrame, quantiles: Sequence[float]) -> Float64Array:
    y, f = cells["actual"].to_numpy(), cells["mean"].to_numpy()
    return np.column_stack([np.abs(f - y), f - y, np.abs(y)])


def _scaled_terms(cells: pl.DataFrame, scale: str, power: int) -> Float64Array:
    """Scaled errors and ones, divided by the cells of their series and cutoff: each such group counts once."""
    y, f, s = (cells[name].to_numpy() for name in ("actual", "mean", scale))
    group = cells.select(pl.len().over("series", "cutoff")).to_series().to_numpy()
    fit = s > 0
    error = np.divide(np.abs(f - y), s, out=np.zeros(len(y)), where=fit)
    return np.column_stack([error**power / group, fit / group])


def _quantile_losses(cells: pl.DataFrame, quantiles: Sequence[float]) -> Float64Array:
    fan = cells.select(map(quantile_column, quantiles)).to_numpy()
    losses: Float64Array = metrics.pinball_losses(cells["actual"].to_numpy(), fan, quantiles).mean(axis=1)
    return losses


def _pinball_terms(cells: pl.DataFrame, quantiles: Sequence[float]) -> Float64Array:
    s = cells["scale_season"].to_numpy()
    fit = s > 0
    loss = np.divide(_quantile_losses(cells, quantiles), s, out=np.zeros(len(s)), where=fit)
    return np.column_stack([loss, fit])


# Each loss as sums over cells and what is made of them: so a sample of series needs no second look at the cells.
COMPARABLE: Mapping[str, tuple[Terms, Loss]] = {
    "wape": (_median_terms, _ratio),
    "wape_of_mean": (lambda cells, levels: _mean_terms(cells, levels)[:, [0, 2]], _ratio),
    "bias_share": (lambda cells, levels: _mean_terms(cells, levels)[:, 1:], _size),
    "vn1": (_mean_terms, _with_bias),
    "mase": (lambda cells, _: _scaled_terms(cells, "scale_season", 1), _ratio),
    "rmsse": (lambda cells, _: _scaled_terms(cells, "scale_step", 2), _root),
    "scaled_pinball": (_pinball_terms, _ratio),
    "wql": (
        lambda cells, levels: np.column_stack([_quantile_losses(cells, levels), np.abs(cells["actual"].to_numpy())]),
        _ratio,
    ),
}
