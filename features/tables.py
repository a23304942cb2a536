"""The tables that cross a border: their columns, keys and rules. This is the contract.

A table is a `dataframely` schema plus what a schema cannot say: which columns key it (a demand series is keyed by
whatever columns the shop's config names), whether a shop may add columns of its own, and the version of its layout.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import dataframely as dy
import polars as pl

from features.columns import EARLIEST, MOST, UTC
from features.columns import text as _text
from features.columns import time as _time
from features.customer_tables import (
    CampaignResults,
    CustomerChanges,
    CustomerReasons,
    CustomerScores,
    ListLeavers,
    Lists,
    ListSuppressions,
    NextProducts,
    SegmentMigration,
    Segments,
)
from features.forecast_tables import (
    ForecastChanges,
    ForecastDrivers,
    Forecasts,
    ForecastTotals,
    LeadTimeDemand,
    PathRanks,
)
from features.supply_tables import (
    CountPlan,
    Decisions,
    ItemClasses,
    OpenDemand,
    OpenSupply,
    Replenishment,
    Stock,
    StockCounts,
    StockLots,
    StockReview,
    Suppliers,
    SupplyAdvice,
    SupplyTerms,
)

Kind = Literal["event", "state", "snapshot", "derived"]


# -- what a shop brings --------------------------------------------------------------------------------------------


class OrderLines(dy.Schema):
    """One line of one order, or of one return."""

    order_id = _text(primary_key=True)
    line_no = dy.Int64(primary_key=True, min=1)
    ordered_at = _time(nullable=False, min=EARLIEST)
    customer_id = _text(nullable=True)
    product_id = _text(nullable=False)
    location_id = _text(nullable=False)
    kind = dy.String(nullable=False)
    quantity = dy.Float64(nullable=False, min_exclusive=0, max=MOST, allow_inf=True)  # infinite is above MOST
    unit_price = dy.Float64(nullable=False, min=0, max=MOST, allow_inf=True)
    channel = _text(nullable=True)
    promised_on = dy.Date(nullable=True)
    shipped_on = dy.Date(nullable=True)
    delivered_on = dy.Date(nullable=True)
    cancels_order_id = _text(nullable=True)
    cancels_line_no = dy.Int64(nullable=True)
    known_at = _time(nullable=False)

    @dy.rule()
    def kind_is_sale_or_return(cls) -> pl.Expr:
        return pl.col("kind").is_in(["sale", "return"])

    @dy.rule()
    def delivered_not_before_ordered(cls) -> pl.Expr:
        return pl.col("delivered_on").is_null() | (pl.col("delivered_on") >= pl.col("ordered_at").dt.date())


class SupersededLines(OrderLines):
    """A version of an order line that was known until a correction took its place."""

    known_at = _time(primary_key=True)
    known_until = _time(nullable=False)


class Demand(dy.Schema):
    """Demand of one series in one period. `quantity` null = unknown, 0 = none; `available` < 1 = a lower bound."""

    period = dy.Date(primary_key=True)
    quantity = dy.Float64(nullable=True)
    available = dy.Float64(nullable=True, min=0, max=1)
    price = dy.Float64(nullable=True, min=0)
    promotion = dy.Float64(nullable=True)

    @dy.rule()
    def quantity_is_a_number(cls) -> pl.Expr:
        return pl.col("quantity").is_null() | pl.col("quantity").is_finite()


class DemandRevisions(dy.Schema):
    """What became known of a period's demand only later (cancellations, late lines, corrections): is added."""

    period = dy.Date(primary_key=True)
    known_period = dy.Date(primary_key=True)
    quantity = dy.Float64(nullable=False)


class Series(dy.Schema):
    """What does not change about a series; every other column is an attribute.

    `replaces` names the series whose place it takes: the same keys but for the product (else for the last key column).
    """

    launched_on = dy.Date(nullable=True)
    discontinued_on = dy.Date(nullable=True)
    replaces = _text(nullable=True)


class Products(Series):
    """Attributes of a product."""

    product_id = _text(primary_key=True)


class Locations(Series):
    """Attributes of a location."""

    location_id = _text(primary_key=True)


