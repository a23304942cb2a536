"""Rolling origins: the rows to learn from at a cutoff, and forecasts made at earlier ones.

Features of an origin depend on nothing after it, so they are computed once and used by every later cutoff; labels are
taken as known at the cutoff that learns from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from features.calendar import Frequency
from features.demand import KEYS, Vocabulary, clipped, features_of, rows_at, without_leading_zeros
from features.panel import Panel
from features.season import RHYTHMS
from features.windows import Float64Array
from pipelines.demand.alignment import GROUP, SIZE, TOTAL, with_totals
from pipelines.demand.blend import MEMBER, members_of, with_members
from pipelines.demand.boosting import ANCHORS, Booster, Boosting
from pipelines.demand.recursive import RECURSIVE, walked
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.settings import Settings

_MOST_ORIGINS = 80
_PRICE = "seen_price"
_MOST_SCALES = 1e9  # LightGBM keeps targets in single precision
_PART = 0.25  # of the budget, for trees that only tell of errors
_RECENCY = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class Past:
    """What the members said at one origin: what weights, totals and distributions learn from.

    Attributes:
        rows: Keys, scale, groups and their totals, and those features that name a cell of past errors.
        members: Member → mean in units of scale.
        anchors: Anchor quantiles of the trees, units (rows × anchors).
        scale: Scale of each row's series, units.
    """

    rows: pl.DataFrame
    members: dict[str, Float64Array]
    anchors: Float64Array
    scale: Float64Array

    @classmethod
    def of(cls, trees: Boosting, rows: pl.DataFrame, frequency: Frequency) -> Past:
        """What trees and local models say of rows (`forecast_rows`); of the features only a few are kept."""
        mean, anchors = trees.predict(rows)
        scale = rows["scale"].to_numpy().astype(np.float64)
        kept = [*KEYS, "mean_sale", often_of(frequency)]
        totals = [name for name in rows.columns if name.startswith((GROUP, TOTAL, SIZE))]
        return cls(rows.select(*kept, *totals), members_of(rows, mean), anchors * scale[:, None], scale)


def often_of(frequency: Frequency) -> str:
    """The feature that says how often a series sold lately."""
    return f"share_positive_{RHYTHMS[frequency].means[2]}"


def forecast_rows(
    panel: Panel,
    origin: int,
    horizon: int,
    vocabulary: Vocabulary,
    settings: Settings,
    one_step: Origins | None = None,
) -> pl.DataFrame:
    """All that a forecast needs: every feature row of one origin, with local models and totals of groups beside them.

    Args:
        panel: The panel; it is cut at the origin here.
        origin: Number of the last period that is over.
        horizon: Periods ahead.
        vocabulary: The encoding of attributes.
        settings: The shop.
        one_step: Origins of the same panel with a horizon of one, if some are at hand: the recursive member's.
    """
    demand = settings.demand
    rows = rows_at(panel, origin, horizon, vocabulary, country=demand.holidays, winsorise=demand.winsorise)
    known = panel.known(origin)
    history = replace(known, quantity=without_leading_zeros(known.quantity))
    rows = with_members(rows, history, horizon, [name for name in demand.members if name != RECURSIVE])
    if RECURSIVE in demand.members:
        means = (one_step or Origins(panel, settings, 1)).walked(origin, horizon).ravel()
        rows = rows.with_columns(pl.Series(MEMBER + RECURSIVE, means / rows["scale"].to_numpy()))
    return with_totals(rows, history, horizon, [[], *demand.hierarchy])


@dataclass
class Origins:
    """All that is computed once for a panel and used by several cutoffs.

    What a cutoff chooses (attributes, origins, thinning) it chooses from what was known then, so that the same
    forecast comes out whether the panel goes on after it or not.

    Attributes:
        panel: The panel, whole; every use cuts it.
        settings: The shop.
        horizon: Periods ahead.
    """

    panel: Panel
    settings: Settings
    horizon: int
    _thin: dict[Hashable, tuple[float, pl.DataFrame]] = field(default_factory=dict, repr=False)
    _part: dict[int, Boosting] = field(default_factory=dict, repr=False)
    _past: dict[tuple[int, int], Past] = field(default_factory=dict, repr=False)
    _vocabularies: dict[int, Vocabulary] = field(default_factory=dict, repr=False)
    _walked: dict[int, Float64Array] = field(default_factory=dict, repr=False)

    def vocabulary(self, cutoff: int) -> Vocabulary:
        """The attributes used by a model fitted at a cutoff, and their codes."""
        if cutoff not in self._vocabularies:
            self._vocabularies[cutoff] = Vocabulary.of(self.panel.known(cutoff))
        return self._vocabularies[cutoff]

    def rows(self, origin: int, fitted: int | None = None) -> pl.DataFrame:
        """All that a forecast at an origin needs, encoded as known there, or when the trees that read it were grown."""
        vocabulary = self.vocabulary(origin if fitted is None else fitted)
        return forecast_rows(self.panel, origin, self.horizon, vocabulary, self.settings, self._one_step)

    def training_rows(self, cutoff: int, part: float = 1.0) -> tuple[pl.DataFrame, Float64Array, Float64Array]:
        """Rows whose target period is over by the cutoff, thinned to the budget, with target and weight.

        Args:
            cutoff: Number of the last period that is over.
            part: Share of the budget.

        Returns:
            Rows sorted by (series, origin, horizon); demand in units of each row's scale as known at the cutoff; row
            weights: by what is optimised for, less for older origins.

        Raises:
            ConfigError: Money is optimised for, and nothing has a price.
        """
        candidates = _candidates(self.panel.first, cutoff)
        share = self._share(cutoff, candidates, part)
        vocabulary = self.vocabulary(cutoff)
        parts = [self._thinned(origin, share, vocabulary) for origin in candidates]
        if not parts:
            raise _too_short(self.panel, cutoff)
        rows = pl.concat(parts, how="diagonal").filter(pl.col("origin") + pl.col("horizon") <= cutoff)
        actual = self.actual(rows, cutoff)
        rows = rows.with_columns(_y=pl.Series(actual)).filter(pl.col("_y").is_not_nan())
        if rows.is_empty():
            raise _too_short(self.panel, cutoff)
        rows = rows.sort("series", "origin", "horizon")
        scale = rows["scale"].to_numpy().astype(np.float64)
        years = ((cutoff - rows["origin"].to_numpy()) / self.panel.grid.periods_a_year).astype(int)
        recency = np.asarray(_RECENCY)[np.minimum(years, len(_RECENCY) - 1)]
        weight = recency * _importance(rows, scale, self.settings.demand.optimise_for)
        target = np.minimum(rows["_y"].to_numpy() / scale, _MOST_SCALES)
        return rows.drop("_y"), clipped(target, self.settings.demand.winsorise), weight

    def actual(self, rows: pl.DataFrame, cutoff: int, *, scored: bool = False) -> Float64Array:
        """Demand of each row's target period as known at a cutoff, NaN where unknown.

        Args:
            rows: Keys.
            cutoff: Number of the last period that is over.
            scored: Unknown where stock ran out, too: a forecast is judged by what was seen, while leaving such
                periods out of what is learned from would teach too little demand.
        """
        known = self.panel.known(cutoff)
        place = np.full(self.panel.series.height, -1)
        place[known.position] = np.arange(len(known.position))
        row = place[rows["series"].to_numpy()]
        column = (rows["origin"] + rows["horizon"]).to_numpy() - self.panel.first
        # before a series' own start stands the demand of the one it replaces
        inside = (row >= 0) & (column >= known.listed[row]) & (column < known.quantity.shape[1])
        values = np.full(rows.height, np.nan)
        values[inside] = known.quantity[row[inside], column[inside]]
        if scored and known.censored is not None:
            values[inside] = np.where(known.censored[row[inside], column[inside]], np.nan, values[inside])
        return values

    def trees(self, cutoff: int, part: float = 1.0, anchors: Sequence[float] = ANCHORS) -> Boosting:
        """Trees fitted on what was known at a cutoff; on a part of the budget, half as many, learning twice as fast."""
        rows, target, weight = self.training_rows(cutoff, part)
        demand = self.settings.demand
        grow = Booster(demand.trees, self.settings.seed, self.settings.threads, **demand.boosting.model_dump())
        if part < 1:
            grow = replace(grow, trees=max(1, grow.trees // 2), learning_rate=min(1.0, 2 * grow.learning_rate))
        codes = self.vocabulary(cutoff).categorical()
        return Boosting.fit(rows, target, weight, features_of(rows), codes, grow, anchors)

    def walked(self, cutoff: int, horizon: int) -> Float64Array:
        """What trees for one period ahead, fitted at a cutoff, say of the periods after it when walked over them.

        Returns:
            Mean demand of every series known then (series × horizon), units; NaN where the record is too short.
        """
        if cutoff not in self._walked:
            vocabulary, country = self.vocabulary(cutoff), self.settings.demand.holidays
            try:
                trees = self.trees(cutoff, anchors=()).mean
            except NotEnoughDataError:
                self._walked[cutoff] = np.full((len(self.panel.known(cutoff).position), horizon), np.nan)
            else:
                self._walked[cutoff] = walked(trees, self.panel, cutoff, horizon, vocabulary, country=country)
        return self._walked[cutoff]

    def past(self, fitted: int, origin: int) -> Past:
        """Forecasts at an origin by trees that knew nothing after `fitted`, grown on a part of the budget.

        They only tell of errors. Trees may serve a later origin than their own: its features are as new as it is.
        """
        if (fitted, origin) not in self._past:
            if fitted not in self._part:
                self._part[fitted] = self.trees(fitted, _PART)
            rows = self.rows(origin, fitted)
            self._past[fitted, origin] = Past.of(self._part[fitted], rows, self.panel.grid.frequency)
        return self._past[fitted, origin]

    def some(self, rows: pl.DataFrame, most: int) -> npt.NDArray[np.bool_]:
        """About so many rows, whole horizons of series chosen by their own names; all of them where there are fewer."""
        if rows.height <= most:
            return np.ones(rows.height, dtype=bool)
        drawn = _draws(self._names, 1, int(rows["origin"][0]))[:, 0] < most / rows.height
        return np.asarray(drawn[rows["series"].to_numpy()])

    def chance(self, rows: pl.DataFrame) -> Float64Array:
        """A number in [0, 1) for each row of one origin, from its series' own names and its horizon alone."""
        # from beyond the horizon: those within it thin the rows to learn from
        draws = _draws(self._names, 2 * self.horizon, int(rows["origin"][0]))
        return np.asarray(draws[rows["series"].to_numpy(), self.horizon + rows["horizon"].to_numpy() - 1])

    def _rows(self, origin: int, vocabulary: Vocabulary, keep: npt.NDArray[np.bool_] | None = None) -> pl.DataFrame:
        country, winsorise = self.settings.demand.holidays, self.settings.demand.winsorise
        return rows_at(self.panel, origin, self.horizon, vocabulary, country=country, keep=keep, winsorise=winsorise)

    @cached_property
    def _one_step(self) -> Origins:
        return Origins(self.panel, self.settings, 1)

    @cached_property
    def _names(self) -> npt.NDArray[np.uint64]:
        return _numbered(self.panel.series.select(self.panel.keys))

    def _share(self, cutoff: int, candidates: Sequence[int], part: float) -> float:
        """The share of all cells to learn from that fits the budget."""
        listed = self.panel.known(cutoff).listed + self.panel.first
        cells = sum(int((listed <= o).sum()) * min(self.horizon, cutoff - o) for o in candidates)
        return min(1.0, part * self.settings.demand.training_rows / max(1, cells))

    def _thinned(self, origin: int, share: float, vocabulary: Vocabulary) -> pl.DataFrame:
        """Some rows of an origin; a smaller share is part of a larger one, so that cutoffs use the same rows."""
        key = (origin, vocabulary.choice())
        draws = _draws(self._names, self.horizon, origin)
        if key not in self._thin or self._thin[key][0] < share:
            self._thin[key] = share, self._rows(origin, vocabulary, draws < share)
        rows = self._thin[key][1]
        return rows.filter(draws[rows["series"].to_numpy(), rows["horizon"].to_numpy() - 1] < share)


