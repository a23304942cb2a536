"""Parts of a configuration: sources, intake, demand, monitoring, serving, tracking; and what all parts share."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

InputTable = Literal[
    "order_lines",
    "demand",
    "series",
    "products",
    "locations",
    "customers",
    "contracts",
    "covariates",
    "stock",
    "stock_lots",
    "open_supply",
    "open_demand",
    "supply_terms",
    "stock_counts",
    "suppliers",
    "feedback",
    "campaign_outcomes",
    "overrides",
]
Member = Literal[
    "ses", "damped_trend", "tsb", "adida", "imapa", "moving_average", "seasonal_naive",
    "recursive", "AutoARIMA", "AutoCES", "AutoETS", "DynamicOptimizedTheta", "MSTL", "OptimizedTheta",
]  # fmt: skip
Channel = Literal["email", "phone", "sms", "post", "app"]
Share = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(gt=0, lt=1)]

DEFAULT_QUANTILES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


class Section(BaseModel):
    """Strict base of every part of the configuration: what is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Section):
    """Where one input table comes from."""

    table: InputTable
    format: Literal["csv", "parquet", "sql"] = "parquet"
    path: str | list[str] | None = None
    query: str | None = None
    connection: str | None = Field(
        default=None, description="name of the environment variable that holds the database URL"
    )
    adapter: str | None = None
    columns: dict[str, str] = Field(default_factory=dict, description="canonical name: name in the source")
    known_ahead: list[str] = Field(default_factory=list)
    observed: list[str] = Field(default_factory=list)
    encoding: str = "utf-8"
    separator: str = ","

    @model_validator(mode="after")
    def _origin(self) -> Source:
        if self.format == "sql":
            if not self.query or not self.connection:
                raise ValueError("a sql source needs `query` and `connection` (the name of an environment variable)")
        elif not self.path:
            raise ValueError(f"a {self.format} source needs `path`: a file, a glob or a list of them")
        if self.table == "covariates" and set(self.known_ahead) & set(self.observed):
            raise ValueError("a covariate is either known_ahead or observed, not both")
        return self

    @property
    def paths(self) -> list[str]:
        """The paths as written, always a list."""
        return [self.path] if isinstance(self.path, str) else list(self.path or [])


class Ingest(Section):
    """How strict the door is."""

    max_bad_share: Share = 0.05


class Boosting(Section):
    """How the trees of demand are grown; `purvey tune demand` looks for better values than these."""

    learning_rate: float = Field(default=0.08, gt=0, le=1)
    leaves: int = Field(default=31, ge=2, le=1024)
    min_leaf: int = Field(default=60, ge=1, description="rows a leaf; less where there are few rows at all")
    bins: int = Field(default=63, ge=7, le=255)
    row_share: float = Field(default=0.7, gt=0, le=1, description="of the rows, drawn anew for each tree")
    feature_share: float = Field(default=0.6, gt=0, le=1, description="of the features, drawn anew for each tree")


class Demand(Section):
    """What is forecast, and how far."""

    enabled: bool = True
    series: list[str] = ["product_id"]
    frequency: Literal["day", "week", "month"] = "week"
    period_label: Literal["start", "end"] = "start"
    horizon: int = Field(default=8, ge=1, le=366)
    quantiles: list[Probability] = list(DEFAULT_QUANTILES)
    holidays: str | None = Field(default=None, description="country code, e.g. GB")
    hierarchy: list[list[str]] = Field(default=[], description="levels at which totals are aligned and judged")
    optimise_for: Literal["wape", "rmsse", "mase", "money"] = "wape"
    members: list[Member] = Field(default=[], description="more local models in the blend of the mean")
    backtest_origins: int = Field(default=3, ge=1, le=60)
    trees: int = Field(default=120, ge=1)
    training_rows: int = Field(default=150_000, ge=1_000)
    obsolete_after_periods: int | None = Field(default=None, ge=1)
    explained_series: int = Field(default=500, ge=1)
    winsorise: Probability | None = None
    boosting: Boosting = Boosting()

    @field_validator("quantiles")
    @classmethod
    def _ascending(cls, quantiles: list[float]) -> list[float]:
        if not quantiles:
            raise ValueError("at least one quantile")
        if any(round(q, 3) != q for q in quantiles):
            raise ValueError("quantiles have at most three decimals")
        return sorted({*quantiles, 0.5})  # the median is what absolute errors are judged by

    @field_validator("hierarchy")
    @classmethod
    def _levels(cls, hierarchy: list[list[str]]) -> list[list[str]]:
        if any(not level or len(set(level)) != len(level) for level in hierarchy):
            raise ValueError("name one or more different columns a level; the whole shop is always a level")
        if len({tuple(sorted(level)) for level in hierarchy}) != len(hierarchy):
            raise ValueError("name each level once")
        return hierarchy

    @field_validator("series")
    @classmethod
    def _some_key(cls, series: list[str]) -> list[str]:
        if not series or len(set(series)) != len(series):
            raise ValueError("name one or more different key columns")
        return series


