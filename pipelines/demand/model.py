"""The demand model: global trees, a level that keeps totals honest, and distributions conformed to past errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.demand import KEYS, Vocabulary
from features.season import RHYTHMS
from features.tables import quantile_column
from features.windows import Float64Array, Int64Array
from pipelines.demand.boosting import ANCHORS, Boosting
from pipelines.demand.distribution import (
    Errors,
    cells,
    conform,
    interpolate,
    lead_time_cells,
    probability_of_zero,
)
from pipelines.demand.origins import Origins, Past

_WINDOWS = 3  # earlier origins whose errors calibrate a forecast
STEPS = 1 + _WINDOWS
_LEVEL_BOUNDS = (0.85, 1.15)
_EXPECTED_SALES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@dataclass
class DemandModel:
    """Trees and everything learned from how earlier forecasts of theirs came out.

    Attributes:
        trees: The boosters.
        vocabulary: The encoding of attributes the trees were fitted with.
        series: Columns that name a series.
        frequency: Frequency of the periods.
        horizon: Longest horizon.
        quantiles: Probabilities of the quantiles it gives.
        level: Factor on the mean.
        errors: Past errors of the quantiles, by cell.
        lead_time_errors: For 1 … H periods, past sums in units of what was expected, by cell.
        large: Scale above which a series counts as large.
        whole: Whether demand comes in whole units.
        calibrated_on: How many earlier origins calibrate it; 0 = only its own training rows.
    """

    trees: Boosting
    vocabulary: Vocabulary
    series: list[str]
    frequency: str
    horizon: int
    quantiles: list[float]
    level: float
    errors: Errors
    lead_time_errors: list[Errors]
    large: float
    whole: bool
    calibrated_on: int

    @classmethod
    def fit(
        cls, origins: Origins, cutoff: int, quantiles: Sequence[float], told: Callable[[], None] = lambda: None
    ) -> DemandModel:
        """Fit on what was known once period `cutoff` was over.

        Trees learn from every row whose target is over; level and distributions learn from forecasts of the same kind
        made at earlier origins, one, two and three horizons back, by trees that knew nothing later.

        `STEPS` sets of trees are fitted at most.

        Args:
            origins: The panel and what is shared between cutoffs.
            cutoff: Number of the last period whose demand is known.
            quantiles: Probabilities.
            told: Called after each set of trees.

        Raises:
            NotEnoughDataError: No period with a later one to learn from.
        """
        trees = origins.trees(cutoff)
        told()
        past = []
        for earlier in _windows(origins, cutoff):
            past.append(origins.past(earlier))
            told()
        honest = len(past)
        past = past or [_within_sample(origins, cutoff, trees)]
        actual = [origins.actual(window.rows, cutoff) for window in past]
        sold = [origins.actual(window.rows, cutoff, scored=True) for window in past]
        model = cls(
            trees=trees,
            vocabulary=origins.vocabulary(cutoff),
            series=list(origins.panel.keys),
            frequency=origins.panel.grid.frequency,
            horizon=origins.horizon,
            quantiles=list(quantiles),
            level=_level(past, actual) if honest else 1.0,
            errors=Errors([], [], {}),
            lead_time_errors=[],
            large=float(np.median(np.concatenate([window.rows["scale"].to_numpy() for window in past]))),
            whole=all(np.array_equal(y[~np.isnan(y)], np.rint(y[~np.isnan(y)])) for y in sold),
            calibrated_on=honest,
        )
        model.errors = model._learn_errors(past, actual)
        model.lead_time_errors = model._learn_lead_time(past, actual)
        return model

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Forecast feature rows.

        Args:
            rows: Rows of `features.demand.rows_at`, possibly with more key columns.

        Returns:
            Every column that is no feature, then `mean`, `p_zero` and one column a quantile, in units, all ≥ 0.
        """
        mean, anchors, scale = self._units(rows)
        quantiles = conform(interpolate(anchors, ANCHORS, self.quantiles), scale, self._cells(rows), self.errors)
        smallest = np.ones(len(scale)) if self.whole else 1e-3 * scale
        out = {"mean": mean * self.level, "p_zero": probability_of_zero(quantiles, self.quantiles, smallest)}
        out |= {quantile_column(level): quantiles[:, i] for i, level in enumerate(self.quantiles)}
        return _keys_of(rows, self.trees.features).hstack(pl.DataFrame(out))

    def predict_lead_time(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Demand summed over the next 1 … H periods, for feature rows of one origin.

        Returns:
            The key columns with `periods` in place of `horizon`, `mean` and one column a quantile, in units.
        """
        rows = rows.sort("series", "horizon")
        mean, _, scale = self._units(rows)
        steps = int(rows["horizon"].max())  # type: ignore[arg-type]
        total, unit, cell = self._sums(rows, mean * self.level, scale, steps)
        seen = len(self.lead_time_errors)
        ratios = [self.lead_time_errors[min(step, seen - 1)].of(cell[:, step]) for step in range(steps)]
        # more periods cannot mean less demand: quantiles of the sum never fall as the lead time grows
        quantiles = np.sort(np.stack(ratios, axis=1) * unit[:, :, None], axis=2)
        quantiles = np.maximum.accumulate(quantiles, axis=1).reshape(rows.height, -1)
        out = {"mean": total.ravel()}
        out |= {quantile_column(level): quantiles[:, i] for i, level in enumerate(self.quantiles)}
        return _keys_of(rows, self.trees.features).rename({"horizon": "periods"}).hstack(pl.DataFrame(out))

    def to_dir(self, folder: Path) -> None:
        """Write boosters as text and everything else as JSON."""
        self.trees.to_dir(folder)
        facts = {
            "class": "pipelines.demand.model:DemandModel",
            "vocabulary": vars(self.vocabulary),
            "lead_time_errors": [errors.as_dict() for errors in self.lead_time_errors],
            "errors": self.errors.as_dict(),
        }
        plain = ("series", "frequency", "horizon", "quantiles", "level", "large", "whole", "calibrated_on")
        facts |= {name: getattr(self, name) for name in plain}
        (folder / "model.json").write_text(json.dumps(facts, indent=1))

    @classmethod
    def from_dir(cls, folder: Path) -> DemandModel:
        """Read what `to_dir` wrote."""
        facts = json.loads((Path(folder) / "model.json").read_text())
        facts.pop("class")
        facts.setdefault("series", [])  # unknown: written before models kept it
        return cls(
            trees=Boosting.from_dir(Path(folder)),
            vocabulary=Vocabulary(**facts.pop("vocabulary")),
            errors=Errors.from_dict(facts.pop("errors")),
            lead_time_errors=[Errors.from_dict(errors) for errors in facts.pop("lead_time_errors")],
            **facts,
        )

    def _units(self, rows: pl.DataFrame) -> tuple[Float64Array, Float64Array, Float64Array]:
        mean, anchors = self.trees.predict(rows)
        scale = rows["scale"].to_numpy().astype(np.float64)
        return mean * scale, anchors * scale[:, None], scale

    def _cells(self, rows: pl.DataFrame) -> Int64Array:
        often = rows[f"share_positive_{RHYTHMS[self.frequency].means[2]}"].to_numpy().astype(np.float64)
        large = (rows["scale"].to_numpy() > self.large).astype(np.int64)
        return cells(rows["horizon"].to_numpy(), self.horizon, often, large)

    def _learn_errors(self, past: list[Past], actual: list[Float64Array]) -> Errors:
        errors, cell = [], []
        for window, y in zip(past, actual, strict=True):
            scale = window.rows["scale"].to_numpy()[:, None]
            errors.append((y[:, None] - interpolate(window.anchors, ANCHORS, self.quantiles)) / scale)
            cell.append(self._cells(window.rows))
        return Errors.fit(np.concatenate(errors), np.concatenate(cell), self.quantiles)

    def _learn_lead_time(self, past: list[Past], actual: list[Float64Array]) -> list[Errors]:
        """Quantiles of past sums in units of what was expected, for sums of 1 … H periods."""
        ratio, cell = [], []
        for window, y in zip(past, actual, strict=True):
            scale = window.rows["scale"].to_numpy().astype(np.float64)
            _, unit, cells_of = self._sums(window.rows, window.mean * self.level, scale, self.horizon)
            ratio.append(np.cumsum(y.reshape(unit.shape), axis=1) / unit)
            cell.append(cells_of)
        ratios, all_cells = np.concatenate(ratio), np.concatenate(cell)
        learned = []
        for step in range(self.horizon):
            if np.isnan(ratios[:, step]).all():
                break  # no earlier origin saw so many periods: the longest sum that was seen speaks for longer ones
            repeated = np.repeat(ratios[:, step, None], len(self.quantiles), axis=1)
            learned.append(Errors.fit(repeated, all_cells[:, step], self.quantiles))
        return learned or [Errors(self.quantiles, [1.0] * len(self.quantiles), {})]

    def _sums(
        self, rows: pl.DataFrame, mean: Float64Array, scale: Float64Array, steps: int
    ) -> tuple[Float64Array, Float64Array, Int64Array]:
        """Expected sums (series × steps), the unit their ratios are taken in, and their cells."""
        shape = (-1, steps)
        total = np.cumsum(mean.reshape(shape), axis=1)
        sale = (np.nan_to_num(rows["mean_sale"].to_numpy(), nan=1.0) * scale).reshape(shape)
        large = (scale > self.large).astype(np.int64).reshape(shape)
        # a tenth of a sale keeps ratios finite where next to nothing is expected
        return total, total + 0.1 * sale, lead_time_cells(total, sale, _EXPECTED_SALES, large)


def _windows(origins: Origins, cutoff: int) -> list[int]:
    """Origins one, two and three horizons before the cutoff, where there was enough to learn from."""
    needed = max(3, min(origins.horizon, origins.panel.grid.season // 4))
    earlier = [cutoff - back * origins.horizon for back in range(1, _WINDOWS + 1)]
    return [origin for origin in earlier if origin - origins.panel.first + 1 >= needed]


def _within_sample(origins: Origins, cutoff: int, trees: Boosting) -> Past:
    """For records too short to look back: the trees' own forecasts of periods they have learned from."""
    back = min(origins.horizon, max(1, (cutoff - origins.panel.first) // 2))
    rows = origins.rows(cutoff - back, origins.vocabulary(cutoff))
    learned_since = [name for name in trees.features if name not in rows.columns]
    rows = rows.with_columns(pl.lit(float("nan"), pl.Float32).alias(name) for name in learned_since)
    mean, anchors = trees.predict(rows)
    scale = rows["scale"].to_numpy().astype(np.float64)
    return Past(rows, mean * scale, anchors * scale[:, None])


def _level(past: list[Past], actual: list[Float64Array]) -> float:
    """Factor on the mean from the totals of earlier forecasts: as much of what they missed as is more than noise.

    The mean miss over the windows is shrunk by (m² − s²) / m², its squared standard error taken off its square (the
    empirical Bayes weight, positive part: Efron & Morris 1973, JASA 68). One window cannot tell a habit from chance.
    """
    totals = [(y[~np.isnan(y)].sum(), window.mean[~np.isnan(y)].sum()) for window, y in zip(past, actual, strict=True)]
    missed = np.array([true / forecast - 1 for true, forecast in totals if forecast > 0])
    if len(missed) < 2 or not missed.any():
        return 1.0
    mean, noise = missed.mean(), missed.var(ddof=1) / len(missed)
    trust = max(0.0, mean**2 - noise) / max(mean**2, noise)
    return float(np.clip(1 + trust * mean, *_LEVEL_BOUNDS))


def _keys_of(rows: pl.DataFrame, features: list[str]) -> pl.DataFrame:
    known = set(features)
    others = [name for name in rows.columns if name not in known and name not in (*KEYS, "scale")]
    return rows.select(*[name for name in KEYS if name in rows.columns], *others)
