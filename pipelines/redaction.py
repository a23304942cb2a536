"""Releases without somebody. A release never changes, so one that holds a customer gives way to one that does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from pipelines.errors import ReleaseError
from pipelines.release import FORGOTTEN, Release, activate, current, freeze, releases, remove, verify


@dataclass(frozen=True)
class Redacted:
    """What became of the releases.

    Attributes:
        made: The release that is current now, None when the one before holds nobody of them.
        removed: Names of the folders that are gone: releases that held one of them, and damaged ones.
    """

    made: str | None
    removed: list[str]


def holding(releases_dir: Path, customers: Sequence[str]) -> dict[str, dict[str, pl.DataFrame]]:
    """Release that holds one of the customers → table → its rows that name them, `customer_id` only."""
    found = {release.id: _rows_naming(release, customers) for release in releases(releases_dir)}
    return {name: tables for name, tables in found.items() if tables}


def redact(releases_dir: Path, customers: Sequence[str]) -> Redacted:
    """Make a release like the current one without the customers, and delete all that hold them.

    Damaged releases are deleted too: nobody can say whom they hold. The API swaps to the new one by itself.

    Raises:
        ReleaseError: The current release holds one of them and is damaged; nothing was deleted.
    """
    if not releases_dir.exists():
        return Redacted(None, [])
    held = holding(releases_dir, customers)
    now = current(releases_dir)
    made = None
    if now is not None and now.id in held:
        made = _without(releases_dir, verify(now.folder), customers)
        activate(releases_dir, made.id)
    gone = sorted([*held, *_damaged(releases_dir)])
    remove(releases_dir, gone)
    return Redacted(made.id if made else None, gone)


def _rows_naming(release: Release, customers: Sequence[str]) -> dict[str, pl.DataFrame]:
    try:
        tables = {name: release.table(name) for name in release.tables}
    except ReleaseError:  # it cannot be read, so it cannot be cleared of holding them
        return {"unreadable": pl.DataFrame(schema={"customer_id": pl.String})}
    rows = {
        name: frame.select(pl.col("customer_id").cast(pl.String)).filter(pl.col("customer_id").is_in(customers))
        for name, frame in tables.items()
        if "customer_id" in frame.columns
    }
    return {name: frame for name, frame in rows.items() if frame.height}


def _without(releases_dir: Path, release: Release, customers: Sequence[str]) -> Release:
    tables = {name: release.table(name) for name in release.tables}
    others = pl.col("customer_id").cast(pl.String).is_in(customers).fill_null(value=False).not_()
    return freeze(
        releases_dir,
        shop=release.shop,
        tables={name: one.filter(others) if "customer_id" in one.columns else one for name, one in tables.items()},
        models={folder.name: folder for folder in sorted((release.folder / "models").iterdir())},
        reports={name: release.folder / "reports" / name for name in release.reports},
        facts=release.facts | {FORGOTTEN: datetime.now(UTC).isoformat(timespec="seconds")},
    )


def _damaged(releases_dir: Path) -> list[str]:
    sound = {release.id for release in releases(releases_dir)}
    folders = [folder for folder in releases_dir.iterdir() if folder.is_dir() and not folder.is_symlink()]
    return [folder.name for folder in folders if not folder.name.startswith(".") and folder.name not in sound]