class Customers(dy.Schema):
    """Attributes of a customer, and whether the shop may write to them.

    `consent_CHANNEL` says it of one channel, `consent` of all of which nothing else is said; null = not known.
    """

    customer_id = _text(primary_key=True)
    consent = dy.Bool(nullable=True)
    consent_email = dy.Bool(nullable=True)
    consent_phone = dy.Bool(nullable=True)
    consent_sms = dy.Bool(nullable=True)
    consent_post = dy.Bool(nullable=True)
    consent_app = dy.Bool(nullable=True)
    do_not_contact = dy.Bool(nullable=True)


class Contracts(dy.Schema):
    """One subscription. `churned` null = not known yet."""

    customer_id = _text(primary_key=True)
    churned = dy.Bool(nullable=True)
    started_on = dy.Date(nullable=True)
    ended_on = dy.Date(nullable=True)

    @dy.rule()
    def ended_not_before_started(cls) -> pl.Expr:
        return pl.any_horizontal(
            pl.col("ended_on").is_null(), pl.col("started_on").is_null(), pl.col("ended_on") >= pl.col("started_on")
        )


class Covariates(dy.Schema):
    """Values of one period: known ahead (prices, promotions, events) or observed once it is over."""

    period = dy.Date(primary_key=True)


class Feedback(dy.Schema):
    """What a customer said."""

    customer_id = _text(primary_key=True)
    at = _time(primary_key=True)
    kind = dy.String(primary_key=True)
    score = dy.Float64(nullable=True)
    text = dy.String(nullable=True)
    order_id = _text(nullable=True)

    @dy.rule()
    def kind_is_known(cls) -> pl.Expr:
        return pl.col("kind").is_in(["csat", "nps", "complaint"])


class CampaignOutcomes(dy.Schema):
    """What came of one contact, as the system that made it says; null = not said, and read from the order lines."""

    list_id = _text(primary_key=True)
    customer_id = _text(primary_key=True)
    contacted_at = _time(nullable=True)
    responded = dy.Bool(nullable=True)
    revenue = dy.Float64(nullable=True, min=0, max=MOST, allow_inf=True)  # infinite is above MOST
    known_at = _time(nullable=True)


class Overrides(dy.Schema):
    """What a planner says of coming periods; a null series key speaks of every value. Nothing is ever deleted.

    `value` is a total a period over the series it covers (`set`), units to add to it (`add`), or a factor (`multiply`).
    """

    override_id = _text(primary_key=True)
    at = _time(nullable=False)
    who = _text(nullable=False)
    why = _text(nullable=False)
    from_period = dy.Date(nullable=False)
    to_period = dy.Date(nullable=False)
    kind = dy.String(nullable=False)
    value = dy.Float64(nullable=False, min=-MOST, max=MOST, allow_inf=True)  # infinite is above MOST
    withdrawn_at = _time(nullable=True)

    @dy.rule()
    def kind_is_set_add_or_multiply(cls) -> pl.Expr:
        return pl.col("kind").is_in(["set", "add", "multiply"])

    @dy.rule()
    def only_add_is_below_zero(cls) -> pl.Expr:
        return (pl.col("value") >= 0) | (pl.col("kind") == "add")

    @dy.rule()
    def from_not_after_to(cls) -> pl.Expr:
        return pl.col("from_period") <= pl.col("to_period")

    @dy.rule()
    def withdrawn_not_before_said(cls) -> pl.Expr:
        return pl.col("withdrawn_at").is_null() | (pl.col("withdrawn_at") >= pl.col("at"))


# -- what Purvey keeps and decides ---------------------------------------------------------------------------------


class Batches(dy.Schema):
    """One file or query result taken in: nothing is read twice and every line is accounted for."""

    batch = _text(primary_key=True)
    table = _text(nullable=False)
    source = _text(nullable=False)
    digest = _text(nullable=False)
    lines_in = dy.Int64(nullable=False, min=0)
    good = dy.Int64(nullable=False, min=0)
    returns = dy.Int64(nullable=False, min=0)
    excluded = dy.Int64(nullable=False, min=0)
    quarantined = dy.Int64(nullable=False, min=0)
    ingested_at = _time(nullable=False)

    @dy.rule()
    def every_line_accounted_for(cls) -> pl.Expr:
        return pl.col("lines_in") == pl.sum_horizontal("good", "returns", "excluded", "quarantined")


