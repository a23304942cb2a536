"""Releases: scored tables, models and reports frozen into one folder that is whole or absent.

A release is written beside the others under a name nobody reads, synced, verified and renamed. `current` is a symbolic
link, swapped by one atomic rename: a kill at any moment leaves the release that was current. Nothing in a release is
pickled: tables are uncompressed Arrow (they can be mapped into memory), models are text and JSON.

    releases/<id>/tables/*.arrow · models/<name>/… · reports/… · manifest.json
    releases/current -> <id>
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipelines.errors import ReleaseError

LAYOUT = 1
MANIFEST = "manifest.json"
CURRENT = "current"
FORGOTTEN = "customers_forgotten_at"  # the fact of a release made because those before it held somebody
_UNFINISHED = ".unfinished-"
_REMEDY = "roll back with `purvey rollback`, or make a new release with `purvey release`"


@dataclass(frozen=True)
class Release:
    """One release on disk.

    Attributes:
        folder: Where it is.
        manifest: What it holds: files with their sha256, shop, facts, time, program version, layout.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its name: the time it was made and the start of its content's digest."""
        return str(self.manifest["id"])

    @property
    def created_at(self) -> datetime:
        """When it was made, UTC."""
        return datetime.fromisoformat(self.manifest["created_at"])

    @property
    def shop(self) -> dict[str, Any]:
        """What was said about the shop: name, time zone, currency, series columns, horizons."""
        return dict(self.manifest["shop"])

    @property
    def facts(self) -> dict[str, Any]:
        """What it was made from: table versions, model versions."""
        return dict(self.manifest["facts"])

    @property
    def model_versions(self) -> dict[str, str]:
        """Registered model → version."""
        return dict(self.facts.get("model_versions", {}))

    @property
    def tables(self) -> dict[str, int]:
        """Table → rows."""
        return dict(self.manifest["tables"])

    @property
    def reports(self) -> list[str]:
        """File names of the reports for people."""
        return [name.removeprefix("reports/") for name in self.manifest["files"] if name.startswith("reports/")]

    def table(self, name: str) -> pl.DataFrame:
        """One table, mapped into memory.

        Raises:
            ReleaseError: The release has no such table, or its file cannot be read.
        """
        if name not in self.tables:
            raise ReleaseError(f"Release {self.id} has no table {name}.", remedy=f"it has {', '.join(self.tables)}")
        file = self.folder / "tables" / f"{name}.arrow"
        try:
            return pl.read_ipc(file)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise ReleaseError(
                f"Table {name} of release {self.id} cannot be read.", file=file, remedy=_REMEDY
            ) from error


