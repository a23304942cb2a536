"""What is known of a demand series at one origin about one later period: rows keyed (series, origin, horizon).

Quantities are divided by the series' own scale (its mean of the last year of known periods; that of a young series
leans on its group), so one model can learn from all of them. Everything here sees the panel through
`Panel.known(origin)` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from features import windows as w
from features.panel import Panel
from features.season import RHYTHMS, Rhythm, contributions, pooled, target_aligned, target_calendar, target_covariates
from features.warm_start import warmed
from features.windows import Float64Array, FloatArray, Int64Array

KEYS = ("series", "origin", "horizon")

_Floats = TypeVar("_Floats", FloatArray, Float64Array)

_SEEN = "seen_"
_CODE = "code_"
_VALUE = "value_"
_MOST = 50
_MOST_ALIKE = 10
_CELLS_AT_ONCE = 500_000
_ROUNDS = 5  # a wild sale has also stretched the scale it is measured by


@dataclass(frozen=True)
class Vocabulary:
    """Which attributes are used and how: text as codes, in order of first appearance, or numbers as they are.

    Attributes:
        codes: Column → its values; the code is the place in the list, −1 a value never seen.
        numbers: Columns used as numbers.
        groups: Columns by which series are pooled for seasonality and momentum.
        alike: Covariates known ahead with few values: past periods that share them with a target are like it.
    """

    codes: dict[str, list[str]] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, panel: Panel, most_groups: int = 2) -> Vocabulary:
        """Choose from the key columns and attributes of a panel, as it was known at one moment: `Panel.known`.

        A column with (almost) a value of its own for every series says nothing that can be shared, unless there are
        few series: then the series itself is a useful category.
        """
        codes: dict[str, list[str]] = {}
        numbers: list[str] = []
        order = panel.series.with_columns(_listed=pl.Series(panel.listed))
        for name in panel.series.columns:
            values = panel.series[name]
            if name in ("launched_on", "discontinued_on", "replaces") or values.dtype.is_temporal():
                continue
            distinct = values.drop_nulls().n_unique()
            if values.dtype.is_float() or (values.dtype.is_integer() and name not in panel.keys and distinct > 20):
                numbers.append(name)
            elif 1 < distinct <= max(100, values.len() // 3):
                first = order.drop_nulls(name).group_by(pl.col(name).cast(pl.String)).agg(pl.col("_listed").min())
                codes[name] = first.sort("_listed", name)[name].to_list()
        pools = sorted(
            (name for name in codes if len(codes[name]) <= panel.series.height // 5), key=lambda n: len(codes[n])
        )
        alike = [name for name, values in panel.ahead.items() if 1 < w.distinct(values, _MOST_ALIKE) <= _MOST_ALIKE]
        return cls(codes, numbers, pools[-most_groups:], alike)

    def choice(self) -> tuple[tuple[str, ...], ...]:
        """What decides the rows of an origin: codes only grow, so vocabularies that chose alike encode it alike."""
        return tuple(self.categorical()), tuple(self.numbers), tuple(self.groups), tuple(self.alike)

    def encode(self, series: pl.DataFrame) -> dict[str, FloatArray]:
        """Codes and numbers of every attribute, one value a series."""
        out: dict[str, FloatArray] = {}
        for name, values in self.codes.items():
            places = {value: place for place, value in enumerate(values)}
            column = series[name].cast(pl.String).replace_strict(places, default=-1, return_dtype=pl.Int32)
            out[_CODE + name] = column.fill_null(-1).to_numpy().astype(np.float32)
        for name in self.numbers:
            out[_VALUE + name] = series[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
        return out

    def learnable(self, encoded: dict[str, FloatArray]) -> dict[str, FloatArray]:
        """Without the codes of columns with so many values that trees would learn series by heart."""
        return {
            name: values
            for name, values in encoded.items()
            if len(self.codes.get(name.removeprefix(_CODE), [])) <= _MOST
        }

    def categorical(self) -> list[str]:
        """Names of the features that are codes."""
        return [_CODE + name for name, values in self.codes.items() if len(values) <= _MOST]


def scale_of(history: FloatArray, year: int) -> FloatArray:
    """The unit in which a series is learned: its mean over the last year of known periods, floored, in its own units.

    The floor is one sale of the series' usual size a year; a series that never sold has scale 1.
    """
    recent = np.nan_to_num(w.last_valid_mean(history, year), nan=0.0)
    size = np.nan_to_num(w.mean_positive(history), nan=0.0)
    floored = np.maximum(recent, size / year)
    return np.where(floored > 0, floored, 1).astype(np.float32)


def without_leading_zeros(history: FloatArray) -> FloatArray:
    """Periods before the first sale made unknown: the series had not been launched. Never sold: left as it is."""
    launch = np.argmax(history > 0, axis=1)
    return np.where(np.arange(history.shape[1]) < launch[:, None], np.float32(np.nan), history)


def rows_at(
    panel: Panel,
    origin: int,
    horizon: int,
    vocabulary: Vocabulary,
    *,
    country: str | None = None,
    keep: npt.NDArray[np.bool_] | None = None,
    winsorise: float | None = None,
) -> pl.DataFrame:
    """Feature rows of every series known at an origin, for the next 1 … `horizon` periods.

    Args:
        panel: The panel; it is cut at the origin here.
        origin: Number of the last period that is over.
        horizon: How many periods ahead.
        vocabulary: The encoding of attributes.
        country: Country whose public holidays are counted.
        keep: Which rows to make (all series of `panel` × horizon); by default all.
        winsorise: Scaled sales above this quantile of all of them count as that quantile; by default as they are.

    Returns:
        `series` (row in `panel.series`), `origin`, `horizon`, `scale` and the features, all Float32; sorted by key.

    Raises:
        ValueError: The origin is no period of the panel.
    """
    if not panel.first <= origin <= panel.last:
        raise ValueError(f"origin {origin} is outside the panel ({panel.first} to {panel.last})")
    known = panel.known(origin)
    rhythm = RHYTHMS[panel.grid.frequency]
    size = (known.series.height, horizon)
    wanted = np.ones(size, dtype=bool) if keep is None else keep[known.position]
    chosen = np.flatnonzero(wanted.any(axis=1))
    attributes = vocabulary.encode(known.series)
    groups = _groups(attributes, vocabulary, size[0])
    scale, scaled = scaled_history(known, groups, winsorise)
    slices = _slices(scaled.shape)
    blocks = [_Block.of(known, scaled, scale, rows, chosen, horizon, vocabulary) for rows in slices]
    own, aligned, covariates = (
        _joined([getattr(block, name) for block in blocks]) for name in ("own", "aligned", "covariates")
    )
    brought = _joined([block.brought for block in blocks])
    own |= {name: values[chosen] for name, values in vocabulary.learnable(attributes).items()}
    aligned |= dict(pooled(brought, groups, own["mean_level"], chosen)) | covariates
    series, step = np.nonzero(wanted[chosen])
    columns: dict[str, npt.NDArray[np.generic]] = {
        "series": known.position[chosen][series].astype(np.int32),
        "origin": np.full(series.shape, origin, dtype=np.int32),
        "horizon": (step + 1).astype(np.int32),
        "scale": scale[chosen][series],
    }
    columns |= {"ahead": (step + 1).astype(np.float32)}
    columns |= {name: values[series] for name, values in own.items()}
    columns |= {name: values[series, step if values.shape[1] > 1 else 0] for name, values in aligned.items()}
    columns |= {name: values[step] for name, values in target_calendar(panel.grid, origin, horizon, rhythm, country)}
    return pl.DataFrame(columns)


def _groups(attributes: dict[str, FloatArray], vocabulary: Vocabulary, series: int) -> dict[str, Int64Array]:
    """Name of a pool of series → the number of each series' group; the whole shop is one of them."""
    groups = {name: attributes[_CODE + name].astype(np.int64) + 1 for name in vocabulary.groups}
    return {"all": np.zeros(series, dtype=np.int64)} | groups


