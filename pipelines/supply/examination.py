"""A shop's stock examined on one day: classes, review, advice on open orders and the plan of counts, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from features.calendar import holidays_between
from features.panel import Panel
from pipelines.settings import Supply
from pipelines.supply.advice import ADVICE, Gains, OpenOrders, advice_table, advise, gains
from pipelines.supply.classes import classify
from pipelines.supply.counting import (
    forecast_in_advance,
    large_movements,
    last_counts,
    plan_counts,
    record_accuracy,
    record_risks,
    silence,
)
from pipelines.supply.line_arrays import Lines
from pipelines.supply.lines import lines_of, stocked
from pipelines.supply.outlook import Outlook, outlook
from pipelines.supply.paths import Array
from pipelines.supply.runway import runways
from pipelines.supply.schedule import schedule
from pipelines.supply.situation import Situation
from pipelines.supply.stock_review import Horizon, review, review_table
from pipelines.supply.terms import complete_terms, valid_terms

_LEAST_CLASS = "C"  # of a series that nothing is known of


@dataclass(frozen=True)
class Records:
    """What is known of the past on the day.

    Attributes:
        known: Demand, from `Panel.known`.
        previous: Table item_classes of an earlier month; None where there is none.
        forecasts: Table forecasts, every issue up to the day.
        counts: Table stock_counts.
    """

    known: Panel
    previous: pl.DataFrame | None
    forecasts: pl.DataFrame
    counts: pl.DataFrame


@dataclass(frozen=True)
class Examination:
    """Tables item_classes, stock_review, supply_advice and count_plan of one day, and how right records were.

    Attributes:
        classes: Table item_classes, one row a series with demand on record.
        review: Table stock_review, one row a series with stock.
        advice: Table supply_advice, the orders that gain most first.
        counts: Table count_plan, by day.
        accuracy: From `counting.record_accuracy`.
        without_forecast: How many series have stock and no forecast.
    """

    classes: pl.DataFrame
    review: pl.DataFrame
    advice: pl.DataFrame
    counts: pl.DataFrame
    accuracy: pl.DataFrame
    without_forecast: int


def examine(
    situation: Situation,
    records: Records,
    supply: Supply,
    *,
    keys: Sequence[str],
    days_a_period: float,
    currency: str,
    country: str | None = None,
    seed: int = 0,
) -> Examination:
    """Examine the stock of one day.

    Args:
        situation: Stock, open supply, terms and forecasts.
        records: The past.
        supply: Settings.
        keys: The shop's series columns.
        days_a_period: Mean length of a demand period, days.
        currency: Three-letter code.
        country: Whose holidays nobody counts on.
        seed: Seed of the sample paths.
    """
    keys, day, settings = list(keys), situation.as_of, supply.stock_review
    stock = stocked(situation, keys)
    periods_a_year = 365.25 / days_a_period
    told = {"suppliers": situation.suppliers, "as_of": day}
    terms, every = (
        complete_terms(
            series,
            situation.supply_terms,
            situation.prices,
            supply,
            keys=keys,
            periods_a_year=periods_a_year,
            **told,  # type: ignore[arg-type]
        )
        for series in (stock, records.known.series.select(keys))
    )
    classes = classify(records.known, every.select(*keys, "unit_cost"), supply.classes, records.previous).with_columns(
        month=pl.lit(day.replace(day=1)),
        as_of=pl.lit(day),
        illustrative=pl.lit(situation.illustrative),
    )
    dates = schedule(terms, valid_terms(situation.supply_terms, None), day, supply.orders_placed_at)
    lines = lines_of(stock, situation, terms, dates, supply, keys=keys, days_a_period=days_a_period)
    ahead = outlook(stock, situation.forecasts, situation.lead_time_demand, keys, situation.path_ranks)
    known = ahead.known()
    orders = _open_orders(situation, stock, keys, days_a_period)
    horizon = Horizon.of(settings, days_a_period)
    figures, found = _figures(lines, _silent_where_unknown(ahead), orders, terms, supply, horizon, days_a_period, seed)
    facts = stock.select(*keys, "on_hand", "illustrative").with_columns(
        as_of=pl.lit(day), unit_cost=terms["unit_cost"], lead_days=pl.Series(dates.lead)
    )
    facts = facts.join(classes.select(*keys, "abc"), on=keys, how="left", maintain_order="left")
    facts = facts.join(_days_since_demand(records.known, day), on=keys, how="left", maintain_order="left")
    facts = facts.with_columns(pl.col("abc").fill_null(_LEAST_CLASS))
    reviewed = review_table(facts, figures, settings, keys=keys, days_a_period=days_a_period)
    return Examination(
        classes=classes,
        review=reviewed,
        advice=_advice(orders, found, reviewed, day, supply, keys, days_a_period, currency),
        counts=_counts(records, reviewed, supply, day, keys, country),
        accuracy=record_accuracy(records.counts, classes.select(*keys, "abc"), settings, day),
        without_forecast=int((~known).sum()),
    )


def _figures(
    lines: Lines,
    ahead: Outlook,
    orders: pl.DataFrame,
    terms: pl.DataFrame,
    supply: Supply,
    horizon: Horizon,
    days_a_period: float,
    seed: int,
) -> tuple[pl.DataFrame, Gains]:
    """The review's figures of every line, and what moving each open order would bring."""
    line = orders["line"].to_numpy()
    reviewed, moved = [], []
    settings = supply.stock_review
    unit_cost = terms["unit_cost"].to_numpy()
    for rows, runway in runways(lines, ahead, lost=supply.unmet_demand == "lost", seed=seed):
        reviewed.append(pl.DataFrame(review(runway, lines.rows(rows), horizon)))
        mine = (line >= rows[0]) & (line <= rows[-1])
        own = orders.filter(pl.Series(mine))
        at = line[mine]
        now = lines.now[at]
        hurried = now + settings.expedite_days / days_a_period
        theirs = OpenOrders(
            units=own["expected"].to_numpy(),
            due=now + own["due_after"].to_numpy(),
            arrival=now + lines.lead[at],
            hurried=np.minimum(hurried, now + own["due_after"].to_numpy()),
            holding_cost=lines.holding_cost[at],
            shortage_cost=lines.shortage_cost[at],
            hurry_cost=settings.expedite_cost_share * unit_cost[at],
        )
        moved.append(gains(runway.rows(at - rows[0]), theirs, horizon))
    return pl.concat(reviewed), Gains.joined(moved)


