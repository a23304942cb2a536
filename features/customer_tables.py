"""Tables about customers: scores and their reasons, segments, offers, and the lists of campaigns."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from features.columns import text


class CustomerScores(dy.Schema):
    """What is expected of one customer."""

    as_of = dy.Date(primary_key=True)
    customer_id = text(primary_key=True)
    status = text(nullable=False)
    churn_probability = dy.Float64(nullable=False, min=0, max=1)
    churn_band = text(nullable=False)
    p_alive = dy.Float64(nullable=True, min=0, max=1)
    expected_orders = dy.Float64(nullable=True, min=0)
    value = dy.Float64(nullable=True)
    value_low = dy.Float64(nullable=True)
    value_high = dy.Float64(nullable=True)
    segment = text(nullable=False)
    rfm_segment = text(nullable=True)
    previous_segment = text(nullable=True)
    next_order_on = dy.Date(nullable=True)
    next_order_from = dy.Date(nullable=True)
    next_order_to = dy.Date(nullable=True)
    days_since_last_order = dy.Int64(nullable=True, min=0)
    orders = dy.Int64(nullable=True, min=0)
    spend = dy.Float64(nullable=True)
    model_version = text(nullable=False)

    @dy.rule()
    def figures_are_numbers(cls) -> pl.Expr:
        figures = ("churn_probability", "p_alive", "expected_orders", "value", "value_low", "value_high")
        return pl.all_horizontal(pl.col(name).is_null() | pl.col(name).is_finite() for name in figures)


class CustomerReasons(dy.Schema):
    """What a customer's probability of leaving goes with most: families of features, in figures and in words.

    `impact` is in log-odds of leaving; `value` is the customer's own, `peer_median` that of active customers.
    """

    as_of = dy.Date(primary_key=True)
    customer_id = text(primary_key=True)
    rank = dy.Int32(primary_key=True, min=1, max=3)
    family = text(nullable=False)
    direction = text(nullable=False)
    impact = dy.Float64(nullable=False)
    value = dy.Float64(nullable=True)
    peer_median = dy.Float64(nullable=True)
    actionable = dy.Bool(nullable=False)
    text_en = text(nullable=False)
    text_zh = text(nullable=False)
    model_version = text(nullable=False)

    @dy.rule()
    def direction_is_that_of_impact(cls) -> pl.Expr:
        return pl.col("direction") == pl.when(pl.col("impact") > 0).then(pl.lit("higher")).otherwise(pl.lit("lower"))


class NextProducts(dy.Schema):
    """What a customer may buy next: products bought before (`again`) and others (`new`), each kind ranked apart.

    `score` orders the products of one kind. `because_of` is the own product that says most for it, null where only what
    is popular does; `popularity_rank` 1 is the most popular product of the day.
    """

    as_of = dy.Date(primary_key=True)
    customer_id = text(primary_key=True)
    kind = text(primary_key=True)
    rank = dy.Int32(primary_key=True, min=1)
    product_id = text(nullable=False)
    score = dy.Float64(nullable=False, min=0)
    because_of = text(nullable=True)
    popularity_rank = dy.Int32(nullable=False, min=1)
    model = text(nullable=False)

    @dy.rule()
    def kind_is_again_or_new(cls) -> pl.Expr:
        return pl.col("kind").is_in(["again", "new"])


class Segments(dy.Schema):
    """One segment of customers, in words and figures."""

    as_of = dy.Date(primary_key=True)
    segment = text(primary_key=True)
    scheme = text(primary_key=True)
    name = text(nullable=False)
    description = text(nullable=False)
    customers = dy.Int64(nullable=False, min=0)
    share_of_customers = dy.Float64(nullable=False, min=0, max=1)
    share_of_spend = dy.Float64(nullable=True)
    mean_days_since_last_order = dy.Float64(nullable=True)
    mean_orders = dy.Float64(nullable=True)
    mean_spend = dy.Float64(nullable=True)
    mean_churn_probability = dy.Float64(nullable=True)
    mean_value = dy.Float64(nullable=True)
    model_version = text(nullable=False)


class SegmentMigration(dy.Schema):
    """How many customers, and what they are worth, were in one segment and are in another (or the same)."""

    as_of = dy.Date(primary_key=True)
    previous_as_of = dy.Date(nullable=False)
    scheme = text(primary_key=True)
    from_segment = text(primary_key=True)
    to_segment = text(primary_key=True)
    customers = dy.Int64(nullable=False, min=1)
    share_of_from_segment = dy.Float64(nullable=False, min=0, max=1)
    value_before = dy.Float64(nullable=False)
    value_now = dy.Float64(nullable=False)


class CustomerChanges(dy.Schema):
    """One customer who is not as they were in the scores before, and why."""

    as_of = dy.Date(primary_key=True)
    previous_as_of = dy.Date(nullable=False)
    customer_id = text(primary_key=True)
    change = text(nullable=False, check=lambda change: change.is_in(["entered", "left", "moved", "slipping"]))
    from_segment = text(nullable=True)
    to_segment = text(nullable=True)
    churn_probability_before = dy.Float64(nullable=True, min=0, max=1)
    churn_probability = dy.Float64(nullable=True, min=0, max=1)
    value_before = dy.Float64(nullable=True)
    value = dy.Float64(nullable=True)
    why = text(nullable=False)


class Lists(dy.Schema):
    """One customer on one list of a campaign: what to do, what it is expected to bring, and why it is allowed.

    `state` is built, exported (handed over for contact), held_out (control group of an exported list) or suppressed
    (found out at the export). Whoever is in the control group is never exported.
    """

    list_id = text(primary_key=True)
    customer_id = text(primary_key=True)
    campaign = text(nullable=False)
    as_of = dy.Date(nullable=False)
    rank = dy.Int64(nullable=False, min=1)
    action = text(nullable=False)
    channel = text(nullable=False)
    owner = dy.String(nullable=True)
    churn_probability = dy.Float64(nullable=False, min=0, max=1)
    churn_band = text(nullable=False)
    value = dy.Float64(nullable=False)
    value_low = dy.Float64(nullable=True)
    value_high = dy.Float64(nullable=True)
    value_at_risk = dy.Float64(nullable=False, min=0)
    response_rate = dy.Float64(nullable=False, min=0, max=1)
    response_basis = text(nullable=False)
    cost = dy.Float64(nullable=False, min=0)
    expected_profit = dy.Float64(nullable=False)
    segment = text(nullable=False)
    previous_segment = text(nullable=True)
    next_order_on = dy.Date(nullable=True)
    consent_basis = text(nullable=False)
    expires_on = dy.Date(nullable=False)
    control_group = dy.Bool(nullable=False)
    change = text(nullable=False)
    state = text(nullable=False)
    exported_on = dy.Date(nullable=True)
    model_version = text(nullable=False)

    @dy.rule()
    def nobody_of_the_control_group_is_exported(cls) -> pl.Expr:
        return ~(pl.col("control_group") & (pl.col("state") == "exported"))


class ListLeavers(dy.Schema):
    """Who was on the campaign's list before this one and is not on this one, and why."""

    list_id = text(primary_key=True)
    customer_id = text(primary_key=True)
    campaign = text(nullable=False)
    previous_list_id = text(nullable=False)
    reason = text(nullable=False)


class ListSuppressions(dy.Schema):
    """How many of a campaign's audience are not on its list, or not in its export, by reason."""

    list_id = text(primary_key=True)
    stage = text(primary_key=True)
    reason = text(primary_key=True)
    campaign = text(nullable=False)
    customers = dy.Int64(nullable=False, min=1)


class CampaignResults(dy.Schema):
    """What one exported list brought, measured against its control group; intervals are of 95 %.

    Money is the shop's currency; revenue per head counts everyone of a group, buyers or not. An interval is null where
    a group has fewer than two customers.
    """

    list_id = text(primary_key=True)
    campaign = text(nullable=False)
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
