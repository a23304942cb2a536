"""Answers that are ready before they are asked for: one JSON text a row, in one column, found by its key.

The texts are made once, when a release is taken up, by polars and not row by row; they lie in one Arrow buffer, so that
100,000 of them are some hundred megabytes and not as many Python objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import polars as pl
import polars.selectors as cs

_ROWS_AT_ONCE = 10_000
_DECIMALS = 6
_APART = "\x1f"  # ASCII's unit separator: between the parts of a key


class Bodies:
    """The JSON text of each row of a table.

    Args:
        keys: Key of each row, its parts as text put together by `key_of`.
        texts: JSON text of each row, in the same order.
    """

    def __init__(self, keys: pl.Series, texts: pl.Series) -> None:
        self._texts = texts
        self._place = {key: place for place, key in enumerate(keys)}

    def __len__(self) -> int:
        return len(self._texts)

    def find(self, key: str) -> str | None:
        """The text of one row, None where there is none."""
        place = self._place.get(key)
        return None if place is None else self._texts[place]

    def places(self, keys: Iterable[str]) -> list[int | None]:
        """Where each of these rows is, None where there is none."""
        return list(map(self._place.get, keys))

    def joined(self, places: list[int]) -> str:
        """The texts of some rows, in this order, with commas between them."""
        return ",".join(self._texts.gather(places).to_list())


def key_of(parts: Iterable[str]) -> str:
    """The key of a row of which the parts are known as texts.

    Example:
        >>> key_of(["85123A"])
        '85123A'
    """
    return _APART.join(parts)


def made(frame: pl.DataFrame, keys: list[str], shaped: Callable[[pl.DataFrame], pl.DataFrame]) -> Bodies:
    """The bodies of a table, some rows at a time: what is needed on the way is given back before the next.

    Args:
        frame: Rows; each key stands in one run of rows.
        keys: The key columns.
        shaped: Makes one row a key, as it is sent, of some of the rows.
    """
    named, texts = [], []
    for part in _parts(frame, keys):
        rows = shaped(part)
        named.append(rows.select(pl.concat_str(pl.col(keys).cast(pl.String), separator=_APART)).to_series())
        texts.append(rows.select(pl.struct(pl.all()).struct.json_encode()).to_series())
    if not texts:
        return Bodies(pl.Series(dtype=pl.String), pl.Series(dtype=pl.String))
    return Bodies(pl.concat(named), pl.concat(texts, rechunk=True))


def tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows as they are sent: numbers without the noise of their last digits."""
    return frame.with_columns(cs.float().round(_DECIMALS))


def _parts(frame: pl.DataFrame, keys: list[str]) -> Iterator[pl.DataFrame]:
    """A frame in slices that keep the rows of one key together."""
    if frame.is_empty():
        return
    first = frame.select(pl.struct(keys).rle_id().is_first_distinct().arg_true()).to_series()
    bounds = [*first.gather_every(_ROWS_AT_ONCE).to_list(), frame.height]
    for start, end in pairwise(bounds):
        yield frame.slice(start, end - start)
