"""Proposed orders with what was decided on them since the release was made."""

from __future__ import annotations

from typing import Any

import polars as pl
from sqlalchemy import Connection

from pipelines import inbox
from pipelines.database import Database
from pipelines.supply.orders import PROPOSED, as_told, order_lines
from serving.store import Held

_NEWS = {"order_line": pl.String, "told_state": pl.String, "told_quantity": pl.Float64, "told_reason": pl.String}


def lines_of(held: Held) -> pl.DataFrame:
    """Table replenishment of a release with the id of each line."""
    rows = held.table("replenishment")
    unsaid = {"state": pl.lit(PROPOSED), "state_reason": pl.lit(None, dtype=pl.String)}  # in releases made before
    rows = rows.with_columns(**{name: said for name, said in unsaid.items() if name not in rows.columns})
    return rows.with_columns(order_lines(rows, held.series))


class Decided:
    """What the store says of lines, remembered until the store changes.

    Args:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: tuple[tuple[Any, ...], pl.DataFrame] | None = None  # in one: threads read it while others write

    def forget(self) -> None:
        """Look again: PostgreSQL tells of changes once a second, and who decided wants to see it at once."""
        self._kept = None

    def of(self, held: Held) -> pl.DataFrame:
        """The lines of a release as they are now."""
        seen = held.release.id, self._database.changes()
        kept = self._kept
        if kept is not None and kept[0] == seen:
            return kept[1]
        with self._database.reading() as connection:
            lines = now(connection, held)
        self._kept = seen, lines
        return lines


def now(connection: Connection, held: Held) -> pl.DataFrame:
    """The lines of a release as they are within a transaction."""
    rows = lines_of(held)
    said = inbox.since(connection, held.release.created_at)
    last = {one["order_line"]: (one["state"], one["why"]) for one in said}
    units = {one["order_line"]: one["quantity"] for one in said if one.get("quantity") is not None}
    news = [(line, state, units.get(line), why) for line, (state, why) in last.items()]
    return as_told(rows, pl.DataFrame(news, schema=_NEWS, orient="row"))
