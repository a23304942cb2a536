"""The recursive member: trees that look one period ahead, walked over the horizon on their own forecasts.

Its rows are those of the direct trees with a horizon of one: the newest lags and means are always at hand, which pays
where demand has a short memory (days), and errors compound, which does not. The mean of both kinds won the M5 (In &
Jung 2022, Simple averaging of direct and recursive forecasts via partial pooling using machine learning, IJF 38).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from features.demand import Vocabulary, rows_at
from features.panel import Panel
from features.windows import Float64Array, FloatArray

RECURSIVE = "recursive"


def walked(
    trees: Any, panel: Panel, origin: int, horizon: int, vocabulary: Vocabulary, *, country: str | None = None
) -> Float64Array:
    """One-step trees applied to the period after the origin, then to the next one as if that had come true, and so on.

    Args:
        trees: A booster of the mean of scaled demand, grown on one-step rows.
        panel: The panel; it is cut at the origin here.
        origin: Number of the last period that is over.
        horizon: Periods ahead.
        vocabulary: The encoding the trees were grown with.
        country: Country whose public holidays are counted.

    Returns:
        Mean demand of every series known at the origin (series × horizon), units, ≥ 0.
    """
    now = panel.known(origin)
    # what is known has the histories of predecessors already: they are not to be carried over once more
    now = replace(
        now,
        series=now.series.drop("replaces", strict=False),
        position=np.arange(now.series.height, dtype=np.int32),
    )
    means = []
    for step in range(horizon):
        rows = rows_at(now, origin + step, 1, vocabulary, country=country)
        matrix = rows.select(trees.feature_name()).to_numpy()
        means.append(np.maximum(trees.predict(matrix), 0) * rows["scale"].to_numpy())
        now = _a_period_later(now, means[-1].astype(np.float32))
    return np.column_stack(means)


def _a_period_later(now: Panel, demand: FloatArray) -> Panel:
    """The panel as it would be after a period in which so much was sold, and nothing else became known."""
    unknown = np.full((len(demand), 1), np.nan, dtype=np.float32)
    in_stock = np.zeros((len(demand), 1), dtype=bool)
    return replace(
        now,
        quantity=np.hstack([now.quantity, demand[:, None]]),
        observed={name: np.hstack([values, unknown]) for name, values in now.observed.items()},
        censored=None if now.censored is None else np.hstack([now.censored, in_stock]),
    )
