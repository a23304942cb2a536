"""The keys as the server holds them: all in memory, so that a request asks no disk and no network.

What is held is forgotten as soon as the store says that keys or sessions changed: on SQLite within a
millisecond, on PostgreSQL within a second. While the store is away nobody can revoke there either: what was known stays
good for a while, then nothing is.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
from sqlalchemy import delete, insert, select, update

from pipelines.database import Database
from pipelines.errors import StoreError
from serving.access import clock
from serving.access.keys import sha256
from serving.access.scopes import Access
from serving.access.tables import KEYS, SESSIONS, as_text, raise_revision, revision

SESSION_HOURS = 12
LOOK_SECONDS = 0.5
AWAY_SECONDS = 300.0
ASK_SECONDS = 0.001  # asking SQLite costs more than all else about a key: under load it is asked once a millisecond


@dataclass(frozen=True)
class _Key:
    access: Access
    secret_sha256: str
    expires_at: float
    loopback_only: bool


@dataclass(frozen=True)
class _Held:
    """Keys by prefix, and sessions by the hash of their token: prefix and expiry."""

    revision: int
    keys: dict[str, _Key]
    sessions: dict[str, tuple[str, float]]


class Keyring:
    """The keys and sessions of one shop.

    Args:
        database: The store. It belongs to whoever opened it.

    Raises:
        StoreError: The store cannot be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held = _Held(-1, {}, {})
        self._seen = -1
        self._reached = self._asked = 0.0
        self._one_at_a_time = threading.Lock()
        self._used: dict[str, float] = {}
        self._noted: dict[str, float] = {}
        self.refresh()

    def of_key(self, key: str, *, local: bool) -> Access | None:
        """What a key may do, None when it is unknown, expired, or bound to this machine and used from elsewhere.

        Raises:
            StoreError: The store has been away for too long.
        """
        prefix, _, secret = key.partition(".")
        kept = self._fresh().keys.get(prefix)
        if kept is None or not hmac.compare_digest(kept.secret_sha256, sha256(secret)):
            return None
        return self._valid(kept, local)

    def of_session(self, token: str, *, local: bool) -> Access | None:
        """What the key behind a session may do, None when session or key is no longer valid.

        Raises:
            StoreError: The store has been away for too long.
        """
        held = self._fresh()
        prefix, until = held.sessions.get(sha256(token), ("", 0.0))
        kept = held.keys.get(prefix)
        return self._valid(kept, local) if kept is not None and until > clock.now() else None

    def open_session(self, access: Access) -> str:
        """A fresh token for a cookie; only its hash is kept."""
        token, now = secrets.token_urlsafe(32), datetime.now(UTC)
        until = as_text(now + timedelta(hours=SESSION_HOURS))
        with self._database.writing() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_at <= as_text(now)))
            row = {"token_sha256": sha256(token), "prefix": access.prefix, "expires_at": until}
            connection.execute(insert(SESSIONS), row)
            raise_revision(connection)
        self.refresh()
        return token

    def close_session(self, token: str) -> None:
        """End a session."""
        with self._database.writing() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.token_sha256 == sha256(token)))
            raise_revision(connection)
        self.refresh()

    def refresh(self) -> None:
        """Take up what changed.

        Raises:
            StoreError: The store cannot be read.
        """
        with self._one_at_a_time:
            seen = self._database.changes()  # before the reading: a change in between is seen the next time
            with self._database.reading() as connection:
                now = revision(connection)
                if now != self._held.revision:
                    keys = connection.execute(select(KEYS)).mappings().all()
                    sessions = connection.execute(select(SESSIONS)).all()
                    self._held = _Held(
                        now,
                        {row["prefix"]: _key(dict(row)) for row in keys},
                        {row.token_sha256: (row.prefix, _seconds(row.expires_at)) for row in sessions},
                    )
            self._seen, self._reached = seen, time.monotonic()

    async def watch(self) -> None:
        """Look for changes for ever, beside the requests: all that PostgreSQL needs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(StoreError):
                await asyncio.to_thread(self.refresh)

    def note_uses(self) -> None:
        """Write down when keys were last used; collected, so that a request does not wait for the disk.

        What could not be written is written the next time.
        """
        used = self._used.copy()
        fresh = {prefix: at for prefix, at in used.items() if self._noted.get(prefix) != at}
        if fresh:
            with self._database.writing() as connection:
                for prefix, at in fresh.items():
                    last = as_text(datetime.fromtimestamp(at, UTC))
                    connection.execute(update(KEYS).where(KEYS.c.prefix == prefix).values(last_used_at=last))
            self._noted = used

    def close(self) -> None:
        """Write what is pending."""
        with suppress(StoreError):
            self.note_uses()

    def _fresh(self) -> _Held:
        now = time.monotonic()
        if self._database.file is not None and now - self._asked > ASK_SECONDS:
            self._asked = now
            with suppress(StoreError):
                if self._database.changes() != self._seen:
                    self.refresh()
        if now - self._reached > AWAY_SECONDS:
            raise StoreError("The keys cannot be read, so nobody can be let in.", file=self._database.place)
        return self._held

    def _valid(self, kept: _Key, local: bool) -> Access | None:
        now = clock.now()
        if kept.expires_at <= now or (kept.loopback_only and not local):
            return None
        self._used[kept.access.prefix] = now
        return kept.access


def _key(row: dict[str, str]) -> _Key:
    places = frozenset(orjson.loads(row["locations"])) if row["locations"] else None
    access = Access(row["prefix"], row["name"], frozenset(row["scopes"].split()), places)
    return _Key(access, row["secret_sha256"], _seconds(row["expires_at"]), bool(row["loopback_only"]))


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
