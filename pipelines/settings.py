"""The configuration of one shop: a YAML file, overridden by `PURVEY_…` environment variables.

Every key that stands here also stands, commented, in `configs/template.yaml`. Unknown keys are errors that name the
nearest valid one. Secrets never stand in the file: they are read from the environment where they are used.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from pipelines.customer_sections import Audience, Campaign, Customers
from pipelines.errors import ConfigError
from pipelines.sections import (
    DEFAULT_QUANTILES,
    Boosting,
    Channel,
    Demand,
    Ingest,
    InputTable,
    Member,
    Monitoring,
    Probability,
    Section,
    Serving,
    Share,
    Source,
    Tracking,
    is_loopback,
)
from pipelines.supply_sections import Approval, Capacity, Classes, Illustration, StockReview, Supply

__all__ = [
    "DEFAULT_QUANTILES",
    "Approval",
    "Audience",
    "Boosting",
    "Campaign",
    "Capacity",
    "Channel",
    "Classes",
    "Customers",
    "Demand",
    "Illustration",
    "Ingest",
    "InputTable",
    "Member",
    "Monitoring",
    "Probability",
    "Section",
    "Serving",
    "Settings",
    "Share",
    "Source",
    "StockReview",
    "Supply",
    "Tracking",
    "is_loopback",
    "load_settings",
    "sample_config",
]


class Settings(BaseSettings):
    """Everything that is decided about one shop."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="PURVEY_", env_nested_delimiter="__", validate_default=True
    )

    shop: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    data_dir: str
    work_dir: str | None = Field(default=None, description="local folder for state where data_dir is object storage")
    timezone: str = "UTC"
    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    seed: int = 20240101
    threads: int = Field(default=2, ge=1)
    sources: list[Source] = Field(min_length=1)
    ingest: Ingest = Ingest()
    demand: Demand = Demand()
    customers: Customers = Customers()
    supply: Supply = Supply()
    monitoring: Monitoring = Monitoring()
    serving: Serving = Serving()
    tracking: Tracking = Tracking()

    _file: Path | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file."""
        return env_settings, init_settings

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if name not in available_timezones():
            near = difflib.get_close_matches(name, available_timezones(), n=1)
            raise ValueError(f"unknown time zone{f'; did you mean {near[0]!r}?' if near else ''}")
        return name

    # -- places ------------------------------------------------------------------------------------------------

    @property
    def file(self) -> Path | None:
        """The YAML file these settings were read from."""
        return self._file

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from."""
        return self._file.parent if self._file else Path.cwd()

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone."""
        return ZoneInfo(self.timezone)

    def locate(self, path: str) -> str:
        """An absolute path or URL: relative paths start at the config file's folder."""
        if "://" in path:
            return path
        return str((self.folder / Path(path).expanduser()).resolve())

    @property
    def lake_url(self) -> str:
        """Where the Delta tables are."""
        return f"{self.locate(self.data_dir).rstrip('/')}/lake"

    @property
    def home(self) -> Path:
        """The local folder for tracking, releases, reports and the API's state."""
        if self.work_dir is not None:
            return Path(self.locate(self.work_dir))
        if "://" in self.data_dir:
            return Path(self.locate(f"data/{self.shop}"))
        return Path(self.locate(self.data_dir))

    @property
    def releases_dir(self) -> Path:
        """Where releases are kept."""
        return self.home / "releases"

    @property
    def reports_dir(self) -> Path:
        """Where reports for people are written."""
        return self.home / "reports"

    @property
    def api_dir(self) -> Path:
        """Where the API keeps its keys and what it takes in."""
        return Path(self.locate(self.serving.state)) if self.serving.state else self.home / "api"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking and registry store."""
        return self.tracking.uri or f"sqlite:///{self.home / 'tracking' / 'mlflow.db'}"

    @property
    def storage_options(self) -> dict[str, str]:
        """Credentials of the object store: `PURVEY_STORAGE_…` variables, prefix removed, lower case."""
        prefix = "PURVEY_STORAGE_"
        return {name[len(prefix) :].lower(): value for name, value in os.environ.items() if name.startswith(prefix)}

    def served_at(self, host: str, port: int) -> Settings:
        """The same shop, served at another address."""
        return self.model_copy(update={"serving": self.serving.model_copy(update={"host": host, "port": port})})

    def has(self, table: str) -> bool:
        """Whether a source brings this table."""
        return any(source.table == table for source in self.sources)

    @property
    def forecasts_demand(self) -> bool:
        """Whether there is demand to forecast: totals, or order lines."""
        return self.demand.enabled and (self.has("demand") or self.has("order_lines"))

    @property
    def judges_customers(self) -> bool:
        """Whether there are customers to judge: by what they buy, or by their contracts."""
        table = "order_lines" if self.customers.kind == "transactional" else "contracts"
        return self.customers.enabled and self.has(table)

    @property
    def runs_campaigns(self) -> bool:
        """Whether lists are made of the customers who are judged."""
        return self.judges_customers and bool(self.customers.campaigns)

    @property
    def replenishes(self) -> bool:
        """Whether there is stock to replenish, real or illustrative."""
        return self._has_stock or self.supply.illustrative is not None

    @property
    def illustrates_supply(self) -> bool:
        """Whether stock and terms are made up, because there are no records."""
        return self.supply.illustrative is not None and not self._has_stock

    @property
    def _has_stock(self) -> bool:
        return self.has("stock") or self.has("stock_lots")


def load_settings(path: str | Path, **overrides: Any) -> Settings:
    """Read and check a shop's configuration.

    Args:
        path: The YAML file, or a folder with a `shop.yaml`.
        **overrides: Top-level keys given on the command line; they win over the file.

    Raises:
        ConfigError: The file is missing, not YAML, or breaks a rule; every broken rule is named.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "shop.yaml"
    if not file.exists():
        raise ConfigError(
            f"There is no configuration file {file}.",
            remedy="name one with --config, or start from configs/template.yaml",
        )
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration is not readable YAML: {error}", file=file) from error
    if not isinstance(content, dict):
        raise ConfigError("The configuration is not a set of `key: value` lines.", file=file)
    nameless = [key for key in content if not isinstance(key, str)]
    if nameless:
        raise ConfigError(f"A key of the configuration is no name: {nameless[0]!r}.", file=file)
    try:
        settings = Settings(**(content | overrides))
    except ValidationError as error:
        raise ConfigError(_explain(error), file=file, remedy="see configs/template.yaml for every key") from error
    except SettingsError as error:
        raise ConfigError(f"A PURVEY_… environment variable cannot be understood: {error}.") from error
    settings._file = file.resolve()
    return settings


def sample_config() -> Path:
    """The configuration of the sample shop: inside an installed package, or in a checkout."""
    package = Path(__file__).parent
    installed = package / "ingest" / "sample" / "online_retail.yaml"
    return installed if installed.exists() else package.parent / "configs" / "online_retail.yaml"


def _explain(error: ValidationError) -> str:
    lines = ["The configuration breaks these rules:"]
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _names_at(problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(sorted(known))}"
            lines.append(f"  {place}: unknown key; {hint}")
        else:
            lines.append(f"  {place}: {problem['msg']} (got {problem['input']!r})")
    return "\n".join(lines)


def _names_at(place: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in place:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[str(part)].annotation
        found = [arg for arg in (annotation, *get_args(annotation)) if isinstance(arg, type)]
        model = next((arg for arg in found if issubclass(arg, BaseModel)), model)
    return list(model.model_fields)