def history_of(known: Panel, vocabulary: Vocabulary, winsorise: float | None = None) -> FloatArray:
    """Scaled demand of every series of what was known at one moment, as `rows_at` takes it (series × period)."""
    groups = _groups(vocabulary.encode(known.series), vocabulary, known.series.height)
    return scaled_history(known, groups, winsorise)[1]


def scaled_history(
    known: Panel, groups: dict[str, Int64Array], winsorise: float | None
) -> tuple[FloatArray, FloatArray]:
    """Scale of each series, and its demand in units of it without the zeros before its launch."""
    rhythm = RHYTHMS[known.grid.frequency]
    history = without_leading_zeros(known.quantity)
    scale, scaled = _scaled(history, list(groups.values()), rhythm)
    for _ in range(_ROUNDS if winsorise is not None else 0):
        scale, scaled = _scaled(clipped(scaled, winsorise) * scale[:, None], list(groups.values()), rhythm)
    return scale, scaled


def features_of(rows: pl.DataFrame) -> list[str]:
    """The columns a model may learn from."""
    return [name for name in rows.columns if name not in (*KEYS, "scale", "period") and rows.schema[name] == pl.Float32]


@dataclass(frozen=True)
class _Block:
    """Some series at one origin, few enough for the processor's cache.

    Attributes:
        brought: What every series of the block brings to its groups.
        own: The past of those chosen, one value a series.
        aligned: Their past aligned with each target, series × horizon.
        covariates: Their covariates at each target, series × horizon.
    """

    brought: dict[str, FloatArray]
    own: dict[str, FloatArray]
    aligned: dict[str, FloatArray]
    covariates: dict[str, FloatArray]

    @classmethod
    def of(
        cls,
        known: Panel,
        scaled: FloatArray,
        scale: FloatArray,
        rows: slice,
        chosen: npt.NDArray[np.int64],
        horizon: int,
        vocabulary: Vocabulary,
    ) -> _Block:
        rhythm = RHYTHMS[known.grid.frequency]
        inside = chosen[np.searchsorted(chosen, rows.start) : np.searchsorted(chosen, rows.stop)]
        picked = rows if len(inside) == rows.stop - rows.start else inside
        y, part = scaled[picked], known.part(picked)
        return cls(
            brought=dict(contributions(scaled[rows], horizon, rhythm)),
            own=dict(_own(y, scale[picked], rhythm)) | dict(_stock_outs(part, rhythm)) | dict(_observed(part)),
            aligned=dict(target_aligned(y, horizon, rhythm)),
            covariates=dict(target_covariates(part.ahead, vocabulary.alike, y, horizon, rhythm)),
        )


