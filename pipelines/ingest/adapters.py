"""Adapters by name: how the export of a particular system becomes canonical tables (`adapter:` of a source).

An adapter is four plain things: the columns it needs with their types; the rules by which it sets lines aside, in
words; a function that gives every row its canonical columns and its rule; and what its lines bring along.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from pipelines.errors import ConfigError
from pipelines.ingest import online_retail
from pipelines.settings import Source


@dataclass(frozen=True)
class Adapter:
    """One system's export.

    Attributes:
        table: The table its rows become.
        columns: Column it needs → type.
        rules: Rule → what it sets aside, in the order they are tried.
        adapt: Typed rows of all files (`_file`, `_row`, the columns) → canonical rows with `rule` (null: goes on).
        unknown: Canonical rows of one file → reasons (`_row`, `reason`) that only this system has.
        attributes: Good rows → further tables.
        customer: The column that names the customer.
    """

    table: str
    columns: Mapping[str, pl.DataType]
    rules: Mapping[str, str]
    adapt: Callable[[pl.DataFrame], pl.DataFrame]
    unknown: Callable[[pl.DataFrame], pl.DataFrame]
    attributes: Callable[[pl.DataFrame], dict[str, pl.DataFrame]]
    customer: str = "customer_id"


ADAPTERS = {
    "online_retail": Adapter(
        table="order_lines",
        columns=online_retail.COLUMNS,
        rules=online_retail.RULES,
        adapt=online_retail.adapt,
        unknown=online_retail.unknown,
        attributes=online_retail.attributes,
        customer="CustomerID",
    ),
}


def adapter_of(source: Source) -> Adapter | None:
    """The adapter a source names, None when it names none.

    Raises:
        ConfigError: There is no such adapter, or it makes another table.
    """
    if source.adapter is None:
        return None
    if source.adapter not in ADAPTERS:
        near = difflib.get_close_matches(source.adapter, ADAPTERS, n=1)
        raise ConfigError(
            f"There is no adapter {source.adapter!r}.",
            rule="adapter",
            remedy=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(ADAPTERS)}; or use `columns:`",
        )
    adapter = ADAPTERS[source.adapter]
    if adapter.table != source.table:
        raise ConfigError(f"The adapter {source.adapter} makes {adapter.table}, not {source.table}.", rule="adapter")
    return adapter
