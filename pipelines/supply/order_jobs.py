"""Jobs on order lines: show them, decide on them, hand the approved ones over, and say what became of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from features.columns import MOST
from features.tables import TABLES
from pipelines.errors import DecisionError
from pipelines.files import write_frame
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary
from pipelines.supply import order_export
from pipelines.supply.order_book import known_lines
from pipelines.supply.order_choice import Choice
from pipelines.supply.orders import (
    APPROVED,
    EDITED,
    EXPORTED,
    EXPORTING,
    HELD,
    NEXT,
    NOT_PEOPLE,
    RULE,
    advance,
    columns,
)


def show(settings: Settings, lake: Lake, choice: Choice) -> Summary:
    """Order lines as they are now, the newest first; without any filter, those that are still open.

    Raises:
        DecisionError: A line, key or state that is named does not exist.
    """
    if choice.state is not None and choice.state not in NEXT:
        raise DecisionError(f"There is no state {choice.state!r}.", remedy=f"one of {', '.join(NEXT)}")
    lines = choice.of(_lines(settings, lake))
    if not choice.filters and not choice.lines:
        lines = lines.filter(pl.col("state").is_in([state for state, after in NEXT.items() if after]))
        lines = lines.filter(pl.col("state") != "superseded")
    money = settings.currency
    value = (pl.col("quantity") * pl.col("unit_cost")).round(2)
    lines = lines.with_columns(value=value).sort(["as_of", "order_line"], descending=[True, False])
    summary = Summary("orders list", read=lake.versions(["decisions"]), changed=False)
    summary.figures = {"lines": lines.height, "units": float(lines["quantity"].sum())}
    summary.figures[f"value_{money}"] = round(float(lines["value"].sum()), 2)
    by_state = lines.group_by("state").agg(lines=pl.len(), units=pl.col("quantity").sum(), value=pl.col("value").sum())
    summary.tables["By state"] = by_state.sort("state")
    shown = ["order_line", *settings.demand.series, "supplier_id", "state", "quantity", "proposed_quantity", "value"]
    summary.tables["Order lines"] = lines.select(*shown, "receive_on", "who", "why", "at", "order_id", "export_id")
    return summary


def decide(
    settings: Settings,
    lake: Lake,
    choice: Choice,
    to: str,
    *,
    who: str,
    why: str,
    quantity: float | None = None,
    order_id: str | None = None,
    at: datetime | None = None,
) -> Summary:
    """Move the chosen lines to a state, all of them or none.

    A filter takes the lines that can become that; named ones must. What a rule holds is approved by name only.

    Args:
        settings: The shop.
        lake: Its tables.
        choice: Which lines.
        to: The new state.
        who: Who says so.
        why: Why, in words.
        quantity: Units from now on; None: as before.
        order_id: The number it has where it was ordered.
        at: When it happened; now unless said.

    Raises:
        DecisionError: Who or why is missing, the quantity cannot be ordered, it is not said which lines are meant, or
            one of them cannot become that.
    """
    _check_words(who, why)
    if quantity is not None and not 0 < quantity <= MOST:
        raise DecisionError(f"{quantity:g} is no quantity to order.", rule="above 0", remedy="reject the line instead")
    if to == EDITED and quantity is None:
        raise DecisionError("An edit says how much to order.", remedy="give --quantity")
    if not choice.lines and not choice.filters:
        raise DecisionError(
            "It is not said which lines are meant.", remedy="name them, or say --supplier, --series, --from or --all"
        )
    chosen = choice.of(_lines(settings, lake))
    notes = []
    if not choice.lines:
        able = chosen.filter(pl.col("state").is_in([state for state, after in NEXT.items() if to in after]))
        held = able.filter(pl.col("state") == HELD, pl.col("who") == RULE) if to == APPROVED else able.clear()
        chosen = able.join(held, on="order_line", how="anti", maintain_order="left")
        notes += [f"{held.height} lines are held by rule: approve them by name."] if held.height else []
    changed = {} if quantity is None else {"quantity": pl.lit(float(quantity))}
    changed |= {} if order_id is None else {"order_id": pl.lit(order_id)}
    rows = advance(chosen, to, who=who.strip(), why=why.strip(), at=at or datetime.now(UTC), **changed)
    summary = _entered(settings, lake, rows, f"orders {to}")
    summary.notes = notes
    return summary


def export(
    settings: Settings,
    lake: Lake,
    *,
    out: Path | None = None,
    form: str = "csv",
    choice: Choice | None = None,
    who: str,
    why: str = "approved",
) -> Summary:
    """Write the approved lines as one file a supplier, and finish whatever export was cut short before.

    Args:
        settings: The shop.
        lake: Its tables.
        out: Folder of the files; by default `orders` in the shop's folder. A finished export stays where it was meant.
        form: csv or json.
        choice: Which of the approved lines; all unless said.
        who: Who sends them.
        why: Why, in words.

    Raises:
        DecisionError: The format is none, or a named line is not approved.
        OutputError: A file cannot be written; the next export finishes what this one began.
    """
    _check_words(who, why)
    if form not in order_export.FORMATS:
        raise DecisionError(f"Orders cannot be {form} files.", remedy=f"one of {', '.join(order_export.FORMATS)}")
    lines, folder = _lines(settings, lake), out.resolve() if out is not None else settings.home / "orders"
    meant = (choice or Choice()).of(lines)
    ready = meant if choice is not None and choice.lines else meant.filter(pl.col("state") == APPROVED)
    intent = advance(
        order_export.planned(ready, folder, form), EXPORTING, who=who.strip(), why=why.strip(), at=datetime.now(UTC)
    )
    _append(settings, lake, intent)
    sending = _lines(settings, lake).filter(pl.col("state") == EXPORTING)
    keys, files = settings.demand.series, dict[str, int]()
    for one in sending.partition_by("file", maintain_order=True):  # a file a supplier
        sheet = order_export.sheet(one, keys)
        write_frame(sheet, Path(one["file"][0]))
        files[one["file"][0]] = sheet.height
    done = advance(sending, EXPORTED, who=who.strip(), why=why.strip(), at=datetime.now(UTC))
    summary = _entered(settings, lake, done, "orders export")
    summary.wrote = files | summary.wrote
    if done.is_empty():
        summary.notes.append("There is no approved line to export.")
    finished = sending.join(intent, on="order_line", how="anti").height
    if finished:
        summary.notes.append(f"{finished} lines belong to an export that was cut short before.")
    return summary


def _lines(settings: Settings, lake: Lake) -> pl.DataFrame:
    return known_lines(lake, dict.fromkeys(settings.demand.series, pl.String()))


def _append(settings: Settings, lake: Lake, rows: pl.DataFrame) -> None:
    """Add rows to the ledger in one commit: all of them or none."""
    if rows.is_empty():
        return
    keys = settings.demand.series
    rows = rows.select(columns(keys))
    table = TABLES["decisions"].schema_with(dict(rows.schema), tuple(keys))
    lake.append("decisions", table.validate(rows))


def _entered(settings: Settings, lake: Lake, rows: pl.DataFrame, job: str) -> Summary:
    """Add rows to the ledger and say what they are about."""
    _append(settings, lake, rows)
    value = float((rows["quantity"] * rows["unit_cost"]).sum())
    summary = Summary(job, wrote={"decisions": rows.height}, changed=not rows.is_empty())
    summary.figures = {"lines": rows.height, "units": float(rows["quantity"].sum())}
    summary.figures[f"value_{settings.currency}"] = round(value, 2)
    shown = ["order_line", *settings.demand.series, "supplier_id", "state", "quantity", "who", "why"]
    summary.tables["Order lines"] = rows.select(shown)
    return summary


def _check_words(who: str, why: str) -> None:
    for name, text in (("who", who), ("why", why)):
        if not text.strip():
            raise DecisionError(f"It does not say {name}.", remedy=f"give --{name} in words: it stays on record")
    if who.strip() in NOT_PEOPLE:
        raise DecisionError(f"{who.strip()!r} is a name the program speaks under.", remedy="give --who another name")
