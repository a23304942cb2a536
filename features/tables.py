"""The tables that cross a border: their columns, keys and rules. This is the contract.

A table is a `dataframely` schema plus what a schema cannot say: which columns key it (a demand series is keyed by
whatever columns the shop's config names), whether a shop may add columns of its own, and the version of its layout.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC as UTC_ZONE
from datetime import datetime
from typing import Any, Literal

import dataframely as dy
import polars as pl

from features.columns import UTC
from features.columns import text as _text
from features.columns import time as _time
from features.supply_tables import (
    CountPlan,
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

# Beyond these a value is a slip of an export (no date given, a code in a column of numbers), never trade.
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC_ZONE)
MOST = 1e9
# What moves a forecast: the usual level of its series, and what is added to it or taken away.
DRIVERS = ("level", "season", "trend", "promotion", "calendar", "stock_outs", "correction", "lifecycle", "override")
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


class Forecasts(dy.Schema):
    """Demand expected in one period; one more column a configured quantile (`p05` … `p95`).

    `mean` and quantiles hold what planners said (`override_id`: the last that did), `mean_model` what the model did.
    """

    issued_on = dy.Date(primary_key=True)
    period = dy.Date(primary_key=True)
    horizon = dy.Int32(nullable=False, min=1)
    mean = dy.Float64(nullable=False)
    mean_model = dy.Float64(nullable=True)
    override_id = dy.String(nullable=True)
    p_zero = dy.Float64(nullable=True, min=0, max=1)
    members = dy.String(nullable=False)
    flags = dy.String(nullable=False)
    model_version = _text(nullable=False)


class ForecastDrivers(dy.Schema):
    """Why a forecast is what it is: its mean as a sum of drivers, in units, and the strongest of them in words."""

    issued_on = dy.Date(primary_key=True)
    period = dy.Date(primary_key=True)
    mean = dy.Float64(nullable=False)
    level = dy.Float64(nullable=False)
    season = dy.Float64(nullable=False)
    trend = dy.Float64(nullable=False)
    promotion = dy.Float64(nullable=False)
    calendar = dy.Float64(nullable=False)
    stock_outs = dy.Float64(nullable=False)
    correction = dy.Float64(nullable=False)
    lifecycle = dy.Float64(nullable=False)
    override = dy.Float64(nullable=False)
    words_en = _text(nullable=False)
    words_zh = _text(nullable=False)
    model_version = _text(nullable=False)

    @dy.rule()
    def drivers_add_up(cls) -> pl.Expr:
        return (pl.sum_horizontal(DRIVERS) - pl.col("mean")).abs() <= 1e-6 * (
            1 + pl.max_horizontal(pl.col(DRIVERS).abs())
        )


class LeadTimeDemand(dy.Schema):
    """Demand summed over the next 1 … H periods: its own target, never a sum of quantiles."""

    issued_on = dy.Date(primary_key=True)
    periods = dy.Int32(primary_key=True, min=1)
    mean = dy.Float64(nullable=False)
    pool = dy.Int32(nullable=True, min=0)
    model_version = _text(nullable=False)


class ForecastTotals(dy.Schema):
    """Means summed over the groups of a configured hierarchy (`demand.hierarchy`): coherent by construction."""

    issued_on = dy.Date(primary_key=True)
    level = _text(primary_key=True)
    group = dy.String(primary_key=True)
    period = dy.Date(primary_key=True)
    horizon = dy.Int32(nullable=False, min=1)
    series = dy.Int64(nullable=False, min=1)
    mean = dy.Float64(nullable=False)
    model_version = _text(nullable=False)


class ForecastChanges(dy.Schema):
    """How far the mean of a period moved since the issue before, and why: the three reasons add up to the move."""

    issued_on = dy.Date(primary_key=True)
    period = dy.Date(primary_key=True)
    issued_before = dy.Date(nullable=False)
    mean_before = dy.Float64(nullable=False)
    mean = dy.Float64(nullable=False)
    from_data = dy.Float64(nullable=False)
    from_model = dy.Float64(nullable=True)
    from_override = dy.Float64(nullable=False)
    model_version = _text(nullable=False)


class PathRanks(dy.Schema):
    """Joint ranks of sample paths, drawn through the quantiles of each series of a pool (`lead_time_demand.pool`)."""

    issued_on = dy.Date(primary_key=True)
    pool = dy.Int32(primary_key=True, min=0)
    path = dy.Int32(primary_key=True, min=0)
    horizon = dy.Int32(primary_key=True, min=1)
    rank = dy.Float64(nullable=False, min_exclusive=0, max_exclusive=1)


class CustomerScores(dy.Schema):
    """What is expected of one customer."""

    as_of = dy.Date(primary_key=True)
    customer_id = _text(primary_key=True)
    status = _text(nullable=False)
    churn_probability = dy.Float64(nullable=False, min=0, max=1)
    churn_band = _text(nullable=False)
    p_alive = dy.Float64(nullable=True, min=0, max=1)
    expected_orders = dy.Float64(nullable=True, min=0)
    value = dy.Float64(nullable=True)
    value_low = dy.Float64(nullable=True)
    value_high = dy.Float64(nullable=True)
    segment = _text(nullable=False)
    rfm_segment = _text(nullable=True)
    previous_segment = _text(nullable=True)
    next_order_on = dy.Date(nullable=True)
    next_order_from = dy.Date(nullable=True)
    next_order_to = dy.Date(nullable=True)
    days_since_last_order = dy.Int64(nullable=True, min=0)
    orders = dy.Int64(nullable=True, min=0)
    spend = dy.Float64(nullable=True)
    model_version = _text(nullable=False)

    @dy.rule()
    def figures_are_numbers(cls) -> pl.Expr:
        figures = ("churn_probability", "p_alive", "expected_orders", "value", "value_low", "value_high")
        return pl.all_horizontal(pl.col(name).is_null() | pl.col(name).is_finite() for name in figures)


class CustomerReasons(dy.Schema):
    """What a customer's probability of leaving goes with most: families of features, in figures and in words.

    `impact` is in log-odds of leaving; `value` is the customer's own, `peer_median` that of active customers.
    """

    as_of = dy.Date(primary_key=True)
    customer_id = _text(primary_key=True)
    rank = dy.Int32(primary_key=True, min=1, max=3)
    family = _text(nullable=False)
    direction = _text(nullable=False)
    impact = dy.Float64(nullable=False)
    value = dy.Float64(nullable=True)
    peer_median = dy.Float64(nullable=True)
    actionable = dy.Bool(nullable=False)
    text_en = _text(nullable=False)
    text_zh = _text(nullable=False)
    model_version = _text(nullable=False)

    @dy.rule()
    def direction_is_that_of_impact(cls) -> pl.Expr:
        return pl.col("direction") == pl.when(pl.col("impact") > 0).then(pl.lit("higher")).otherwise(pl.lit("lower"))


class NextProducts(dy.Schema):
    """What a customer may buy next: products bought before (`again`) and others (`new`), each kind ranked apart.

    `score` orders the products of one kind. `because_of` is the own product that says most for it, null where only what
    is popular does; `popularity_rank` 1 is the most popular product of the day.
    """

    as_of = dy.Date(primary_key=True)
    customer_id = _text(primary_key=True)
    kind = _text(primary_key=True)
    rank = dy.Int32(primary_key=True, min=1)
    product_id = _text(nullable=False)
    score = dy.Float64(nullable=False, min=0)
    because_of = _text(nullable=True)
    popularity_rank = dy.Int32(nullable=False, min=1)
    model = _text(nullable=False)

    @dy.rule()
    def kind_is_again_or_new(cls) -> pl.Expr:
        return pl.col("kind").is_in(["again", "new"])


class Segments(dy.Schema):
    """One segment of customers, in words and figures."""

    as_of = dy.Date(primary_key=True)
    segment = _text(primary_key=True)
    scheme = _text(primary_key=True)
    name = _text(nullable=False)
    description = _text(nullable=False)
    customers = dy.Int64(nullable=False, min=0)
    share_of_customers = dy.Float64(nullable=False, min=0, max=1)
    share_of_spend = dy.Float64(nullable=True)
    mean_days_since_last_order = dy.Float64(nullable=True)
    mean_orders = dy.Float64(nullable=True)
    mean_spend = dy.Float64(nullable=True)
    mean_churn_probability = dy.Float64(nullable=True)
    mean_value = dy.Float64(nullable=True)
    model_version = _text(nullable=False)


class SegmentMigration(dy.Schema):
    """How many customers, and what they are worth, were in one segment and are in another (or the same)."""

    as_of = dy.Date(primary_key=True)
    previous_as_of = dy.Date(nullable=False)
    scheme = _text(primary_key=True)
    from_segment = _text(primary_key=True)
    to_segment = _text(primary_key=True)
    customers = dy.Int64(nullable=False, min=1)
    share_of_from_segment = dy.Float64(nullable=False, min=0, max=1)
    value_before = dy.Float64(nullable=False)
    value_now = dy.Float64(nullable=False)


class CustomerChanges(dy.Schema):
    """One customer who is not as they were in the scores before, and why."""

    as_of = dy.Date(primary_key=True)
    previous_as_of = dy.Date(nullable=False)
    customer_id = _text(primary_key=True)
    change = _text(nullable=False, check=lambda change: change.is_in(["entered", "left", "moved", "slipping"]))
    from_segment = _text(nullable=True)
    to_segment = _text(nullable=True)
    churn_probability_before = dy.Float64(nullable=True, min=0, max=1)
    churn_probability = dy.Float64(nullable=True, min=0, max=1)
    value_before = dy.Float64(nullable=True)
    value = dy.Float64(nullable=True)
    why = _text(nullable=False)


class Lists(dy.Schema):
    """One customer on one list of a campaign: what to do, what it is expected to bring, and why it is allowed.

    `state` is built, exported (handed over for contact), held_out (control group of an exported list) or suppressed
    (found out at the export). Whoever is in the control group is never exported.
    """

    list_id = _text(primary_key=True)
    customer_id = _text(primary_key=True)
    campaign = _text(nullable=False)
    as_of = dy.Date(nullable=False)
    rank = dy.Int64(nullable=False, min=1)
    action = _text(nullable=False)
    channel = _text(nullable=False)
    owner = dy.String(nullable=True)
    churn_probability = dy.Float64(nullable=False, min=0, max=1)
    churn_band = _text(nullable=False)
    value = dy.Float64(nullable=False)
    value_low = dy.Float64(nullable=True)
    value_high = dy.Float64(nullable=True)
    value_at_risk = dy.Float64(nullable=False, min=0)
    response_rate = dy.Float64(nullable=False, min=0, max=1)
    response_basis = _text(nullable=False)
    cost = dy.Float64(nullable=False, min=0)
    expected_profit = dy.Float64(nullable=False)
    segment = _text(nullable=False)
    previous_segment = _text(nullable=True)
    next_order_on = dy.Date(nullable=True)
    consent_basis = _text(nullable=False)
    expires_on = dy.Date(nullable=False)
    control_group = dy.Bool(nullable=False)
    change = _text(nullable=False)
    state = _text(nullable=False)
    exported_on = dy.Date(nullable=True)
    model_version = _text(nullable=False)

    @dy.rule()
    def nobody_of_the_control_group_is_exported(cls) -> pl.Expr:
        return ~(pl.col("control_group") & (pl.col("state") == "exported"))


class ListLeavers(dy.Schema):
    """Who was on the campaign's list before this one and is not on this one, and why."""

    list_id = _text(primary_key=True)
    customer_id = _text(primary_key=True)
    campaign = _text(nullable=False)
    previous_list_id = _text(nullable=False)
    reason = _text(nullable=False)


