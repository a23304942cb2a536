"""What the API took in goes into the lake, exactly once.

First the lake is written, then the inbox is told. A run that is killed between the two finds its rows waiting and in
the lake already: a decision is known there by its line, moment and words, all else by its key. So nothing is lost and
nothing counts twice.
"""

from __future__ import annotations

from contextlib import closing
from datetime import datetime

import polars as pl

from features.tables import TABLES
from pipelines import inbox
from pipelines.database import Database
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.supply.order_book import known_lines
from pipelines.supply.orders import NEXT, advance, columns
from pipelines.tombstones import tombstones

_FORGOTTEN = "the customer was forgotten"
_ALREADY = ["order_line", "state", "who", "why", "at"]
_KEYS = {inbox.CAMPAIGNS: ["list_id", "customer_id"], inbox.FEEDBACK: ["customer_id", "at", "kind"]}


def drain(settings: Settings, lake: Lake) -> dict[str, int]:
    """Take everything that waits in the API's store into the lake; hold the shop's lock meanwhile.

    Returns:
        Table → rows that reached it. Rows that could not are kept in the store with the reason.
    """
    if not settings.serving.database and not (settings.api_dir / "access.db").exists():
        return {}
    with closing(Database(settings)) as database:
        found = {inbox.DECISIONS: _decisions(settings, lake, database), inbox.STOCK: _stock(settings, lake, database)}
        found |= {kind: _of_customers(settings, lake, database, kind) for kind in _KEYS}
    return {table: rows for table, rows in found.items() if rows}


def refusals(settings: Settings, since: datetime) -> dict[str, int]:
    """Why things that were said could not go into the lake since a moment → how many of them, the most first."""
    if not settings.serving.database and not (settings.api_dir / "access.db").exists():
        return {}
    with closing(Database(settings)) as database:
        return inbox.refused(database, since)


def _decisions(settings: Settings, lake: Lake, database: Database) -> int:
    """Wave by wave: the first thing said of each line, then the second, each against what the lake says by then."""
    rows = inbox.waiting(database, inbox.DECISIONS)
    if rows.is_empty():
        return 0
    said = pl.Struct({"state": pl.String, "who": pl.String, "why": pl.String, "quantity": pl.Float64,
                      "order_id": pl.String})  # fmt: skip
    rows = rows.with_columns(pl.col("said").str.json_decode(said)).unnest("said").rename({"subject": "order_line"})
    rows = rows.with_columns(wave=pl.int_range(pl.len()).over("order_line", order_by="step"))
    taken = 0
    for _, wave in rows.group_by("wave", maintain_order=True):
        taken += _wave(settings, lake, database, wave)
    return taken


def _wave(settings: Settings, lake: Lake, database: Database, wave: pl.DataFrame) -> int:
    keys = settings.demand.series
    lines = known_lines(lake, dict.fromkeys(keys, pl.String()))
    held = lake.read("decisions", columns=_ALREADY) if lake.exists("decisions") else lines.select(_ALREADY)
    there = wave.join(held, on=_ALREADY, how="semi")
    wave = wave.join(there, on="number", how="anti", maintain_order="left")
    asked = wave.select("order_line", "number", to="state", new="quantity", by="who", because="why", then="at",
                        numbered="order_id")  # fmt: skip
    known = asked.join(lines, on="order_line", how="left", maintain_order="left")
    follows = [(pl.col("state") == state) & pl.col("to").is_in(after) for state, after in NEXT.items() if after]
    known = known.with_columns(able=pl.any_horizontal(*follows).fill_null(value=False))
    moved = [_moved(part, str(to), columns(keys)) for (to,), part in known.filter("able").group_by("to")]
    if moved:
        new = pl.concat(moved)
        lake.append("decisions", TABLES["decisions"].schema_with(dict(new.schema), tuple(keys)).validate(new))
    why = pl.when(pl.col("state").is_null()).then(pl.lit("there is no such order line")).otherwise(
        pl.format("the line was {} and could not become {}", "state", "to"))  # fmt: skip
    stuck = known.filter(~pl.col("able")).select("number", why)
    done = [*there["number"], *known.filter("able")["number"]]
    inbox.drained(database, dict(stuck.iter_rows()) | dict.fromkeys(done, inbox.TAKEN), forget=False)
    return len(done)


