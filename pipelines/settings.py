"""The configuration of one shop: a YAML file, overridden by `PURVEY_…` environment variables.

Every key that stands here also stands, commented, in `configs/template.yaml`. Unknown keys are errors that name the
nearest valid one. Secrets never stand in the file: they are read from the environment where they are used.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from features.supply_tables import Rounding
from pipelines.errors import ConfigError

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


class Audience(Section):
    """Whom a campaign is for; a customer must pass every filter that is set."""

    status: Literal["active", "lapsed"] = "active"
    churn_bands: list[Literal["low", "medium", "high"]] = []
    min_churn_probability: Share = 0.0
    max_churn_probability: Share = 1.0
    segments: list[str] = Field(default=[], description="names of either scheme, k-means or RFM")
    min_value: float | None = None


class Campaign(Section):
    """One action toward customers: whom it is for, what it costs, and how far it may go.

    Attributes:
        opt_in: Whether only who has said yes may be contacted; unset: on every channel but post.
        response_rate: Assumed P(respond | contact) of those who would leave, until the campaign's own lists are
            measured.
        holdout: Share of the list that is never contacted, so that what the campaign brings can be measured.
        cool_off_days: Nobody whom any campaign contacted within so many days is contacted again.
        measure_days: Orders count as responses within so many days of the export.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    audience: Audience = Audience()
    action: str = Field(min_length=1)
    channel: Channel
    opt_in: bool | None = None
    response_rate: Probability
    cost_per_contact: float = Field(ge=0, allow_inf_nan=False)
    offer_cost: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    margin_rate: Share | None = None
    budget: float | None = Field(default=None, gt=0)
    capacity: int | None = Field(default=None, ge=1)
    holdout: float = Field(default=0.1, gt=0, le=0.5)
    cool_off_days: int = Field(default=30, ge=0, le=3_650)
    expires_days: int = Field(default=28, ge=1, le=3_650)
    measure_days: int = Field(default=28, ge=1, le=3_650)
    owner: str | None = None

    @property
    def needs_consent(self) -> bool:
        """Whether a customer who never said yes is left alone."""
        return self.channel != "post" if self.opt_in is None else self.opt_in


class Customers(Section):
    """How customers are judged: repeat buyers (transactional) or subscribers (contractual)."""

    enabled: bool = True
    kind: Literal["transactional", "contractual"] = "transactional"
    period_days: int = Field(default=7, ge=1)
    churn_horizon_days: int = Field(default=91, ge=1, le=3_650)
    value_horizon_days: int = Field(default=365, ge=1, le=36_500)
    value: Literal["revenue", "margin"] = "revenue"
    margin_rate: Share = 0.3
    discount_rate_a_year: float = Field(default=0.0, ge=0)
    active_days: int | None = Field(default=None, ge=1)
    cuts: int = Field(default=4, ge=1, le=24)
    cut_step_days: int = Field(default=28, ge=1)
    trees: int = Field(default=150, ge=1)
    most_learned_from: int = Field(
        default=100_000, ge=1_000, description="customers that models learn from and are judged on; all are scored"
    )
    fee_column: str | None = Field(default=None, description="of table contracts: the fee a month")
    protected: list[str] = []
    segment_names: dict[str, str] = {}
    campaigns: list[Campaign] = []

    @field_validator("segment_names")
    @classmethod
    def _told_apart(cls, segment_names: dict[str, str]) -> dict[str, str]:
        if not all(segment_names.values()) or len(set(segment_names.values())) != len(segment_names):
            raise ValueError("give each segment a name of its own")
        return segment_names

    @field_validator("campaigns")
    @classmethod
    def _named_once(cls, campaigns: list[Campaign]) -> list[Campaign]:
        if len({campaign.name for campaign in campaigns}) != len(campaigns):
            raise ValueError("give each campaign a name of its own")
        return campaigns

    @model_validator(mode="after")
    def _margin_once(self) -> Customers:
        if self.value == "margin" and any(campaign.margin_rate is not None for campaign in self.campaigns):
            raise ValueError(
                "a campaign's margin_rate has no meaning where `value: margin`: values are margins already"
            )
        return self


class Illustration(Section):
    """Supply data made up from a seed, for shops that have none. Everything made from it is marked."""

    seed: int = 20111209
    cover_weeks: float = Field(default=4.0, gt=0)


class Approval(Section):
    """Which proposed orders need nobody's approval, which are held, and how long open ones count.

    Attributes:
        by_rule: Approve what keeps within all the limits below; else every line waits for somebody.
        max_value: Most money a line.
        max_change: Most times the usual order of the series.
        min_confidence: Least probability that without the order something would be missing.
        hold_above: Times the usual order above which a line is held until somebody approves it by name; null: never.
        lapse_days: Days after which a line that was edited or held but never approved, or exported but never
            acknowledged, no longer counts as on order; null: it counts until somebody says otherwise.
    """

    by_rule: bool = False
    max_value: float | None = Field(default=None, ge=0)
    max_change: float | None = Field(default=2.0, gt=0)
    min_confidence: Share = 0.0
    hold_above: float | None = Field(default=5.0, gt=0)
    lapse_days: int | None = Field(default=None, ge=1)


class Capacity(Section):
    """What all orders of one run may take together, in units of the terms' `volume` and `weight`; unset: no limit."""

    volume: float | None = Field(default=None, ge=0)
    weight: float | None = Field(default=None, ge=0)
    units: float | None = Field(default=None, ge=0)