def freeze(
    releases_dir: Path,
    *,
    shop: dict[str, Any],
    tables: dict[str, pl.DataFrame],
    models: dict[str, Path],
    reports: dict[str, Path],
    facts: dict[str, Any],
) -> Release:
    """Write a release whole and verify it; it is not current yet.

    What was frozen before is not frozen twice: the release with the same content is returned.

    Args:
        releases_dir: The folder of all releases.
        shop: Facts about the shop, plain data.
        tables: Table → rows.
        models: Registered model → folder with its text and JSON files.
        reports: File name → HTML file.
        facts: What it was made from (`table_versions`, `model_versions`), plain data.

    Raises:
        ReleaseError: It could not be written; nothing of it stays and what was current still is.
    """
    with _writing(releases_dir):
        unfinished = releases_dir / f"{_UNFINISHED}{os.getpid()}"
        try:
            unfinished.mkdir()
            _write_contents(unfinished, tables, models, reports)
            manifest = _manifest(releases_dir, unfinished, shop, tables, facts)
            same = _same_content(releases_dir, manifest["content"])
            if same is not None:
                shutil.rmtree(unfinished)
                return same
            (unfinished / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
            _sync(unfinished)
            verify(unfinished)
            folder = releases_dir / str(manifest["id"])
            unfinished.rename(folder)
            _sync_folder(releases_dir)
        except (OSError, pl.exceptions.PolarsError) as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise ReleaseError(
                f"The release could not be written: {error}. The current one is untouched.",
                file=releases_dir,
                remedy="check free space and permissions, then run `purvey release` again",
            ) from error
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return _open(folder)


def verify(folder: Path) -> Release:
    """Check every byte of a release against its manifest.

    Raises:
        ReleaseError: It is missing, damaged, incomplete, or written by a newer program.
    """
    release = _open(folder)
    expected = release.manifest["files"]
    found = _digests(folder)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            problem = "is missing"
        elif name not in expected:
            problem = "does not belong to it"
        elif expected[name] != found[name]:
            problem = "is damaged: its sha256 is not the one in the manifest"
        else:
            continue
        raise ReleaseError(f"Release {folder.name}: {name} {problem}.", file=folder / name, remedy=_REMEDY)
    return release


def activate(releases_dir: Path, release_id: str) -> Release:
    """Verify a release and make it current, by one atomic rename.

    Raises:
        ReleaseError: It is missing or damaged; what was current still is.
    """
    with _writing(releases_dir):
        return _activate(releases_dir, release_id)


def current(releases_dir: Path) -> Release | None:
    """The release that is current, not verified again; None when there is none yet.

    Raises:
        ReleaseError: `current` names a release that is not there or has no readable manifest.
    """
    link = releases_dir / CURRENT
    return _open(releases_dir / link.readlink().name) if link.is_symlink() else None


def releases(releases_dir: Path) -> list[Release]:
    """All releases with a readable manifest, newest first."""
    found = []
    for folder in releases_dir.iterdir() if releases_dir.exists() else ():
        if folder.is_dir() and not folder.is_symlink() and not folder.name.startswith("."):
            try:
                found.append(_open(folder))
            except ReleaseError:
                continue  # a damaged one cannot be activated anyway
    return sorted(found, key=lambda release: (release.created_at, release.id), reverse=True)


def rollback(releases_dir: Path) -> Release:
    """Make the release current that was so when the current one was made; damaged ones are passed over.

    Raises:
        ReleaseError: There is no sound earlier release; what was current still is.
    """
    with _writing(releases_dir):
        link = releases_dir / CURRENT
        if not link.is_symlink():
            raise ReleaseError("There is no current release to roll back from.", file=releases_dir, remedy="purvey run")
        left = link.readlink().name
        forgotten = FORGOTTEN in _open(releases_dir / left).facts
        for release in _earlier(releases_dir, left):
            try:
                verify(release.folder)
            except ReleaseError:
                continue
            return _activate(releases_dir, release.id)
        raise ReleaseError(
            "There is no sound earlier release to roll back to.",
            file=releases_dir,
            remedy="those that held forgotten customers were removed (purvey forget)" if forgotten else None,
        )


def prune(releases_dir: Path, keep: int) -> list[str]:
    """Delete all but the newest releases, never the current one nor the one it would be rolled back to.

    Args:
        releases_dir: The folder of all releases.
        keep: How many to keep.

    Returns:
        The ids that were deleted.
    """
    with _writing(releases_dir):
        kept = {release.id for release in releases(releases_dir)[:keep]}
        link = releases_dir / CURRENT
        if link.is_symlink():
            now = link.readlink().name
            kept |= {now, *(release.id for release in _earlier(releases_dir, now)[:1])}
        gone = [release.id for release in releases(releases_dir) if release.id not in kept]
        _delete(releases_dir, gone)
        return gone


def remove(releases_dir: Path, names: Sequence[str]) -> None:
    """Delete releases, sound or damaged, by the names of their folders. The current one cannot be deleted.

    Raises:
        ReleaseError: One of them is current; nothing was deleted.
    """
    with _writing(releases_dir):
        link = releases_dir / CURRENT
        if link.is_symlink() and link.readlink().name in names:
            raise ReleaseError("The current release cannot be removed.", file=link, remedy=_REMEDY)
        _delete(releases_dir, names)


def _delete(releases_dir: Path, names: Sequence[str]) -> None:
    for name in names:
        # Renamed first: a kill half-way through the deletion leaves no half release behind.
        doomed = releases_dir / f"{_UNFINISHED}{name}"
        (releases_dir / name).rename(doomed)
        shutil.rmtree(doomed)


@contextmanager
def _writing(releases_dir: Path) -> Iterator[None]:
    """One writer at a time. Whoever holds the lock may clear away what a killed writer left."""
    releases_dir.mkdir(parents=True, exist_ok=True)
    with (releases_dir / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in releases_dir.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
        yield


def _write_contents(
    folder: Path, tables: dict[str, pl.DataFrame], models: dict[str, Path], reports: dict[str, Path]
) -> None:
    for part in ("tables", "models", "reports"):
        (folder / part).mkdir()
    for name, frame in tables.items():
        frame.rechunk().write_ipc(folder / "tables" / f"{name}.arrow", compression="uncompressed")
    for name, source in models.items():
        shutil.copytree(source, folder / "models" / name)
    for name, source in reports.items():
        shutil.copyfile(source, folder / "reports" / name)


def _manifest(
    releases_dir: Path, folder: Path, shop: dict[str, Any], tables: dict[str, pl.DataFrame], facts: dict[str, Any]
) -> dict[str, Any]:
    described = {
        "layout": LAYOUT,
        "program": package_version("purvey"),
        "shop": shop,
        "facts": facts,
        "tables": {name: frame.height for name, frame in tables.items()},
        "files": _digests(folder),
    }
    content = _digest(described)
    created_at = datetime.now(UTC).replace(microsecond=0)
    if known := releases(releases_dir):  # later than all before it, even within one second or on a clock set back
        created_at = max(created_at, known[0].created_at + timedelta(seconds=1))
    link = releases_dir / CURRENT
    manifest = {
        "id": _id(created_at, content),
        "created_at": created_at.isoformat(),
        "previous": link.readlink().name if link.is_symlink() else None,
        "content": content,
        **described,
    }
    return manifest | {"seal": _digest(manifest)}


def _id(created_at: datetime, content: str) -> str:
    return f"{created_at:%Y%m%d-%H%M%S}-{content[:8]}"


def _same_content(releases_dir: Path, content: str) -> Release | None:
    for release in releases(releases_dir):
        if release.manifest["content"] == content:
            try:
                return verify(release.folder)
            except ReleaseError:
                continue  # a damaged twin is no reason not to write a sound one
    return None


def _open(folder: Path) -> Release:
    file = folder / MANIFEST
    try:
        manifest = orjson.loads(file.read_bytes())
        layout = int(manifest["layout"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"Release {folder.name} has no readable manifest.", file=file, remedy=_REMEDY) from error
    if layout > LAYOUT:
        raise ReleaseError(
            f"Release {folder.name} has layout {layout}; this program knows layouts up to {LAYOUT}.",
            file=file,
            remedy="install the version of purvey that wrote it, or a newer one",
        )
    seal = manifest.pop("seal", None)
    if seal != _digest(manifest):
        raise ReleaseError(f"The manifest of release {folder.name} is damaged.", file=file, remedy=_REMEDY)
    return Release(folder, manifest)


def _earlier(releases_dir: Path, release_id: str) -> list[Release]:
    """Where to roll back to, best first: along `previous`, then whatever is older."""
    known = {release.id: release for release in releases(releases_dir)}
    chain: list[Release] = []
    following = known.get(release_id)
    while following is not None and (following := known.get(following.manifest["previous"])) is not None:
        chain.append(following)
    older = [release for release in known.values() if release.id < release_id and release not in chain]
    return chain + older


def _activate(releases_dir: Path, release_id: str) -> Release:
    release = verify(releases_dir / release_id)
    link = releases_dir / f"{_UNFINISHED}{CURRENT}"
    link.symlink_to(release_id)
    link.replace(releases_dir / CURRENT)
    _sync_folder(releases_dir)
    return release


def _digests(folder: Path) -> dict[str, str]:
    """Path → sha256 of every file below a folder but the manifest."""
    digests = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and name != MANIFEST:
            with file.open("rb") as content:
                digests[name] = hashlib.file_digest(content, "sha256").hexdigest()
    return digests


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _sync(folder: Path) -> None:
    """Everything below a folder onto the disk, so that the rename that follows cannot overtake it."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            _sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
