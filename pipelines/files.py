"""Frames and texts as files for people and programs: whole or not at all, CSV safe to open in a spreadsheet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from pipelines.errors import OutputError

FORMATS = (".parquet", ".csv", ".json")
_RISKY_START = r"^[=+\-@\t\r]"


def write_frame(frame: pl.DataFrame, out: Path, *, bom: bool = False) -> None:
    """Write a frame in the format its file's ending names (Parquet where it names none).

    Args:
        frame: What to write.
        out: The file; it appears whole or not at all.
        bom: Start a CSV with the mark by which Excel knows UTF-8.

    Raises:
        OutputError: The file cannot be written; what was there before is untouched.
    """
    with whole(out) as unfinished:
        if out.suffix == ".csv":
            spreadsheet_safe(frame).write_csv(unfinished, include_bom=bom)
        elif out.suffix == ".json":
            frame.write_json(unfinished)
        else:
            frame.write_parquet(unfinished)


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A file beside the target that takes its place when the block has ended well, and vanishes when it has not.

    Raises:
        OutputError: The folder or the file cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
            unfinished = Path(file.name)
        try:
            yield unfinished
            unfinished.chmod(0o644)
            unfinished.replace(out)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"The file cannot be written: {error.strerror or error}.",
            file=out,
            remedy="check the path, free space and permissions, or choose another --out",
        ) from error


def spreadsheet_safe(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with texts that a spreadsheet would run as formulas made plain by a leading apostrophe.

    Source: OWASP, CSV Injection.

    Example:
        >>> spreadsheet_safe(pl.DataFrame({"name": ["=1+1", "Ann"], "value": [-1, 2]})).rows()
        [("'=1+1", -1), ('Ann', 2)]
    """
    return frame.with_columns(
        pl.when(pl.col(name).str.contains(_RISKY_START)).then("'" + pl.col(name)).otherwise(pl.col(name)).alias(name)
        for name, dtype in frame.schema.items()
        if dtype == pl.String
    )