class Classes(Section):
    """Where classes of series begin, and how far beyond a cut a series has to be to change class at once.

    Attributes:
        abc: Shares of usage value that classes A, and A and B together, hold.
        xyz: Coefficients of variation, without season, up to which demand counts as X, and as Y.
        margin: Share of a cut (of what is left above it, for shares) that counts as being at the cut.
    """

    abc: tuple[Probability, Probability] = (0.8, 0.95)
    xyz: tuple[float, float] = (0.5, 1.0)
    margin: Share = 0.1

    @field_validator("abc", "xyz")
    @classmethod
    def _rising(cls, cuts: tuple[float, float]) -> tuple[float, float]:
        if not 0 < cuts[0] < cuts[1]:
            raise ValueError("two cuts above 0, the lower one first")
        return cuts


class StockReview(Section):
    """What counts as too much, as dead, as worth a word to a supplier, and how often stock is counted.

    Attributes:
        cover_days: The cover horizon: stock that demand is not likely to take by then is excess.
        obsolete_after_days: Days without demand after which a series without a forecast is obsolete.
        expedite_days: Days after which a hurried order arrives.
        expedite_cost_share: What hurrying costs, of what the units cost.
        least_gain: Money an advice has to bring to be given.
        count_every_days: Days between counts of classes A, B and C.
        count_tolerance: Share of the record by which a count may differ and still confirm it.
        plan_days: How far ahead counts are planned.
        wrong_a_year: Share of records that go wrong within a year of a count, before anything is known of them.
        phantom_share: Share of records that hold stock which is not there, before anything is known of them.
    """

    cover_days: int = Field(default=90, ge=1)
    obsolete_after_days: int = Field(default=180, ge=1)
    expedite_days: int = Field(default=3, ge=0)
    expedite_cost_share: Share = 0.1
    least_gain: float = Field(default=1.0, ge=0)
    count_every_days: tuple[int, int, int] = (30, 91, 365)
    count_tolerance: Share = 0.02
    plan_days: int = Field(default=28, ge=1)
    wrong_a_year: Probability = 0.1
    phantom_share: Probability = 0.02


class Supply(Section):
    """How replenishment is decided; defaults for what the supply_terms table leaves open.

    Attributes:
        orders_placed_at: Local time of day at which orders go out; a supplier whose cut-off is earlier sees them on
            its next order day.
    """

    unmet_demand: Literal["lost", "backorder"] = "lost"
    objective: Literal["cost", "service", "fill_rate"] = "cost"
    service_target: Probability = 0.95
    review_days: int = Field(default=7, ge=1)
    orders_placed_at: str = Field(default="09:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    lead_time_days: float = Field(default=14, ge=0)
    lead_time_sd_days: float = Field(default=0, ge=0)
    moq: float = Field(default=0, ge=0)
    multiple: float = Field(default=1, gt=0)
    rounding: Rounding = "best"
    fixed_order_cost: float = Field(default=0, ge=0, description="of one order line")
    unit_cost_share: Share = Field(default=0.5, description="of the selling price, where no unit_cost is given")
    holding_rate_a_year: float = Field(default=0.25, ge=0)
    shortage_cost_share: Share = Field(default=0.5, description="of the selling price, lost margin per unit")
    concentration: float = Field(default=0, ge=0, description="surcharge on the price of a supplier that has all spend")
    effective_ratio: Literal["auto"] | Share = Field(default="auto", description="scales the critical ratio")
    method: Literal["paths", "quantiles"] = "paths"
    budget: float | None = Field(default=None, ge=0, description="money for the orders of one run")
    capacity: Capacity = Capacity()
    approval: Approval = Approval()
    classes: Classes = Classes()
    stock_review: StockReview = StockReview()
    illustrative: Illustration | None = None

    @field_validator("orders_placed_at", mode="before")
    @classmethod
    def _as_a_clock_says_it(cls, at: object) -> object:
        """YAML reads 10:30 as the number of minutes."""
        return f"{at // 60:02d}:{at % 60:02d}" if isinstance(at, int) else at


class Monitoring(Section):
    """What is watched, and when it is said aloud."""

    drift_method: Literal["psi", "jensenshannon", "wasserstein"] = "psi"
    drift_threshold: float = Field(default=0.2, gt=0)
    drift_share: Share = Field(default=0.5, description="share of drifting columns that makes the data set drift")
    reference_days: int = Field(default=365, ge=1)
    current_days: int = Field(default=28, ge=1)
    sample_rows: int = Field(default=20_000, ge=100)


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


class Serving(Section):
    """The API.

    Attributes:
        public_url: Where people and programs reach the API through a TLS proxy, `https://` and a host. A proxy on this
            machine makes strangers look like visitors from here; once this is set nobody counts as local, the cookie
            travels over TLS only, forms are taken from this address alone, and there is no demo key.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    stale_after_days: float = Field(default=8, gt=0)
    keep_releases: int = Field(default=5, ge=2)
    state: str | None = Field(default=None, description="folder of keys and of what the API takes in")
    public_url: str | None = Field(default=None, description="address behind a TLS proxy, https://host[:port]")

    @field_validator("public_url")
    @classmethod
    def _as_browsers_say_it(cls, url: str | None) -> str | None:
        if url is None:
            return None
        found = re.fullmatch(r"https://([^\s/?#@]+)/?", url.lower())
        if not found:
            raise ValueError("should be https:// and a host, without a path, e.g. https://purvey.example.com")
        return f"https://{found[1].removesuffix(':443')}"

    @property
    def on_this_machine_only(self) -> bool:
        """Whether nobody else can reach the server: it listens on loopback, and no proxy brings strangers in."""
        return self.public_url is None and is_loopback(self.host)


class Tracking(Section):
    """MLflow. By default SQLite (WAL) in the shop's folder."""

    uri: str | None = None
    experiment: str | None = None


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
