"""Who the customers are: RFM rules, and segments in which lapsed customers never stand beside active ones.

Active customers are divided by k-means on the logarithms of days since the last order, and of orders and spend of the
last 52 weeks: a year's window does not grow with the age of the shop as totals do, so what is learned holds longer.
Who has been silent for longer than the shop's customers are is lapsed, in one of two fixed segments: whoever had
ordered again is worth winning back, whoever ordered once is another matter.

The number of segments is the largest that is stable (`stability`). What is learned is stored as numbers, stays frozen
until the next training, and is matched to what was learned before, so that segments keep their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.customers import describe, known_by
from pipelines.customers import rfm
from pipelines.customers.activity import active_days as days_active
from pipelines.customers.kmeans import find_centroids, nearest
from pipelines.customers.metrics import adjusted_rand
from pipelines.customers.moments import keyed
from pipelines.customers.record import first_and_last, too_little
from pipelines.customers.segment_names import keep_names, make_names
from pipelines.customers.stability import Grouping, Stability, bootstrap_agreement
from pipelines.settings import Settings

Floats = NDArray[np.float64]

COLUMNS = ("days_since_last_order", "orders_52w", "spend_52w")
LAPSED = ("lapsed_one_time_buyers", "lapsed_repeat_buyers")
K_RANGE = range(4, 9)  # segments in all, the two of lapsed customers among them
HEADROOM = 0.03  # what is chosen on one draw has to hold on the next; what was chosen before may stay without
KEPT_WITHIN = 0.2  # the definition of lapsed stays while the shop's customers are silent for about as long as then
LEAST_ACTIVE = 100  # with fewer active customers there is nothing to choose from
QUARTER_DAYS = 91


@dataclass(frozen=True)
class SegmentsModel:
    """Cut points of the RFM quintiles, who is lapsed, and the centroids of active customers.

    Attributes:
        edges: Four rising cut points for each of days since the last order, orders and spend.
        active_days: Days without an order after which a customer is lapsed.
        means: Means of the logarithms of `COLUMNS`, of active customers.
        deviations: Their standard deviations.
        centroids: One standardised point a segment of active customers.
        names: Key of each of these segments.
        stability: Number of segments in all → figures of `Stability`, of those that were looked at.
    """

    edges: rfm.Edges
    active_days: int
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    centroids: tuple[tuple[float, ...], ...]
    names: tuple[str, ...]
    stability: dict[int, dict[str, float | None]]

    @property
    def k(self) -> int:
        """Number of segments, the lapsed ones among them."""
        return len(self.centroids) + len(LAPSED)

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The segments of customers.

        Args:
            rows: Rows of a snapshot (`features.customers`).

        Returns:
            customer_id (where the rows have it), segment, rfm_segment.
        """
        names = np.array([*self.names, *LAPSED], dtype=object)
        return keyed(
            rows,
            segment=pl.Series(names[self.places(rows)], dtype=pl.String),
            rfm_segment=rfm.segments(rows, self.edges),
        )

    def places(self, rows: pl.DataFrame) -> NDArray[np.int64]:
        """The segment of each row: the place of its centroid, and after those the two of lapsed customers."""
        points = (_logs(rows) - np.array(self.means)) / np.array(self.deviations)
        again = (rows["orders"] > 1).cast(pl.Int64).to_numpy()
        lapsed = (rows["days_since_last_order"] > self.active_days).to_numpy()
        return np.where(lapsed, len(self.centroids) + again, nearest(points, np.array(self.centroids)))

    def to_dir(self, folder: Path) -> None:
        """Write `model.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        facts = dict(self.__dict__) | {"class": "pipelines.customers.segments:SegmentsModel", "columns": COLUMNS}
        (folder / "model.json").write_text(json.dumps(facts, indent=2, sort_keys=True), encoding="utf-8")

    @classmethod
    def from_dir(cls, folder: Path) -> SegmentsModel:
        """Read what `to_dir` wrote."""
        facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        return cls(
            edges={name: tuple(edges) for name, edges in facts["edges"].items()},
            active_days=facts["active_days"],
            means=tuple(facts["means"]),
            deviations=tuple(facts["deviations"]),
            centroids=tuple(tuple(point) for point in facts["centroids"]),
            names=tuple(facts["names"]),
            stability={int(k): figures for k, figures in facts["stability"].items()},
        )


def fit(
    rows: pl.DataFrame,
    *,
    active_days: int,
    seed: int,
    quarter_ago: pl.DataFrame | None = None,
    before: SegmentsModel | None = None,
) -> SegmentsModel:
    """Learn who is who from a snapshot.

    Args:
        rows: The snapshot; the order of its rows does not matter.
        active_days: Days without an order after which a customer is lapsed.
        seed: Seed of starts and draws.
        quarter_ago: The snapshot of `QUARTER_DAYS` earlier, where the record reaches so far back.
        before: The model in use, whose number of segments and names are kept while they hold.

    Raises:
        NotEnoughDataError: There are fewer customers than segments.
    """
    if rows.height < K_RANGE.start:
        raise too_little(
            f"{rows.height} customers cannot be divided into {K_RANGE.start} segments.",
            column="customer_id",
            remedy="bring a longer record of orders",
        )
    rows, quarter_ago = _in_order(rows), _in_order(quarter_ago) if quarter_ago is not None else None
    first = before.k if before is not None else 0
    looked_at: dict[int, Stability] = {}
    for k in sorted(_possible(rows, active_days), key=lambda k: (k != first, -k)):
        looked_at[k] = _stability(rows, quarter_ago, k, active_days, seed)
        if looked_at[k].holds(0.0 if k == first else HEADROOM):
            break
    else:
        k = max(looked_at, key=lambda each: looked_at[each].bootstrap_ari_mean)
    model = _learn(rows, seed, k=k, active_days=active_days)
    return _named(model, rows, before, {each: figures.rounded() for each, figures in looked_at.items()})


def fit_at(
    ledger: pl.DataFrame, cut: date, settings: Settings, *, before: SegmentsModel | None = None
) -> SegmentsModel:
    """The segments of what was known at a cut.

    Args:
        ledger: The shop's ledger (`features.customers.ledger`).
        cut: The last day that is known.
        settings: The shop's settings.
        before: The model in use (`segments.fit`).

    Raises:
        NotEnoughDataError: There are fewer customers than segments.
    """
    terms, known = settings.customers, known_by(ledger, cut)
    return fit(
        describe(known, cut, period_days=terms.period_days),
        active_days=terms.active_days or kept_active_days(days_active(known, cut, terms), before),
        seed=settings.seed,
        quarter_ago=quarter_ago(known, cut, terms.period_days),
        before=before,
    )


def kept_active_days(active_days: int, before: SegmentsModel | None) -> int:
    """The days of the model in use while the shop's own are about the same: who is lapsed is not to creep."""
    near = before is not None and abs(before.active_days - active_days) <= KEPT_WITHIN * active_days
    return before.active_days if before is not None and near else active_days


