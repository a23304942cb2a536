from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.database import Database
from pipelines.errors import AccessError, StoreError
from pipelines.settings import Settings
from serving.access import clock, keyring
from serving.access.keyring import Keyring
from serving.auth import Access, create_key, list_audit, list_keys, revoke_key, rotate_key
from tests.made_shop import made_settings
from tests.postgres import Postgres, database_url, postgres

__all__ = ["database_url", "postgres"]
LAYOUT_1 = """
CREATE TABLE keys (
    prefix TEXT PRIMARY KEY, secret_sha256 TEXT NOT NULL, name TEXT NOT NULL, scopes TEXT NOT NULL,
    created_at TEXT NOT NULL, expires_at TEXT NOT NULL, last_used_at TEXT, loopback_only INTEGER NOT NULL,
    demo INTEGER NOT NULL
) STRICT;
CREATE TABLE sessions (
    token_sha256 TEXT PRIMARY KEY, prefix TEXT NOT NULL REFERENCES keys ON DELETE CASCADE, expires_at TEXT NOT NULL
) STRICT;
INSERT INTO keys VALUES ('pv1', '2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b', 'old',
    'forecasts:read', '2026-01-01T00:00:00+00:00', '2999-01-01T00:00:00+00:00', NULL, 0, 0);
PRAGMA user_version=1;
"""  # the hash is that of `secret`


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    return made_settings(tmp_path, serving={"database": database_url})


@pytest.fixture
def ring(settings: Settings) -> Iterator[Keyring]:
    with closing(Database(settings)) as database:
        yield Keyring(database)


def seen(ring: Keyring, settings: Settings) -> Keyring:
    """On PostgreSQL the server looks twice a second; SQLite tells at once."""
    if settings.serving.database:
        ring.refresh()
    return ring


def test_a_key_works_until_it_is_revoked_and_its_sessions_end_with_it(settings: Settings, ring: Keyring) -> None:
    key = create_key(settings, name="shop", scopes=["forecasts:read"], locations=["nice", "lyon"])
    access = seen(ring, settings).of_key(key, local=False)
    assert access == Access(key[:12], "shop", frozenset({"forecasts:read"}), frozenset({"nice", "lyon"}))
    session = ring.open_session(access)
    assert ring.of_session(session, local=False) == access
    assert ring.of_key(key + "x", local=False) is None
    revoke_key(settings, key)
    seen(ring, settings)
    assert ring.of_key(key, local=False) is None
    assert ring.of_session(session, local=False) is None


def test_the_last_use_is_written_to_the_second(settings: Settings, ring: Keyring) -> None:
    key = create_key(settings, name="shop", scopes=["admin"])
    seen(ring, settings).of_key(key, local=False)
    ring.note_uses()
    assert abs(time.time() - keyring._seconds(list_keys(settings)[0]["last_used_at"])) < 60


def test_rotation_keeps_two_keys_of_one_name_good_for_a_while(
    settings: Settings, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = create_key(settings, name="erp", scopes=["replenishment:write"], locations=["nice"])
    new = rotate_key(settings, "erp", overlap_days=7)
    seen(ring, settings)
    accesses = [ring.of_key(key, local=False) for key in (old, new)]
    assert all(access and access.locations == {"nice"} for access in accesses)
    with pytest.raises(AccessError, match="several"):
        rotate_key(settings, "erp")
    later = time.time() + 7.01 * 86_400
    monkeypatch.setattr(clock, "now", lambda: later)
    assert [ring.of_key(key, local=False) is not None for key in (old, new)] == [False, True]
    with pytest.raises(AccessError, match="Nobody"):
        rotate_key(settings, "crm")


def test_every_change_of_a_key_is_in_the_audit_without_its_secret(settings: Settings) -> None:
    key = create_key(settings, name="erp", scopes=["admin"])
    revoke_key(settings, rotate_key(settings, "erp"))
    entries = list_audit(settings)
    assert [entry["what"] for entry in entries] == ["key revoked", "key rotated", "key created"]
    assert entries[2]["facts"]["prefix"] == key.split(".")[0]
    assert key.split(".")[1] not in str(entries)


def test_a_clock_set_back_gives_no_expired_key_a_second_life(
    settings: Settings, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.time()
    key = create_key(settings, name="erp", scopes=["admin"], days=1)
    seen(ring, settings)
    monkeypatch.setattr(clock, "_BEGAN", began - 5.0)  # the program began when its monotonic clock said 5

    def at(wall_days: float, run_days: float) -> bool:
        monkeypatch.setattr(clock.time, "time", lambda: began + wall_days * 86_400)
        monkeypatch.setattr(clock.time, "monotonic", lambda: 5.0 + run_days * 86_400)
        ring._reached = clock.time.monotonic()
        return ring.of_key(key, local=False) is not None

    found = [at(0.5, 0.5), at(-300, 0.6), at(1.1, 1.1), at(-300, 1.2), at(1.5, 0.7), at(0.8, 0.8)]
    monkeypatch.undo()
    assert found == [True, True, False, False, False, True], "the last two: asleep, and the clock put right again"


def test_a_store_that_is_away_keeps_what_was_known_for_a_while(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = made_settings(tmp_path, serving={"database": postgres.new_database()})
    key = create_key(settings, name="erp", scopes=["admin"])
    with closing(Database(settings)) as database:
        ring = Keyring(database)
        postgres.stop()
        try:
            with pytest.raises(StoreError):
                ring.refresh()
            assert ring.of_key(key, local=False) is not None
            monkeypatch.setattr(keyring, "AWAY_SECONDS", -1.0)
            with pytest.raises(StoreError, match="nobody"):
                ring.of_key(key, local=False)
        finally:
            postgres.start()


def test_keys_of_the_first_layout_are_taken_over(tmp_path: Path) -> None:
    import sqlite3

    settings = made_settings(tmp_path)
    settings.api_dir.mkdir(parents=True)
    with closing(sqlite3.connect(settings.api_dir / "access.db")) as old:
        old.executescript(LAYOUT_1)
    with closing(Database(settings)) as database:
        access = Keyring(database).of_key("pv1.secret", local=False)
    assert access == Access("pv1", "old", frozenset({"forecasts:read"}))


def test_scopes_that_know_no_locations_cannot_be_bound_to_one(tmp_path: Path) -> None:
    for scope in ("customers:read", "admin", "audit:read"):
        with pytest.raises(AccessError, match="knows no locations"):
            create_key(made_settings(tmp_path), name="x", scopes=[scope], locations=["nice"])
