"""Replenishment as a job: forecasts and stock of the lake in, proposed orders out."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from features.calendar import Grid
from features.tables import TABLES
from pipelines.errors import NotEnoughDataError
from pipelines.files import write_frame
from pipelines.lake import Lake, frame_digest
from pipelines.settings import Settings
from pipelines.summary import Summary
from pipelines.supply.illustration import illustrate
from pipelines.supply.order_book import Book, open_book
from pipelines.supply.prices import selling_prices
from pipelines.supply.replenishment import Proposal, Situation, replenishment

_TOP_LINES = 10


@dataclass(frozen=True)
class Issue:
    """Forecasts issued on one day, as tables."""

    forecasts: pl.DataFrame
    lead_time_demand: pl.DataFrame
    path_ranks: pl.DataFrame


def replenish(
    settings: Settings,
    lake: Lake,
    *,
    as_of: date | None = None,
    out: str | Path | None = None,
    issue: Issue | None = None,
) -> Summary:
    """Propose what to order at the opening of a day.

    Uses the newest forecasts issued on or before that day. What earlier runs ordered and the open orders do not show
    yet counts as on order. Without `out` the lines replace those proposed for the same day before (running twice
    changes nothing), but for series on which something has been decided since; what nobody has decided on of earlier
    runs is superseded. With `out` they are written to that file and nowhere else.

    Args:
        settings: The shop.
        lake: Its tables.
        as_of: The day; default: the day the newest forecasts were issued.
        out: A parquet file.
        issue: Forecasts to decide from; by default the newest of the lake.

    Raises:
        NotEnoughDataError: There are no forecasts that old, or no stock to replenish.
    """
    grid = Grid(settings.demand.frequency, date(1970, 1, 1))
    issue = issue or _newest_issue(lake, as_of)
    forecasts = issue.forecasts
    day: date = as_of or forecasts["issued_on"].item(0)
    made_up = not settings.has("stock") and settings.supply.illustrative is not None
    summary = Summary(job="replenish")
    if made_up:
        tables = illustrate(
            forecasts, settings.supply, keys=settings.demand.series, as_of=day, days_a_period=grid.days_a_period
        )
        stock, open_supply, terms = tables.stock, tables.open_supply, tables.supply_terms
        summary.notes.append("Stock, open supply and terms are an illustration made from a seed, not records.")
    else:
        stock, open_supply, terms = _snapshots(settings, lake)
    alone = out is not None
    book = open_book(settings, lake, open_supply=open_supply, stock=stock, as_of=day, at=datetime.now(UTC), alone=alone)
    situation = Situation(
        as_of=day,
        forecasts=forecasts,
        lead_time_demand=issue.lead_time_demand,
        stock=stock,
        open_supply=book.open_supply,
        supply_terms=terms,
        prices=selling_prices(settings, lake, day),
        path_ranks=issue.path_ranks,
    )
    run = run_name(situation, settings)
    proposal = replenishment(
        situation,
        settings.supply,
        keys=settings.demand.series,
        days_a_period=grid.days_a_period,
        run=run,
        currency=settings.currency,
        seed=settings.seed,
        threads=settings.threads,
    )
    entry = book.enter(proposal.orders, run)
    schema = TABLES["replenishment"].schema_with(dict(entry.orders.schema), tuple(settings.demand.series))
    orders: pl.DataFrame = schema.validate(entry.orders)
    if out is not None:
        write_frame(orders, Path(out))
        summary.wrote[str(out)] = orders.height
    else:
        if made_up:
            for name, frame in (("stock", stock), ("open_supply", open_supply), ("supply_terms", terms)):
                lake.replace(name, frame)
                summary.wrote[name] = frame.height
        orders = pl.concat([orders, _settled(lake, book, orders)])
        written = lake.replace_where("replenishment", orders, {"as_of": day})
        summary.wrote["replenishment"] = orders.height
        # Last: what is on the ledger is never without its line, and a run cut short before this enters the same again.
        if entry.rows.height:
            lake.append("decisions", entry.rows)
            summary.wrote["decisions"] = entry.rows.height
        summary.changed = bool(written.changed or entry.rows.height)
    summary.notes += book.notes(entry)
    summary.read = lake.versions([*_ISSUED, *(() if made_up else _SNAPSHOTS)])
    _tell(summary, replace(proposal, orders=orders), situation, settings)
    return summary


_ISSUED = ("forecasts", "lead_time_demand", "path_ranks")
_SNAPSHOTS = ("stock", "open_supply", "supply_terms")


def run_name(situation: Situation, settings: Settings) -> str:
    """The day and a digest of all that is looked at: the same inputs give the same name, whatever their order."""
    digest = hashlib.sha256(f"{settings.supply.model_dump_json()} {settings.seed}".encode())
    for field in fields(situation):
        value = getattr(situation, field.name)
        if isinstance(value, pl.DataFrame):
            digest.update(frame_digest(value).encode())
    return f"{situation.as_of:%Y%m%d}-{digest.hexdigest()[:12]}"


def _settled(lake: Lake, book: Book, orders: pl.DataFrame) -> pl.DataFrame:
    """Lines of the day, in the columns of the new ones, of series on which something has been decided already."""
    if not lake.exists("replenishment") or set(lake.scan("replenishment").collect_schema()) != set(orders.columns):
        return orders.clear()
    lines = lake.scan("replenishment").filter(pl.col("as_of") == book.as_of).select(orders.columns).collect()
    return book.settle(lines)


def issue_for(lake: Lake, as_of: date, days_a_period: float) -> Issue | None:
    """The lake's newest issue, if it was issued for the very period that holds the day."""
    if not lake.exists("forecasts") or not lake.exists("lead_time_demand"):
        return None
    sums = lake.scan("lead_time_demand").filter(pl.col("issued_on") <= as_of)
    newest = sums.select(pl.col("issued_on").max()).collect().item()
    if newest is None or (as_of - newest).days >= math.floor(days_a_period):
        return None
    return _newest_issue(lake, as_of)


