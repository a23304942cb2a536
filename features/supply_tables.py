"""Tables of supply: what is there, what comes, what is asked for, on what terms, and what is proposed.

Lists in one cell are written as `features.notation` reads them. Every quantity is in the unit the series is sold in.
"""

from __future__ import annotations

from typing import Literal, get_args

import dataframely as dy
import polars as pl

from features.columns import MOST, text, time
from features.notation import break_costs, break_quantities, minutes, numbers, weekdays

Rounding = Literal["best", "up", "down", "nearest"]
ServiceKind = Literal["cost", "cycle", "fill_rate"]
Policy = Literal[
    "paths", "min_max", "reorder_level", "order_point", "safety_stock_and_lot", "safety_stock", "critical_ratio",
    "static", "seasonal_cover", "demand_driven",
]  # fmt: skip
ROUNDINGS: tuple[str, ...] = get_args(Rounding)
SERVICE_KINDS: tuple[str, ...] = get_args(ServiceKind)
POLICIES: tuple[str, ...] = get_args(Policy)
_EXACT = 1e-6


class Stock(dy.Schema):
    """On hand at the opening of `as_of`."""

    as_of = dy.Date(nullable=False)
    on_hand = dy.Float64(nullable=False, min=0)
    unit = text(nullable=True)
    illustrative = dy.Bool(nullable=True)


class StockLots(dy.Schema):
    """Stock on hand by lot. `expires_on` is the last day it can be sold; null = it keeps.

    Where a series has lots, their sum is its stock; what has expired is kept here and not counted.
    """

    lot_id = text(nullable=True)
    expires_on = dy.Date(nullable=True)
    quantity = dy.Float64(nullable=False, min=0)
    as_of = dy.Date(nullable=True)
    unit = text(nullable=True)


class OpenSupply(dy.Schema):
    """On order, arriving at the start of `due_on`; `confidence` = probability that it comes at all."""

    supplier_id = text(nullable=False)
    due_on = dy.Date(nullable=False)
    quantity = dy.Float64(nullable=False, min=0)
    order_id = text(nullable=True)
    confidence = dy.Float64(nullable=True, min=0, max=1)
    as_of = dy.Date(nullable=True)
    unit = text(nullable=True)
    illustrative = dy.Bool(nullable=True)


class OpenDemand(dy.Schema):
    """Ordered by customers, not shipped yet and not part of the forecast: leaves stock on `due_on`, or at once."""

    due_on = dy.Date(nullable=False)
    quantity = dy.Float64(nullable=False, min=0)
    order_id = text(nullable=True)
    unit = text(nullable=True)


