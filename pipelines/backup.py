"""A shop in one file: lake, tracking, releases, reports, API state. Written whole, checked before it is unpacked.

What the configuration keeps apart from the shop's folder (a lake or API state elsewhere) has a root of its own in the
file; a tracking server is backed up with that server's own means, and the summary says so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tarfile
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import LakeError, PurveyError
from pipelines.files import whole
from pipelines.settings import Settings
from pipelines.summary import Summary, progress
from pipelines.workflow import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
_CONTENTS = "contents.json"
_LEFT_OUT = {".lock"}
_SQLITE_SIDE_FILES = ("-wal", "-shm", "-journal")


def backup(settings: Settings, out: Path) -> Summary:
    """Write everything this shop has into one tar file.

    No other command writes meanwhile; a serving API may: its SQLite files are copied through SQLite itself.

    Args:
        settings: The shop.
        out: The file to write; it appears whole or not at all.

    Raises:
        LakeError: The lake is not in a local folder.
        PurveyError: Another command is at work, or there is nothing to keep.
    """
    if "://" in settings.lake_url:
        raise LakeError(
            "The lake is in object storage, which purvey does not copy into a file.",
            file=settings.lake_url,
            remedy="use the bucket's own versioning or replication; keep data_dir local to use purvey backup",
        )
    if not settings.home.exists():
        raise PurveyError(f"Shop {settings.shop} has nothing to back up yet.", file=settings.home)
    roots = _roots(settings)
    if any(out.resolve().is_relative_to(root.resolve()) for root in roots.values()):
        raise PurveyError("A backup cannot stand inside what it backs up.", file=out, remedy="choose another --out")
    contents: dict[str, str] = {}
    with locked(settings), whole(out) as unfinished, tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        files = [
            (f"{name}/{file.relative_to(root).as_posix()}", file)
            for name, root in roots.items()
            for file in _files(root)
        ]
        with tarfile.open(unfinished, "w") as archive, progress("backing up", len(files)) as advance:
            for name, file in sorted(files):
                if file.is_symlink():
                    archive.add(file, name)
                else:
                    steady = _steady_copy(file, Path(scratch)) if file.suffix in (".db", ".sqlite") else file
                    contents[name] = _digest(steady)
                    archive.add(steady, name)
                advance()
            facts = {"format": FORMAT, "shop": settings.shop, "program": package_version("purvey"), "files": contents}
            about = Path(scratch) / _CONTENTS
            about.write_text(json.dumps(facts | {"written_at": datetime.now(UTC).isoformat()}))
            archive.add(about, _CONTENTS)
    apart = [f"MLflow is kept at {settings.tracking_uri}: back it up there."] if settings.tracking.uri else []
    return Summary(
        job="backup",
        read={name: str(root) for name, root in roots.items()},
        wrote={"file": str(out)},
        figures={"files": len(files), "size_mb": round(out.stat().st_size / 1e6, 1)},
        notes=apart,
    )


def _roots(settings: Settings) -> dict[str, Path]:
    """Every folder that holds something of the shop; what lies inside the shop's own folder needs no root."""
    home = settings.home
    others = {"lake": Path(settings.lake_url), "api": settings.api_dir}
    return {"home": home} | {name: path for name, path in others.items() if not path.is_relative_to(home)}


def restore(settings: Settings, file: Path) -> Summary:
    """Unpack a backup into the shop's folder, which must be empty or absent.

    Args:
        settings: The shop; its folder may be another than the one that was backed up.
        file: A file that `backup` wrote.

    Raises:
        PurveyError: The folder is not empty, the file is no backup of this shop, or it is damaged. Nothing is changed.
    """
    if not file.exists():
        raise PurveyError("There is no such backup.", file=file)
    roots = _roots(settings)
    for folder in roots.values():
        if folder.exists() and any(folder.iterdir()):
            raise PurveyError(
                f"The folder of shop {settings.shop} is not empty.",
                file=folder,
                remedy="move it away first; restore never overwrites",
            )
    home = roots["home"]
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{home.name}.", dir=home.parent) as scratch:
        facts = _unpack(file, Path(scratch))
        if facts["shop"] != settings.shop:
            raise PurveyError(
                f"This is a backup of shop {facts['shop']}, not of {settings.shop}.",
                file=file,
                remedy="use the configuration of the shop it was made from",
            )
        _put_in_place(Path(scratch), roots)
    if (home / "tracking").exists():
        from pipelines.tracking import relocate

        relocate(settings)
    return Summary(
        job="restore",
        read={"file": str(file), "written_at": facts["written_at"]},
        wrote={"folder": str(home)},
        figures={"files": len(facts["files"])},
    )


def _put_in_place(unpacked: Path, roots: dict[str, Path]) -> None:
    """Each root by one rename; what the file keeps apart and this shop keeps together goes where this shop keeps it."""
    together = {"lake": unpacked / "home" / "lake", "api": unpacked / "home" / "api"}
    for name, place in together.items():
        if (unpacked / name).exists() and name not in roots:
            place.parent.mkdir(parents=True, exist_ok=True)
            (unpacked / name).rename(place)
        elif name in roots and place.exists():
            place.rename(unpacked / name)
    for name in sorted(roots, key=lambda root: root == "home"):
        if (unpacked / name).exists():
            if roots[name].exists():
                roots[name].rmdir()
            roots[name].parent.mkdir(parents=True, exist_ok=True)
            shutil.move(unpacked / name, roots[name])


def _files(root: Path) -> Iterator[Path]:
    for file in root.rglob("*"):
        if file.name in _LEFT_OUT or file.name.endswith(_SQLITE_SIDE_FILES):
            continue
        if file.is_symlink() or file.is_file():
            yield file


def _steady_copy(file: Path, scratch: Path) -> Path:
    copy = scratch / hashlib.sha256(str(file).encode()).hexdigest()
    source = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    target = sqlite3.connect(copy)
    with source, target:
        source.backup(target)
    source.close()
    target.close()
    return copy


def _unpack(file: Path, folder: Path) -> dict[str, Any]:
    try:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
        facts: dict[str, Any] = json.loads((folder / _CONTENTS).read_text())
    except (tarfile.TarError, OSError, ValueError) as error:
        raise PurveyError(f"This file is no whole backup: {error}", file=file) from error
    if facts["format"] > FORMAT:
        raise PurveyError("This backup was written by a newer program.", file=file, remedy="install a newer purvey")
    (folder / _CONTENTS).unlink()
    for name, digest in facts["files"].items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise PurveyError(f"The backup is damaged: {name} is not what was written.", file=file)
    return facts


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