def _newest_issue(lake: Lake, as_of: date | None) -> Issue:
    """Forecasts, demand over lead times and joint ranks of the newest issue; of the last there may be none."""
    remedy = "`purvey run`, or `purvey train demand` and `purvey score demand`, first"
    if not lake.exists("forecasts") or not lake.exists("lead_time_demand"):
        raise NotEnoughDataError("There are no forecasts to replenish from.", file=lake.url, remedy=remedy)
    sums = lake.scan("lead_time_demand")
    if as_of is not None:
        sums = sums.filter(pl.col("issued_on") <= as_of)
    newest = sums.select(pl.col("issued_on").max()).collect().item()
    if newest is None:
        raise NotEnoughDataError(f"No forecasts were issued on or before {as_of}.", file=lake.url, remedy=remedy)
    return Issue(
        *(
            (lake.scan(name) if lake.exists(name) else TABLES[name].schema.create_empty().lazy())
            .filter(pl.col("issued_on") == newest)
            .collect()
            for name in _ISSUED
        )
    )


def _snapshots(settings: Settings, lake: Lake) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    if not lake.exists("stock"):
        raise NotEnoughDataError(
            "There is no stock to replenish.",
            file=lake.url,
            remedy="name a stock table under `sources` and run `purvey ingest`, or set supply.illustrative",
        )
    keys = settings.demand.series
    types = lake.scan("stock").collect_schema()
    stock, open_supply, terms = (
        lake.read(name)
        if lake.exists(name)
        else TABLES[name].schema.create_empty().with_columns(pl.lit(None, dtype=types[key]).alias(key) for key in keys)
        for name in _SNAPSHOTS
    )
    return stock, open_supply, terms


def _tell(summary: Summary, proposal: Proposal, situation: Situation, settings: Settings) -> None:
    orders, facts = proposal.orders, proposal.facts
    placed = orders.filter(pl.col("quantity") > 0)
    money = settings.currency
    summary.figures |= {
        "as_of": situation.as_of,
        "issued_on": situation.issued_on,
        "run": orders["run"].item(0) if orders.height else None,
        "lines": orders.height,
        "lines_to_order": placed.height,
        "units_to_order": float(placed["quantity"].sum()),
        f"expected_cost_without_orders_{money}": round(float(orders["expected_cost_at_zero"].sum()), 2),
        f"expected_cost_{money}": round(float(orders["expected_cost"].sum()), 2),
        f"expected_cost_without_constraints_{money}": round(float(orders["expected_cost_unconstrained"].sum()), 2),
        "mean_stock_out_risk_before": round(float(orders["stock_out_risk_before"].mean() or 0), 4),  # type: ignore[arg-type]
        "mean_stock_out_risk": round(float(orders["stock_out_risk"].mean() or 0), 4),  # type: ignore[arg-type]
    }
    saved = (pl.col("expected_cost_at_zero") - pl.col("expected_cost")).round(2)
    summary.tables["what not ordering would cost most"] = (
        placed.with_columns(cost_of_not_ordering=saved)
        .sort(
            "cost_of_not_ordering", *settings.demand.series, descending=[True] + [False] * len(settings.demand.series)
        )
        .select(
            *settings.demand.series,
            "supplier_id",
            "quantity",
            "receive_on",
            "cost_of_not_ordering",
            pl.col("stock_out_risk_before", "stock_out_risk").round(2),
            "binding_constraint",
        )
        .head(_TOP_LINES)
    )
    summary.tables["what decided the quantity"] = (
        orders.group_by("binding_constraint")
        .agg(lines=pl.len(), units=pl.col("quantity").sum())
        .sort("lines", "binding_constraint", descending=[True, False])
    )
    summary.notes += _notes(proposal, situation, facts)


def _notes(proposal: Proposal, situation: Situation, facts: dict[str, int]) -> list[str]:
    stock_days = situation.stock["as_of"].unique().sort()
    other_day = [day for day in stock_days if day != situation.as_of]
    said = {
        "series have stock but no forecast and are not decided": proposal.without_forecast.height,
        "series have a forecast but no stock record and are not decided": proposal.without_stock.height,
        "series have no supply terms and take the defaults of the configuration": facts["default_terms"],
        "series have neither costs nor a selling price; a price of 1 stands in": facts["no_price"],
        "series have several suppliers; the cheapest was taken": facts["several_suppliers"],
        "series have a protection interval beyond the forecast; demand goes on at its mean rate": facts[
            "beyond_horizon"
        ],
        "open orders are overdue and expected today": facts["overdue_receipts"],
    }
    notes = [f"{count} {what}." for what, count in said.items() if count]
    if other_day:
        days = ", ".join(str(day) for day in other_day[:3])
        notes.append(f"Stock is of {days}, not of {situation.as_of}: what was sold or received between is not in it.")
    if situation.issued_on < situation.as_of:
        notes.append(f"The newest forecasts by {situation.as_of} were issued on {situation.issued_on}.")
    return notes
