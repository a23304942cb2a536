"""Attributes of contracts as numbers: what a column is, and the code of every text, decided once and then frozen.

A text column of which nearly all values parse as numbers is a number (blanks are missing). Every other text is a code:
its place among the values known at the fit, −1 for what was not known then or is missing. Protected columns, the
outcome, the day a contract ended, identifiers and columns that tell the outcome by themselves are never attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.customers.metrics import auc

Floats = NDArray[np.float64]

OUTCOME = ("customer_id", "churned", "ended_on")
NUMERIC_SHARE = 0.95  # of the values of a text column that must parse for it to be a number
MOST_CODES = 50  # the most frequent texts of a column that get a code of their own
LEAK_AUC = 0.98  # a single attribute that ranks better than this knows the outcome
_UNIQUE_SHARE = 0.5  # of the rows: a text with more different values names rows, it does not describe them
_FEW_ROWS = 50  # below which nothing is called an identifier or a leak


@dataclass(frozen=True)
class Encoder:
    """Which columns are attributes, and how each becomes a number.

    Attributes:
        numbers: Columns that are numbers, whatever their type.
        codes: Column → its known texts, in alphabetical order.
    """

    numbers: tuple[str, ...]
    codes: dict[str, list[str]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The columns of `encode`, in order."""
        return [*self.numbers, *self.codes]

    @classmethod
    def fit(cls, rows: pl.DataFrame) -> Encoder:
        """Decide from rows of `describe`; what says nothing (one value only) and what names rows is left out.

        Example:
            >>> rows = pl.DataFrame({"fee": ["9.5", " ", "7"] * 30, "plan": ["gold", "tin", "gold"] * 30})
            >>> Encoder.fit(rows.with_columns(customer_id=pl.int_range(pl.len())))
            Encoder(numbers=('fee',), codes={'plan': ['gold', 'tin']})
        """
        numbers, codes = [], {}
        for name in sorted(set(rows.columns) - set(OUTCOME)):
            column = rows[name]
            if column.dtype != pl.String or _is_number(column):
                value = as_number(column)
                if value.drop_nulls().n_unique() + int(value.null_count() > 0) > 1 and not _is_counter(value):
                    numbers.append(name)
                continue
            texts = column.drop_nulls()
            varied = texts.n_unique() + int(column.null_count() > 0) > 1
            if varied and (rows.height < _FEW_ROWS or texts.n_unique() <= _UNIQUE_SHARE * rows.height):
                counts = (
                    pl.DataFrame({"text": texts}).group_by("text").len().sort("len", "text", descending=[True, False])
                )
                codes[name] = sorted(counts["text"].head(MOST_CODES).to_list())
        return cls(tuple(numbers), codes)

    def without(self, names: Sequence[str]) -> Encoder:
        """The same but for some columns."""
        kept = tuple(name for name in self.numbers if name not in names)
        return Encoder(kept, {name: known for name, known in self.codes.items() if name not in names})

    def encode(self, rows: pl.DataFrame) -> pl.DataFrame:
        """One float a column: the number (null where missing) or the code (−1 where unknown or missing)."""
        columns = [as_number(rows[name]) for name in self.numbers]
        for name, known in self.codes.items():
            texts = pl.Series(name, rows[name], dtype=pl.String, strict=False)
            places = dict(zip(known, np.arange(len(known), dtype=float).tolist(), strict=True))
            columns.append(texts.replace_strict(places, default=-1.0, return_dtype=pl.Float64))
        return pl.DataFrame(columns)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `model.json`."""
        return {"numbers": list(self.numbers), "codes": self.codes}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Encoder:
        """What `as_dict` gave."""
        return cls(tuple(facts["numbers"]), facts["codes"])


def describe(contracts: pl.DataFrame, protected: Sequence[str]) -> pl.DataFrame:
    """What may be learned from, sorted by customer: customer_id, numbers as floats and texts without blanks.

    `started_on` becomes days since 1970-01-01. Other dates are left out: nobody can know which of them were set only
    because the contract ended.
    """
    kept: list[pl.Expr] = [pl.col("customer_id")]
    for name, dtype in contracts.schema.items():
        if name in OUTCOME or name in protected:
            continue
        if name == "started_on":
            kept.append(pl.col(name).cast(pl.Int32).cast(pl.Float64))
        elif dtype == pl.String or dtype == pl.Categorical or isinstance(dtype, pl.Enum):
            text = pl.col(name).cast(pl.String).str.strip_chars()
            kept.append(pl.when(text != "").then(text).alias(name))
        elif dtype.is_numeric() or dtype == pl.Boolean:
            kept.append(pl.col(name).cast(pl.Float64).fill_nan(None))
    return contracts.select(kept).sort("customer_id")


def leaks(rows: pl.DataFrame, encoder: Encoder, churned: Floats) -> dict[str, float]:
    """Attributes that alone tell who left, and the AUC of each: recorded after the fact, or the outcome itself."""
    if min(churned.sum(), (1 - churned).sum()) < _FEW_ROWS / 5 or len(churned) < _FEW_ROWS:
        return {}
    encoded, found = encoder.encode(rows), {}
    for name in encoder.names:
        column = encoded[name]
        missing = (column.is_null() | (column == -1 if name in encoder.codes else False)).cast(pl.Float64).to_numpy()
        if name in encoder.codes:
            seen = pl.DataFrame({"code": column, "churned": churned})
            score = seen.select(pl.col("churned").mean().over("code")).to_series().to_numpy()
        else:
            score = column.fill_null(column.median()).to_numpy()
        known = [auc(churned, ranked) for ranked in (score, missing)]
        best = max(max(value, 1 - value) for value in known)
        if best > LEAK_AUC:
            found[name] = best
    return found


def as_number(column: pl.Series) -> pl.Series:
    """A column as floats; blanks and what does not parse are missing."""
    if column.dtype == pl.String:
        column = column.str.strip_chars().cast(pl.Float64, strict=False)
    column = column.cast(pl.Float64)
    return column.to_frame().select(pl.when(pl.col(column.name).is_finite()).then(pl.col(column.name))).to_series()


def _is_number(column: pl.Series) -> bool:
    texts = column.drop_nulls().str.strip_chars()
    texts = texts.filter(texts != "")
    return texts.len() > 0 and as_number(texts).count() >= NUMERIC_SHARE * texts.len()


def _is_counter(value: pl.Series) -> bool:
    """Whether a column merely counts the rows: every whole number once."""
    known = value.drop_nulls()
    if known.len() < _FEW_ROWS or known.n_unique() < known.len():
        return False
    low, high = float(known.to_numpy().min()), float(known.to_numpy().max())
    return bool((known == known.round()).all()) and high - low == known.len() - 1
