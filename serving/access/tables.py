"""The tables of keys, sessions and the audit in the API's store. Times are ISO texts in UTC."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Connection, ForeignKey, Integer, Table, Text, select, text

from pipelines.database import TABLES

KEYS = Table(
    "keys",
    TABLES,
    Column("prefix", Text, primary_key=True),
    Column("secret_sha256", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("last_used_at", Text),
    Column("loopback_only", Integer, nullable=False),
    Column("demo", Integer, nullable=False),
    Column("locations", Text),  # JSON list; null is everywhere
    sqlite_strict=True,
)
SESSIONS = Table(
    "sessions",
    TABLES,
    Column("token_sha256", Text, primary_key=True),
    Column("prefix", Text, ForeignKey("keys.prefix", ondelete="CASCADE"), nullable=False),
    Column("expires_at", Text, nullable=False),
    sqlite_strict=True,
)
AUDIT = Table(
    "audit",
    TABLES,
    Column("number", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("key", Text),  # prefix; null where somebody at the server's own command line did it
    Column("name", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("rows", Integer),
    Column("request_id", Text),
    Column("facts", Text, nullable=False),  # JSON
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
# How often keys or sessions were changed: the store also holds much that changes more often and concerns no key.
_REVISION = Table("access_revision", TABLES, Column("one", Integer, primary_key=True), Column("number", Integer))
_RAISE = text(
    "INSERT INTO access_revision (one, number) VALUES (1, 1)"
    " ON CONFLICT (one) DO UPDATE SET number = access_revision.number + 1"
)


def raise_revision(connection: Connection) -> None:
    """Say, in the transaction that changes keys or sessions, that they changed."""
    connection.execute(_RAISE)


def revision(connection: Connection) -> int:
    """How often keys or sessions were changed."""
    return connection.execute(select(_REVISION.c.number)).scalar() or 0


def as_text(moment: datetime) -> str:
    """A moment as it is stored."""
    return moment.isoformat(timespec="seconds")
