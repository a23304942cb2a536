from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select, text

from pipelines import database as module
from pipelines.database import LAYOUT, Database
from pipelines.errors import StoreError
from pipelines.settings import Settings
from tests.made_shop import made_settings
from tests.postgres import Postgres, database_url, postgres

__all__ = ["database_url", "postgres"]


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Table:
    """A table of the test's own, on a `TABLES` of its own."""
    tables = MetaData()
    monkeypatch.setattr(module, "TABLES", tables)
    return Table("notes", tables, Column("number", Integer, primary_key=True), Column("said", Text))


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    return made_settings(tmp_path, serving={"database": database_url})


@pytest.fixture
def database(settings: Settings, notes: Table) -> Iterator[Database]:
    with closing(Database(settings)) as opened:
        yield opened


def count(database: Database, table: Table) -> int:
    with database.reading() as connection:
        return len(connection.execute(select(table)).all())


def test_a_transaction_is_whole_or_absent(database: Database, notes: Table) -> None:
    with database.writing() as connection:
        connection.execute(insert(notes), [{"number": 1}, {"number": 2}])

    def fail() -> None:
        with database.writing() as connection:
            connection.execute(insert(notes), {"number": 3})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert count(database, notes) == 2


def test_writers_at_once_lose_nothing(database: Database, notes: Table) -> None:
    """Each adds one to the same row, having read it: BEGIN IMMEDIATE keeps read and write together."""
    with database.writing() as connection:
        connection.execute(insert(notes), {"number": 1, "said": "0"})

    def add() -> None:
        for _ in range(10):
            with database.writing() as connection:
                lock = "" if database.file else " FOR UPDATE"
                said = connection.execute(text(f"SELECT said FROM notes WHERE number = 1{lock}")).scalar_one()
                connection.execute(notes.update().values(said=str(int(said) + 1)))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as connection:
        assert connection.execute(select(notes.c.said)).scalar_one() == "40"


def test_a_reader_sees_one_state_and_waits_for_no_writer(tmp_path: Path, notes: Table) -> None:
    with closing(Database(made_settings(tmp_path))) as database, database.reading() as reader:
        assert reader.execute(select(notes)).all() == []
        with database.writing() as connection:
            connection.execute(insert(notes), {"number": 1})
        assert reader.execute(select(notes)).all() == []
        assert count(database, notes) == 1


def test_a_change_of_anybody_is_noticed(tmp_path: Path, notes: Table) -> None:
    with closing(Database(made_settings(tmp_path))) as database, closing(Database(made_settings(tmp_path))) as other:
        for writer in (database, other):
            before = database.changes()
            assert database.changes() == before
            with writer.writing() as connection:
                connection.execute(insert(notes), {})
            assert database.changes() != before


def test_what_sqlite_is_told(tmp_path: Path, notes: Table) -> None:
    with closing(Database(made_settings(tmp_path))) as database, database.writing() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2}, "2 is FULL"


def test_a_new_table_comes_with_the_next_opening(settings: Settings, notes: Table) -> None:
    Database(settings).close()
    more = Table("more", notes.metadata, Column("number", Integer, primary_key=True))
    with closing(Database(settings)) as database:
        assert count(database, more) == 0


def test_many_open_a_new_store_at_once(settings: Settings, notes: Table) -> None:
    troubles: list[Exception] = []

    def begin() -> None:
        try:
            Database(settings).close()
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []


def test_a_store_of_a_newer_program_is_refused(settings: Settings, notes: Table) -> None:
    with closing(Database(settings)) as database, database.writing() as connection:
        if database.file:
            connection.exec_driver_sql(f"PRAGMA user_version={LAYOUT + 1}")
        else:
            connection.execute(text("UPDATE layout SET number = number + 1"))
    with pytest.raises(StoreError, match="newer program"):
        Database(settings)


def test_a_locked_file_is_said_so(tmp_path: Path, notes: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUSY_SECONDS", 0.01)
    with (
        closing(Database(made_settings(tmp_path))) as database,
        closing(sqlite3.connect(str(database.file), isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"), database.writing():
            pass


def test_a_server_that_is_away_is_said_so_without_the_password(
    tmp_path: Path, notes: Table, postgres: Postgres
) -> None:
    url = postgres.new_database().replace("postgres@", "postgres:geheim@")
    with closing(Database(made_settings(tmp_path, serving={"database": url}))) as database:
        postgres.stop()
        try:
            with pytest.raises(StoreError) as refused, database.reading():
                pass
        finally:
            postgres.start()
        assert "geheim" not in str(refused.value)
        assert count(database, notes) == 0, "it is found again"


@pytest.mark.parametrize("url", ["mysql://root@localhost/x", "postgres", "sqlite:///x.db"])
def test_another_database_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match=r"postgresql\+psycopg://"):
        made_settings(tmp_path, serving={"database": url})