def quarter_ago(ledger: pl.DataFrame, cut: date, period_days: int) -> pl.DataFrame | None:
    """The snapshot of a quarter before a cut; None where as long a record does not lie before it."""
    first, _ = first_and_last(ledger)
    day = cut - timedelta(days=QUARTER_DAYS)
    return describe(ledger, day, period_days=period_days) if (day - first).days >= QUARTER_DAYS else None


def _possible(rows: pl.DataFrame, active_days: int) -> list[int]:
    """Numbers of segments for which there are enough different active customers; of few, only the smallest."""
    active = _active(rows, active_days).select(COLUMNS)
    possible = [k for k in K_RANGE if k - len(LAPSED) <= active.n_unique()] or [1 + len(LAPSED)]
    return possible if active.height >= LEAST_ACTIVE else possible[:1]


def _stability(rows: pl.DataFrame, quarter_ago: pl.DataFrame | None, k: int, active_days: int, seed: int) -> Stability:
    learn = partial(_learn, k=k, active_days=active_days)

    def grouping(rows: pl.DataFrame, seed: int) -> Grouping:
        return learn(rows, seed).places

    agreement = bootstrap_agreement(rows, grouping, seed=seed)
    quarter = None
    if quarter_ago is not None and quarter_ago.height >= K_RANGE.start:
        quarter = adjusted_rand(learn(quarter_ago, seed).places(rows), learn(rows, seed).places(rows))
    return Stability(float(agreement.mean()), float(np.quantile(agreement, 0.05)), quarter)


def _learn(rows: pl.DataFrame, seed: int, *, k: int, active_days: int) -> SegmentsModel:
    """The model of so many segments, or of fewer where fewer active customers differ; not named yet."""
    logs = _logs(_active(rows, active_days))
    means, spread = logs.mean(axis=0), logs.std(axis=0)
    deviations = np.where(spread > 0, spread, 1.0)
    points = (logs - means) / deviations
    different = len(np.unique(points, axis=0))
    centroids = find_centroids(points, min(k - len(LAPSED), different), seed=seed)
    return SegmentsModel(
        edges=rfm.cut_points(rows),
        active_days=active_days,
        means=tuple(means.tolist()),
        deviations=tuple(deviations.tolist()),
        centroids=tuple(tuple(point) for point in centroids[::-1].tolist()),  # biggest spenders first
        names=(),
        stability={},
    )


def _named(
    model: SegmentsModel,
    rows: pl.DataFrame,
    before: SegmentsModel | None,
    stability: Mapping[int, dict[str, float | None]],
) -> SegmentsModel:
    count = len(model.centroids)
    kept: dict[int, str] = {}
    if before is not None:
        places = pl.Series(model.places(rows))
        active = places < count
        kept = keep_names(places.filter(active), before.predict(rows)["segment"].filter(active), before.names, count)
    new = [place for place in range(count) if place not in kept]
    made = make_names(np.array(model.centroids)[new], taken=[*kept.values(), *LAPSED])
    names = kept | dict(zip(new, made, strict=True))
    return replace(model, names=tuple(names[place] for place in range(count)), stability=dict(stability))


def _active(rows: pl.DataFrame, active_days: int) -> pl.DataFrame:
    """Active customers; all of them where none is, so that there is something to learn from."""
    active = rows.filter(pl.col("days_since_last_order") <= active_days)
    return rows if active.is_empty() else active


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("customer_id" if "customer_id" in rows.columns else list(rfm.COLUMNS))


def _logs(rows: pl.DataFrame) -> Floats:
    logs: Floats = np.log1p(rows.select(pl.col(name).cast(pl.Float64).clip(0) for name in COLUMNS).to_numpy())
    return logs