def _silent_where_unknown(ahead: Outlook) -> Outlook:
    """A series nobody forecasts is not expected to sell."""
    parts = ("sums", "sums_mean", "periods", "periods_mean")
    pool = None if ahead.pool is None else np.maximum(ahead.pool, 0)
    values = {name: np.nan_to_num(getattr(ahead, name)) for name in parts}
    return Outlook(levels=ahead.levels, joint=ahead.joint, pool=pool, **values)


def _open_orders(situation: Situation, stock: pl.DataFrame, keys: list[str], days_a_period: float) -> pl.DataFrame:
    """Open supply of the lines, by line: `line`, `order` (1 is the first due), `due_after` (periods), `expected`."""
    coming = situation.open_supply
    absent = {"confidence": pl.Float64, "order_id": pl.String}
    coming = coming.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in absent.items() if name not in coming.columns
    )
    days = (pl.col("due_on") - pl.lit(situation.as_of)).dt.total_days().clip(0)
    return (
        coming.filter(pl.col("quantity") > 0)
        .join(stock.select(keys).with_row_index("line"), on=keys)
        .sort("line", "due_on", "supplier_id", "order_id", "quantity", "confidence")
        .with_columns(
            order=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("line"),
            due_after=days / days_a_period,
            expected=pl.col("quantity") * pl.col("confidence").fill_null(1.0),
        )
        .select(*keys, "line", "order", "supplier_id", "order_id", "due_on", "quantity", "due_after", "expected")
    )


def _advice(
    orders: pl.DataFrame,
    found: Gains,
    reviewed: pl.DataFrame,
    day: date,
    supply: Supply,
    keys: list[str],
    days_a_period: float,
    currency: str,
) -> pl.DataFrame:
    chosen, gain = advise(found, supply.stock_review.least_gain)
    now = found.end - supply.stock_review.cover_days / days_a_period
    later_days = np.ceil((found.later - now) * days_a_period - 1e-9).astype(np.int64)
    hurried = pl.lit(day + timedelta(days=supply.stock_review.expedite_days))
    later = (pl.lit(day) + pl.duration(days=pl.lit(pl.Series(later_days)))).cast(pl.Date)
    advice = pl.Series(chosen).replace_strict([0, 1, 2], list(ADVICE), default=None, return_dtype=pl.String)
    facts = reviewed.select(
        *keys, "as_of", "unit_cost", "stock_out_on", "cover_until", "days_of_supply", "illustrative"
    )
    judged = (
        orders.with_columns(
            advice=advice,
            gain=pl.Series(gain).round(2),
            fewer_missing=pl.Series(found.fewer_missing),
            move_to=pl.when(advice == "expedite").then(hurried).when(advice == "defer").then(later),
        )
        .join(facts, on=keys, how="left", maintain_order="left")
        .with_columns(value=pl.col("quantity") * pl.col("unit_cost"))
    )
    return advice_table(judged, keys=keys, currency=currency)


def _counts(
    records: Records, reviewed: pl.DataFrame, supply: Supply, day: date, keys: list[str], country: str | None
) -> pl.DataFrame:
    settings, known = supply.stock_review, records.known
    counts = last_counts(records.counts, day, keys)
    series = known.series.select(keys).join(counts, on=keys, how="left", maintain_order="left")
    number = series.select(known.grid.containing(pl.col("last_counted_on")).cast(pl.Float64).fill_null(-np.inf))
    counted: Array = number.to_series().to_numpy()
    periods, probability = silence(known, forecast_in_advance(records.forecasts, keys), counted)
    evidence = series.select(keys).with_columns(
        silent_periods=pl.Series(periods).cast(pl.Int64),
        silence_probability=pl.Series(probability),
        large_movements=pl.Series(large_movements(known, counted)).cast(pl.Int64),
    )
    lines = (
        reviewed.join(evidence, on=keys, how="left", maintain_order="left")
        .join(counts.select(*keys, "last_counted_on"), on=keys, how="left", maintain_order="left")
        .with_columns(
            pl.col("silent_periods", "large_movements").fill_null(0), pl.col("silence_probability").fill_null(1.0)
        )
    )
    holidays = holidays_between(country, day, day + timedelta(days=settings.plan_days))
    return plan_counts(record_risks(lines, settings), settings, day, keys=keys, holidays=holidays)


def _days_since_demand(known: Panel, day: date) -> pl.DataFrame:
    """Key columns and days from the end of the last period with demand to the day; null where there was none."""
    sold = known.quantity > 0
    periods = sold.shape[1]
    last = known.first + periods - 1 - np.argmax(sold[:, ::-1], axis=1) if periods else np.zeros(len(sold))
    number = pl.Series(np.asarray(last), dtype=pl.Int32)
    ended = known.grid.first_days(pl.lit(number + 1))
    days = (pl.lit(day) - ended).dt.total_days()
    return known.series.select(known.keys).with_columns(
        days_since_demand=pl.when(pl.Series(sold.any(axis=1))).then(days).cast(pl.Int64)
    )