def _importance(rows: pl.DataFrame, scale: Float64Array, optimise_for: str) -> Float64Array:
    """How much each row counts. Errors are learned in units of scale, so without weights every series counts alike.

    Pooled over units (wape) or their worth (money), an error counts with its scale; its square root is the weight,
    because a few giants teach less than many. Metrics scaled series by series (mase, rmsse) ask for no weights.
    """
    if optimise_for in ("mase", "rmsse"):
        return np.ones(rows.height)
    if optimise_for == "money":
        price = rows[_PRICE].to_numpy().astype(np.float64) if _PRICE in rows.columns else np.zeros(rows.height)
        if not (price > 0).any():
            raise ConfigError(
                "Money cannot be optimised for without prices.",
                rule="demand.optimise_for: money needs a column `price` in demand, or unit prices in order lines",
                remedy="bring prices, or choose wape, rmsse or mase",
            )
        scale = scale * np.where(price > 0, price, np.median(price[price > 0]))
    weights: Float64Array = np.sqrt(scale / scale.mean())
    return weights


def _candidates(first: int, cutoff: int) -> list[int]:
    """Origins to learn from: every one, every second, every fourth …, those of a later cutoff among them."""
    stride = 1
    while (cutoff - first) > stride * _MOST_ORIGINS:
        stride *= 2
    return [origin for origin in range(first, cutoff) if origin % stride == 0]


def _numbered(keys: pl.DataFrame) -> npt.NDArray[np.uint64]:
    """A number for each series, from its own key alone: BLAKE2b, the same with every version of every library."""
    names = keys.select(pl.concat_str(pl.all().cast(pl.String), separator="\0", ignore_nulls=True)).to_series()
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _draws(names: npt.NDArray[np.uint64], horizon: int, origin: int) -> Float64Array:
    """A number in [0, 1) for each cell (series × horizon) of an origin, from its names alone (SplitMix64)."""
    cell = np.arange(1, horizon + 1, dtype=np.uint64) + np.array(origin << 16, dtype=np.int64).astype(np.uint64)
    mixed = names[:, None] + cell[None, :] * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    draws: Float64Array = (mixed ^ (mixed >> np.uint64(31))) / 2.0**64
    return draws


def _too_short(panel: Panel, cutoff: int) -> NotEnoughDataError:
    return NotEnoughDataError(
        f"Up to the cutoff {panel.grid.name(cutoff)} there is no period to learn from.",
        rule="at least two periods of demand by the cutoff",
        remedy="choose a later cutoff, or ingest more history",
    )
