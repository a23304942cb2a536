"""Good rows into their tables: one commit a source, one for all order lines, one for each snapshot.

Every commit can be repeated without harm, so a run that was killed between two of them is completed by the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from features.tables import TABLES
from pipelines.ingest.intake import Door, Intake, Taken
from pipelines.ingest.orders import KEY, STATED, settle
from pipelines.ingest.sources import ROW
from pipelines.ingest.validate import judge
from pipelines.lake import Lake, Written
from pipelines.settings import Settings


def door(settings: Settings, lake: Lake, now: datetime) -> Door:
    """What decides on rows, with what the lake already tells: column types and the periods of demand."""
    tables: set[str] = {source.table for source in settings.sources if lake.exists(source.table)}
    kept: dict[str, dict[str, pl.DataType]] = {table: dict(lake.scan(table).collect_schema()) for table in tables}
    known = Door(settings, now, kept=kept)
    return replace(known, periods=lake.read("demand", columns=["period"])["period"]) if "demand" in tables else known


def land(settings: Settings, lake: Lake, taken: Sequence[Taken], now: datetime) -> list[Written]:
    """Good rows into their tables: one commit a source, one for all order lines, one a snapshot."""
    series = tuple(settings.demand.series)
    written = []
    orders = [one for one in taken if one.source.table == "order_lines"]
    for one in orders:
        for name, frame in one.tables.items():
            shaped = judge(name, frame.with_row_index(ROW).cast({ROW: pl.Int64}), series, now).good.drop(ROW)
            written.append(lake.merge(name, shaped, TABLES[name].keys(series)))
    if orders:
        held = lake.read("order_lines") if lake.exists("order_lines") else None
        lines = [_stated(intake) for one in orders for intake in one.intakes]
        rows = settle(pl.concat(lines, how="diagonal_relaxed"), held, now)
        written.append(lake.merge("order_lines", rows, KEY))
    snapshots = {one.source.table: None for one in taken if TABLES[one.source.table].kind == "snapshot"}
    written += [_merge(lake, one, series) for one in taken if one.source.table not in {"order_lines", *snapshots}]
    for name in snapshots:
        frames = [intake.good for one in taken if one.source.table == name for intake in one.intakes]
        written.append(lake.replace(name, _last_of_each(frames, TABLES[name].keys(series))))
    return written


def _stated(intake: Intake) -> pl.DataFrame:
    return intake.good.with_columns(pl.lit(intake.states_known_at).alias(STATED))


def _merge(lake: Lake, one: Taken, series: tuple[str, ...]) -> Written:
    frames = [intake.good for intake in one.intakes]
    keys = [name for name in TABLES[one.source.table].keys(series) if name in frames[0].columns]
    return lake.merge(one.source.table, _last_of_each(frames, keys), keys)


def _last_of_each(frames: Sequence[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    """All rows; of rows with one key those of the last file."""
    rows = pl.concat(frames, how="diagonal_relaxed")
    return rows.unique(subset=keys, keep="last", maintain_order=True).sort(keys) if keys else rows
