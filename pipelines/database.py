"""The API's own store: keys, what it took in, what it answered before. SQLite in the shop's API folder, or PostgreSQL.

Whoever keeps something there declares its tables on `TABLES`; they are made when the store is opened. A change of a
table's layout raises `LAYOUT` and adds a step to `_STEPS`; a new table needs neither.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from pipelines.errors import StoreError
from pipelines.settings import Settings

TABLES = MetaData()
LAYOUT = 2
# What brings a store of the layout before to this one. Layout 1 was SQLite only.
_STEPS: dict[int, tuple[str, ...]] = {2: ("ALTER TABLE keys ADD COLUMN locations TEXT",)}
_BUSY_SECONDS = 5.0
_CONNECT_SECONDS = 3
_LONGEST_STATEMENT_SECONDS = 10
_OPENING = 0x70757276  # the advisory lock under which PostgreSQL makes tables


class Database:
    """The store of one shop, for many threads and processes at once.

    Args:
        settings: The shop; `serving.database` is the URL of a PostgreSQL database, None is SQLite.

    Raises:
        StoreError: It cannot be opened, or a newer program wrote it.
    """

    def __init__(self, settings: Settings) -> None:
        self.file: Path | None = None if settings.serving.database else settings.api_dir / "access.db"
        try:
            self._engine = _sqlite(self.file) if self.file else _postgres(settings.serving.database or "")
            self.place = str(self.file or self._engine.url.render_as_string(hide_password=True))
            with self._explained("opened"):
                self._prepare()
                # A connection closed while another thread asks would end the process.
                self._one_at_a_time = threading.Lock()
                self._kept = self._engine.raw_connection() if self.file else None
                self._asking: Any = self._kept.driver_connection if self._kept else None
        except OSError as error:
            raise StoreError(f"The store cannot be opened: {error}.", file=self.file, remedy=_REMEDY) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that reads one state of the store throughout.

        Raises:
            StoreError: The store cannot be reached.
        """
        with self._explained("read"), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all of it is on disk afterwards, or nothing when an exception leaves it.

        On SQLite only one writes at a time: whoever comes second waits here, not at the commit.

        Raises:
            StoreError: The store cannot be reached or written.
        """
        with (
            self._explained("written"),
            self._engine.connect() as connection,
            connection.execution_options(writes=True).begin(),
        ):
            yield connection

    def changes(self) -> int:
        """A number that moves when the store may have changed: what is remembered of it is good until then.

        SQLite tells of each commit of anybody, in some ten microseconds. PostgreSQL would have to be asked over the
        network: there the number moves once a second.

        Raises:
            StoreError: The store cannot be read.
        """
        if self._asking is None:
            return int(time.monotonic())
        try:
            with self._one_at_a_time:
                number: int = self._asking.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            raise StoreError(f"The store cannot be read: {error}.", file=self.place, remedy=_REMEDY) from error
        return number

    def close(self) -> None:
        """Let go of the store."""
        if self._kept is not None:
            with self._one_at_a_time:
                self._kept.close()
        self._engine.dispose()

    def _prepare(self) -> None:
        """Make what is missing; a store that is complete is only read."""
        with self.reading() as connection:
            layout, complete = _layout(connection), _has_every_table(connection)
        if layout > LAYOUT:
            self._engine.dispose()
            raise StoreError("The store was written by a newer program.", file=self.place, remedy="update purvey")
        if layout == LAYOUT and complete:
            return
        with self.writing() as connection:
            if self.file is None:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_OPENING})"))
            layout = _layout(connection)  # another process may have been first
            for step in range(layout + 1, LAYOUT + 1) if layout else ():
                for statement in _STEPS[step]:
                    connection.execute(text(statement))
            TABLES.create_all(connection)
            _set_layout(connection)

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if not isinstance(error.orig, Exception) or not _is_trouble(error):
                raise
            reason = str(error.orig).strip().splitlines()[0]
            raise StoreError(f"The store cannot be {done}: {reason}.", file=self.place, remedy=_REMEDY) from error


_REMEDY = "check that serving.database (or the API folder) can be reached and written"


def _sqlite(file: Path) -> Engine:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(URL.create("sqlite", database=str(file)), connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres(url: str) -> Engine:
    options = f"-c statement_timeout={_LONGEST_STATEMENT_SECONDS * 1000}"
    try:
        return create_engine(
            make_url(url), pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT_SECONDS, "options": options}
        )
    except ModuleNotFoundError as error:
        raise StoreError("The driver for PostgreSQL is missing.", remedy="pip install 'purvey[postgres]'") from error
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreError(
            "serving.database is not a URL of PostgreSQL.", remedy="postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
        ) from error


def _is_trouble(error: DBAPIError) -> bool:
    """Whether the store is at fault (away, locked, full), not what was asked of it."""
    return error.connection_invalidated or type(error).__name__ in {"OperationalError", "InternalError"}


def _has_every_table(connection: Connection) -> bool:
    return TABLES.tables.keys() <= set(inspect(connection).get_table_names())


def _layout(connection: Connection) -> int:
    """The layout the store has; 0 when it is new."""
    if connection.dialect.name == "sqlite":
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if not inspect(connection).has_table("layout"):
        return 0
    return int(connection.execute(text("SELECT number FROM layout")).scalar_one())


def _set_layout(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version={LAYOUT}")
        return
    connection.execute(text("CREATE TABLE IF NOT EXISTS layout (number integer NOT NULL)"))
    connection.execute(text("DELETE FROM layout"))
    connection.execute(text("INSERT INTO layout VALUES (:number)"), {"number": LAYOUT})