def _slices(shape: tuple[int, ...]) -> list[slice]:
    rows = max(1, _CELLS_AT_ONCE // shape[1])
    return [slice(start, min(start + rows, shape[0])) for start in range(0, max(1, shape[0]), rows)]


def _joined(parts: list[dict[str, FloatArray]]) -> dict[str, FloatArray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def clipped(scaled: _Floats, winsorise: float | None) -> _Floats:
    """Scaled demand with sales above a quantile of all sales set to it; as it is where none is given.

    Example:
        >>> clipped(np.array([0.0, 0.0, 0.0, 1.0, 2.0, 9.0]), 0.5).tolist()
        [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]
    """
    sales = scaled[scaled > 0]
    if winsorise is None or not sales.size:
        return scaled
    return np.minimum(scaled, np.quantile(sales, winsorise).astype(scaled.dtype))


def _scaled(history: FloatArray, groups: list[Int64Array], rhythm: Rhythm) -> tuple[FloatArray, FloatArray]:
    """Scale of each series and its history in units of it; an empty one reads as what its group leads to expect."""
    scale = np.concatenate([scale_of(history[rows], rhythm.year) for rows in _slices(history.shape)])
    scale = warmed(scale, history, groups, rhythm)
    scaled = history / scale[:, None]
    unheard = np.isnan(history).all(axis=1) & (scale != 1)
    scaled[unheard, -1] = 1
    return scale, scaled


def _own(y: FloatArray, scale: FloatArray, rhythm: Rhythm) -> Iterator[tuple[str, FloatArray]]:
    """The series' own past, as of the origin; levels in units of its scale."""
    yield "log_scale", np.log(scale)
    recent = w.tail(y, rhythm.means[-1])
    for lag in range(rhythm.lags):
        yield f"lag_{lag}", w.tail(y, lag + 1)[:, 0]
    for window in rhythm.means:
        yield f"mean_{window}", w.mean(w.tail(recent, window))
    yield "mean_level", w.mean(w.tail(recent, rhythm.level))
    for window in (rhythm.means[1], rhythm.means[2]):
        yield f"median_{window}", w.median(w.tail(recent, window))
    for window in (rhythm.means[2], rhythm.year):
        yield f"deviation_{window}", w.deviation(w.tail(y, window))
        yield f"share_positive_{window}", w.share_positive(w.tail(y, window))
    for half_life in rhythm.half_lives:
        age = np.arange(recent.shape[1] - 1, -1, -1, dtype=np.float32)
        yield f"decayed_{half_life}", w.weighted_mean(recent, np.exp2(-age / np.float32(half_life)))
    year = w.tail(y, rhythm.year)
    yield "largest", np.fmax.reduce(year, axis=1, initial=np.nan)
    yield "mean_sale", w.mean_positive(year)
    yield "since_sale", w.periods_since(y > 0)
    yield "age", (y.shape[1] - np.argmax(~np.isnan(y), axis=1)).astype(np.float32)
    yield "known_share", w.mean((~np.isnan(w.tail(y, rhythm.means[2]))).astype(np.float32))


def _stock_outs(known: Panel, rhythm: Rhythm) -> Iterator[tuple[str, FloatArray]]:
    """How often and how recently stock ran out, where the shop says so: what is known there is partly an estimate."""
    if known.censored is None:
        return
    told = known.censored | ~np.isnan(known.quantity)
    share = np.where(told, known.censored, np.nan).astype(np.float32)
    for window in (rhythm.means[0], rhythm.means[2]):
        yield f"stock_out_share_{window}", w.mean(w.tail(share, window))
    yield "since_stock_out", w.periods_since(known.censored)


def _observed(known: Panel) -> Iterator[tuple[str, FloatArray]]:
    """Covariates and prices known once a period is over: the last one, and how it stands to its usual value."""
    rhythm = RHYTHMS[known.grid.frequency]
    for name, values in known.observed.items():
        recent = w.tail(values, rhythm.year)
        last = w.last_valid_mean(recent, 1)
        yield f"{_SEEN}{name}", last
        yield f"{_SEEN}{name}_to_usual", w.ratio(last, w.mean(recent))
