"""Classes of series: by worth (ABC), by how steady demand is (XYZ), and by how it comes (smooth to lumpy).

| class | of what | cuts |
|---|---|---|
| ABC | share of a year's usage value held by the series worth more | 80 %, 95 % |
| XYZ | coefficient of variation of a year's demand without its season | 0.5, 1.0 |
| demand class | mean interval between periods with demand; squared variation of their sizes | 1.32; 0.49 |

A class that flips from month to month is worth nothing to whoever sets service targets by it. A series leaves the class
it had in an earlier month only when it is clearly beyond the cut (by a margin) or measured beyond it twice in a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features import windows as w
from features.panel import Panel
from features.patterns import REGULAR, STEADY, class_names, pattern
from features.season import RHYTHMS
from pipelines.settings import Classes
from pipelines.supply.paths import Array

Codes = npt.NDArray[np.int64]
ABC, XYZ = ("A", "B", "C"), ("X", "Y", "Z")
PATTERNS = ("smooth", "erratic", "intermittent", "lumpy")
_UNKNOWN = -1  # the code of a class that was never given
_LEAST_INDEX = 0.25  # a season that leaves less than this of usual demand says nothing about the rest
_KINDS = ("abc", "xyz", "demand_class")


@dataclass(frozen=True)
class Settled:
    """Classes as codes that rise with the value, shape (n,).

    Attributes:
        measured: What the value says.
        held: What stands, hysteresis applied.
    """

    measured: Codes
    held: Codes


def settle(value: Array, cuts: Array, slack: Array, before: Codes, measured_before: Codes) -> Settled:
    """Class every value by cuts, and keep the class it had unless it is clearly or repeatedly in another.

    Args:
        value: Shape (n,); not-a-number belongs to the last class.
        cuts: Rising; a value at a cut belongs to the class above.
        slack: How far beyond each cut a value has to be to change class at once, shape of `cuts`.
        before: The class that stood before, −1 where there was none, shape (n,).
        measured_before: The class that was measured then, shape (n,).

    Example:
        >>> cuts, slack = np.array([0.5, 1.0]), np.array([0.05, 0.1])
        >>> settle(np.array([0.52, 0.52, 0.6]), cuts, slack, np.array([0, 0, 0]), np.array([0, 1, 0])).held.tolist()
        [0, 1, 1]
    """
    measured = _class_of(value, cuts)
    lowest, highest = _class_of(value, cuts + slack), _class_of(value, cuts - slack)
    near = (lowest <= before) & (before <= highest)
    keeps = (before != _UNKNOWN) & near & (measured != measured_before)
    return Settled(measured, np.where(keeps, before, measured))


def usage_shares(value: Array) -> Array:
    """Share of all usage value that series worth more hold together, shape (n,): 0 for the most valuable.

    Of equal values the earlier row counts as worth more.

    Example:
        >>> usage_shares(np.array([10.0, 80.0, 0.0, 10.0])).tolist()
        [0.8, 0.0, 1.0, 0.9]
    """
    order = np.argsort(-value, kind="stable")
    total = value.sum()
    shares = np.ones(len(value))
    if total > 0:
        shares[order] = (np.cumsum(value[order]) - value[order]) / total
    shares[value <= 0] = 1.0
    return shares


def without_season(history: w.FloatArray, month: Codes, year: int) -> Array:
    """The last year's demand divided by the season that was known from the year before and from the whole shop.

    The index of a month is the mean of two: that of all series over both years, and the series' own in the year
    before the last. Its own last year plays no part in its own index, so that chance is not taken for season.

    Args:
        history: Demand (series × period), units; NaN where unknown.
        month: Calendar month of each period, 1 to 12.
        year: Periods in a year.

    Returns:
        Units, shape (n, at most `year`); NaN where unknown.
    """
    last, before = history[:, -year:], history[:, :-year][:, -year:]
    ones = [_scaled(part) for part in (last, before)]
    both = np.concatenate([part for part in ones if part.size], axis=1)
    months = np.concatenate([month[-year:], month[:-year][-year:]])[: both.shape[1]]
    shop = _monthly(w.mean(both.T)[None, :], months)
    whole = before.shape[1] == year
    own = _monthly(ones[1], month[:-year][-year:]) if whole else np.full((len(history), 12), np.nan)
    young = np.any(np.isnan(before), axis=1, keepdims=True)
    own = np.where(young, np.nan, own)
    index = np.where(np.isnan(own), shop, (own + shop) / 2)
    index = np.maximum(np.nan_to_num(index, nan=1.0), _LEAST_INDEX)
    return np.asarray(last / index[:, month[-year:] - 1], dtype=np.float64)


def classify(
    known: Panel, unit_costs: pl.DataFrame, settings: Classes, previous: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Class every series from what was known of its demand at one moment.

    Args:
        known: From `Panel.known`.
        unit_costs: Key columns and `unit_cost`; a series without one counts units at a cost of 1.
        settings: Cuts and margin.
        previous: Table item_classes of an earlier month; None where there is none.

    Returns:
        Table item_classes without its dates, sorted by key.
    """
    keys, year = list(known.keys), RHYTHMS[known.grid.frequency].year
    series = known.series.select(keys).join(unit_costs, on=keys, how="left", maintain_order="left")
    last_year = w.tail(known.quantity, year)
    used = np.nansum(last_year, axis=1, dtype=np.float64)
    value = used * series["unit_cost"].fill_null(1.0).to_numpy()
    interval, variation = (part.astype(np.float64) for part in pattern(_since_first(last_year)))
    steady = without_season(known.quantity, _months(known), year)
    coefficient = np.asarray(w.ratio(w.deviation(_float(steady)), w.mean(_float(steady))), dtype=np.float64)
    shares = usage_shares(value)
    old = _previous(series.select(keys), previous)
    abc_cuts, xyz_cuts = np.array(settings.abc), np.array(settings.xyz)
    rare_cut, varied_cut = np.array([REGULAR]), np.array([STEADY])
    margin = settings.margin
    abc = settle(shares, abc_cuts, margin * (1 - abc_cuts), *old["abc"])
    xyz = settle(coefficient, xyz_cuts, margin * xyz_cuts, *old["xyz"])
    rare = settle(interval, rare_cut, margin * rare_cut, *_halves(old["demand_class"], 2))
    varied = settle(np.nan_to_num(variation), varied_cut, margin * varied_cut, *_halves(old["demand_class"], 1))
    return series.select(keys).with_columns(
        **_both("abc", abc, ABC),
        **_both("xyz", xyz, XYZ),
        demand_class=pl.Series(class_names(rare.held == 0, varied.held == 0)),
        demand_class_measured=pl.Series(class_names(rare.measured == 0, varied.measured == 0)),
        **{f"previous_{kind}": _names(old[kind][0], _NAMES[kind]) for kind in _KINDS},
        usage=pl.Series(used),
        usage_value=pl.Series(value),
        usage_share_before=pl.Series(shares),
        variation=pl.Series(coefficient).fill_nan(None),
        demand_interval=pl.Series(interval).fill_nan(None),
        size_variation_squared=pl.Series(variation).fill_nan(None),
    )


