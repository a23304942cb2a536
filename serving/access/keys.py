"""Keys as their owner handles them: make, list, rotate, revoke. Every change is in the audit.

A key is `prefix.secret`; the secret has 256 random bits, so one SHA-256 is enough to keep it safe at rest (there is
nothing to guess).
"""

from __future__ import annotations

import getpass
import hashlib
import secrets
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from pipelines.database import Database
from pipelines.errors import AccessError
from pipelines.settings import Settings
from serving.access import audit
from serving.access.scopes import READING, check
from serving.access.tables import KEYS, as_text, raise_revision

DEMO_HOURS = 24
_SHOWN = ("prefix", "name", "scopes", "locations", "created_at", "expires_at", "last_used_at", "loopback_only")


def create_key(
    settings: Settings, *, name: str, scopes: Sequence[str], days: int = 365, locations: Sequence[str] | None = None
) -> str:
    """Create a key and return it: only its hash is kept, so it cannot be shown again.

    Args:
        settings: The shop.
        name: Who uses it.
        scopes: What it may do, from SCOPES.
        days: How long it is valid.
        locations: Where it may do it; None is everywhere.

    Raises:
        AccessError: The name is empty, a scope is unknown, or one knows no locations.
    """
    check(name, scopes, locations)
    with closing(Database(settings)) as database, database.writing() as connection:
        key = _add(connection, name, scopes, timedelta(days=days), locations=locations)
        _note(connection, "key created", key, name=name, scopes=list(scopes), days=days)
    return key


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
    with closing(Database(settings)) as database, database.writing() as connection:
        connection.execute(delete(KEYS).where(KEYS.c.demo == 1))
        key = _add(connection, "demo", READING, timedelta(hours=DEMO_HOURS), demo=True)
        _note(connection, "key created", key, name="demo", scopes=READING)
    return key


def list_keys(settings: Settings) -> list[dict[str, Any]]:
    """Every key but its secret, oldest first, and whether it is still valid."""
    wanted = select(*(KEYS.c[name] for name in _SHOWN)).order_by(KEYS.c.created_at, KEYS.c.prefix)
    with closing(Database(settings)) as database, database.reading() as connection:
        rows = connection.execute(wanted).mappings().all()
    now = as_text(datetime.now(UTC))
    return [
        dict(row)
        | {
            "locations": row["locations"] and orjson.loads(row["locations"]),
            "loopback_only": bool(row["loopback_only"]),
            "valid": row["expires_at"] > now,
        }
        for row in rows
    ]


def rotate_key(settings: Settings, name: str, *, overlap_days: int = 7, days: int = 365) -> str:
    """A new key that may do what the one of this name may; both are good until the overlap is over.

    Args:
        settings: The shop.
        name: Whose key.
        overlap_days: How long the old one stays good, at most.
        days: How long the new one is valid.

    Raises:
        AccessError: Nobody of this name has a valid key, or already two.
    """
    now = datetime.now(UTC)
    with closing(Database(settings)) as database, database.writing() as connection:
        live = select(KEYS).where(KEYS.c.name == name, KEYS.c.expires_at > as_text(now), KEYS.c.demo == 0)
        found = connection.execute(live).mappings().all()
        if len(found) != 1:
            raise _not_one(name, [row["prefix"] for row in found])
        old = found[0]
        until = min(old["expires_at"], as_text(now + timedelta(days=overlap_days)))
        connection.execute(update(KEYS).where(KEYS.c.prefix == old["prefix"]).values(expires_at=until))
        places = orjson.loads(old["locations"]) if old["locations"] else None
        key = _add(connection, name, old["scopes"].split(), timedelta(days=days), locations=places)
        _note(connection, "key rotated", key, name=name, replaces=old["prefix"], old_until=until)
    return key


def revoke_key(settings: Settings, prefix: str) -> None:
    """Make a key useless at once; its sessions end with it.

    Args:
        settings: The shop.
        prefix: The part before the dot.

    Raises:
        AccessError: There is no such key.
    """
    prefix = prefix.partition(".")[0]
    with closing(Database(settings)) as database, database.writing() as connection:
        if not connection.execute(delete(KEYS).where(KEYS.c.prefix == prefix)).rowcount:
            raise AccessError(f"There is no key {prefix}.", remedy="purvey keys list shows the prefixes")
        raise_revision(connection)
        _note(connection, "key revoked", prefix)


def sha256(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _add(
    connection: Connection,
    name: str,
    scopes: Sequence[str],
    valid: timedelta,
    *,
    locations: Sequence[str] | None = None,
    demo: bool = False,
) -> str:
    prefix, secret = f"pv{secrets.token_hex(5)}", secrets.token_urlsafe(32)
    now = datetime.now(UTC)
    row = {
        "prefix": prefix,
        "secret_sha256": sha256(secret),
        "name": name,
        "scopes": " ".join(scopes),
        "created_at": as_text(now),
        "expires_at": as_text(now + valid),
        "loopback_only": int(demo),
        "demo": int(demo),
        "locations": None if locations is None else orjson.dumps(sorted(set(locations))).decode(),
    }
    connection.execute(insert(KEYS), row)
    raise_revision(connection)
    return f"{prefix}.{secret}"


def _note(connection: Connection, what: str, key: str, **facts: Any) -> None:
    facts = {"prefix": key.partition(".")[0]} | facts
    audit.write(connection, audit.Entry(what=what, name=_operator(), facts=facts))


def _operator() -> str:
    """Who sits at the command line; a container may know no name for its user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "operator"


def _not_one(name: str, prefixes: list[str]) -> AccessError:
    if not prefixes:
        return AccessError(f"Nobody called {name!r} has a valid key.", remedy="purvey keys create makes one")
    return AccessError(
        f"{name!r} has several valid keys: {', '.join(prefixes)}.", remedy="revoke all but one before rotating again"
    )
