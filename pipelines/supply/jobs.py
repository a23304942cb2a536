"""Replenishment as a job: forecasts and stock of the lake in, proposed orders out."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from features.calendar import Grid
from features.tables import TABLES
from pipelines.files import write_frame
from pipelines.lake import Lake, frame_digest
from pipelines.settings import Settings
from pipelines.summary import Summary
from pipelines.supply.lines import stocked
from pipelines.supply.order_book import Book, open_book
from pipelines.supply.replenishment import Proposal, replenishment
from pipelines.supply.situation import Issue, Situation, read_situation

_TOP_LINES = 10


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
    situation = read_situation(settings, lake, as_of, issue)
    day, summary = situation.as_of, Summary(job="replenish")
    if situation.illustrative:
        summary.notes.append("Stock, open supply and terms are an illustration made from a seed, not records.")
    book = open_book(
        settings,
        lake,
        open_supply=situation.open_supply,
        stock=stocked(situation, settings.demand.series),
        as_of=day,
        at=datetime.now(UTC),
        alone=out is not None,
    )
    seen = replace(situation, open_supply=book.open_supply)
    run = run_name(seen, settings)
    proposal = replenishment(
        seen,
        settings.supply,
        keys=settings.demand.series,
        days_a_period=Grid(settings.demand.frequency, date(1970, 1, 1)).days_a_period,
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
        if situation.illustrative:
            for name in ("stock", "open_supply", "supply_terms"):
                lake.replace(name, getattr(situation, name))
                summary.wrote[name] = getattr(situation, name).height
        orders = _as_first_told(lake, orders, day)
        orders = pl.concat([orders, _settled(lake, book, orders)])
        written = lake.replace_where("replenishment", orders, {"as_of": day})
        summary.wrote["replenishment"] = orders.height
        # Last: what is on the ledger is never without its line, and a run cut short before this enters the same again.
        if entry.rows.height:
            lake.append("decisions", entry.rows)
            summary.wrote["decisions"] = entry.rows.height
        summary.changed = bool(written.changed or entry.rows.height)
    summary.notes += book.notes(entry)
    summary.read = dict(situation.versions)
    _tell(summary, replace(proposal, orders=orders), seen, settings)
    return summary


def run_name(situation: Situation, settings: Settings) -> str:
    """The day and a digest of all that is looked at: the same inputs give the same name, whatever their order."""
    digest = hashlib.sha256(f"{settings.supply.model_dump_json()} {settings.seed}".encode())
    for field in fields(situation):
        value = getattr(situation, field.name)
        if isinstance(value, pl.DataFrame):
            digest.update(frame_digest(value).encode())
    return f"{situation.as_of:%Y%m%d}-{digest.hexdigest()[:12]}"


def _as_first_told(lake: Lake, orders: pl.DataFrame, day: date) -> pl.DataFrame:
    """The versions a run first read stand: it is named after what it saw, which later versions still hold."""
    if not lake.exists("replenishment") or "data_versions" not in lake.scan("replenishment").collect_schema():
        return orders
    same_run = lake.scan("replenishment").filter(
        pl.col("as_of") == day, pl.col("run").is_in(orders["run"].unique().to_list())
    )
    told = same_run.select("data_versions").drop_nulls().unique().collect()["data_versions"]
    return orders.with_columns(data_versions=pl.lit(told.item())) if len(told) == 1 else orders


def _settled(lake: Lake, book: Book, orders: pl.DataFrame) -> pl.DataFrame:
    """Lines of the day, in the columns of the new ones, of series on which something has been decided already."""
    if not lake.exists("replenishment") or set(lake.scan("replenishment").collect_schema()) != set(orders.columns):
        return orders.clear()
    lines = lake.scan("replenishment").filter(pl.col("as_of") == book.as_of).select(orders.columns).collect()
    return book.settle(lines)


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
    if proposal.plan is not None:
        plan = proposal.plan
        summary.figures["gap_to_best_plan"] = round(plan.gap, 5)
        summary.tables["what is scarce: money saved by one unit more"] = pl.DataFrame(
            {
                "measure": list(plan.scarce),
                "used": [plan.used.get(name) for name in plan.scarce],
                "shadow_price": [round(plan.shadow_prices[name], 4) for name in plan.scarce],
            },
            schema={"measure": pl.String, "used": pl.Float64, "shadow_price": pl.Float64},
        )
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
        "series name a policy of their own; orders follow `paths`, `purvey simulate` replays others": facts[
            "other_policies"
        ],
        "series have several suppliers; the one of least landed cost was taken": facts["several_suppliers"],
        "series have a protection interval beyond the forecast; demand goes on at its mean rate": facts[
            "beyond_horizon"
        ],
        "open orders are overdue and expected today": facts["overdue_receipts"],
        "orders of customers are overdue and taken off stock today": facts["overdue_demand"],
        "lots have expired and are not counted": facts["expired_lots"],
        "series have terms, but none that hold on the day": facts["expired_terms"],
    }
    notes = [f"{count} {what}." for what, count in said.items() if count]
    if other_day:
        days = ", ".join(str(day) for day in other_day[:3])
        notes.append(f"Stock is of {days}, not of {situation.as_of}: what was sold or received between is not in it.")
    if situation.issued_on < situation.as_of:
        notes.append(f"The newest forecasts by {situation.as_of} were issued on {situation.issued_on}.")
    return notes
