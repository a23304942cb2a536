"""Rolling origins: the rows to learn from at a cutoff, and forecasts made at earlier ones.

Features of an origin depend on nothing after it, so they are computed once and used by every later cutoff; labels are
taken as known at the cutoff that learns from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from features.demand import Vocabulary, features_of, rows_at
from features.panel import Panel
from pipelines.demand.boosting import Booster, Boosting, FloatArray
from pipelines.errors import NotEnoughDataError
from pipelines.settings import Settings

_MOST_ORIGINS = 80
_RECENCY = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class Past:
    """Forecasts of the trees at one origin, in units: what calibration learns from.

    Attributes:
        rows: Keys, scale and features.
        mean: Mean, units.
        anchors: Anchor quantiles, units (rows × anchors).
    """

    rows: pl.DataFrame
    mean: FloatArray
    anchors: FloatArray


@dataclass
class Origins:
    """All that is computed once for a panel and used by several cutoffs.

    Attributes:
        panel: The panel, whole; every use cuts it.
        settings: The shop.
        horizon: Periods ahead.
    """

    panel: Panel
    settings: Settings
    horizon: int
    _rows: dict[int, pl.DataFrame] = field(default_factory=dict, repr=False)
    _trees: dict[int, Boosting] = field(default_factory=dict, repr=False)
    _past: dict[int, Past] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.vocabulary = Vocabulary.of(self.panel)
        lives = self.panel.listed
        first, last = self.panel.first, self.panel.last
        stride = max(1, -(-(last - first) // _MOST_ORIGINS))
        self.candidates = list(range(last - 1, first - 1, -stride))[::-1]
        alive = sum(int((lives <= origin - first).sum()) for origin in self.candidates)
        self._share = min(1.0, self.settings.demand.training_rows / max(1, alive * self.horizon))

    def rows(self, origin: int) -> pl.DataFrame:
        """Every row of one origin: what a forecast needs."""
        return rows_at(self.panel, origin, self.horizon, self.vocabulary, country=self.settings.demand.holidays)

    def training_rows(self, cutoff: int) -> tuple[pl.DataFrame, FloatArray, FloatArray]:
        """Rows whose target period is over by the cutoff, thinned to the budget, with target and weight.

        Returns:
            Rows sorted by (series, origin, horizon); demand in units of each row's scale as known at the cutoff; row
            weights: the square root of the scale, less for older origins.
        """
        parts = [self._thinned(origin) for origin in self.candidates if origin < cutoff]
        if not parts:
            raise _too_short(self.panel, cutoff)
        rows = pl.concat(parts).filter(pl.col("origin") + pl.col("horizon") <= cutoff)
        actual = self.actual(rows, cutoff)
        rows = rows.with_columns(_y=pl.Series(actual)).filter(pl.col("_y").is_not_nan())
        if rows.is_empty():
            raise _too_short(self.panel, cutoff)
        rows = rows.sort("series", "origin", "horizon")
        scale = rows["scale"].to_numpy().astype(np.float64)
        years = ((cutoff - rows["origin"].to_numpy()) / self.panel.grid.periods_a_year).astype(int)
        recency = np.asarray(_RECENCY)[np.minimum(years, len(_RECENCY) - 1)]
        weight = recency * np.sqrt(scale / scale.mean())
        return rows.drop("_y"), rows["_y"].to_numpy() / scale, weight

    def actual(self, rows: pl.DataFrame, cutoff: int) -> FloatArray:
        """Demand of each row's target period as known at a cutoff, NaN where unknown."""
        known = self.panel.known(cutoff)
        place = np.full(self.panel.series.height, -1)
        place[known.position] = np.arange(len(known.position))
        row = place[rows["series"].to_numpy()]
        column = (rows["origin"] + rows["horizon"]).to_numpy() - self.panel.first
        inside = (row >= 0) & (column < known.quantity.shape[1])
        values = np.full(rows.height, np.nan)
        values[inside] = known.quantity[row[inside], column[inside]]
        return values

    def trees(self, cutoff: int) -> Boosting:
        """Trees fitted on what was known at a cutoff."""
        if cutoff not in self._trees:
            rows, target, weight = self.training_rows(cutoff)
            demand = self.settings.demand
            grow = Booster(demand.trees, self.settings.seed, self.settings.threads)
            self._trees[cutoff] = Boosting.fit(
                rows, target, weight, features_of(rows), self.vocabulary.categorical(), grow
            )
        return self._trees[cutoff]

    def past(self, cutoff: int) -> Past:
        """Forecasts at a cutoff by the trees of that cutoff."""
        if cutoff not in self._past:
            rows = self.rows(cutoff)
            mean, anchors = self.trees(cutoff).predict(rows)
            scale = rows["scale"].to_numpy().astype(np.float64)
            self._past[cutoff] = Past(rows, mean * scale, anchors * scale[:, None])
        return self._past[cutoff]

    def _thinned(self, origin: int) -> pl.DataFrame:
        if origin not in self._rows:
            keep = _chosen(self.panel.series.height, self.horizon, origin - self.panel.first, self._share)
            self._rows[origin] = rows_at(
                self.panel, origin, self.horizon, self.vocabulary, country=self.settings.demand.holidays, keep=keep
            )
        return self._rows[origin]


def _chosen(series: int, horizon: int, origin: int, share: float) -> npt.NDArray[np.bool_]:
    """An even share of the cells (series × horizon) of an origin, the same ones every time."""
    row, step = np.arange(series, dtype=np.uint64)[:, None], np.arange(horizon, dtype=np.uint64)[None, :]
    mixed = (row * np.uint64(horizon) + step) * np.uint64(2654435761) + np.uint64(origin) * np.uint64(40503)
    return (mixed ^ (mixed >> np.uint64(15))) % np.uint64(1 << 20) < share * (1 << 20)


def _too_short(panel: Panel, cutoff: int) -> NotEnoughDataError:
    return NotEnoughDataError(
        f"Up to the cutoff {panel.grid.name(cutoff)} there is no period to learn from.",
        rule="at least two periods of demand by the cutoff",
        remedy="choose a later cutoff, or ingest more history",
    )
