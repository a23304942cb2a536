"""How a table of an older layout becomes one of the current layout.

`MIGRATIONS[table][n - 1]` turns layout n into layout n + 1: a function on a lazy frame that can be applied twice
without harm. Raising `Table.version` in `features.tables` without a step here fails a test.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl


def _with_overrides(forecasts: pl.LazyFrame) -> pl.LazyFrame:
    """Room for what planners say; nobody knows any more what was said of earlier issues."""
    known = forecasts.collect_schema().names()
    added = {"mean_model": pl.Float64, "override_id": pl.String}
    return forecasts.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in added.items() if name not in known
    )


def _with_pool(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Issues from before joint ranks were learned belong to no pool."""
    if "pool" in frame.collect_schema():
        return frame
    return frame.with_columns(pool=pl.lit(None, dtype=pl.Int32))


def _with_lifecycle(drivers: pl.LazyFrame) -> pl.LazyFrame:
    """What launches, ends and planners did was told as `correction` before it had drivers of its own."""
    known = drivers.collect_schema().names()
    return drivers.with_columns(pl.lit(0.0).alias(name) for name in ("lifecycle", "override") if name not in known)


def _with_consents(customers: pl.LazyFrame) -> pl.LazyFrame:
    """Nobody was asked for each channel yet: what `consent` says of all of them stands."""
    known = customers.collect_schema().names()
    channels = (f"consent_{channel}" for channel in ("email", "phone", "sms", "post", "app"))
    return customers.with_columns(pl.lit(None, dtype=pl.Boolean).alias(name) for name in channels if name not in known)


def _with_order_range(scores: pl.LazyFrame) -> pl.LazyFrame:
    """Between which days the next order is likely was not told before."""
    known = scores.collect_schema().names()
    names = [name for name in ("next_order_from", "next_order_to") if name not in known]
    return scores.with_columns(pl.lit(None, dtype=pl.Date).alias(name) for name in names)


def _with_nulls(**added: pl.DataType) -> Callable[[pl.LazyFrame], pl.LazyFrame]:
    """Room for what nobody told before."""

    def step(frame: pl.LazyFrame) -> pl.LazyFrame:
        known = frame.collect_schema().names()
        return frame.with_columns(
            pl.lit(None, dtype=dtype).alias(name) for name, dtype in added.items() if name not in known
        )

    return step


_TEXT, _NUMBER, _DAY = pl.String(), pl.Float64(), pl.Date()
_TERMS = {
    **dict.fromkeys(("lead_times_days", "order_days", "delivery_days", "cut_off", "price_breaks"), _TEXT),
    **dict.fromkeys(("rounding", "unit", "service_kind", "policy"), _TEXT),
    **dict.fromkeys(("order_unit", "pallet_units", "volume", "weight", "shelf_life_days"), _NUMBER),
    **dict.fromkeys(("fixed_order_cost", "backorder_cost_per_day", "storage_maximum"), _NUMBER),
    **dict.fromkeys(("valid_from", "valid_to"), _DAY),
}


MIGRATIONS: dict[str, list[Callable[[pl.LazyFrame], pl.LazyFrame]]] = {
    "customers": [_with_consents],
    "customer_scores": [_with_order_range],
    "forecasts": [_with_overrides],
    "forecast_drivers": [_with_lifecycle],
    "lead_time_demand": [_with_pool],
    "stock": [_with_nulls(unit=_TEXT)],
    "open_supply": [_with_nulls(order_id=_TEXT, confidence=_NUMBER, unit=_TEXT)],
    "supply_terms": [_with_nulls(**_TERMS)],
    "replenishment": [
        _with_nulls(order_value=_NUMBER, receive_on_p90=_DAY, trace=_TEXT, state_reason=_TEXT, data_versions=_TEXT)
    ],
}
