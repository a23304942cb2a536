"""What a job read, wrote and found, in one shape for people and for programs; and the progress bar of long work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl


@dataclass
class Summary:
    """The outcome of one job.

    Attributes:
        job: Its name, as in `purvey JOB`.
        read: Table → its version (a whole number), or file → what was read of it, in words.
        wrote: Table or file → rows (a whole number), or what was written, in words.
        figures: Named results, in the order they should be shown. Units in the names.
        tables: Titled tables for people.
        notes: Sentences the reader should know.
        changed: Whether anything is different from before.
    """

    job: str
    read: dict[str, Any] = field(default_factory=dict)
    wrote: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    changed: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "job": self.job,
            "changed": self.changed,
            "read": self.read,
            "wrote": self.wrote,
            "figures": self.figures,
            "tables": {title: frame.to_dicts() for title, frame in self.tables.items()},
            "notes": self.notes,
        }


class Advance(Protocol):
    """Call it when one step of the work is done."""

    def __call__(self, steps: int = 1, /) -> None:
        """Move the bar on."""


_quiet = False


def be_quiet() -> None:
    """Show no progress bars from now on (`--json`, `--quiet`)."""
    global _quiet
    _quiet = True


@contextmanager
def progress(what: str, steps: int) -> Iterator[Advance]:
    """A progress bar on standard error while the block runs; nothing where nobody looks.

    Example:
        >>> with progress("fitting", 3) as advance:
        ...     for _ in range(3):
        ...         advance()
    """
    if _quiet or not sys.stderr.isatty():
        yield lambda steps=1, /: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("  {task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=steps)
        yield lambda steps=1, /: bar.advance(task, steps)