_NAMES = {"abc": ABC, "xyz": XYZ, "demand_class": PATTERNS}


def _class_of(value: Array, cuts: Array) -> Codes:
    return np.asarray((~(value[:, None] < cuts)).sum(axis=1), dtype=np.int64)


def _halves(codes: tuple[Codes, Codes], weight: int) -> tuple[Codes, Codes]:
    """Of the four demand classes, whether each is rare (weight 2) or varied (weight 1)."""
    before, measured = (np.where(code == _UNKNOWN, _UNKNOWN, code // weight % 2) for code in codes)
    return before, measured


def _previous(keys: pl.DataFrame, previous: pl.DataFrame | None) -> dict[str, tuple[Codes, Codes]]:
    """The class that stood and the class that was measured before, of each kind, in the order of the keys."""
    if previous is None or previous.is_empty():
        none = np.full(keys.height, _UNKNOWN)
        return dict.fromkeys(_KINDS, (none, none))
    then = keys.join(previous, on=keys.columns, how="left", maintain_order="left")
    return {kind: (_codes(then[kind], _NAMES[kind]), _codes(then[f"{kind}_measured"], _NAMES[kind])) for kind in _KINDS}


def _codes(names: pl.Series, known: tuple[str, ...]) -> Codes:
    codes = names.replace_strict(list(known), list(range(len(known))), default=_UNKNOWN, return_dtype=pl.Int64)
    return codes.to_numpy()


def _names(codes: Codes, known: tuple[str, ...]) -> pl.Series:
    return pl.Series(codes).replace_strict(list(range(len(known))), list(known), default=None, return_dtype=pl.String)


def _both(kind: str, settled: Settled, known: tuple[str, ...]) -> dict[str, pl.Series]:
    return {kind: _names(settled.held, known), f"{kind}_measured": _names(settled.measured, known)}


def _since_first(history: w.FloatArray) -> w.FloatArray:
    """Periods before the first demand are not part of the pattern."""
    return np.where(np.cumsum(np.nan_to_num(history), axis=1) > 0, history, np.nan).astype(np.float32)


def _scaled(history: w.FloatArray) -> w.FloatArray:
    """Each row divided by its mean; NaN in a row without demand."""
    return w.ratio(history, w.mean(history)[:, None]) if history.size else history


def _monthly(scaled: w.FloatArray, month: Codes) -> w.FloatArray:
    """Mean of each calendar month (rows × 12), NaN where there is none."""
    columns = [w.mean(scaled[:, month == number]) for number in range(1, 13)]
    return np.stack(columns, axis=1).astype(np.float32)


def _months(known: Panel) -> Codes:
    numbers = pl.Series(np.arange(known.first, known.first + known.quantity.shape[1]), dtype=pl.Int32)
    middle = known.grid.first_days(numbers) + pl.duration(days=int(known.grid.days_a_period / 2))
    return pl.select(middle.dt.month().cast(pl.Int64)).to_series().to_numpy()


def _float(values: Array) -> w.FloatArray:
    return values.astype(np.float32)
