"""The job on edits: what people changed about proposed orders, held against what happened."""

from __future__ import annotations

from datetime import date

import polars as pl

from features.calendar import Grid
from features.orders import with_revisions
from features.tables import TABLES
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary
from pipelines.supply import edits
from pipelines.supply.prices import selling_prices
from pipelines.supply.terms import complete_terms


def judge_edits(settings: Settings, lake: Lake) -> Summary:
    """What people's edits were worth on the demand that came, by who and why; those whose window is over."""
    keys = settings.demand.series
    summary = Summary("orders edits", read=lake.versions(["decisions", "replenishment", "demand"]), changed=False)
    if not lake.exists("decisions") or not lake.exists("demand"):
        summary.notes.append("There is nothing to judge yet: no order line, or no demand.")
        return summary
    made = edits.edited(lake.read("decisions"), keys)
    demand = lake.read("demand", columns=[*keys, "period", "quantity"])
    demand = with_revisions(demand, lake.read_or_empty("demand_revisions", tuple(keys)), [*keys, "period"])
    grid = Grid.from_labels(settings.demand.frequency, demand["period"], settings.demand.period_label)
    last: date = demand.drop_nulls("quantity")["period"].max()  # type: ignore[assignment]
    known_to = grid.last_day(grid.number(last))
    told = ["on_hand", "on_order", "protection_days"]
    found = edits.judged(
        made,
        lake.read("replenishment", columns=[*keys, "as_of", "supplier_id", *told]),
        _costs(settings, lake, made, selling_prices(settings, lake, known_to), grid.periods_a_year),
        demand,
        keys=keys,
        grid=grid,
        known_to=known_to,
        absent_is_zero=not settings.has("demand"),
    )
    summary.figures = {"edits": made.height, "judged": found.height, "demand_known_to": known_to}
    summary.figures[f"value_added_{settings.currency}"] = round(float(found["value_added"].sum()), 2)
    summary.tables = {"By who": edits.by(found, "who"), "By why": edits.by(found, "why"), "Edits": found}
    if made.height > found.height:
        summary.notes.append(f"{made.height - found.height} edits wait until their window is over.")
    return summary


def _costs(
    settings: Settings, lake: Lake, made: pl.DataFrame, prices: pl.DataFrame, periods_a_year: float
) -> pl.DataFrame:
    """Keys, `as_of`, `holding_cost`, `shortage_cost` and `review_days` by the terms of the day of each line."""
    keys = settings.demand.series
    terms = lake.read("supply_terms") if lake.exists("supply_terms") else _no_terms(made, keys)
    suppliers = lake.read_or_empty("suppliers")
    told = []
    for (day,), lines in made.group_by("as_of", maintain_order=True):
        whole = complete_terms(
            lines.select(keys).unique(),
            terms,
            prices,
            settings.supply,
            keys=keys,
            periods_a_year=periods_a_year,
            suppliers=suppliers,
            as_of=day,
        )
        told.append(
            whole.select(*keys, "holding_cost", "shortage_cost", "review_days", as_of=pl.lit(day, dtype=pl.Date))
        )
    if told:
        return pl.concat(told)
    return made.select(
        *keys, "as_of", holding_cost=pl.lit(0.0), shortage_cost=pl.lit(0.0), review_days=pl.lit(0)
    ).clear()


def _no_terms(series: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    return TABLES["supply_terms"].schema_with({key: series.schema[key] for key in keys}, tuple(keys)).create_empty()
