"""How reliably segments come back: when customers are drawn again, and when a quarter has gone by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.customers.metrics import adjusted_rand

Ints = NDArray[np.int64]
Grouping = Callable[[pl.DataFrame], Ints]

BOOTSTRAPS = 50
ROWS = 3_000  # more customers make segments steadier: those of a sample understate
LEAST_MEAN, LEAST_P05, LEAST_QUARTER = 0.90, 0.80, 0.85


@dataclass(frozen=True)
class Stability:
    """Adjusted Rand indices (Hubert & Arabie 1985): 1 = every customer comes back beside the same others, 0 = chance.

    Attributes:
        bootstrap_ari_mean: Mean over `BOOTSTRAPS` draws of the customers.
        bootstrap_ari_p05: Their fifth percentile.
        next_quarter_ari: Segments learned a quarter ago against those learned today, of the customers of today; None
            where there is no record of a quarter ago.
    """

    bootstrap_ari_mean: float
    bootstrap_ari_p05: float
    next_quarter_ari: float | None

    def holds(self, headroom: float = 0.0) -> bool:
        """Whether every figure is as high as it has to be, with so much to spare."""
        needed = (
            (self.bootstrap_ari_mean, LEAST_MEAN),
            (self.bootstrap_ari_p05, LEAST_P05),
            (self.next_quarter_ari, LEAST_QUARTER),
        )
        return all(figure is None or figure >= least + headroom for figure, least in needed)

    def rounded(self) -> dict[str, float | None]:
        """The figures by name, to be stored."""
        return {name: None if value is None else round(value, 6) for name, value in asdict(self).items()}


def bootstrap_agreement(
    rows: pl.DataFrame, learn: Callable[[pl.DataFrame, int], Grouping], *, seed: int, draws: int = BOOTSTRAPS
) -> NDArray[np.float64]:
    """Agreement of the segments of customers with those learned from as many drawn with replacement.

    Args:
        rows: Rows of a snapshot; of more than `ROWS`, a draw.
        learn: Rows and a seed → what puts rows into segments. Each draw has a seed of its own, so that the luck of the
            starts counts as instability too.
        seed: Seed of the draws.
        draws: Number of draws.

    Returns:
        An adjusted Rand index a draw.
    """
    rng = np.random.default_rng(seed)
    if rows.height > ROWS:
        rows = rows[np.sort(rng.choice(rows.height, ROWS, replace=False))]
    whole = learn(rows, seed)(rows)
    drawn = [rows[rng.integers(0, rows.height, rows.height)] for _ in range(draws)]
    return np.array([adjusted_rand(whole, learn(draw, seed + i + 1)(rows)) for i, draw in enumerate(drawn)])
