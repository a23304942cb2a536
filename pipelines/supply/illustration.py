"""Stock, open supply and terms made up from a seed, for a shop that keeps no stock records.

Every value is a function of the seed and the series' own key, so it stays the same whatever other series there are
and in whatever order they come. Each row is marked `illustrative`: it shows how replenishment works, not what is on
anybody's shelf.

| what | rule |
|---|---|
| on_hand | mean demand of `cover_weeks` × a factor between 0.25 and 1.75, whole units |
| open supply | for two series in five: half of `cover_weeks` of mean demand, due within the default lead time |
| supplier_id | one of five |
| lead_time_days | ½, 1 or 1½ times the default, whole days |
| multiple | 1, 6 or 12 units; moq is one or two of them |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from features.tables import TABLES
from pipelines.settings import Supply
from pipelines.supply.paths import Array

_SUPPLIERS = 5
_LEAD_FACTORS = (0.5, 1.0, 1.5)
_PACKS = (1.0, 6.0, 12.0)
_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@dataclass(frozen=True)
class MadeUp:
    """Three tables of illustrative supply data.

    Attributes:
        stock: Table stock.
        open_supply: Table open_supply.
        supply_terms: Table supply_terms.
    """

    stock: pl.DataFrame
    open_supply: pl.DataFrame
    supply_terms: pl.DataFrame


def illustrate(
    forecasts: pl.DataFrame, supply: Supply, *, keys: Sequence[str], as_of: date, days_a_period: float
) -> MadeUp:
    """Make up supply data for every series with a forecast.

    Args:
        forecasts: One issue of table forecasts; its means set the scale.
        supply: `illustrative` (seed and cover) and the default lead time.
        keys: The shop's series columns.
        as_of: The day the stock is said to be of.
        days_a_period: Mean length of a demand period, days.
    """
    made_up = supply.illustrative
    if made_up is None:
        raise ValueError("supply.illustrative is not set")
    keys = list(keys)
    rates = forecasts.group_by(keys).agg(weekly=pl.col("mean").mean() * 7 / days_a_period).sort(keys)
    series, weekly = rates.select(keys), rates["weekly"].to_numpy()
    drawn = [uniform(series, made_up.seed, stream) for stream in range(7)]
    cover = weekly * made_up.cover_weeks
    supplier = pl.Series("supplier_id", np.char.add("supplier_", (1 + _choice(drawn[3], _SUPPLIERS)).astype(str)))
    due = (drawn[2] * supply.lead_time_days).astype(np.int64)
    lead = np.maximum(np.rint(np.take(_LEAD_FACTORS, _choice(drawn[4], 3)) * supply.lead_time_days), 1.0)
    pack = np.take(_PACKS, _choice(drawn[5], 3))
    marked = pl.lit(True).alias("illustrative")
    stock = series.with_columns(
        as_of=pl.lit(as_of, dtype=pl.Date), on_hand=pl.Series(np.rint(cover * (0.25 + 1.5 * drawn[0])))
    ).with_columns(marked)
    open_supply = (
        series.with_columns(
            supplier,
            due_on=pl.lit(as_of, dtype=pl.Date) + pl.duration(days=pl.lit(pl.Series(1 + due))),
            quantity=pl.Series(np.ceil(cover / 2)),
            as_of=pl.lit(as_of, dtype=pl.Date),
        )
        .filter(pl.Series(drawn[1] < 0.4))
        .with_columns(marked)
    )
    terms = series.with_columns(
        supplier,
        lead_time_days=pl.Series(lead),
        moq=pl.Series(pack * (1 + _choice(drawn[6], 2))),
        multiple=pl.Series(pack),
    ).with_columns(marked)
    made = {"stock": stock, "open_supply": open_supply, "supply_terms": terms}
    return MadeUp(**{name: _whole(frame, name, keys) for name, frame in made.items()})


def _whole(frame: pl.DataFrame, table: str, keys: list[str]) -> pl.DataFrame:
    """The frame with every column of its table; what the rules above do not make up is null, a default."""
    columns = TABLES[table].schema.create_empty()
    return pl.concat([columns, frame], how="diagonal").select(*keys, *columns.columns)


def uniform(series: pl.DataFrame, seed: int, stream: int) -> Array:
    """Numbers in [0, 1), one a row, that depend on the row's values, the seed and the stream alone.

    FNV-1a over the characters of the key (draft-eastlake-fnv), mixed by splitmix64 (Steele, Lea & Flood 2014,
    doi:10.1145/2660193.2660195): the same on every machine and with every version of every library.

    Example:
        >>> keys = pl.DataFrame({"product_id": ["A", "B"]})
        >>> bool((uniform(keys, 7, 0) == uniform(keys.reverse(), 7, 0)[::-1]).all())
        True
    """
    text = series.select(pl.concat_str(pl.all().cast(pl.String), separator="\x1f")).to_series().to_list()
    letters = np.array(text, dtype=np.str_)
    codes = letters.view(np.uint32).reshape(len(letters), -1) if len(letters) else np.zeros((0, 1), dtype=np.uint32)
    with np.errstate(over="ignore"):  # wrapping round is what the hash is made of
        state = np.full(len(letters), _FNV_OFFSET)
        for column in codes.T:
            state = np.where(column > 0, (state ^ column.astype(np.uint64)) * _FNV_PRIME, state)
        mixed = state + np.uint64(seed & 0xFFFFFFFF) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = mixed + np.uint64(stream + 1) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) / 2.0**53)


def _choice(drawn: Array, options: int) -> npt.NDArray[np.int64]:
    return (drawn * options).astype(np.int64)
