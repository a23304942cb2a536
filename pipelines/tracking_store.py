"""Where MLflow keeps its records: the SQLite file, the artifacts beside it, and what is said when they fail.

MLflow records artifact places as absolute URIs, so a moved or restored folder would point to where it once was:
`relocate` rewrites them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipelines.errors import TrackingError
from pipelines.settings import Settings

_URI_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def relocate(settings: Settings) -> int:
    """Point the store at the artifacts where the shop's folder is now; returns how many places were rewritten.

    MLflow keeps absolute artifact URIs. Only a store in the shop's own folder is rewritten, in one transaction; a store
    elsewhere keeps what its owner set.
    """
    file = database(settings)
    if not is_embedded(settings) or not file.exists():
        return 0
    new = artifact_root(settings).as_uri()
    name = settings.tracking.experiment or settings.shop
    with closing(sqlite3.connect(file)) as store, store:
        found = store.execute("SELECT artifact_location FROM experiments WHERE name = ?", (name,)).fetchone()
        if found is None or found[0] == new:
            return 0
        old = found[0].rstrip("/")
        changed = 0
        for table, column in _URI_COLUMNS:
            moved = f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
            below = f" WHERE {column} = ? OR substr({column}, 1, ?) = ?"
            values = (new, len(old) + 1, old, len(old) + 1, old + "/")
            changed += store.execute(moved + below, values).rowcount
    return changed


def artifact_root(settings: Settings) -> Path:
    """Where models, figures and tables of runs are kept."""
    return settings.home / "tracking" / "artifacts"


def is_embedded(settings: Settings) -> bool:
    """Whether the store is in the shop's own folder."""
    return settings.tracking.uri is None


def database(settings: Settings) -> Path:
    """The SQLite file of an embedded store."""
    return settings.home / "tracking" / "mlflow.db"


def use_write_ahead_log(file: Path) -> None:
    """Readers and the one writer do not block each other; the mode stays with the file."""
    with closing(sqlite3.connect(file, timeout=20)) as store:
        store.execute("PRAGMA journal_mode=WAL")


def prepare_environment() -> None:
    """What MLflow reads when it is imported: no telemetry, no unpickling, no chatter."""
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow's and Alembic's own messages from the user: they speak of migrations and pip, not of the shop."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "alembic.runtime.migration")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the store while it is created or migrated: parallel first starts race MLflow's migrations."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def understood(uri: str) -> Iterator[None]:
    """Say what is wrong with the store in words, with a remedy."""
    try:
        yield
    except TrackingError:
        raise
    except sqlite3.DatabaseError as error:
        raise TrackingError(
            f"The tracking store cannot be opened: {error}.",
            file=_without_password(uri),
            remedy="restore the shop from a backup (purvey restore), or move the folder `tracking` away and train anew",
        ) from error
    except OSError as error:
        raise TrackingError(
            f"The tracking store cannot be written: {error}.",
            file=_without_password(uri),
            remedy="check free space and permissions, then run the same command again",
        ) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("mlflow", "sqlalchemy", "alembic"):
            raise
        raise TrackingError(
            f"MLflow refused: {str(error).splitlines()[0]}",
            file=_without_password(uri),
            remedy="check `tracking` in the configuration and that its server runs; `purvey train` registers anew",
        ) from error


def _without_password(uri: str) -> str:
    head, at, tail = uri.rpartition("@")
    return f"{head.split('://')[0]}://…@{tail}" if at else uri