class Monitoring(Section):
    """What is watched, and when it is said aloud."""

    drift_method: Literal["psi", "jensenshannon", "wasserstein"] = "psi"
    drift_threshold: float = Field(default=0.2, gt=0)
    drift_share: Share = Field(default=0.5, description="share of drifting columns that makes the data set drift")
    reference_days: int = Field(default=365, ge=1)
    current_days: int = Field(default=28, ge=1)
    sample_rows: int = Field(default=20_000, ge=100)


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Limits(Section):
    """How much one key may ask, so that no sender takes the server from the others. Each worker counts for itself."""

    enabled: bool = True
    requests_per_second: float = Field(default=500, gt=0)
    burst: int = Field(default=1000, ge=1, description="how many requests at once, after a pause")
    exports_per_minute: float = Field(default=30, gt=0)
    exports_burst: int = Field(default=30, ge=1)
    what_if_per_second: float = Field(default=50, gt=0)
    what_if_burst: int = Field(default=100, ge=1)
    refused_per_second: float = Field(default=10, gt=0, description="requests without a valid key, by address")
    refused_burst: int = Field(default=100, ge=1)
    body_bytes: int = Field(default=4_000_000, ge=1024)
    header_bytes: int = Field(default=32_768, ge=1024)


class Oidc(Section):
    """Bearer tokens of an identity provider, beside our own keys."""

    issuer: str = Field(min_length=1)
    audience: str = Field(min_length=1)
    jwks_url: str
    algorithms: list[Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]] = Field(
        default=["RS256", "ES256"], min_length=1
    )
    scopes_claim: str = "scope"
    locations_claim: str | None = Field(default=None, description="list of location ids; ['*'] is everywhere")
    leeway_seconds: float = Field(default=30, ge=0, le=300, description="how far its clock may be off ours")
    refresh_minutes: float = Field(default=10, gt=0)

    @field_validator("jwks_url")
    @classmethod
    def _trusted(cls, url: str) -> str:
        split = urlsplit(url)
        if split.scheme != "https" and not (split.scheme == "http" and is_loopback(split.hostname or "")):
            raise ValueError("should be https://: whoever changes these keys on their way can let anybody in")
        return url


class Serving(Section):
    """The API.

    Attributes:
        public_url: Where people and programs reach the API through a TLS proxy, `https://` and a host. A proxy on this
            machine makes strangers look like visitors from here; once this is set nobody counts as local, the cookie
            travels over TLS only, forms are taken from this address alone, and there is no demo key.
        log: Which requests get a line in the log; `errors` are answers from 400 on.
        opentelemetry: Where spans are sent by OTLP over HTTP, e.g. `http://127.0.0.1:4318/v1/traces`.
        workers: Processes that answer.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    stale_after_days: float = Field(default=8, gt=0)
    keep_releases: int = Field(default=5, ge=2)
    runs_every_hours: float | None = Field(default=None, gt=0, description="answers may be kept until the next run")
    state: str | None = Field(default=None, description="folder of keys and of what the API takes in")
    database: str | None = Field(default=None, description="PostgreSQL in place of SQLite in `state`, as a URL")
    public_url: str | None = Field(default=None, description="address behind a TLS proxy, https://host[:port]")
    workers: int = Field(default=1, ge=1, le=64)
    log: Literal["all", "errors", "off"] = "all"
    opentelemetry: str | None = Field(default=None, pattern=r"^https?://\S+$")

    limits: Limits = Limits()
    oidc: Oidc | None = None

    @field_validator("public_url")
    @classmethod
    def _as_browsers_say_it(cls, url: str | None) -> str | None:
        if url is None:
            return None
        found = re.fullmatch(r"https://([^\s/?#@]+)/?", url.lower())
        if not found:
            raise ValueError("should be https:// and a host, without a path, e.g. https://purvey.example.com")
        return f"https://{found[1].removesuffix(':443')}"

    @field_validator("database")
    @classmethod
    def _of_postgres(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("postgresql+psycopg://", "postgresql://")):
            raise ValueError("should be postgresql+psycopg://USER:PASSWORD@HOST/DATABASE")
        return url and url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def on_this_machine_only(self) -> bool:
        """Whether nobody else can reach the server: it listens on loopback, and no proxy brings strangers in."""
        return self.public_url is None and is_loopback(self.host)


class Tracking(Section):
    """MLflow. By default SQLite (WAL) in the shop's folder."""

    uri: str | None = None
    experiment: str | None = None
