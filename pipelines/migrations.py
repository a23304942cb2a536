"""How a table of an older layout becomes one of the current layout.

`MIGRATIONS[table][n - 1]` turns layout n into layout n + 1: a function on a lazy frame that can be applied twice
without harm. Raising `Table.version` in `features.tables` without a step here fails a test.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

MIGRATIONS: dict[str, list[Callable[[pl.LazyFrame], pl.LazyFrame]]] = {}
