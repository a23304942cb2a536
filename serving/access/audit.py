"""The record of what cannot be taken back: exports, decisions, changes of keys. Who, what, when, how many rows."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select

from pipelines.database import Database
from pipelines.settings import Settings
from serving.access.tables import AUDIT, as_text


@dataclass(frozen=True)
class Entry:
    """One thing that was done.

    Attributes:
        what: For example `export`, `key created`, `order approved`.
        name: Who did it.
        key: The prefix of the key; None where it was done at the command line.
        rows: How many rows it concerned.
        request_id: The request, as in the log.
        facts: What else is worth knowing; no personal data.
    """

    what: str
    name: str
    key: str | None = None
    rows: int | None = None
    request_id: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def write(connection: Connection, *entries: Entry) -> None:
    """Write entries down in the transaction of what they tell of."""
    at = as_text(datetime.now(UTC))
    columns = ("what", "name", "key", "rows", "request_id")
    rows = [
        {column: getattr(entry, column) for column in columns}
        | {"at": at, "facts": orjson.dumps(entry.facts, default=str).decode()}
        for entry in entries
    ]
    connection.execute(insert(AUDIT), rows)


def entries(database: Database, *, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """What was done, the newest first.

    Args:
        database: The store.
        limit: How many entries at most.
        before: Only entries with a smaller number.
    """
    wanted = select(AUDIT).order_by(AUDIT.c.number.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(AUDIT.c.number < before)
    with database.reading() as connection:
        found = connection.execute(wanted).all()
    names = [str(column.name) for column in AUDIT.columns]  # SQLAlchemy's own kind of text is no key for orjson
    rows = [dict(zip(names, row, strict=True)) for row in found]
    return [row | {"facts": orjson.loads(row["facts"])} for row in rows]


def list_audit(settings: Settings, limit: int = 100) -> list[dict[str, Any]]:
    """The newest entries of a shop."""
    with closing(Database(settings)) as database:
        return entries(database, limit=limit)
