"""What series were like up to a cutoff: their demand class, the scales of their errors, and what they are worth.

The same is said of groups of series, whose history is the sum of theirs.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from features import windows as w
from features.demand import without_leading_zeros
from features.panel import Panel
from features.patterns import demand_class
from features.season import RHYTHMS


def facts_at(panel: Panel, cutoff: int) -> pl.DataFrame:
    """Facts of every series known at a cutoff, from its history up to it.

    Returns:
        `series` (row in the panel), `class`, `scale_step` (root mean squared one-step change), `scale_season` (mean
        absolute seasonal change; from step to step where no season is on record), `price` (`prices`) and `weight`
        (`worth`).
    """
    known = panel.known(cutoff)
    history = without_leading_zeros(known.quantity)
    step, season = scales(history, panel.grid.season)
    columns = {"class": demand_class(history), "scale_step": step, "scale_season": season}
    return pl.DataFrame({"series": known.position, **columns, "price": prices(known), "weight": worth(known)})


def group_facts_at(panel: Panel, cutoff: int, group: w.IntArray) -> pl.DataFrame:
    """Facts of groups of series, from the sum of what was known of their series up to a cutoff.

    Args:
        panel: The panel.
        cutoff: Number of the last period that is over.
        group: Group number of each row of the panel.

    Returns:
        `series` (group number), `scale_step`, `scale_season` and `weight`, as in `facts_at`.
    """
    known = panel.known(cutoff)
    numbers, own = np.unique(group[known.position], return_inverse=True)
    step, season = scales(without_leading_zeros(_sums(known.quantity, own)), panel.grid.season)
    weight = np.bincount(own, worth(known), minlength=len(numbers))
    return pl.DataFrame({"series": numbers, "scale_step": step, "scale_season": season, "weight": weight})


def scales(history: w.FloatArray, season: int) -> tuple[w.Float64Array, w.Float64Array]:
    """Root mean squared change from period to period, and mean absolute change from season to season, of each row.

    The second is the mean absolute one-step change where the history holds no pair a season apart. NaN = no change on
    record.

    Example:
        >>> step, from_season_to_season = scales(np.array([[1, 3, 1, 5]], dtype=np.float32), season=2)
        >>> round(float(step[0]), 3), float(from_season_to_season[0])  # √((4 + 4 + 16) / 3); (0 + 2) / 2
        (2.828, 1.0)
    """
    step = np.diff(history, axis=1)
    lagged = history[:, season:] - history[:, :-season] if history.shape[1] > season else step[:, :0]
    absolute = w.mean(np.abs(lagged))
    absolute = np.where(np.isnan(absolute), w.mean(np.abs(step)), absolute)
    return np.sqrt(w.mean(step * step)).astype(np.float64), absolute.astype(np.float64)


def worth(known: Panel) -> w.Float64Array:
    """What each series sold over the last year on record: money where prices are known, else units."""
    year = RHYTHMS[known.grid.frequency].year
    units: w.Float64Array = np.nansum(w.tail(known.quantity, year), axis=1, dtype=np.float64)
    return units * prices(known)


def prices(known: Panel) -> w.Float64Array:
    """What a unit of each series is worth: its mean price over the last year on record, nothing where it has none.

    Where a shop has no prices at all, every unit is worth one.
    """
    if "price" not in known.observed:
        return np.ones(len(known.quantity))
    recent = w.tail(known.observed["price"], RHYTHMS[known.grid.frequency].year)
    return np.maximum(np.nan_to_num(w.mean(recent)), 0.0).astype(np.float64)


def _sums(values: w.FloatArray, own: w.Int64Array) -> w.FloatArray:
    """Sums of the known values of each group's rows (groups × periods), NaN where none is known."""
    if not len(own):
        return values
    order = np.argsort(own, kind="stable")
    starts = np.flatnonzero(np.diff(own[order], prepend=-1))
    ordered = values[order].astype(np.float64)
    totals = np.add.reduceat(np.nan_to_num(ordered), starts, axis=0)
    some = np.logical_or.reduceat(~np.isnan(ordered), starts, axis=0)
    return np.where(some, totals, np.nan).astype(np.float32)
