"""Who may ask for what: keys with scopes, kept as hashes, and sign-in sessions for the pages.

A key is `prefix.secret`; the secret has 256 random bits, so one SHA-256 is enough to keep it safe at rest (there is
nothing to guess). Keys and sessions live in SQLite under the shop's API folder and are looked up at every request: a
revoked key is useless at once.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pipelines.database import LAYOUT
from pipelines.errors import AccessError
from pipelines.settings import Serving, Settings, is_loopback
from serving.problems import Problem

SCOPES: dict[str, str] = {
    "forecasts:read": "forecasts of demand",
    "customers:read": "customer scores and segments",
    "lists:export": "whole lists as CSV",
    "replenishment:read": "proposed orders",
    "monitoring:read": "drift, models, reports, metrics",
    "admin": "everything",
}
READING = [scope for scope in SCOPES if scope != "admin"]
DEMO_HOURS = 24
SESSION_HOURS = 12
COOKIE = "purvey_session"
_PROXY_HEADERS = {"forwarded", "via", "x-real-ip"}
_BUSY_SECONDS = 5.0
_TABLES = """
CREATE TABLE IF NOT EXISTS keys (
    prefix TEXT PRIMARY KEY, secret_sha256 TEXT NOT NULL, name TEXT NOT NULL, scopes TEXT NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL, last_used_at TEXT, loopback_only INTEGER NOT NULL,
    demo INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    token_sha256 TEXT PRIMARY KEY, prefix TEXT NOT NULL REFERENCES keys ON DELETE CASCADE, expires_at TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class Access:
    """What one valid key may do."""

    prefix: str
    name: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether the key covers a scope."""
        return scope in self.scopes or "admin" in self.scopes


def create_key(settings: Settings, *, name: str, scopes: Sequence[str], days: int = 365) -> str:
    """Create a key and return it: only its hash is kept, so it cannot be shown again.

    Args:
        settings: The shop.
        name: Who uses it.
        scopes: What it may do, from SCOPES.
        days: How long it is valid.

    Raises:
        AccessError: The name is empty or a scope is unknown.
    """
    for scope in scopes:
        if scope not in SCOPES:
            near = difflib.get_close_matches(scope, SCOPES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(SCOPES)}"
            raise AccessError(f"There is no scope {scope!r}.", remedy=hint)
    if not name.strip() or not scopes:
        raise AccessError("A key needs a name and at least one scope.", remedy=f"scopes: {', '.join(SCOPES)}")
    with closing(Keyring(settings)) as ring:
        return ring.add(name, scopes, timedelta(days=days))


def demo_key(settings: Settings) -> str:
    """A fresh key that reads everything, for 24 hours, from this machine only. It replaces the earlier one.

    Raises:
        AccessError: Others than this machine can reach the server, so that nobody counts as local.
    """
    if not settings.serving.on_this_machine_only:
        raise AccessError(
            "There is no demo key for a server that others can reach (serving.public_url or host says so).",
            remedy="make a key with `purvey keys create`",
        )
    with closing(Keyring(settings)) as ring:
        return ring.add("demo", READING, timedelta(hours=DEMO_HOURS), demo=True)


def list_keys(settings: Settings) -> list[dict[str, Any]]:
    """Every key but its secret: prefix, name, scopes, when made, until when, when last used, whether still valid."""
    with closing(Keyring(settings)) as ring:
        return ring.rows()


def revoke_key(settings: Settings, prefix: str) -> None:
    """Make a key useless at once; its sessions end with it.

    Args:
        settings: The shop.
        prefix: The part before the dot.

    Raises:
        AccessError: There is no such key.
    """
    with closing(Keyring(settings)) as ring:
        ring.remove(prefix.partition(".")[0])


class Keyring:
    """The keys of one shop.

    Raises:
        AccessError: A newer program wrote them, or the folder cannot be written.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = file = settings.api_dir / "access.db"
        try:
            settings.api_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._connection = sqlite3.connect(
                file, timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            layout = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if layout <= LAYOUT:
                self._connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={max(layout, 1)}; COMMIT;")
        except (OSError, sqlite3.Error) as error:
            raise AccessError(f"The keys cannot be opened: {error}.", file=file, remedy="check permissions") from error
        if layout > LAYOUT:
            self._connection.close()
            raise AccessError("The keys were written by a newer program.", file=file, remedy="install a newer purvey")
        self._used: dict[str, str] = {}
        self._noted: dict[str, str] = {}

    def close(self) -> None:
        """Write what is pending and let go of the file."""
        with suppress(sqlite3.Error):
            self.note_uses()
        self._connection.close()

    def add(self, name: str, scopes: Sequence[str], valid: timedelta, *, demo: bool = False) -> str:
        """Keep the hash of a new key and return the key."""
        prefix, secret = f"pv{secrets.token_hex(5)}", secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        row = (prefix, _sha256(secret), name, " ".join(scopes), _text(now), _text(now + valid), demo, demo)
        insert = (
            "INSERT INTO keys (prefix, secret_sha256, name, scopes, created_at, expires_at, loopback_only, demo)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
        with self._writing() as connection:
            if demo:
                connection.execute("DELETE FROM keys WHERE demo")
            connection.execute(insert, row)
        return f"{prefix}.{secret}"

    def rows(self) -> list[dict[str, Any]]:
        """Every key without its hash, oldest first."""
        names = ("prefix", "name", "scopes", "created_at", "expires_at", "last_used_at", "loopback_only")
        found = self._connection.execute(f"SELECT {', '.join(names)} FROM keys ORDER BY created_at, prefix").fetchall()
        now = _text(datetime.now(UTC))
        rows = [dict(zip(names, row, strict=True)) for row in found]
        return [row | {"loopback_only": bool(row["loopback_only"]), "valid": row["expires_at"] > now} for row in rows]

    def remove(self, prefix: str) -> None:
        """Forget a key and its sessions.

        Raises:
            AccessError: There is no such key.
        """
        with self._writing() as connection:
            found = connection.execute("DELETE FROM keys WHERE prefix = ?", (prefix,)).rowcount
        if not found:
            raise AccessError(f"There is no key {prefix}.", remedy="purvey keys list shows the prefixes")

    def of_key(self, key: str, *, local: bool) -> Access | None:
        """What a key may do, None when it is unknown, expired, or bound to this machine and used from elsewhere."""
        prefix, _, secret = key.partition(".")
        return self._find("k.prefix = ?", prefix, secret=secret, local=local)

    def open_session(self, access: Access) -> str:
        """A fresh token for a cookie; only its hash is kept."""
        token, now = secrets.token_urlsafe(32), datetime.now(UTC)
        row = (_sha256(token), access.prefix, _text(now + timedelta(hours=SESSION_HOURS)))
        with self._writing() as connection:
            connection.execute("DELETE FROM sessions WHERE expires_at <= ?", (_text(now),))
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", row)
        return token

    def of_session(self, token: str, *, local: bool) -> Access | None:
        """What the key behind a session may do, None when session or key is no longer valid."""
        where = "k.prefix = (SELECT prefix FROM sessions WHERE token_sha256 = ? AND expires_at > ?)"
        return self._find(where, _sha256(token), _text(datetime.now(UTC)), local=local)

    def close_session(self, token: str) -> None:
        """End a session."""
        with self._writing() as connection:
            connection.execute("DELETE FROM sessions WHERE token_sha256 = ?", (_sha256(token),))

    def note_uses(self) -> None:
        """Write down when keys were last used; collected, so that a request does not wait for the disk.

        What could not be written is written the next time.
        """
        used = self._used.copy()
        fresh = [(at, prefix) for prefix, at in used.items() if self._noted.get(prefix) != at]
        if fresh:
            with self._writing() as connection:
                connection.executemany("UPDATE keys SET last_used_at = ? WHERE prefix = ?", fresh)
            self._noted = used

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on a connection of its own: waiting for the disk here, it holds up no reader there."""
        with closing(sqlite3.connect(self._file, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _find(self, where: str, *values: str, local: bool, secret: str | None = None) -> Access | None:
        row = self._connection.execute(
            f"SELECT prefix, name, scopes, secret_sha256, expires_at, loopback_only FROM keys k WHERE {where}", values
        ).fetchone()
        if row is None:
            return None
        prefix, name, scopes, kept, expires_at, loopback_only = row
        now = _text(datetime.now(UTC))
        if secret is not None and not hmac.compare_digest(kept, _sha256(secret)):
            return None
        if expires_at <= now or (loopback_only and not local):
            return None
        self._used[prefix] = now
        return Access(prefix, name, frozenset(scopes.split()))


def is_local(request: Request) -> bool:
    """Whether a request comes from this machine itself and was addressed to it.

    Nobody is local once others can reach the server. A request that shows it passed a proxy is not local either (nginx
    speaks HTTP/1.0 to what is behind it unless told otherwise; no browser does), nor one that names another host: a
    page elsewhere could otherwise point its own name at 127.0.0.1 and read along (DNS rebinding).
    """
    serving: Serving = request.app.state.serving
    if request.client is None or not serving.on_this_machine_only or request.scope["http_version"] == "1.0":
        return False
    if any(name in _PROXY_HEADERS or name.startswith("x-forwarded-") for name in request.headers):
        return False
    return is_loopback(request.client.host) and is_loopback(_host(request.headers.get("host", "")))


def access_of(request: Request) -> Access | None:
    """What the sender of a request may do: by its key, or by its session cookie."""
    ring: Keyring = request.app.state.keyring
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if key:
        return ring.of_key(key.strip(), local=is_local(request)) if scheme.lower() == "bearer" else None
    token = request.cookies.get(COOKIE)
    return ring.of_session(token, local=is_local(request)) if token else None


def require(request: Request, scope: str) -> Access:
    """Let a request pass or stop it.

    Raises:
        Problem: 401 without a valid key, 403 when the key does not cover the scope.
    """
    access = access_of(request)
    if access is None:
        raise Problem(
            "no-key",
            "Send a valid key: `Authorization: Bearer <key>`.",
            headers={"WWW-Authenticate": 'Bearer realm="purvey"'},
        )
    request.state.key = access.prefix
    if not access.may(scope):
        raise Problem("not-allowed", f"This key has no scope {scope}.")
    return access


_bearer = HTTPBearer(auto_error=False, description="A key made by `purvey keys create`.")


def needs(scope: str) -> Any:
    """The dependency of a route that only keys with this scope may use."""

    async def check(request: Request, _documented: HTTPAuthorizationCredentials | None = Depends(_bearer)) -> None:
        require(request, scope)

    return Depends(check)


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