class SupplyTerms(dy.Schema):
    """What one supplier asks for one series. Costs per unit; holding per unit and period on what is left at its end.

    `price_breaks` are all-units discounts; `order_unit` and `pallet_units` count sales units; `volume` and `weight`
    are of one sales unit; `storage_maximum` bounds stock and orders together.
    """

    supplier_id = text(primary_key=True)
    lead_time_days = dy.Float64(nullable=True, min=0)
    lead_time_sd_days = dy.Float64(nullable=True, min=0)
    lead_times_days = text(nullable=True)
    review_days = dy.Int64(nullable=True, min=1)
    order_days = text(nullable=True)
    delivery_days = text(nullable=True)
    cut_off = text(nullable=True)
    moq = dy.Float64(nullable=True, min=0)
    multiple = dy.Float64(nullable=True, min_exclusive=0)
    maximum = dy.Float64(nullable=True, min=0)
    rounding = text(nullable=True)
    unit = text(nullable=True)
    order_unit = dy.Float64(nullable=True, min_exclusive=0)
    pallet_units = dy.Float64(nullable=True, min_exclusive=0)
    volume = dy.Float64(nullable=True, min=0)
    weight = dy.Float64(nullable=True, min=0)
    unit_cost = dy.Float64(nullable=True, min=0)
    price_breaks = text(nullable=True)
    fixed_order_cost = dy.Float64(nullable=True, min=0)
    holding_cost = dy.Float64(nullable=True, min=0)
    holding_rate = dy.Float64(nullable=True, min=0)
    shortage_cost = dy.Float64(nullable=True, min=0)
    backorder_cost_per_day = dy.Float64(nullable=True, min=0)
    service_target = dy.Float64(nullable=True, min_exclusive=0, max_exclusive=1)
    service_kind = text(nullable=True)
    policy = text(nullable=True)
    shelf_life_days = dy.Float64(nullable=True, min_exclusive=0)
    storage_maximum = dy.Float64(nullable=True, min=0)
    valid_from = dy.Date(nullable=True)
    valid_to = dy.Date(nullable=True)
    illustrative = dy.Bool(nullable=True)

    @dy.rule()
    def moq_not_above_maximum(cls) -> pl.Expr:
        return pl.col("maximum").is_null() | (pl.col("moq").fill_null(0) <= pl.col("maximum"))

    @dy.rule()
    def multiple_not_above_maximum(cls) -> pl.Expr:
        return pl.col("multiple") <= pl.col("maximum")

    @dy.rule()
    def moq_not_above_storage_maximum(cls) -> pl.Expr:
        return pl.col("moq") <= pl.col("storage_maximum")

    @dy.rule()
    def whole_packs_not_above_maximum(cls) -> pl.Expr:
        return _packs_within("maximum", "moq", "multiple")

    @dy.rule()
    def whole_packs_not_above_storage_maximum(cls) -> pl.Expr:
        return _packs_within("storage_maximum", "moq")

    @dy.rule()
    def multiple_is_whole_order_units(cls) -> pl.Expr:
        return _whole(pl.col("multiple") / pl.col("order_unit"))

    @dy.rule()
    def pallet_is_whole_order_units(cls) -> pl.Expr:
        return _whole(pl.col("pallet_units") / pl.col("order_unit"))

    @dy.rule()
    def lead_times_are_days(cls) -> pl.Expr:
        return _all_at_least_zero(numbers("lead_times_days"))

    @dy.rule()
    def order_days_are_weekdays(cls) -> pl.Expr:
        return _read_whole(weekdays("order_days"))

    @dy.rule()
    def delivery_days_are_weekdays(cls) -> pl.Expr:
        return _read_whole(weekdays("delivery_days"))

    @dy.rule()
    def cut_off_is_a_time(cls) -> pl.Expr:
        return pl.col("cut_off").is_null() | minutes("cut_off").is_not_null()

    @dy.rule()
    def price_breaks_are_pairs(cls) -> pl.Expr:
        quantities, costs = break_quantities("price_breaks"), break_costs("price_breaks")
        return _all_at_least_zero(quantities) & _all_at_least_zero(costs)

    @dy.rule()
    def price_breaks_ascend(cls) -> pl.Expr:
        return break_quantities("price_breaks").list.eval(pl.element().diff().drop_nulls() > 0).list.all()

    @dy.rule()
    def price_breaks_get_cheaper(cls) -> pl.Expr:
        costs = break_costs("price_breaks")
        falling = costs.list.eval(pl.element().diff().drop_nulls() <= 0).list.all()
        return falling & (costs.list.first() <= pl.col("unit_cost")).fill_null(True)

    @dy.rule()
    def rounding_is_known(cls) -> pl.Expr:
        return pl.col("rounding").is_in(ROUNDINGS)

    @dy.rule()
    def service_kind_is_known(cls) -> pl.Expr:
        return pl.col("service_kind").is_in(SERVICE_KINDS)

    @dy.rule()
    def policy_is_known(cls) -> pl.Expr:
        return pl.col("policy").is_in(POLICIES)

    @dy.rule()
    def valid_to_not_before_valid_from(cls) -> pl.Expr:
        return pl.col("valid_to") >= pl.col("valid_from")


