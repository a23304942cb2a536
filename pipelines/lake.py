"""The lake: Delta tables in one folder or bucket. Every write is one atomic commit; every version stays readable.

Each commit carries the layout version of its table (`features.tables`). A table written by an older program is
migrated when it is first opened for writing; one written by a newer program is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from features.tables import TABLES
from pipelines.errors import LakeError, SchemaVersionError
from pipelines.migrations import MIGRATIONS

_LAYOUT = "purvey_layout"
_ATTEMPTS = 5
_LOG, _FILES = "delta.logRetentionDuration", "delta.deletedFileRetentionDuration"
_NO_HISTORY = {_LOG: "interval 0 days", _FILES: "interval 0 days"}
_USUAL_HISTORY = {_LOG: "interval 30 days", _FILES: "interval 7 days"}  # Delta's own defaults


@dataclass(frozen=True)
class Written:
    """What one write changed."""

    table: str
    version: int
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0

    @property
    def changed(self) -> int:
        """Rows that are not as they were."""
        return self.inserted + self.updated + self.deleted


class Lake:
    """Delta tables under one URL.

    Args:
        url: A folder or an object-store URL.
        storage_options: Credentials for an object store.
    """

    def __init__(self, url: str | Path, storage_options: dict[str, str] | None = None) -> None:
        self.url = str(url).rstrip("/")
        self.storage_options = storage_options or None

    # -- reading -----------------------------------------------------------------------------------------------

    def exists(self, table: str) -> bool:
        """Whether the table has ever been written."""
        return DeltaTable.is_deltatable(self._path(table), self.storage_options)

    def version(self, table: str) -> int | None:
        """The newest version of a table, None when there is no such table."""
        return self._open(table).version() if self.exists(table) else None

    def versions(self, tables: Iterable[str]) -> dict[str, int]:
        """The newest version of each of these tables that exists."""
        found = {table: self.version(table) for table in tables}
        return {table: version for table, version in found.items() if version is not None}

    def scan(self, table: str, *, version: int | None = None) -> pl.LazyFrame:
        """A lazy frame over one version of a table (the newest unless said).

        Raises:
            LakeError: There is no such table or version.
            SchemaVersionError: A newer program wrote it.
        """
        delta = self._open(table, version)
        layout = self._layout(delta, table)
        frame = pl.scan_delta(delta)
        for step in MIGRATIONS.get(table, [])[layout - 1 :]:
            frame = step(frame)
        return frame

    def read(self, table: str, *, version: int | None = None, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """One version of a table (the newest unless said), in memory.

        Raises:
            LakeError: There is no such table or version, or its files are damaged.
            SchemaVersionError: A newer program wrote it.
        """
        frame = self.scan(table, version=version)
        try:
            return (frame.select(columns) if columns is not None else frame).collect()
        except (OSError, pl.exceptions.ComputeError) as error:
            raise LakeError(
                f"Table {table} cannot be read: {error}",
                file=self._path(table),
                remedy="restore the shop from a backup (purvey restore), or ingest its sources into a new data_dir",
            ) from error

    def scan_files(self, table: str, columns: Sequence[str]) -> pl.LazyFrame:
        """Every row of every data file on disk: the newest version, those before it, and what a killed write left."""
        newest = self.scan(table).collect_schema()
        return pl.scan_parquet(
            [*self._open(table).file_uris(), *(f"{self._path(table)}/{name}" for name in self._stale(table))],
            schema={name: newest[name] for name in columns},
            missing_columns="insert",
            extra_columns="ignore",
            storage_options=self.storage_options,
        )

    def read_or_empty(self, table: str, series: tuple[str, ...] = ()) -> pl.DataFrame:
        """The newest version of a table, or an empty frame with its known columns."""
        if self.exists(table):
            return self.read(table)
        keys = dict.fromkeys(series, pl.String())
        return TABLES[table].schema_with(keys, series).create_empty()

    def history(self, table: str) -> pl.DataFrame:
        """One row a commit of a table, newest first: version, time, operation, rows, layout."""
        rows = [
            {
                "version": commit["version"],
                "at": datetime.fromtimestamp(commit["timestamp"] / 1000).astimezone(),
                "operation": commit["operation"],
                "layout": int(commit.get(_LAYOUT, 1)),
            }
            for commit in self._open(table).history()
        ]
        return pl.DataFrame(rows)

    def digest(self, table: str, *, version: int | None = None) -> str:
        """A fingerprint of a table's rows that does not depend on their order."""
        frame = self.read(table, version=version)
        return frame_digest(frame)

    # -- writing -----------------------------------------------------------------------------------------------

    def append(self, table: str, frame: pl.DataFrame) -> Written:
        """Add rows in one commit."""
        self._write(table, frame, "append")
        return Written(table, self._open(table).version(), inserted=frame.height)

    def replace(self, table: str, frame: pl.DataFrame) -> Written:
        """Replace a table whole in one commit; the rows it had stay readable as an earlier version.

        A frame equal to what is there changes nothing and makes no version.
        """
        before = self.read(table) if self.exists(table) else None
        if before is not None and before.schema == frame.schema and frame_digest(before) == frame_digest(frame):
            return Written(table, self._open(table).version(), unchanged=frame.height)
        self._write(table, frame, "overwrite")
        deleted = before.height if before is not None else 0
        return Written(table, self._open(table).version(), inserted=frame.height, deleted=deleted)

    def merge(self, table: str, frame: pl.DataFrame, keys: Sequence[str]) -> Written:
        """Insert rows with new keys and update rows whose values differ, in one commit.

        Args:
            table: The table.
            frame: Rows, unique by `keys`. Columns the table lacks are added to it.
            keys: Key columns.
        """
        if not self.exists(table):
            return self.append(table, frame)
        if frame.is_empty():
            return Written(table, self._open(table).version())
        before = self.read(table)
        new, changed = _difference(before, frame, keys)
        if new.is_empty() and changed.is_empty():
            return Written(table, self._open(table).version(), unchanged=frame.height)
        rows = pl.concat([new, changed])
        if changed.is_empty() and rows.schema == before.schema:
            self._write(table, rows, "append")
        else:
            self._merge(table, rows, keys)
        return Written(
            table,
            self._open(table).version(),
            inserted=new.height,
            updated=changed.height,
            unchanged=frame.height - rows.height,
        )

    def rewrite(self, table: str, frame: pl.DataFrame) -> Written:
        """Replace a table whole and take every earlier version of it from the disk, for good.

        Version numbers go on. The log goes too: it holds the least and greatest values of the files it names. Killed at
        any moment, the same call completes it.
        """
        self._write(table, frame, "overwrite")
        for _ in range(_ATTEMPTS):  # what was replaced within this very millisecond counts as still in use
            self._attempt(table, lambda: self._purge(table))
            if not self._stale(table):
                break
        else:
            raise LakeError(
                f"Table {table} keeps files of earlier versions that cannot be removed.",
                file=self._path(table),
                remedy="check permissions, then run the same command again",
            )
        return Written(table, self._open(table).version(), inserted=frame.height)

    def replace_where(self, table: str, frame: pl.DataFrame, where: Mapping[str, object]) -> Written:
        """Replace, in one commit, the rows in which columns have these values; all others stay.

        A frame equal to what is there changes nothing and makes no version. A frame with other columns (a shop that
        changed what names its series) replaces the table whole: its rows could not stand beside the old ones.

        Args:
            table: The table.
            frame: The new rows, each with these values.
            where: Column → value.
        """
        if not self.exists(table):
            return self.append(table, frame)
        theirs = [pl.col(column) == value for column, value in where.items()]
        if set(self.scan(table).collect_schema()) != set(frame.columns):
            return self.replace(table, frame)
        before = self.scan(table).select(frame.columns).filter(*theirs).collect()  # a migrated table has them otherwise
        if before.schema == frame.schema and frame_digest(before) == frame_digest(frame):
            return Written(table, self._open(table).version(), unchanged=frame.height)
        self._write(table, frame, "overwrite", where)
        return Written(table, self._open(table).version(), inserted=frame.height, deleted=before.height)

    def migrate(self) -> list[str]:
        """Rewrite, once, every table that an older program wrote; returns their names."""
        migrated = []
        for table in TABLES:
            if self.exists(table) and self._layout(self._open(table), table) < TABLES[table].version:
                self._write(table, self.read(table), "overwrite")
                migrated.append(table)
        return migrated

    # -- inside ------------------------------------------------------------------------------------------------

    def _path(self, table: str) -> str:
        return f"{self.url}/{table}"

    def _open(self, table: str, version: int | None = None) -> DeltaTable:
        try:
            return DeltaTable(self._path(table), version=version, storage_options=self.storage_options)
        except TableNotFoundError as error:
            if version is not None and self.exists(table):
                raise LakeError(
                    f"Version {version} of table {table} is not kept any more.",
                    file=self._path(table),
                    remedy="forgetting a customer (purvey forget) removes all earlier versions; read the newest",
                ) from error
            raise LakeError(
                f"There is no table {table} in the lake yet.",
                file=self._path(table),
                remedy="run `purvey ingest`, or `purvey run` for the whole flow",
            ) from error
        except DeltaError as error:
            raise LakeError(f"Table {table} cannot be opened: {error}", file=self._path(table)) from error

    def _stale(self, table: str) -> list[str]:
        """Data files that the newest version does not use."""
        return self._vacuum(table, dry_run=True)

    def _vacuum(self, table: str, *, dry_run: bool) -> list[str]:
        return self._open(table).vacuum(
            retention_hours=0,
            enforce_retention_duration=False,
            full=True,
            dry_run=dry_run,
            commit_properties=self._properties(table),
        )

    def _purge(self, table: str) -> None:
        """Everything but the newest version off the disk; what comes after it is kept as long as usual."""
        self._keep(table, _NO_HISTORY)
        self._vacuum(table, dry_run=False)
        delta = self._open(table)
        delta.create_checkpoint()
        delta.cleanup_metadata()
        self._keep(table, _USUAL_HISTORY)

    def _keep(self, table: str, history: dict[str, str]) -> None:
        self._open(table).alter.set_table_properties(history, commit_properties=self._properties(table))

    def _layout(self, delta: DeltaTable, table: str) -> int:
        commits = delta.history(1)
        layout = int(commits[0].get(_LAYOUT, 1)) if commits else 1
        known = TABLES[table].version if table in TABLES else 1
        if layout > known:
            raise SchemaVersionError(
                f"Table {table} has layout {layout}; this program knows layouts up to {known}.",
                file=self._path(table),
                remedy="install the version of purvey that wrote it, or a newer one",
            )
        return layout

    def _properties(self, table: str) -> CommitProperties:
        version = TABLES[table].version if table in TABLES else 1
        return CommitProperties(custom_metadata={_LAYOUT: str(version)})

    def _write(
        self,
        table: str,
        frame: pl.DataFrame,
        mode: Literal["append", "overwrite"],
        where: Mapping[str, object] | None = None,
    ) -> None:
        schema_mode: Literal["merge", "overwrite"] = "overwrite" if mode == "overwrite" and where is None else "merge"
        only = None if where is None else " AND ".join(f'"{column}" = {_literal(v)}' for column, v in where.items())

        def write() -> None:
            write_deltalake(
                self._path(table),
                frame,
                mode=mode,  # type: ignore[arg-type]  # a predicate only comes with overwrite
                schema_mode=schema_mode,
                predicate=only,
                name=table,
                storage_options=self.storage_options,
                commit_properties=self._properties(table),
            )

        self._attempt(table, write)

    def _merge(self, table: str, rows: pl.DataFrame, keys: Sequence[str]) -> None:
        same = " AND ".join(f't."{key}" = s."{key}"' for key in keys)

        def merge() -> None:
            (
                self._open(table)
                .merge(
                    rows,
                    predicate=same,
                    source_alias="s",
                    target_alias="t",
                    merge_schema=True,
                    commit_properties=self._properties(table),
                )
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .execute()
            )

        self._attempt(table, merge)

    def _attempt(self, table: str, write: Callable[[], Any]) -> None:
        """Try again when another writer won the race; name the table when the disk or bucket says no."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                write()
                return
            except CommitFailedError as error:
                if attempt == _ATTEMPTS:
                    raise LakeError(
                        f"Table {table} is being written by another process.",
                        file=self._path(table),
                        remedy="wait until it has ended, then run the same command again",
                    ) from error
            except (DeltaError, OSError) as error:
                raise LakeError(
                    f"Table {table} cannot be written: {error}. What it held before is untouched.",
                    file=self._path(table),
                    remedy="check free space and permissions, then run the same command again",
                ) from error


def frame_digest(frame: pl.DataFrame) -> str:
    """A fingerprint of a frame's rows and columns that does not depend on their order.

    Example:
        >>> a = pl.DataFrame({"x": [1, 2], "y": ["a", "b"]})
        >>> frame_digest(a) == frame_digest(a.reverse().select("y", "x"))
        True
    """
    ordered = frame.select(sorted(frame.columns))
    rows = ordered.hash_rows(seed=0).sort() if ordered.height else pl.Series([], dtype=pl.UInt64)
    summary = hashlib.sha256(repr(sorted(ordered.schema.items(), key=lambda item: item[0])).encode())
    summary.update(rows.to_numpy().tobytes())
    return summary.hexdigest()[:32]


def _literal(value: object) -> str:
    """A value as the SQL of a predicate says it."""
    if isinstance(value, bool | int | float):
        return str(value).lower()
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    return "'" + str(value).replace("'", "''") + "'"


def _difference(before: pl.DataFrame, frame: pl.DataFrame, keys: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `frame` whose keys are new, and rows whose keys are known but values differ."""
    new = frame.join(before, on=keys, how="anti", nulls_equal=True)
    known = frame.join(before, on=keys, how="semi", nulls_equal=True)
    shared = [column for column in frame.columns if column in before.columns]
    if set(frame.columns) - set(before.columns):
        return new, known
    changed = known.join(before.select(shared), on=shared, how="anti", nulls_equal=True)
    return new, changed
