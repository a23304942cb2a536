"""Forecasts under other prices or promotions: what the champion would have said, had the plan been another one.

What the job forecast from is frozen with the issue, one row a series: its feature rows, what its local models said,
how far the totals moved each mean, its scaled demand and its covariates. From a changed plan the columns that depend on
covariates are made again by the same function that made them, and the same boosters, blend and distribution answer.
Three things stay as they were issued: the pull of the totals, the recursive member, and what planners and the life of
a series did to the model's mean, which goes along as a factor. An unchanged plan gives exactly what was issued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from features.demand import history_of
from features.panel import Panel
from features.season import RHYTHMS, target_covariates
from features.tables import quantile_column
from features.windows import Float64Array, FloatArray
from pipelines.demand.blend import ALIKE, ALIKE_RECENT, MEMBER
from pipelines.demand.model import DemandModel

FROZEN = "forecast_inputs"  # the table of what `freeze` gives, newest issue only
PLANNED = "planned_"
_BEFORE = 9  # periods kept beyond a year: targets look a little farther back than it


@dataclass(frozen=True)
class Simulated:
    """A forecast of one series under another plan.

    Attributes:
        mean: One a period, units.
        quantiles: Quantile column → one a period, units.
    """

    mean: Float64Array
    quantiles: dict[str, Float64Array]


def freeze(model: DemandModel, rows: pl.DataFrame, panel: Panel, winsorise: float | None) -> pl.DataFrame | None:
    """What has to be kept of an issue to forecast it under other plans.

    Args:
        model: The champion.
        rows: Every feature row of the issue (`pipelines.demand.origins.forecast_rows`).
        panel: The panel they come from.
        winsorise: As for the rows.

    Returns:
        One row a series: key columns, `scale`, then lists in single or double precision: `features` and `members`
        (period by period), `pulls`, `history` (scaled), and `planned_NAME` for each covariate (from a year before the
        first target to one period after the last). None where the model knows nothing ahead.
    """
    if not any(name in model.trees.features for name in _derived(panel.ahead)):
        return None
    rows = rows.sort("series", "horizon")
    known = panel.known(panel.last)
    members = [name for name in rows.columns if name.startswith(MEMBER)]
    back, end = RHYTHMS[model.frequency].year + _BEFORE, known.quantity.shape[1]
    kept = {"history": _window(history_of(known, model.vocabulary, winsorise), end - back, end)}
    kept |= {PLANNED + name: _window(v, end - back, end + model.horizon + 1) for name, v in known.ahead.items()}
    features = rows.select(model.trees.features).to_numpy().reshape(known.series.height, -1)
    said = rows.select(members).to_numpy().astype(np.float64).reshape(known.series.height, -1)
    pulls = model.pulls(rows).reshape(known.series.height, -1)
    lists = {"features": features, "members": said, "pulls": pulls} | kept
    return known.series.select(panel.keys).with_columns(
        pl.Series("scale", rows["scale"].to_numpy()[:: model.horizon]),
        pl.lit(members, dtype=pl.List(pl.String)).alias("member_names"),
        *(pl.Series(name, values).arr.to_list() for name, values in lists.items()),
    )


@dataclass(frozen=True)
class WhatIf:
    """The champion of a release, ready to be asked.

    Attributes:
        model: It, on one thread.
        covariates: What may be changed.
    """

    model: DemandModel
    covariates: list[str]

    @classmethod
    def from_dir(cls, folder: Path, frozen: pl.DataFrame) -> WhatIf:
        """Load boosters from the files of a release; LightGBM comes with them.

        Args:
            folder: Where `DemandModel.to_dir` wrote.
            frozen: What `freeze` gave.
        """
        model = DemandModel.from_dir(folder)
        model.trees.threads = 1
        return cls(model, [name.removeprefix(PLANNED) for name in frozen.columns if name.startswith(PLANNED)])

    def simulate(
        self, kept: Mapping[str, object], issued: pl.DataFrame, plan: Mapping[str, Sequence[float | None]]
    ) -> Simulated:
        """The forecast of one series under another plan.

        Args:
            kept: Its row of what `freeze` gave.
            issued: Its rows of `forecasts`, by horizon: what was issued, overrides and life of the series included.
            plan: Covariate → a value a period ahead; None where it stays as planned.
        """
        before = self._rows(kept)
        after = self._replanned(before, kept, plan)
        pulls = np.tile(np.asarray(kept["pulls"]), 2)
        mean, fan = self.model.predict_pulled(pl.concat([before, after]), pulls)
        (was, would), (was_fan, would_fan) = np.split(mean, 2), np.split(fan, 2)
        said = issued["mean"].to_numpy()
        factor = np.divide(said, was, out=np.zeros_like(was), where=was > 0)
        quantiles = {}
        for place, level in enumerate(self.model.quantiles):
            name = quantile_column(level)
            moved = would_fan[:, place] * factor
            quantiles[name] = np.where(would_fan[:, place] == was_fan[:, place], issued[name].to_numpy(), moved)
        return Simulated(np.where(would == was, said, would * factor), quantiles)

    def _rows(self, kept: Mapping[str, object]) -> pl.DataFrame:
        """Its feature rows as they were issued."""
        model, horizon = self.model, self.model.horizon
        features = np.asarray(kept["features"], dtype=np.float32).reshape(horizon, -1)
        said = np.asarray(kept["members"], dtype=np.float64).reshape(horizon, -1)
        keys = {
            "series": np.zeros(horizon, np.int32),
            "origin": np.zeros(horizon, np.int32),
            "horizon": np.arange(1, horizon + 1, dtype=np.int32),
            "scale": np.full(horizon, kept["scale"], np.float32),
        }
        named = {name: features[:, place] for place, name in enumerate(model.trees.features)}
        names: Sequence[str] = kept["member_names"]  # type: ignore[assignment]
        return pl.DataFrame(keys | named | {name: said[:, place] for place, name in enumerate(names)})

    def _replanned(
        self, rows: pl.DataFrame, kept: Mapping[str, object], plan: Mapping[str, Sequence[float | None]]
    ) -> pl.DataFrame:
        """The same rows with the columns that depend on covariates made again."""
        history = np.asarray(kept["history"], dtype=np.float32)[None, :]
        ahead, end, horizon = {}, history.shape[1], self.model.horizon
        for name in self.covariates:
            values = np.array(kept[PLANNED + name], dtype=np.float32)
            told = np.array([np.nan if value is None else value for value in plan.get(name, [])], dtype=np.float32)
            target = values[end : end + len(told)]
            values[end : end + len(told)] = np.where(np.isnan(told), target, told)
            ahead[name] = values[None, :]
        made = dict(
            target_covariates(ahead, self.model.vocabulary.alike, history, horizon, RHYTHMS[self.model.frequency])
        )
        columns = [
            pl.Series(name, np.broadcast_to(v, (1, horizon))[0]) for name, v in made.items() if name in rows.columns
        ]
        if MEMBER + ALIKE in rows.columns:
            columns.append(pl.Series(MEMBER + ALIKE, made[ALIKE_RECENT][0].astype(np.float64)))
        return rows.with_columns(columns)


def _derived(ahead: Mapping[str, FloatArray]) -> list[str]:
    return [f"ahead_{name}" for name in ahead]


def _window(values: FloatArray, start: int, stop: int) -> FloatArray:
    """Columns start … stop, unknown where they lie outside."""
    inside = values[:, max(start, 0) : stop]
    left = max(-start, 0)
    return np.pad(inside, ((0, 0), (left, stop - start - left - inside.shape[1])), constant_values=np.nan)