class Suppliers(dy.Schema):
    """What a supplier asks of an order as a whole, and when it takes orders. Money is the shop's currency."""

    supplier_id = text(primary_key=True)
    minimum_value = dy.Float64(nullable=True, min=0)
    minimum_units = dy.Float64(nullable=True, min=0)
    truck_pallets = dy.Float64(nullable=True, min_exclusive=0)
    truck_volume = dy.Float64(nullable=True, min_exclusive=0)
    truck_weight = dy.Float64(nullable=True, min_exclusive=0)
    fixed_order_cost = dy.Float64(nullable=True, min=0)
    on_time_share = dy.Float64(nullable=True, min=0, max=1)
    order_days = text(nullable=True)
    reviewed_every_days = dy.Int64(nullable=True, min=1)

    @dy.rule()
    def order_days_are_weekdays(cls) -> pl.Expr:
        return _read_whole(weekdays("order_days"))


class Replenishment(dy.Schema):
    """One proposed order line and why.

    `receive_on` is as likely kept as not, `receive_on_p90` in nine cases of ten; `order_value` is what the units cost.
    """

    as_of = dy.Date(primary_key=True)
    supplier_id = text(primary_key=True)
    quantity = dy.Float64(nullable=False, min=0)
    order_value = dy.Float64(nullable=True, min=0)
    order_by = dy.Date(nullable=True)
    receive_on = dy.Date(nullable=True)
    receive_on_p90 = dy.Date(nullable=True)
    on_hand = dy.Float64(nullable=False)
    on_order = dy.Float64(nullable=False)
    protection_days = dy.Float64(nullable=False)
    demand_mean = dy.Float64(nullable=False)
    demand_p50 = dy.Float64(nullable=False)
    demand_p90 = dy.Float64(nullable=False)
    order_up_to = dy.Float64(nullable=False)
    unconstrained_quantity = dy.Float64(nullable=False)
    expected_cost_at_zero = dy.Float64(nullable=False)
    expected_cost = dy.Float64(nullable=False)
    expected_cost_unconstrained = dy.Float64(nullable=False)
    stock_out_risk_before = dy.Float64(nullable=False, min=0, max=1)
    stock_out_risk = dy.Float64(nullable=False, min=0, max=1)
    binding_constraint = dy.String(nullable=False)
    trace = dy.String(nullable=True)
    drivers = dy.String(nullable=False)
    illustrative = dy.Bool(nullable=False)
    state = text(nullable=False)
    state_reason = dy.String(nullable=True)
    run = text(nullable=False)
    data_versions = dy.String(nullable=True)
    model_version = text(nullable=False)


class StockCounts(dy.Schema):
    """One count of a series' stock, and what the books said at that moment (null = not noted)."""

    counted_on = dy.Date(primary_key=True)
    counted = dy.Float64(nullable=False, min=0)
    recorded = dy.Float64(nullable=True)


class ItemClasses(dy.Schema):
    """Classes of a series in one month; `…_measured` without hysteresis, `previous_…` what stood before."""

    month = dy.Date(primary_key=True)
    as_of = dy.Date(nullable=False)
    abc = text(nullable=False)
    xyz = text(nullable=False)
    demand_class = text(nullable=False)
    abc_measured = text(nullable=False)
    xyz_measured = text(nullable=False)
    demand_class_measured = text(nullable=False)
    previous_abc = text(nullable=True)
    previous_xyz = text(nullable=True)
    previous_demand_class = text(nullable=True)
    usage = dy.Float64(nullable=False)
    usage_value = dy.Float64(nullable=False)
    usage_share_before = dy.Float64(nullable=False, min=0, max=1)
    variation = dy.Float64(nullable=True)
    demand_interval = dy.Float64(nullable=True)
    size_variation_squared = dy.Float64(nullable=True)
    illustrative = dy.Bool(nullable=False)


