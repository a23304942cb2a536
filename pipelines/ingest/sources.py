"""Where rows come from: csv and parquet files, the files of the sample, and SQL queries.

Every row carries its `_row`, counted from 1 as in the file (for csv: the first line after the header). A csv file is
read as text throughout: what its values mean is decided in `casting`, row by row.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import polars as pl

from pipelines.errors import ConfigError, SourceError
from pipelines.lake import frame_digest
from pipelines.settings import Settings, Source

ROW = "_row"
SAMPLE = "sample://"
_SAMPLE_FOLDER = Path(__file__).parent / "sample"
_PARQUET_MAGIC = b"PAR1"
_TABLES_THAT_MAY_BE_EMPTY = {"stock", "stock_lots", "open_supply", "open_demand", "supply_terms"}


@dataclass(frozen=True)
class Extract:
    """One file, or the result of one query, before anybody looked at its values.

    Attributes:
        source: The part of the configuration that names it.
        name: What people call it: the path as seen from the config file, or `query of VARIABLE`.
        digest: A fingerprint of its content.
        path: The file; None for a query.
        rows: The result of the query; None for a file, which is read when needed.
    """

    source: Source
    name: str
    digest: str
    path: Path | None = None
    rows: pl.DataFrame | None = None

    def read(self) -> pl.DataFrame:
        """Its rows and their numbers (`_row`, Int64, from 1).

        Raises:
            SourceError: It is empty, damaged or not in the stated encoding.
        """
        if self.rows is not None:
            frame = self.rows
        elif self.path is not None:
            frame = _read_csv(self.path, self.source) if self.source.format == "csv" else _read_parquet(self.path)
        if frame.is_empty() and self.source.table not in _TABLES_THAT_MAY_BE_EMPTY:
            raise SourceError(
                f"The source of {self.source.table} has no rows.", file=self.name, remedy="export it again"
            )
        return frame.with_row_index(ROW, offset=1).with_columns(pl.col(ROW).cast(pl.Int64))


def find(source: Source, settings: Settings) -> list[Extract]:
    """What a source of the configuration stands for, in a fixed order, each with its digest. Queries are run.

    Raises:
        SourceError: There is no such file, or the database refuses.
        ConfigError: The environment variable with the database URL is not set.
    """
    if source.format == "sql":
        return [_query(source)]
    files = [file for path in source.paths for file in _files(path, settings)]
    return [
        Extract(source, _name(file, settings.folder), _digest(file), path=file)
        for file in dict.fromkeys(files)  # a file that two patterns name is read once
    ]


def _files(path: str, settings: Settings) -> list[Path]:
    if path.startswith(SAMPLE):
        found = [_SAMPLE_FOLDER / path.removeprefix(SAMPLE)]
    elif "://" in path:
        raise SourceError(
            "Sources are read from local files or SQL.",
            file=path,
            remedy="copy the file to this machine first, or use format: sql",
        )
    else:
        parts = Path(path).parts
        plain = list(takewhile(lambda part: not any(sign in part for sign in "*?["), parts))
        located = Path(settings.locate(str(Path(*plain))))
        pattern = str(Path(*parts[len(plain) :])) if len(plain) < len(parts) else None
        found = [located] if pattern is None else sorted(located.glob(pattern))
        if not found:
            missing = f"{located}/{pattern}"
            raise SourceError("No file matches this pattern.", file=missing, remedy="check `path` in the configuration")
    for file in found:
        if not file.is_file():
            remedy = f"name the files in it: {path}/*" if file.is_dir() else "check `path` in the configuration"
            raise SourceError("There is no such file.", file=file, remedy=remedy)
        if not os.access(file, os.R_OK):
            raise SourceError("The file may not be read.", file=file, remedy="give this user the right to read it")
        if file.stat().st_size == 0:
            raise SourceError("The file is empty: it has not even a header.", file=file, remedy="export it again")
    return found


def _name(file: Path, folder: Path) -> str:
    if file.parent == _SAMPLE_FOLDER:
        return SAMPLE + file.name
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read_csv(file: Path, source: Source) -> pl.DataFrame:
    raw = file.read_bytes()
    try:
        text = raw.decode(source.encoding)
    except LookupError as error:
        raise ConfigError(f"There is no encoding {source.encoding!r}.", file=file, rule="encoding") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"The csv is not {source.encoding}: byte {error.start + 1} is {raw[error.start]:#04x}.",
            file=file,
            row=raw[: error.start].count(b"\n") or None,
            remedy="say how it is written, e.g. `encoding: cp1252` at this source, or export it as UTF-8",
        ) from error
    raw = text.encode()
    del text
    try:
        return pl.read_csv(io.BytesIO(raw), separator=source.separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise SourceError(
            f"The csv cannot be read: {str(error).splitlines()[0]}",
            file=file,
            row=_first_too_long(raw.decode(), source.separator),
            remedy=f"check quotes and the separator (`separator:` is {source.separator!r})",
        ) from error


def _first_too_long(text: str, separator: str) -> int | None:
    """The first row with more fields than the header has."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        fields = len(next(rows, []))
        return next((number for number, row in enumerate(rows, start=1) if len(row) > fields), None)
    except csv.Error:
        return None


def _read_parquet(file: Path) -> pl.DataFrame:
    with file.open("rb") as opened:
        starts = opened.read(4) == _PARQUET_MAGIC
        opened.seek(max(-4, -file.stat().st_size), os.SEEK_END)
        ends = opened.read(4) == _PARQUET_MAGIC
    if starts and not ends:
        raise SourceError("The parquet file is truncated: its end is missing.", file=file, remedy="copy it again")
    if not starts:
        raise SourceError("This is not a parquet file.", file=file, remedy="check `format` in the configuration")
    try:
        return pl.read_parquet(file, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SourceError(f"The parquet file is damaged: {error}", file=file, remedy="copy it again") from error


def _query(source: Source) -> Extract:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    variable, query = source.connection or "", source.query or ""
    url = os.environ.get(variable)
    if not url:
        raise ConfigError(
            f"The environment variable {variable} is not set.",
            rule="connection",
            remedy=f"export {variable}=… with the database URL, e.g. postgresql+psycopg://user:password@host/name",
        )
    name = f"query of {variable}"
    try:
        engine = create_engine(url)
        with engine.connect() as connection:
            rows = pl.read_database(query, connection, infer_schema_length=None)
        engine.dispose()
    except (SQLAlchemyError, ImportError, pl.exceptions.PolarsError) as error:
        # The driver's own words; SQLAlchemy's would repeat the query, a URL error the password.
        reason = getattr(error, "orig", None) or type(error).__name__
        raise SourceError(f"The query for {source.table} failed: {reason}", file=name, remedy="check it") from error
    return Extract(source, name, frame_digest(rows), rows=rows)


def nearest(names: Sequence[str], wanted: str) -> str:
    """A hint at the column that may have been meant.

    Example:
        >>> nearest(["Date", "Qty"], "date")
        "did you mean 'Date'?"
    """
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(wanted.casefold(), folded, n=1, cutoff=0.5)
    return f"did you mean {folded[close[0]]!r}?" if close else f"the file has {', '.join(names)}"