class Exclusions(dy.Schema):
    """How many lines of a batch each rule of its adapter set aside."""

    batch = _text(primary_key=True)
    rule = _text(primary_key=True)
    lines = dy.Int64(nullable=False, min=0)


class Quarantine(dy.Schema):
    """A row that broke a rule: kept as it came, replayable."""

    batch = _text(primary_key=True)
    source_row = dy.Int64(primary_key=True, min=1)
    table = _text(nullable=False)
    source = _text(nullable=False)
    rules = _text(nullable=False)
    raw = _text(nullable=False)
    state = _text(nullable=False)
    recorded_at = _time(nullable=False)


class Tombstones(dy.Schema):
    """One customer who was forgotten, as a salted fingerprint: enough to know the name again, too little to tell it."""

    customer_digest = _text(primary_key=True)
    forgotten_at = _time(nullable=False)
    why = dy.String(nullable=True)


MEAN = "mean"
STANDARD_ERROR = "standard_error"


class Evaluation(dy.Schema):
    """How good a model was on cuts it had not seen, beside its baselines.

    `cut` names one cut, `mean` is the mean over them and `standard_error` the standard error of that mean.
    """

    capability = _text(primary_key=True)
    model = _text(primary_key=True)
    metric = _text(primary_key=True)
    slice = _text(primary_key=True)
    cut = _text(primary_key=True)
    value = dy.Float64(nullable=True)
    run = _text(nullable=False)


class Drift(dy.Schema):
    """One check of one column: the standard check table."""

    checked_at = _time(primary_key=True)
    dataset = _text(primary_key=True)
    column = _text(primary_key=True)
    metric = _text(primary_key=True)
    value = dy.Float64(nullable=True)
    threshold = dy.Float64(nullable=True)
    status = _text(nullable=False)


class Performance(dy.Schema):
    """What came true of what was forecast."""

    capability = _text(primary_key=True)
    issued_on = dy.Date(primary_key=True)
    slice = _text(primary_key=True)
    metric = _text(primary_key=True)
    value = dy.Float64(nullable=True)
    cells = dy.Int64(nullable=False)
    model_version = _text(nullable=False)


# -- the register --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A table and what its schema cannot say.

    Attributes:
        name: Its name in the lake.
        schema: Columns and rules known to every shop.
        kind: event (grows, merges by key), state (merges by key), snapshot (replaced whole by each ingest) or
            derived (written by a job).
        version: Layout version; raised with a migration in `pipelines.migrations`.
        keyed_by_series: Whether the shop's series columns are part of the key.
        open: Whether a shop may add columns of its own.
        partial: Whether a row may leave series columns empty, and then speaks of every value of them.
    """

    name: str
    schema: type[dy.Schema]
    kind: Kind
    version: int = 1
    keyed_by_series: bool = False
    open: bool = False
    partial: bool = False

    def keys(self, series: tuple[str, ...] = ()) -> list[str]:
        """Key columns, the shop's series columns first where they belong to the key."""
        own: list[str] = self.schema.primary_key()
        return [*(name for name in series if name not in own), *own] if self.keyed_by_series else own

    def schema_with(self, columns: Mapping[str, pl.DataType], series: tuple[str, ...] = ()) -> type[dy.Schema]:
        """The schema extended by the series keys and a shop's own columns.

        Args:
            columns: Name and type of every column present.
            series: The shop's series columns.
        """
        known = self.schema.columns()
        keys = self.keys(series)
        added: dict[str, dy.Column] = {}
        for name, dtype in columns.items():
            if name in known or (name not in series and not self.open):
                continue
            added[name] = _column(dtype, primary_key=name in keys, nullable=self.partial or name not in series)
        if not added:
            return self.schema
        return types.new_class(self.schema.__name__, (self.schema,), exec_body=lambda body: body.update(added))


def _column(dtype: pl.DataType, **rules: Any) -> dy.Column:
    if dtype.is_integer():
        return dy.Int64(**rules)
    if dtype.is_float():
        return dy.Float64(**rules)
    if dtype == pl.Boolean:
        return dy.Bool(**rules)
    if dtype == pl.Date:
        return dy.Date(**rules)
    if isinstance(dtype, pl.Datetime):
        return dy.Datetime(time_unit="us", time_zone=UTC, **rules)
    return dy.String(
        min_length=None if rules["nullable"] else 1, primary_key=rules["primary_key"], nullable=rules["nullable"]
    )


