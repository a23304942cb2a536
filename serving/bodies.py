"""Answers that are ready before they are asked for: one JSON text a row, in one column, found by its key.

The texts are made once, when a release is taken up, by polars and not row by row; they lie in one buffer of bytes, so
that 100,000 of them are some hundred megabytes and not as many Python objects, and none is copied before it is sent.
"""

from __future__ import annotations

from array import array
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
        text: JSON text of all rows, in the same order, one after the other.
        ends: Where in it the text of each row ends.
    """

    def __init__(self, keys: Iterable[str], text: bytearray, ends: Iterable[int]) -> None:
        self._text = memoryview(text).toreadonly()
        self._bounds = array("q", (0, *ends))
        self._place = {key: place for place, key in enumerate(keys)}

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def find(self, key: str) -> memoryview | None:
        """The text of one row, None where there is none."""
        place = self._place.get(key)
        return None if place is None else self._text[self._bounds[place] : self._bounds[place + 1]]

    def places(self, keys: Iterable[str]) -> list[int | None]:
        """Where each of these rows is, None where there is none."""
        return list(map(self._place.get, keys))

    def joined(self, places: list[int]) -> bytes:
        """The texts of some rows, in this order, with commas between them."""
        text, bounds = self._text, self._bounds
        return b",".join([text[bounds[place] : bounds[place + 1]] for place in places])


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
    named: list[str] = []
    text, ends = bytearray(), array("q")
    for part in _parts(frame, keys):
        rows = shaped(part)
        named += rows.select(pl.concat_str(pl.col(keys).cast(pl.String), separator=_APART)).to_series().to_list()
        texts = rows.select(pl.struct(pl.all()).struct.json_encode()).to_series()
        ends.extend((texts.str.len_bytes().cast(pl.Int64).cum_sum() + len(text)).to_list())
        text += texts.str.join().item().encode()
    return Bodies(named, text, ends)


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