class ListSuppressions(dy.Schema):
    """How many of a campaign's audience are not on its list, or not in its export, by reason."""

    list_id = _text(primary_key=True)
    stage = _text(primary_key=True)
    reason = _text(primary_key=True)
    campaign = _text(nullable=False)
    customers = dy.Int64(nullable=False, min=1)


class CampaignResults(dy.Schema):
    """What one exported list brought, measured against its control group; intervals are of 95 %.

    Money is the shop's currency; revenue per head counts everyone of a group, buyers or not. An interval is null where
    a group has fewer than two customers.
    """

    list_id = _text(primary_key=True)
    campaign = _text(nullable=False)
    as_of = dy.Date(nullable=False)
    exported_on = dy.Date(nullable=False)
    measured_to = dy.Date(nullable=False)
    treated = dy.Int64(nullable=False, min=0)
    control = dy.Int64(nullable=False, min=0)
    posted_outcomes = dy.Int64(nullable=False, min=0)
    mean_churn_probability = dy.Float64(nullable=True, min=0, max=1)
    treated_response_rate = dy.Float64(nullable=True, min=0, max=1)
    control_response_rate = dy.Float64(nullable=True, min=0, max=1)
    lift = dy.Float64(nullable=True)
    lift_low = dy.Float64(nullable=True)
    lift_high = dy.Float64(nullable=True)
    revenue_per_head_lift = dy.Float64(nullable=True)
    revenue_per_head_lift_low = dy.Float64(nullable=True)
    revenue_per_head_lift_high = dy.Float64(nullable=True)
    cost = dy.Float64(nullable=False, min=0)
    profit = dy.Float64(nullable=True)
    profit_low = dy.Float64(nullable=True)
    profit_high = dy.Float64(nullable=True)


class Decisions(dy.Schema):
    """One change of one order line: what it became, who said so, why and when. Rows are added, never changed.

    Each row carries everything that is known of its line by then, so the newest row of a line is its present.
    """

    order_line = _text(primary_key=True)
    step = dy.Int64(primary_key=True, min=1)
    as_of = dy.Date(nullable=False)
    supplier_id = _text(nullable=False)
    state = _text(nullable=False)
    quantity = dy.Float64(nullable=False, min=0, max=MOST, allow_inf=True)  # infinite is above MOST
    unit_cost = dy.Float64(nullable=True, min=0)
    receive_on = dy.Date(nullable=True)
    who = _text(nullable=False)
    why = _text(nullable=False)
    at = _time(nullable=False)
    run = _text(nullable=False)
    export_id = _text(nullable=True)
    file = _text(nullable=True)
    order_id = _text(nullable=True)


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
