"""From the tables of a shop to table replenishment: one proposed order line a series, with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from features.tables import TABLES
from pipelines.errors import NotEnoughDataError
from pipelines.settings import Supply
from pipelines.supply.allocation import asked, capacities_of, together
from pipelines.supply.allotment import NAMES as TOGETHER
from pipelines.supply.allotment import Allotment
from pipelines.supply.constraints import STEPS
from pipelines.supply.decision import decide, valued
from pipelines.supply.explanation import drivers
from pipelines.supply.lines import lines_of, sellable, stocked, unit_costs
from pipelines.supply.menu import menu
from pipelines.supply.outlook import outlook
from pipelines.supply.paths import Array
from pipelines.supply.ratios import effective_ratios
from pipelines.supply.schedule import Schedule, schedule
from pipelines.supply.situation import Situation
from pipelines.supply.terms import complete_terms, valid_terms
from pipelines.supply.trace import trace

PROPOSED = "proposed"  # the state of a line nobody has decided on yet


@dataclass(frozen=True)
class Proposal:
    """What a round of replenishment proposes, and what it could not.

    Attributes:
        orders: Table replenishment, one row a series, sorted by key.
        without_forecast: Key columns of series with stock but no whole forecast.
        without_stock: Key columns of series with a forecast but no stock record.
        facts: Counts of lines for which something had to be assumed.
        plan: How suppliers' rules, budget and capacity were shared out; None where nothing holds lines together.
    """

    orders: pl.DataFrame
    without_forecast: pl.DataFrame
    without_stock: pl.DataFrame
    facts: dict[str, int]
    plan: Allotment | None = None


def replenishment(
    situation: Situation,
    supply: Supply,
    *,
    keys: Sequence[str],
    days_a_period: float,
    run: str,
    currency: str = "EUR",
    seed: int = 0,
    threads: int = 1,
) -> Proposal:
    """Propose orders for every series with stock and a forecast.

    Args:
        situation: The tables.
        supply: Objective, defaults for terms, what happens to unmet demand.
        keys: The shop's series columns.
        days_a_period: Mean length of a demand period, days.
        run: Name of the round, kept with every line.
        currency: Three-letter code, for the drivers.
        seed: Seed of the sample paths.
        threads: Blocks of lines at work at once; the result does not depend on it.

    Raises:
        NotEnoughDataError: No series has both stock and a whole forecast.
    """
    keys = list(keys)
    stock = stocked(situation, keys)
    forecasts = None if supply.method == "quantiles" else situation.forecasts
    ahead = outlook(stock, forecasts, situation.lead_time_demand, keys, situation.path_ranks)
    known = ahead.known()
    if not known.any():
        raise NotEnoughDataError(
            f"None of the {stock.height} series with stock has a forecast issued on {situation.issued_on}.",
            remedy=f"check that {', '.join(keys)} are written alike in the stock table and in the demand",
        )
    there = stock.filter(pl.Series(known))
    ahead = ahead.rows(np.flatnonzero(known))
    demand = pl.Series(ahead.sums_mean[:, -1] / ahead.horizon)
    terms = complete_terms(
        there.with_columns(demand=demand),
        situation.supply_terms,
        situation.prices,
        supply,
        keys=keys,
        periods_a_year=365.25 / days_a_period,
        suppliers=situation.suppliers,
        as_of=situation.as_of,
    )
    dates = schedule(terms, valid_terms(situation.supply_terms, None), situation.as_of, supply.orders_placed_at)
    lines = lines_of(there, situation, terms, dates, supply, keys=keys, days_a_period=days_a_period)
    lines = replace(lines, ratio=effective_ratios(lines, ahead, supply, seed=seed, threads=threads))
    decided = decide(lines, ahead, supply, seed=seed, threads=threads)
    plan = None
    if asked(situation.suppliers, capacities_of(supply)):
        wish = decided["quantity"].to_numpy()
        choices = menu(lines, ahead, supply, wish, seed=seed, threads=threads)
        stated = pl.concat([terms, decided], how="horizontal")
        fitted, plan = together(stated, choices, situation.suppliers, capacities_of(supply))
        afterwards = valued(lines, ahead, supply, fitted["quantity"].to_numpy(), seed=seed, threads=threads)
        decided = decided.with_columns(fitted, **{name: pl.Series(values) for name, values in afterwards.items()})
    quantity = decided["quantity"].to_numpy()
    value = np.where(terms["unit_cost_known"].to_numpy(), quantity * unit_costs(lines, quantity), np.nan)
    facts = pl.concat([terms, decided, _dated(dates, quantity > 0, value)], how="horizontal").with_columns(
        illustrative=pl.col("illustrative") | there["illustrative"],
        binding_constraint=pl.when((pl.col("binding_constraint") == "multiple") & (pl.col("multiple") == 1))
        .then(pl.lit("none"))  # nobody sells half a unit
        .otherwise("binding_constraint"),
    )
    orders = _table(facts, situation, keys=keys, run=run, currency=currency)
    window_end = (lines.now + lines.lead + lines.review).round(6)
    forecast = situation.lead_time_demand.select(keys).unique()
    return Proposal(
        orders=orders,
        without_forecast=stock.filter(pl.Series(~known)).select(keys),
        plan=plan,
        without_stock=forecast.join(stock.select(keys), on=keys, how="anti").sort(keys),
        facts={
            "default_terms": int((~terms["has_terms"]).sum()),
            "no_price": int((~terms["has_price"] & ~terms["costs_stated"]).sum()),
            "other_policies": int((terms["policy"] != "paths").sum()),
            "several_suppliers": int((terms["suppliers"] > 1).sum()),
            "beyond_horizon": int((window_end > ahead.horizon).sum()),
            "overdue_receipts": situation.open_supply.filter(pl.col("due_on") < situation.as_of).height,
            "overdue_demand": situation.open_demand.filter(pl.col("due_on") < situation.as_of).height,
            "expired_lots": situation.stock_lots.filter(~sellable(situation)).height,
            "expired_terms": _expired(situation, keys),
        },
    )


def _trace(facts: pl.DataFrame) -> pl.Series:
    """What each constraint made of the wish; what suppliers, budget and capacity together made of it comes last."""
    steps = {step: facts[f"after_{step}"].to_numpy() for step in STEPS}
    last = facts["binding_constraint"].is_in(TOGETHER[1:]).to_numpy()
    settled = np.where(last, facts["quantity"].to_numpy(), np.nan)
    return trace({"wish": facts["unconstrained_quantity"].to_numpy(), **steps, "all orders together": settled})


def _dated(dates: Schedule, ordered: npt.NDArray[np.bool_], value: Array) -> pl.DataFrame:
    """Days and money of each order; no days where nothing is ordered, no money where nobody knows what a unit costs."""
    days = {"order_by": dates.order_on, "receive_on": dates.receive_on[:, 0], "receive_on_p90": dates.receive_on[:, 1]}
    placed = pl.Series(ordered)
    return pl.select(
        *(pl.when(placed).then(pl.Series(day).cast(pl.Int32)).cast(pl.Date).alias(name) for name, day in days.items()),
        protection_days=pl.Series(dates.lead + dates.review),
        order_value=pl.Series(value).fill_nan(None),
    )


def _expired(situation: Situation, keys: list[str]) -> int:
    """How many series have terms, but none that hold on the day."""
    said = situation.supply_terms.select(keys).unique()
    return said.join(valid_terms(situation.supply_terms, situation.as_of), on=keys, how="anti").height


def _table(facts: pl.DataFrame, situation: Situation, *, keys: list[str], run: str, currency: str) -> pl.DataFrame:
    versions = situation.forecasts["model_version"].unique().sort()
    known = TABLES["replenishment"].schema.columns()
    told = facts.with_columns(
        as_of=pl.lit(situation.as_of, dtype=pl.Date),
        state=pl.lit(PROPOSED),
        run=pl.lit(run),
        data_versions=pl.lit(situation.data_versions),
        model_version=pl.lit(", ".join(versions)),
        drivers=drivers(currency),
        trace=_trace(facts),
    )
    open_yet = {name: column.dtype for name, column in known.items() if name not in told.columns}
    return told.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in open_yet.items()).select(
        *keys, *known
    )
