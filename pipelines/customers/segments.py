"""Who the customers are: a total table of RFM rules, and k-means segments with names for people.

Both are learned as cut points or centroids on one snapshot, stored as numbers, and applied to any later one. k is
chosen by stability: the number of segments that comes back most reliably when customers are drawn again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.customers.metrics import adjusted_rand
from pipelines.customers.moments import keyed
from pipelines.customers.record import too_little

Floats = NDArray[np.float64]

K_RANGE = range(4, 9)
BOOTSTRAPS = 4
STABILITY_ROWS = 3_000
STARTS = 4
_COLUMNS = ("days_since_last_order", "orders", "spend")

# Row: recency quintile 1 (long ago) … 5 (just now). Column: mean quintile of orders and spend, 1 … 5.
RFM_RULES: tuple[tuple[str, ...], ...] = (
    ("lost", "lost", "at_risk", "at_risk", "cannot_lose"),
    ("about_to_sleep", "about_to_sleep", "at_risk", "at_risk", "cannot_lose"),
    ("about_to_sleep", "need_attention", "need_attention", "loyal", "loyal"),
    ("promising", "potential_loyalist", "potential_loyalist", "loyal", "loyal"),
    ("new", "potential_loyalist", "potential_loyalist", "champions", "champions"),
)
RFM_DESCRIPTIONS = {
    "champions": "Bought just now, often and for much.",
    "loyal": "Buy often and for much, and not long ago.",
    "potential_loyalist": "Bought lately, with some orders behind them.",
    "promising": "Bought lately, once or for little.",
    "new": "Bought just now, once or for little.",
    "need_attention": "Middling orders and spend, and not so lately.",
    "about_to_sleep": "Few orders, and the last one was a while ago.",
    "at_risk": "Bought often enough, but the last order was long ago.",
    "cannot_lose": "Among the best by orders and spend, but silent for long.",
    "lost": "Few orders, all of them long ago.",
}


def rfm_rule(recency: int, frequency: int, monetary: int) -> str:
    """The segment of a cell of quintiles, 5 best.

    Example:
        >>> rfm_rule(5, 5, 5), rfm_rule(1, 1, 1), rfm_rule(5, 1, 1)
        ('champions', 'lost', 'new')
    """
    return RFM_RULES[recency - 1][(frequency + monetary + 1) // 2 - 1]


@dataclass(frozen=True)
class SegmentsModel:
    """Cut points of the RFM quintiles, and centroids of the k-means segments.

    Attributes:
        edges: Four rising cut points for each of days since the last order, orders and spend.
        means: Means of the three logarithms.
        deviations: Their standard deviations.
        centroids: One standardised point a segment.
        names: Key of each segment.
        stability: Number of segments → mean adjusted Rand index of its bootstraps.
    """

    edges: dict[str, tuple[float, ...]]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    centroids: tuple[tuple[float, ...], ...]
    names: tuple[str, ...]
    stability: dict[int, float]

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The segments of customers.

        Args:
            rows: Rows of a snapshot (`features.customers`).

        Returns:
            customer_id (where the rows have it), segment (k-means), rfm_segment.
        """
        points = (_logs(rows) - np.array(self.means)) / np.array(self.deviations)
        places = _nearest(points, np.array(self.centroids))
        return keyed(
            rows,
            segment=pl.Series(np.array(self.names, dtype=object)[places], dtype=pl.String),
            rfm_segment=pl.Series(self._rfm(rows), dtype=pl.String),
        )

    def to_dir(self, folder: Path) -> None:
        """Write `model.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        facts = dict(self.__dict__) | {"class": "pipelines.customers.segments:SegmentsModel"}
        (folder / "model.json").write_text(json.dumps(facts, indent=2, sort_keys=True), encoding="utf-8")

    @classmethod
    def from_dir(cls, folder: Path) -> SegmentsModel:
        """Read what `to_dir` wrote."""
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        return cls(
            edges={name: tuple(edges) for name, edges in facts["edges"].items()},
            means=tuple(facts["means"]),
            deviations=tuple(facts["deviations"]),
            centroids=tuple(tuple(point) for point in facts["centroids"]),
            names=tuple(facts["names"]),
            stability={int(k): value for k, value in facts["stability"].items()},
        )

    def _rfm(self, rows: pl.DataFrame) -> list[str]:
        quintile = {
            name: np.searchsorted(self.edges[name], rows[name].cast(pl.Float64).to_numpy(), side="left")
            for name in _COLUMNS
        }
        best = quintile["orders"] + quintile["spend"] + 1
        table = np.array(RFM_RULES, dtype=object)
        names: list[str] = table[4 - quintile["days_since_last_order"], best // 2].tolist()
        return names


def fit(rows: pl.DataFrame, *, seed: int) -> SegmentsModel:
    """Learn cut points and centroids from a snapshot.

    Raises:
        NotEnoughDataError: There are fewer customers than segments.
    """
    if rows.height < K_RANGE.start:
        raise too_little(
            f"{rows.height} customers cannot be divided into {K_RANGE.start} segments.",
            column="customer_id",
            remedy="bring a longer record of orders",
        )
    rows = rows.sort("customer_id") if "customer_id" in rows.columns else rows
    logs = _logs(rows)
    means, deviations = logs.mean(axis=0), np.where(logs.std(axis=0) > 0, logs.std(axis=0), 1.0)
    points = (logs - means) / deviations
    most = min(K_RANGE.stop, len(np.unique(points, axis=0)) + 1)
    stability = {k: _stability(points, k, seed) for k in range(min(K_RANGE.start, most - 1), most)}
    k = max(stability, key=lambda each: stability[each])
    centroids = _centroids(points, k, seed)
    centroids = centroids[np.argsort(-centroids[:, 2], kind="stable")]
    levels = (0.2, 0.4, 0.6, 0.8)
    edges = {name: tuple(np.quantile(rows[name].cast(pl.Float64).to_numpy(), levels).tolist()) for name in _COLUMNS}
    return SegmentsModel(
        edges=edges,
        means=tuple(means.tolist()),
        deviations=tuple(deviations.tolist()),
        centroids=tuple(tuple(point) for point in centroids.tolist()),
        names=_names(centroids),
        stability={each: round(score, 6) for each, score in stability.items()},
    )


def _logs(rows: pl.DataFrame) -> Floats:
    logs: Floats = np.log1p(rows.select(pl.col(name).cast(pl.Float64).clip(0) for name in _COLUMNS).to_numpy())
    return logs


def _nearest(points: Floats, centroids: Floats) -> NDArray[np.int64]:
    away = (centroids**2).sum(axis=1) - 2 * points @ centroids.T  # squared distance less what all centroids share
    places: NDArray[np.int64] = away.argmin(axis=1)
    return places


def _centroids(points: Floats, k: int, seed: int) -> Floats:
    """k-means: the tightest of several descents (Lloyd 1982) from spread starts (Arthur & Vassilvitskii 2007)."""
    rng = np.random.default_rng([seed, k])
    ends = [_descend(points, _spread(points, k, rng)) for _ in range(STARTS)]
    best: Floats = min(ends, key=lambda end: end[1])[0]
    return best


def _spread(points: Floats, k: int, rng: np.random.Generator) -> Floats:
    chosen: Floats = points[rng.integers(len(points))][None]
    while len(chosen) < k:
        distance = ((points[:, None, :] - chosen[None]) ** 2).sum(axis=2).min(axis=1)
        chosen = np.concatenate([chosen, points[rng.choice(len(points), size=1, p=distance / distance.sum())]])
    return chosen


def _descend(points: Floats, centroids: Floats, steps: int = 60) -> tuple[Floats, float]:
    places = _nearest(points, centroids)
    for _ in range(steps):
        counts = np.bincount(places, minlength=len(centroids))
        sums = np.stack([np.bincount(places, weights=column, minlength=len(centroids)) for column in points.T], axis=1)
        centroids = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids)
        moved = _nearest(points, centroids)
        if (moved == places).all():
            break
        places = moved
    return centroids, float(((points - centroids[places]) ** 2).sum())


def _stability(points: Floats, k: int, seed: int) -> float:
    """Mean agreement of the segments with those of customers drawn again with replacement."""
    rng = np.random.default_rng(seed)
    if len(points) > STABILITY_ROWS:
        points = points[rng.choice(len(points), STABILITY_ROWS, replace=False)]
    whole = _nearest(points, _centroids(points, k, seed))
    scores = []
    for draw in range(BOOTSTRAPS):
        drawn = points[rng.integers(0, len(points), len(points))]
        if len(np.unique(drawn, axis=0)) < k:
            return 0.0
        scores.append(adjusted_rand(whole, _nearest(points, _centroids(drawn, k, seed + draw + 1))))
    return float(np.mean(scores))


def _names(centroids: Floats) -> tuple[str, ...]:
    """What stands out of each standardised centroid, in words; equal words are numbered."""
    named: list[str] = []
    for since, orders, spend in centroids:
        when = "recent" if since < -0.5 else "lapsing" if since > 0.5 else "settled"
        often = "frequent" if orders > 0.75 else "rare" if orders < -0.5 else "occasional"
        much = (
            "top_spenders"
            if spend > 1.5
            else "big_spenders"
            if spend > 0.75
            else "small_spenders"
            if spend < -0.5
            else "middle_spenders"
        )
        words = f"{when}_{often}_{much}"
        again = sum(name == words or name.startswith(f"{words}_") for name in named)
        named.append(f"{words}_{again + 1}" if again else words)
    return tuple(named)