class StockReview(dy.Schema):
    """What is too much, dead, or about to run out. Units, money, days; null = no demand to last against."""

    as_of = dy.Date(primary_key=True)
    abc = text(nullable=False)
    finding = text(nullable=False)
    on_hand = dy.Float64(nullable=False)
    on_order = dy.Float64(nullable=False)
    stock_value = dy.Float64(nullable=False)
    demand_mean = dy.Float64(nullable=False)
    demand_p90 = dy.Float64(nullable=False)
    demand_p95 = dy.Float64(nullable=False)
    cover_until = dy.Date(nullable=False)
    days_of_supply = dy.Float64(nullable=True)
    cover_at_risk_days = dy.Float64(nullable=True)
    stock_out_on = dy.Date(nullable=True)
    stock_out_risk = dy.Float64(nullable=False, min=0, max=1)
    next_receipt_on = dy.Date(nullable=False)
    excess = dy.Float64(nullable=False, min=0)
    excess_value = dy.Float64(nullable=False, min=0)
    expiring = dy.Float64(nullable=False, min=0)
    days_since_demand = dy.Int64(nullable=True)
    obsolete = dy.Bool(nullable=False)
    dead_value = dy.Float64(nullable=False)
    illustrative = dy.Bool(nullable=False)


class SupplyAdvice(dy.Schema):
    """An open order worth hurrying, holding back or calling off; what that brings, and why."""

    as_of = dy.Date(primary_key=True)
    order = dy.Int64(primary_key=True, min=1)
    supplier_id = text(nullable=False)
    order_id = text(nullable=True)
    due_on = dy.Date(nullable=False)
    quantity = dy.Float64(nullable=False, min=0)
    advice = text(nullable=False)
    move_to = dy.Date(nullable=True)
    gain = dy.Float64(nullable=False)
    value = dy.Float64(nullable=False)
    stock_out_on = dy.Date(nullable=True)
    reason = text(nullable=False)
    illustrative = dy.Bool(nullable=False)


class CountPlan(dy.Schema):
    """Whose stock to count on which day, how likely its record is wrong, and why."""

    as_of = dy.Date(primary_key=True)
    count_on = dy.Date(nullable=False)
    abc = text(nullable=False)
    on_hand = dy.Float64(nullable=False)
    stock_value = dy.Float64(nullable=False)
    record_risk = dy.Float64(nullable=False, min=0, max=1)
    phantom_probability = dy.Float64(nullable=False, min=0, max=1)
    silent_periods = dy.Int64(nullable=False, min=0)
    large_movements = dy.Int64(nullable=False, min=0)
    last_counted_on = dy.Date(nullable=True)
    reason = text(nullable=False)
    illustrative = dy.Bool(nullable=False)


def _read_whole(parts: pl.Expr) -> pl.Expr:
    return parts.list.eval(pl.element().is_not_null()).list.all()


def _all_at_least_zero(parts: pl.Expr) -> pl.Expr:
    number = pl.element()
    return parts.list.eval((number.is_finite() & (number >= 0)).fill_null(False)).list.all()


def _packs_within(limit: str, *ruled: str) -> pl.Expr:
    """Whether the minimum in whole packs stays within a limit; what is ruled alone already is passed over."""
    pack = pl.coalesce("multiple", "order_unit")
    smallest = (pl.col("moq").fill_null(0) / pack - _EXACT).ceil().clip(lower_bound=1) * pack
    alone = pl.max_horizontal(ruled) > pl.col(limit)
    return (smallest <= pl.col(limit) + _EXACT) | alone.fill_null(False)


def _whole(times: pl.Expr) -> pl.Expr:
    return (times - times.round()).abs() <= _EXACT


class Decisions(dy.Schema):
    """One change of one order line: what it became, who said so, why and when. Rows are added, never changed.

    Each row carries everything that is known of its line by then, so the newest row of a line is its present.
    """

    order_line = text(primary_key=True)
    step = dy.Int64(primary_key=True, min=1)
    as_of = dy.Date(nullable=False)
    supplier_id = text(nullable=False)
    state = text(nullable=False)
    quantity = dy.Float64(nullable=False, min=0, max=MOST, allow_inf=True)  # infinite is above MOST
    unit_cost = dy.Float64(nullable=True, min=0)
    receive_on = dy.Date(nullable=True)
    who = text(nullable=False)
    why = text(nullable=False)
    at = time(nullable=False)
    run = text(nullable=False)
    export_id = text(nullable=True)
    file = text(nullable=True)
    order_id = text(nullable=True)
