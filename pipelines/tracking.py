"""Runs and registered models: the only module that imports MLflow (with `registered`, which MLflow runs).

By default everything is in the shop's folder: `tracking/mlflow.db` (SQLite in WAL mode, migrated by one process at a
time) and `tracking/artifacts`. A `Tracker` that opens a moved folder first makes its artifact places agree with it.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.errors import TrackingError
from pipelines.settings import Settings
from pipelines.tracking_store import (
    artifact_root,
    database,
    is_embedded,
    one_at_a_time,
    prepare_environment,
    quiet,
    relocate,
    understood,
    use_write_ahead_log,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipelines.lake import Lake

__all__ = ["Registered", "Run", "Tracker", "code_version", "relocate", "requirements"]

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
REQUIREMENTS = ("purvey", "mlflow", "lightgbm", "numpy", "pandas", "polars", "scipy")
EXAMPLE_ROWS = 5


@dataclass(frozen=True)
class Registered:
    """One version of a registered model.

    Attributes:
        name: demand, churn, value or segments.
        version: Grows by one with each registration.
        run_id: The run that trained it.
        metrics: What that run measured.
    """

    name: str
    version: str
    run_id: str
    metrics: dict[str, float] = field(default_factory=dict)


class Run:
    """One training run while it is going on."""

    def __init__(self, tracker: Tracker, run_id: str) -> None:
        self.id = run_id
        self._tracker = tracker
        self._client = tracker._client

    def log_data(self, lake: Lake, tables: Sequence[str]) -> None:
        """Record which version of each table was read, and a digest of its rows that ignores their order."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        versions = lake.versions(tables)
        inputs = [
            DatasetInput(
                Dataset(
                    name=table,
                    digest=lake.digest(table, version=version),
                    source_type="delta",
                    source=json.dumps({"table": table, "version": version}),
                ),
                [InputTag("mlflow.data.context", "training")],
            )
            for table, version in versions.items()
        ]
        self._client.log_inputs(self.id, inputs)
        self.log_parameters({f"table_version.{table}": version for table, version in versions.items()})

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Record settings of the run; nested ones get dotted names."""
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in _flat(parameters).items()]
        self._client.log_batch(self.id, params=params)

    def log_metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Record figures; what is missing or not a number is left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1_000)
        known = {name: float(value) for name, value in metrics.items() if value is not None and math.isfinite(value)}
        self._client.log_batch(self.id, metrics=[Metric(name, value, now, 0) for name, value in known.items()])

    def log_figure(self, name: str, figure: Figure) -> None:
        """Keep a picture as `figures/NAME.png`."""
        self._client.log_figure(self.id, figure, f"figures/{name}.png")

    def log_table(self, name: str, frame: pl.DataFrame) -> None:
        """Keep a table as `tables/NAME.csv`."""
        self._client.log_text(self.id, frame.write_csv(), f"tables/{name}.csv")

    def log_features(self, names: Sequence[str]) -> None:
        """Record the feature list, in the order the model sees it."""
        self._client.log_text(self.id, json.dumps(list(names), indent=1), "features.json")

    def register(self, name: str, folder: Path, example: pl.DataFrame) -> str:
        """Make a model's files a new version of a registered model, marked `challenger`.

        Args:
            name: The registered model.
            folder: What the model's `to_dir` wrote.
            example: Rows it can predict from; all of them shape the signature, a few are kept beside the model.

        Returns:
            The version.

        Raises:
            TrackingError: The model cannot be loaded back or does not predict from the example.
        """
        with quiet():
            import mlflow.pyfunc
            from mlflow.models import infer_signature

            from pipelines import registered

        try:
            answer = registered.load(folder).predict(example)
        except Exception as error:
            raise TrackingError(
                f"Model {name} cannot be loaded from its own files: {error!r}. It was not registered.", file=folder
            ) from error
        with understood(self._tracker.uri), quiet(), tempfile.TemporaryDirectory() as scratch:
            files, few = Path(scratch) / "model", Path(scratch) / "example.parquet"
            shutil.copytree(folder, files)
            _pseudonymous(example.head(EXAMPLE_ROWS)).write_parquet(few)
            logged = mlflow.pyfunc.log_model(
                name=name,
                python_model=registered.__file__,
                artifacts={"model": str(files), "example": str(few)},
                signature=infer_signature(_for_pandas(example).to_pandas(), _for_pandas(answer).to_pandas()),
                pip_requirements=requirements(),
            )
            return self._tracker.add_version(name, logged.model_id, self.id)


class Tracker:
    """The shop's runs and its registered models.

    Args:
        settings: The shop. The store is created, or migrated to this MLflow, when it is first opened.

    Raises:
        TrackingError: The store cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        prepare_environment()
        self.uri = settings.tracking_uri
        self._experiment = settings.tracking.experiment or settings.shop
        self._home = settings.home / "tracking"
        artifacts = artifact_root(settings)
        with understood(self.uri), one_at_a_time(self._home), quiet():
            if is_embedded(settings):
                use_write_ahead_log(database(settings))
            from mlflow import MlflowClient

            self._client = MlflowClient(self.uri, self.uri)
            known = self._client.get_experiment_by_name(self._experiment)
            if known is None:
                location = None if self.uri.startswith("http") else artifacts.as_uri()
                self._client.create_experiment(self._experiment, artifact_location=location)
            elif is_embedded(settings) and known.artifact_location != artifacts.as_uri():
                relocate(settings)

    @contextmanager
    def run(self, job: str, parameters: Mapping[str, Any], *, nested: bool = False) -> Iterator[Run]:
        """A run that ends well with the block, or is marked failed when the block raises.

        Args:
            job: What is run, e.g. `train demand`.
            parameters: Settings that decide the result.
            nested: Whether it is part of the run that is going on.
        """
        import mlflow

        with understood(self.uri), quiet():
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            mlflow.set_experiment(self._experiment)
        tags = {"job": job, "code_version": code_version()}
        with understood(self.uri), mlflow.start_run(run_name=job, nested=nested, tags=tags, log_system_metrics=False):
            run = Run(self, mlflow.active_run().info.run_id)
            run.log_parameters(parameters)
            self._client.log_text(run.id, "\n".join(requirements()), "requirements.txt")
            yield run

    def add_version(self, name: str, model_id: str, run_id: str) -> str:
        """Make a logged model the newest version of a registered model, marked `challenger`."""
        if not any(model.name == name for model in self._client.search_registered_models(f"name = '{name}'")):
            self._client.create_registered_model(name)
        made = self._client.create_model_version(name, f"models:/{model_id}", run_id=run_id, model_id=model_id)
        self._client.set_registered_model_alias(name, CHALLENGER, str(made.version))
        return str(made.version)

    def promote(self, name: str, version: str) -> None:
        """Make a version the champion; the one before becomes `previous`. Twice is as once.

        Raises:
            TrackingError: There is no such version.
        """
        with understood(self.uri):
            self._client.get_model_version(name, version)
            aliases = self._aliases(name)
            champion = aliases.get(CHAMPION)
            if champion != version:
                if champion is not None:
                    self._client.set_registered_model_alias(name, PREVIOUS, champion)
                self._client.set_registered_model_alias(name, CHAMPION, version)
            if aliases.get(CHALLENGER) == version:
                self._client.delete_registered_model_alias(name, CHALLENGER)

    def repair(self, facts: Mapping[str, str]) -> list[str]:
        """Set the champions to what the current release says; returns the names that had to be moved.

        Args:
            facts: Registered model → version, as in the release's manifest.

        Raises:
            TrackingError: The registry lacks a version; the other models are set all the same.
        """
        moved, missing = [], []
        for name, version in facts.items():
            champion = self.champion(name)
            if champion is not None and champion.version == version:
                continue
            try:
                self.promote(name, version)
                moved.append(name)
            except TrackingError:
                missing.append(f"{name} {version}")
        if missing:
            raise TrackingError(
                f"The current release was made with models the registry does not know: {', '.join(missing)}.",
                file=self.uri,
                remedy="the release serves all the same; run `purvey train` to register new models",
            )
        return moved

    def champion(self, name: str) -> Registered | None:
        """The version in use, None before the first promotion."""
        with understood(self.uri):
            version = self._aliases(name).get(CHAMPION)
            return self._registered(name, version) if version else None

    def model_folder(self, name: str, alias: str = CHAMPION) -> Path:
        """The files that `to_dir` wrote, of the version an alias names.

        Raises:
            TrackingError: There is no such model, or its files are gone.
        """
        return self._files(name, alias) / "model"

    def version_folder(self, name: str, version: str) -> Path:
        """The files that `to_dir` wrote, of one version.

        Raises:
            TrackingError: There is no such version any more, or its files are gone.
        """
        return self._download(name, version) / "model"

    def example(self, name: str, alias: str = CHAMPION) -> pl.DataFrame:
        """A few rows the model was registered with, in the types its signature takes: for a first try in a notebook.

        Raises:
            TrackingError: There is no such model, or its files are gone.
        """
        return _for_pandas(pl.read_parquet(self._files(name, alias) / "example.parquet"))

    def models(self) -> pl.DataFrame:
        """One row a version: name, version, aliases, run_id, registered_at, metrics (JSON); newest first by name."""
        with understood(self.uri):
            rows = []
            for model in self._client.search_registered_models():
                for one in self._client.search_model_versions(f"name = '{model.name}'"):
                    metrics = self._registered(model.name, str(one.version)).metrics
                    named = [alias for alias, version in model.aliases.items() if str(version) == str(one.version)]
                    rows.append(
                        {
                            "name": model.name,
                            "version": str(one.version),
                            "aliases": ", ".join(sorted(named)),
                            "run_id": one.run_id,
                            "registered_at": one.creation_timestamp,
                            "metrics": json.dumps(metrics, sort_keys=True),
                        }
                    )
        texts = dict.fromkeys(("name", "version", "aliases", "run_id"), pl.String())
        frame = pl.DataFrame(rows, schema={**texts, "registered_at": pl.Int64, "metrics": pl.String})
        return frame.with_columns(
            pl.col("registered_at").cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC"))
        ).sort("name", pl.col("version").cast(pl.Int64), descending=[False, True])

    def _files(self, name: str, alias: str) -> Path:
        with understood(self.uri), quiet():
            version = self._aliases(name).get(alias)
        if version is None:
            raise TrackingError(
                f"There is no {alias} of model {name}.", remedy="run `purvey train`, or `purvey run` for everything"
            )
        return self._download(name, version)

    def _download(self, name: str, version: str) -> Path:
        with understood(self.uri), quiet():
            from mlflow.artifacts import download_artifacts

            place = self._client.get_model_version_download_uri(name, version)
            return Path(download_artifacts(artifact_uri=place, tracking_uri=self.uri)) / "artifacts"

    def _aliases(self, name: str) -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        try:
            aliases = self._client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        return {alias: str(version) for alias, version in aliases.items()}

    def _registered(self, name: str, version: str) -> Registered:
        run_id = self._client.get_model_version(name, version).run_id
        return Registered(name, version, run_id, dict(self._client.get_run(run_id).data.metrics))


def code_version() -> str:
    """The commit of a checkout, marked when files differ from it; of an installed program, its version.

    Example:
        >>> bool(code_version())
        True
    """
    root = Path(__file__).parents[1]
    if (root / ".git").exists() and shutil.which("git"):
        commit = _git(root, "rev-parse", "HEAD")
        if commit:
            return commit + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    return f"purvey {package_version('purvey')}"


def requirements() -> list[str]:
    """What a registered model needs, exactly as installed here: inferring it takes MLflow seconds a model."""
    found = []
    for package in REQUIREMENTS:
        try:
            found.append(f"{package}=={package_version(package)}")
        except PackageNotFoundError:
            continue
    return found


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _flat(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in parameters.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _pseudonymous(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with customers called by made names: an artifact is kept long and read by many."""
    if "customer_id" not in frame.columns:
        return frame
    return frame.with_columns(customer_id=pl.format("customer {}", pl.int_range(1, pl.len() + 1)))


def _for_pandas(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns as MLflow's signatures know them."""
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