_ALL = (
    Table("order_lines", OrderLines, "event"),
    Table("superseded_lines", SupersededLines, "event"),
    Table("demand", Demand, "state", keyed_by_series=True),
    Table("demand_revisions", DemandRevisions, "derived", keyed_by_series=True),
    Table("series", Series, "state", keyed_by_series=True, open=True),
    Table("products", Products, "state", open=True),
    Table("locations", Locations, "state", open=True),
    Table("customers", Customers, "state", version=2, open=True),
    Table("contracts", Contracts, "state", open=True),
    Table("covariates", Covariates, "state", keyed_by_series=True, open=True),
    Table("stock", Stock, "snapshot", version=2, keyed_by_series=True),
    Table("stock_lots", StockLots, "snapshot"),
    Table("open_supply", OpenSupply, "snapshot", version=2),
    Table("open_demand", OpenDemand, "snapshot"),
    Table("supply_terms", SupplyTerms, "snapshot", version=2, keyed_by_series=True),
    Table("stock_counts", StockCounts, "event", keyed_by_series=True),
    Table("suppliers", Suppliers, "state"),
    Table("feedback", Feedback, "event"),
    Table("campaign_outcomes", CampaignOutcomes, "event"),
    Table("overrides", Overrides, "event", partial=True),
    Table("batches", Batches, "state"),
    Table("exclusions", Exclusions, "state"),
    Table("quarantine", Quarantine, "state"),
    Table("tombstones", Tombstones, "state"),
    Table("forecasts", Forecasts, "derived", version=2, keyed_by_series=True, open=True),
    Table("forecast_drivers", ForecastDrivers, "derived", version=2, keyed_by_series=True),
    Table("lead_time_demand", LeadTimeDemand, "derived", version=2, keyed_by_series=True, open=True),
    Table("forecast_changes", ForecastChanges, "derived", keyed_by_series=True),
    Table("forecast_totals", ForecastTotals, "derived"),
    Table("path_ranks", PathRanks, "derived"),
    Table("customer_scores", CustomerScores, "derived", open=True, version=2),
    Table("customer_reasons", CustomerReasons, "derived"),
    Table("next_products", NextProducts, "derived"),
    Table("segments", Segments, "derived"),
    Table("segment_migration", SegmentMigration, "derived"),
    Table("customer_changes", CustomerChanges, "derived"),
    Table("lists", Lists, "derived"),
    Table("list_leavers", ListLeavers, "derived"),
    Table("list_suppressions", ListSuppressions, "derived"),
    Table("campaign_results", CampaignResults, "derived"),
    Table("replenishment", Replenishment, "derived", version=2, keyed_by_series=True),
    Table("decisions", Decisions, "event"),
    Table("item_classes", ItemClasses, "derived", keyed_by_series=True),
    Table("stock_review", StockReview, "derived", keyed_by_series=True),
    Table("supply_advice", SupplyAdvice, "derived", keyed_by_series=True),
    Table("count_plan", CountPlan, "derived", keyed_by_series=True),
    Table("evaluation", Evaluation, "derived"),
    Table("drift", Drift, "derived"),
    Table("performance", Performance, "derived"),
)
TABLES: dict[str, Table] = {table.name: table for table in _ALL}


def quantile_column(quantile: float) -> str:
    """The column of a quantile: two digits are hundredths, three are thousandths.

    Example:
        >>> quantile_column(0.1), quantile_column(0.975)
        ('p10', 'p975')
    """
    thousandths = round(quantile * 1000)
    return f"p{thousandths // 10:02d}" if thousandths % 10 == 0 else f"p{thousandths:03d}"


def quantile_of(column: str) -> float | None:
    """The quantile a column holds, or None when it is no quantile column.

    Example:
        >>> quantile_of("p05"), quantile_of("p975"), quantile_of("p_zero")
        (0.05, 0.975, None)
    """
    digits = column[1:]
    if not column.startswith("p") or not digits.isdigit() or len(digits) not in (2, 3):
        return None
    return float(int(digits) / 10 ** len(digits))
