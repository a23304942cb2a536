"""From the tables of a shop to table replenishment: one proposed order line a series, with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from features.tables import TABLES
from pipelines.errors import NotEnoughDataError
from pipelines.settings import Supply
from pipelines.supply.decision import decide
from pipelines.supply.explanation import drivers
from pipelines.supply.line_arrays import Lines
from pipelines.supply.outlook import outlook
from pipelines.supply.paths import Array
from pipelines.supply.terms import complete_terms

PROPOSED = "proposed"  # the state of a line nobody has decided on yet
_NEVER = 1e9  # periods: later than any window


@dataclass(frozen=True)
class Situation:
    """Everything a round of replenishment looks at.

    Attributes:
        as_of: The day of the decision, at its opening.
        forecasts: One issue of table forecasts, issued on or before that day.
        lead_time_demand: The same issue of table lead_time_demand.
        stock: Table stock.
        open_supply: Table open_supply.
        supply_terms: Table supply_terms.
        prices: Key columns and `price` (selling price per unit); may be empty.
        path_ranks: The same issue of table path_ranks; None or empty where there is none.
    """

    as_of: date
    forecasts: pl.DataFrame
    lead_time_demand: pl.DataFrame
    stock: pl.DataFrame
    open_supply: pl.DataFrame
    supply_terms: pl.DataFrame
    prices: pl.DataFrame
    path_ranks: pl.DataFrame | None = None

    @property
    def issued_on(self) -> date:
        """The day the forecasts were issued."""
        issued: date = self.lead_time_demand["issued_on"].item(0)
        return issued


@dataclass(frozen=True)
class Proposal:
    """What a round of replenishment proposes, and what it could not.

    Attributes:
        orders: Table replenishment, one row a series, sorted by key.
        without_forecast: Key columns of series with stock but no whole forecast.
        without_stock: Key columns of series with a forecast but no stock record.
        facts: Counts of lines for which something had to be assumed.
    """

    orders: pl.DataFrame
    without_forecast: pl.DataFrame
    without_stock: pl.DataFrame
    facts: dict[str, int]


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
    stocked = situation.stock.sort(keys)
    ahead = outlook(
        stocked,
        None if supply.method == "quantiles" else situation.forecasts,
        situation.lead_time_demand,
        keys,
        situation.path_ranks,
    )
    known = ahead.known()
    if not known.any():
        raise NotEnoughDataError(
            f"None of the {stocked.height} series with stock has a forecast issued on {situation.issued_on}.",
            remedy=f"check that {', '.join(keys)} are written alike in the stock table and in the demand",
        )
    lines = stocked.filter(pl.Series(known))
    ahead = ahead.rows(np.flatnonzero(known))
    terms = complete_terms(
        lines,
        situation.supply_terms,
        situation.prices,
        supply,
        keys=keys,
        periods_a_year=365.25 / days_a_period,
    )
    elapsed_days = (situation.as_of - situation.issued_on).days
    receipts, due_days = _open_orders(lines, situation, keys)
    arrays = Lines(
        on_hand=_floats(lines, "on_hand"),
        receipts=receipts,
        due=np.where(due_days < _NEVER, (due_days + elapsed_days) / days_a_period, _NEVER),
        now=np.full(lines.height, elapsed_days / days_a_period),
        lead=_floats(terms, "lead_time_days") / days_a_period,
        lead_sd=_floats(terms, "lead_time_sd_days") / days_a_period,
        review=_floats(terms, "review_days") / days_a_period,
        holding_cost=_floats(terms, "holding_cost"),
        shortage_cost=_floats(terms, "shortage_cost"),
        service_target=_floats(terms, "service_target"),
        moq=_floats(terms, "moq"),
        multiple=_floats(terms, "multiple"),
        maximum=_floats(terms, "maximum"),
    )
    decided = decide(arrays, ahead, supply, seed=seed, threads=threads)
    facts = pl.concat(
        [lines.select(*keys, stock_illustrative=_flag(lines)), terms.drop(keys), decided], how="horizontal"
    )
    orders = _table(facts, situation, keys=keys, run=run, currency=currency)
    window_end = (arrays.now + arrays.lead + arrays.review).round(6)
    forecast = situation.lead_time_demand.select(keys).unique()
    return Proposal(
        orders=orders,
        without_forecast=stocked.filter(pl.Series(~known)).select(keys),
        without_stock=forecast.join(stocked.select(keys), on=keys, how="anti").sort(keys),
        facts={
            "default_terms": int((~terms["has_terms"]).sum()),
            "no_price": int((~terms["has_price"] & ~_has_costs(situation.supply_terms, terms, keys)).sum()),
            "several_suppliers": int((terms["suppliers"] > 1).sum()),
            "beyond_horizon": int((window_end > ahead.horizon).sum()),
            "overdue_receipts": situation.open_supply.filter(pl.col("due_on") < situation.as_of).height,
        },
    )


def _open_orders(lines: pl.DataFrame, situation: Situation, keys: list[str]) -> tuple[Array, Array]:
    """Units of each open order and the days until it is due, shapes (n, s); an overdue one is expected today."""
    coming = (
        situation.open_supply.filter(pl.col("quantity") > 0)
        .with_columns(days=(pl.col("due_on") - pl.lit(situation.as_of)).dt.total_days().clip(0).cast(pl.Float64))
        .group_by([*keys, "days"])
        .agg(pl.col("quantity").sum())
        .join(lines.select(keys).with_row_index("line"), on=keys, how="inner")
        .sort("line", "days")
        .with_columns(slot=pl.int_range(pl.len()).over("line"))
    )
    slots = int(coming["slot"].to_numpy().max(initial=-1)) + 1
    units, days = np.zeros((lines.height, slots)), np.full((lines.height, slots), _NEVER)
    place = coming["line"].to_numpy(), coming["slot"].to_numpy()
    units[place], days[place] = coming["quantity"].to_numpy(), coming["days"].to_numpy()
    return units, days


def _table(facts: pl.DataFrame, situation: Situation, *, keys: list[str], run: str, currency: str) -> pl.DataFrame:
    as_of = pl.lit(situation.as_of, dtype=pl.Date)
    versions = situation.forecasts["model_version"].unique().sort()
    columns = TABLES["replenishment"].schema.column_names()
    lead_days = pl.col("lead_time_days").ceil().cast(pl.Int64)
    return facts.with_columns(
        as_of=as_of,
        protection_days=pl.col("lead_time_days") + pl.col("review_days"),
        order_by=pl.when(pl.col("quantity") > 0).then(as_of),
        receive_on=pl.when(pl.col("quantity") > 0).then(as_of + pl.duration(days=lead_days)).cast(pl.Date),
        illustrative=pl.col("illustrative") | pl.col("stock_illustrative"),
        state=pl.lit(PROPOSED),
        run=pl.lit(run),
        model_version=pl.lit(", ".join(versions)),
    ).select(*keys, *(pl.col(name) if name != "drivers" else drivers(currency).alias("drivers") for name in columns))


def _floats(frame: pl.DataFrame, column: str) -> Array:
    return frame[column].cast(pl.Float64).to_numpy()


def _flag(frame: pl.DataFrame) -> pl.Expr:
    return pl.col("illustrative").fill_null(False) if "illustrative" in frame.columns else pl.lit(False)


def _has_costs(supply_terms: pl.DataFrame, terms: pl.DataFrame, keys: list[str]) -> pl.Series:
    """Whether each line's supplier states both costs, so that no price is needed."""
    if not {"holding_cost", "shortage_cost"} <= set(supply_terms.columns):
        return pl.repeat(False, terms.height, dtype=pl.Boolean, eager=True)
    stated = supply_terms.filter(pl.col("holding_cost").is_not_null() & pl.col("shortage_cost").is_not_null())
    return terms.join(
        stated.select(*keys, "supplier_id", stated=pl.lit(True)),
        on=[*keys, "supplier_id"],
        how="left",
        maintain_order="left",
    )["stated"].fill_null(False)
