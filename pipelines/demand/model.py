"""The demand model: a blended mean with totals that are right, and distributions conformed to past errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.calendar import Frequency
from features.demand import KEYS, Vocabulary
from features.tables import quantile_column
from features.windows import Float64Array, Int64Array
from pipelines.demand.alignment import GROUP, SIZE, TOTAL, Alignment
from pipelines.demand.blend import MEMBER, Blend
from pipelines.demand.boosting import ANCHORS, Boosting
from pipelines.demand.consistency import ImpliedMean, Window, centred
from pipelines.demand.distribution import Errors, cells, interpolate, lead_time_cells, probability_of_zero
from pipelines.demand.fan import EXPECTED_SALES, Fan, Moment
from pipelines.demand.origins import Origins, Past, often_of
from pipelines.demand.paths import JointRanks, kinds, outcomes
from pipelines.errors import TrackingError

_ORIGINS = 6  # earlier origins whose errors calibrate a forecast
_MOST_ROWS = 250_000  # of an earlier origin that the distributions learn from
STEPS = 1 + _ORIGINS


@dataclass
class DemandModel:
    """Members and everything learned from how earlier forecasts of theirs came out.

    Attributes:
        trees: The boosters.
        blend: Weights of the members of the mean.
        alignment: What makes the totals of the mean right.
        fan: What makes quantiles of the trees' anchors and the mean.
        implied: What tells the mean that quantiles imply.
        vocabulary: The encoding of attributes the trees were fitted with.
        series: Columns that name a series.
        frequency: Frequency of the periods.
        horizon: Longest horizon.
        quantiles: Probabilities of the quantiles it gives.
        lead_time_errors: For 1 … H periods, past sums in units of what was expected, by cell.
        joint: Which good and bad periods come together, by pool of series.
        large: Scale above which a series counts as large.
        whole: Whether demand comes in whole units.
        calibrated_on: How many earlier origins calibrate it; 0 = only its own training rows.
    """

    trees: Boosting
    blend: Blend
    alignment: Alignment
    fan: Fan
    implied: ImpliedMean
    vocabulary: Vocabulary
    series: list[str]
    frequency: Frequency
    horizon: int
    quantiles: list[float]
    lead_time_errors: list[Errors]
    joint: JointRanks
    large: float
    whole: bool
    calibrated_on: int

    @classmethod
    def fit(
        cls, origins: Origins, cutoff: int, quantiles: Sequence[float], told: Callable[[], None] = lambda: None
    ) -> DemandModel:
        """Fit on what was known once period `cutoff` was over.

        Trees learn from every row whose target is over; weights, totals and distributions learn from forecasts of the
        same kind made at earlier origins, one to six horizons back, by trees that knew nothing later.

        Args:
            origins: The panel and what is shared between cutoffs.
            cutoff: Number of the last period whose demand is known.
            quantiles: Probabilities.
            told: Called `STEPS` times at most: after the trees, then after each earlier origin.

        Raises:
            NotEnoughDataError: No period with a later one to learn from.
        """
        trees = origins.trees(cutoff)
        told()
        past = []
        for fitted, origin in _earlier(origins, cutoff):
            past.append(origins.past(fitted, origin))
            told()
        honest = len(past)
        past = past or [_within_sample(origins, cutoff, trees)]
        actual = [origins.actual(one.rows, cutoff) for one in past]
        sold = [origins.actual(one.rows, cutoff, scored=True) for one in past]
        model = cls(
            trees=trees,
            blend=Blend.learned(
                [one.members for one in past], [y / one.scale for one, y in zip(past, actual, strict=True)]
            ),
            alignment=Alignment({}, 1.0),
            fan=Fan.none(quantiles),
            implied=ImpliedMean.learn([], quantiles),
            vocabulary=origins.vocabulary(cutoff),
            series=list(origins.panel.keys),
            frequency=origins.panel.grid.frequency,
            horizon=origins.horizon,
            quantiles=list(quantiles),
            lead_time_errors=[],
            joint=JointRanks.none(),
            large=float(np.median(np.concatenate([one.scale for one in past]))),
            whole=all(np.array_equal(y[~np.isnan(y)], np.rint(y[~np.isnan(y)])) for y in sold),
            calibrated_on=honest,
        )
        if honest:
            means = [model.blend.of(one.members) * one.scale for one in past]
            model.alignment = Alignment.learn([one.rows for one in past], means, actual)
        told_by = [origins.some(one.rows, _MOST_ROWS) for one in past]
        moments = [model._moment(one).part(chosen) for one, chosen in zip(past, told_by, strict=True)]
        actual = [y[chosen] for y, chosen in zip(actual, told_by, strict=True)]
        chance = [origins.chance(one.rows)[chosen] for one, chosen in zip(past, told_by, strict=True)]
        actual = centred([moment.mean for moment in moments], actual)
        model.fan = Fan.learn(moments, actual, quantiles)
        model.implied = ImpliedMean.learn(
            (
                Window(model.fan.of(one), y, one.mean, one.unit, model._smallest(one))
                for one, y in zip(moments, actual, strict=True)
            ),
            quantiles,
        )
        model.lead_time_errors = model._learn_lead_time(moments, actual)
        model.joint = model._learn_joint(chance, moments, actual)
        return model

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Forecast feature rows.

        Args:
            rows: Rows of `pipelines.demand.origins.forecast_rows`, possibly with more key columns.

        Returns:
            Every column that is no feature, then `mean`, `p_zero` and one column a quantile, in units, all ≥ 0.
        """
        moment = self._moment(Past.of(self.trees, rows, self.frequency))
        quantiles = self.fan.of(moment)
        p_zero = probability_of_zero(quantiles, self.quantiles, self._smallest(moment))
        out = {"mean": moment.mean, "p_zero": p_zero}
        out |= {quantile_column(level): quantiles[:, i] for i, level in enumerate(self.quantiles)}
        return _keys_of(rows, self.trees.features).hstack(pl.DataFrame(out))

    def pulls(self, rows: pl.DataFrame) -> Float64Array:
        """How far the totals move the mean of each feature row: the aligned mean over the blended one.

        Args:
            rows: Every feature row of one origin, with local models and totals.
        """
        past = Past.of(self.trees, rows, self.frequency)
        own = self.blend.of(past.members) * past.scale
        return np.divide(self.alignment.of(past.rows, own), own, out=np.ones_like(own), where=own > 0)

    def predict_pulled(self, rows: pl.DataFrame, pulls: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Mean and quantiles (rows × levels) of some feature rows, in units, with pulls told instead of totals."""
        past = Past.of(self.trees, rows, self.frequency)
        mean = self.blend.of(past.members) * past.scale * pulls
        moment = self._moment(past, mean)
        return mean, self.fan.of(moment)

    def mean_gaps(self, rows: pl.DataFrame) -> dict[str, float]:
        """How far the mean that the quantiles imply lies above `mean`, as a share of it, by volume class.

        Args:
            rows: Every feature row of one origin.
        """
        moment = self._moment(Past.of(self.trees, rows, self.frequency))
        return self.implied.gaps(moment.mean, self.fan.of(moment), moment.unit)

    def predict_lead_time(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Demand summed over the next 1 … H periods, for feature rows of one origin.

        Returns:
            The key columns with `periods` in place of `horizon`, the `pool` whose joint ranks hold for the series,
            `mean` and one column a quantile, in units.
        """
        rows = rows.sort("series", "horizon")
        moment = self._moment(Past.of(self.trees, rows, self.frequency))
        steps = int(rows["horizon"].max())  # type: ignore[arg-type]
        total, unit, cell = _sums(moment, steps)
        seen = len(self.lead_time_errors)
        ratios = [self.lead_time_errors[min(step, seen - 1)].of(cell[:, step]) for step in range(steps)]
        # more periods cannot mean less demand: quantiles of the sum never fall as the lead time grows
        quantiles = np.sort(np.stack(ratios, axis=1) * unit[:, :, None], axis=2)
        quantiles = np.maximum.accumulate(quantiles, axis=1).reshape(rows.height, -1)
        out = {"pool": self.joint.pools(moment.kind).astype(np.int32), "mean": total.ravel()}
        out |= {quantile_column(level): quantiles[:, i] for i, level in enumerate(self.quantiles)}
        return _keys_of(rows, self.trees.features).rename({"horizon": "periods"}).hstack(pl.DataFrame(out))

    def to_dir(self, folder: Path) -> None:
        """Write boosters as text and everything else as JSON."""
        self.trees.to_dir(folder)
        facts = {
            "class": "pipelines.demand.model:DemandModel",
            "vocabulary": vars(self.vocabulary),
            "blend": self.blend.weights,
            "alignment": vars(self.alignment),
            "fan": self.fan.as_dict(),
            "implied": self.implied.as_dict(),
            "lead_time_errors": [errors.as_dict() for errors in self.lead_time_errors],
        }
        plain = ("series", "frequency", "horizon", "quantiles", "large", "whole", "calibrated_on")
        facts |= {name: getattr(self, name) for name in plain}
        (folder / "model.json").write_text(json.dumps(facts, indent=1))
        (folder / "joint_ranks.json").write_text(json.dumps(self.joint.as_dict(), separators=(",", ":")))

    @classmethod
    def from_dir(cls, folder: Path) -> DemandModel:
        """Read what `to_dir` wrote.

        Raises:
            TrackingError: It was written by a program that did not measure implied means yet.
        """
        facts = json.loads((Path(folder) / "model.json").read_text())
        facts.pop("class")
        if "implied" not in facts:
            raise TrackingError("The demand model was written by an older program.", remedy="run `purvey train demand`")
        return cls(
            trees=Boosting.from_dir(Path(folder)),
            blend=Blend(facts.pop("blend")),
            alignment=Alignment(**facts.pop("alignment")),
            fan=Fan.from_dict(facts.pop("fan")),
            implied=ImpliedMean(**facts.pop("implied")),
            vocabulary=Vocabulary(**facts.pop("vocabulary")),
            lead_time_errors=[Errors.from_dict(errors) for errors in facts.pop("lead_time_errors")],
            joint=JointRanks.from_dict(json.loads((Path(folder) / "joint_ranks.json").read_text())),
            **facts,
        )

    def _moment(self, past: Past, mean: Float64Array | None = None) -> Moment:
        """Means that are right in total (or told), and what the fan needs to know beside them, of one origin."""
        horizon, large = past.rows["horizon"].to_numpy(), (past.scale > self.large).astype(np.int64)
        often = past.rows[often_of(self.frequency)].to_numpy().astype(np.float64)
        return Moment(
            trees=interpolate(past.anchors, ANCHORS, self.quantiles),
            mean=self.alignment.of(past.rows, self.blend.of(past.members) * past.scale) if mean is None else mean,
            scale=past.scale,
            sale=np.nan_to_num(past.rows["mean_sale"].to_numpy(), nan=1.0) * past.scale,
            often=cells(horizon, self.horizon, often, large),
            third=np.minimum((horizon.astype(np.int64) - 1) * 3 // self.horizon, 2),
            large=large,
            kind=kinds(often, large),
        )

    def _smallest(self, moment: Moment) -> Float64Array:
        """The smallest step of demand."""
        return np.ones(len(moment.scale)) if self.whole else 1e-3 * moment.scale

    def _learn_lead_time(self, moments: list[Moment], actual: list[Float64Array]) -> list[Errors]:
        """Quantiles of past sums in units of what was expected, for sums of 1 … H periods."""
        ratio, cell = [], []
        for moment, y in zip(moments, actual, strict=True):
            _, unit, cells_of = _sums(moment, self.horizon)
            ratio.append(np.cumsum(y.reshape(unit.shape), axis=1) / unit)
            cell.append(cells_of)
        ratios, all_cells = np.concatenate(ratio), np.concatenate(cell)
        learned = []
        for step in range(self.horizon):
            if np.isnan(ratios[:, step]).all():
                break  # no earlier origin saw so many periods: the longest sum that was seen speaks for longer ones
            repeated = np.repeat(ratios[:, step, None], len(self.quantiles), axis=1)
            learned.append(Errors.fit(repeated, all_cells[:, step], self.quantiles, 2))
        return learned or [Errors(self.quantiles, [1.0] * len(self.quantiles), {})]

    def _learn_joint(self, chance: list[Float64Array], moments: list[Moment], actual: list[Float64Array]) -> JointRanks:
        """Joint ranks from what past forecasts, as they would be made now, had come true of them."""
        windows = []
        for drawn, moment, y in zip(chance, moments, actual, strict=True):
            ranks = outcomes(y, self.quantiles, self.fan.of(moment), moment.mean, drawn, self._smallest(moment))
            windows.append((ranks.reshape(-1, self.horizon), moment.kind[:: self.horizon]))
        return JointRanks.learn(windows, self.horizon)


def _sums(moment: Moment, steps: int) -> tuple[Float64Array, Float64Array, Int64Array]:
    """Expected sums (series × steps), the unit their ratios are taken in, and their cells."""
    total = np.cumsum(moment.mean.reshape(-1, steps), axis=1)
    sale, large = moment.sale.reshape(total.shape), moment.large.reshape(total.shape)
    # a tenth of a sale keeps ratios finite where next to nothing is expected
    return total, total + 0.1 * sale, lead_time_cells(total, sale, EXPECTED_SALES, large)


def _earlier(origins: Origins, cutoff: int) -> Iterator[tuple[int, int]]:
    """Earlier origins that calibrate, one to six horizons back, each with the cutoff of the trees that forecast it.

    Two neighbours share the trees of the older one. A quarter of the record at least was there to learn from, a half
    beyond three horizons: errors of forecasts from little are not those of forecasts from much.
    """
    horizon, record = origins.horizon, cutoff - origins.panel.first + 1
    least = max(3, min(horizon, origins.panel.grid.season // 4))
    back = [
        steps
        for steps in range(1, _ORIGINS + 1)
        if record - steps * horizon >= max(least, record // (4 if steps <= 3 else 2))
    ]
    for steps in back:
        older = steps + steps % 2
        yield cutoff - (older if older in back else steps) * horizon, cutoff - steps * horizon


def _within_sample(origins: Origins, cutoff: int, trees: Boosting) -> Past:
    """For records too short to look back: the trees' own forecasts of periods they have learned from."""
    back = min(origins.horizon, max(1, (cutoff - origins.panel.first) // 2))
    rows = origins.rows(cutoff - back, cutoff)
    learned_since = [name for name in trees.features if name not in rows.columns]
    rows = rows.with_columns(pl.lit(float("nan"), pl.Float32).alias(name) for name in learned_since)
    return Past.of(trees, rows, origins.panel.grid.frequency)


def _keys_of(rows: pl.DataFrame, features: list[str]) -> pl.DataFrame:
    beside = (MEMBER, GROUP, TOTAL, SIZE)
    known = {*features, *KEYS, "scale"}
    others = [name for name in rows.columns if name not in known and not name.startswith(beside)]
    return rows.select(*[name for name in KEYS if name in rows.columns], *others)