def _moved(lines: pl.DataFrame, to: str, wanted: list[str]) -> pl.DataFrame:
    moment = lines["then"][0]
    rows = advance(
        lines, to, who="", why=pl.col("because"), at=moment,
        quantity=pl.coalesce("new", "quantity"), order_id=pl.coalesce("numbered", "order_id"),
    )  # fmt: skip
    return rows.with_columns(who=pl.col("by"), at=pl.col("then")).select(wanted)


def _stock(settings: Settings, lake: Lake, database: Database) -> int:
    """Of each series the newest count; one that is older than what the lake holds changes nothing."""
    waiting, keys = inbox.waiting(database, inbox.STOCK), settings.demand.series
    if waiting.is_empty():
        return 0
    said = pl.Struct({**dict.fromkeys(keys, pl.String()), "as_of": pl.Date, "on_hand": pl.Float64})
    rows = waiting.select("number", pl.col("said").str.json_decode(said)).unnest("said")
    new = rows.sort("as_of", "number").unique(keys, keep="last", maintain_order=True).drop("number")
    new = new.with_columns(unit=pl.lit(None, dtype=pl.String), illustrative=pl.lit(value=False))
    if lake.exists("stock"):
        held = lake.read("stock")
        new = new.with_columns(pl.col(key).cast(held.schema[key]) for key in keys)
        before = held.select(*keys, before="as_of")
        new = new.join(before, on=keys, how="left").filter(
            pl.col("as_of") >= pl.col("before").fill_null(pl.date(1, 1, 1))
        )
        new = new.select(name for name in new.columns if name in held.columns)
        lake.merge("stock", _with_other_columns(new, held, keys), keys)
    else:
        lake.append("stock", new)
    inbox.drained(database, dict.fromkeys(rows["number"], inbox.TAKEN), forget=False)
    return rows.height


def _of_customers(settings: Settings, lake: Lake, database: Database, kind: str) -> int:
    """What is said of customers; what was said of them before stays where nothing else is said now."""
    waiting, keys = inbox.waiting(database, kind), _KEYS[kind]
    if waiting.is_empty():
        return 0
    schema = TABLES[kind].schema.create_empty().schema
    text = {name: pl.String() if isinstance(dtype, pl.Datetime) else dtype for name, dtype in schema.items()}
    rows = waiting.select("number", known_="at", said=pl.col("said").str.json_decode(pl.Struct(text))).unnest("said")
    times = [name for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)]
    rows = rows.with_columns(pl.col(name).str.to_datetime(time_unit="us", time_zone="UTC") for name in times)
    if "known_at" in schema:
        rows = rows.with_columns(pl.coalesce("known_at", "known_").alias("known_at"))
    stones = tombstones(settings, lake)
    gone = stones.named(rows["customer_id"]) if stones else pl.repeat(False, rows.height, eager=True)
    new = rows.filter(~gone).group_by(keys, maintain_order=True).agg(
        pl.col(name).drop_nulls().last() for name in schema if name not in keys)  # fmt: skip
    new = new.select(list(schema))
    if lake.exists(kind):
        new = _with_other_columns(new, lake.read(kind), keys)
    if new.height:
        lake.merge(kind, new, keys)
    became = dict.fromkeys(rows["number"], inbox.TAKEN) | dict.fromkeys(rows.filter(gone)["number"], _FORGOTTEN)
    inbox.drained(database, became, forget=True)
    return rows.height - int(gone.sum())


def _with_other_columns(new: pl.DataFrame, held: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Rows complete with what is held of their keys where they say nothing themselves."""
    both = new.join(held, on=keys, how="left", maintain_order="left", suffix="_held")
    own = [name for name in new.columns if name not in keys and name in held.columns]
    kept = both.with_columns(pl.coalesce(name, f"{name}_held").alias(name) for name in own)
    return kept.select(held.columns)
