"""Good rows into their tables: one commit a source, one for all order lines, one for each snapshot.

What a correction takes the place of is kept first: versions of order lines in `superseded_lines`, the difference of a
corrected total in `demand_revisions`. Every commit can be repeated without harm, so a run that was killed between two
of them is completed by the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import polars as pl

from features.calendar import Grid
from features.tables import TABLES
from pipelines.ingest.intake import NAMING, Door, Intake, Taken
from pipelines.ingest.numbering import AGAIN, COUNTED, FILE
from pipelines.ingest.orders import KEY, STATED, settle
from pipelines.ingest.sources import ROW
from pipelines.ingest.totals import settle_totals
from pipelines.ingest.units import TABLES_WITH_UNITS, UNIT
from pipelines.ingest.validate import judge
from pipelines.lake import Lake, Written
from pipelines.settings import Settings
from pipelines.tombstones import tombstones


def door(settings: Settings, lake: Lake, now: datetime, replaced: Collection[str] = ()) -> Door:
    """What decides on rows, with what the lake already tells: types, periods of demand, names and units of series.

    Tables that are `replaced` by what comes say nothing of units any more.
    """
    tables: set[str] = {source.table for source in settings.sources if lake.exists(source.table)}
    kept: dict[str, dict[str, pl.DataType]] = {table: dict(lake.scan(table).collect_schema()) for table in tables}
    known = Door(settings, now, kept=kept, tombstones=tombstones(settings, lake))
    for table in NAMING:
        wanted = [name for name in (*settings.demand.series, "period") if name in kept.get(table, {})]
        if wanted:
            known = known.knowing(table, lake.read(table, columns=wanted))
    for table in TABLES_WITH_UNITS:
        wanted = [*settings.demand.series, UNIT]
        if table not in replaced and set(wanted) <= set(kept.get(table, {})):
            known = known.knowing(table, lake.read(table, columns=wanted))
    return known


def land(
    settings: Settings, lake: Lake, taken: Sequence[Taken], now: datetime, *, replayed: bool = False
) -> list[Written]:
    """Good rows into their tables: one commit a source, one for all order lines, one a snapshot.

    Rows of a snapshot that are `replayed` join the ones that came with them; else a snapshot replaces the one before.
    """
    series = tuple(settings.demand.series)
    written = []
    orders = [one for one in taken if one.source.table == "order_lines"]
    for one in orders:
        for name, frame in one.tables.items():
            shaped = judge(name, frame.with_row_index(ROW).cast({ROW: pl.Int64}), series, now).good.drop(ROW)
            written.append(lake.merge(name, shaped, TABLES[name].keys(series)))
    if orders:
        written.append(_land_lines(lake, [intake for one in orders for intake in one.intakes], series, now))
    snapshots = {one.source.table: None for one in taken if TABLES[one.source.table].kind == "snapshot"}
    states = [one for one in taken if one.source.table not in {"order_lines", *snapshots}]
    written += [_merge(settings, lake, one, now) for one in states]
    for name in snapshots:
        frames = [intake.good for one in taken if one.source.table == name for intake in one.intakes]
        keys = TABLES[name].keys(series)
        rows = _last_of_each(frames, keys)
        written.append(lake.merge(name, rows, keys or rows.columns) if replayed else lake.replace(name, rows))
    return written


def _land_lines(lake: Lake, intakes: Sequence[Intake], series: tuple[str, ...], now: datetime) -> Written:
    before = lake.read_or_empty("batches").filter(table="order_lines")["source"].unique()
    lines = [
        intake.good.with_columns(
            pl.lit(intake.states_known_at).alias(STATED),
            pl.lit(number, dtype=pl.Int32).alias(FILE),
            pl.lit(intake.counts_lines).alias(COUNTED),
            pl.lit(intake.extract.name in before).alias(AGAIN),
        )
        for number, intake in enumerate(intakes)
    ]
    held = lake.read("order_lines") if lake.exists("order_lines") else None
    settled = settle(pl.concat(lines, how="diagonal_relaxed"), held, now, series)
    if settled.superseded.height:
        lake.merge("superseded_lines", settled.superseded, TABLES["superseded_lines"].keys())
    return lake.merge("order_lines", settled.lines, KEY)


def _merge(settings: Settings, lake: Lake, one: Taken, now: datetime) -> Written:
    table, frames = one.source.table, [intake.good for intake in one.intakes]
    keys = [name for name in TABLES[table].keys(tuple(settings.demand.series)) if name in frames[0].columns]
    rows = _last_of_each(frames, keys)
    if table == "demand" and lake.exists(table):
        rows = _revised(settings, lake, rows, keys, now)
    if table == "overrides" and lake.exists(table):
        rows = _still_withdrawn(rows, lake.read(table, columns=[*keys, "withdrawn_at"]), keys)
    return lake.merge(table, rows, keys)


def _still_withdrawn(rows: pl.DataFrame, held: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """What was taken back stays so, although the file that first said it comes again."""
    known = rows.join(held, on=keys, how="left", maintain_order="left", suffix="_held")
    return known.with_columns(pl.coalesce("withdrawn_at", "withdrawn_at_held").alias("withdrawn_at")).select(
        rows.columns
    )


def _revised(settings: Settings, lake: Lake, rows: pl.DataFrame, keys: list[str], now: datetime) -> pl.DataFrame:
    """Totals whose corrections stand in `demand_revisions`, as they were told first."""
    series = tuple(settings.demand.series)
    held = lake.read("demand")
    grid = Grid.from_labels(settings.demand.frequency, held["period"], settings.demand.period_label)
    this_period = grid.number_containing(now.astimezone(settings.zone).date())
    revisions = lake.read("demand_revisions") if lake.exists("demand_revisions") else None
    settled = settle_totals(rows, held, revisions, keys, grid.name(this_period))
    if settled.revisions.height:
        lake.merge("demand_revisions", settled.revisions, TABLES["demand_revisions"].keys(series))
    return settled.rows


def _last_of_each(frames: Sequence[pl.DataFrame], keys: list[str]) -> pl.DataFrame:
    """All rows; of rows with one key those of the last file."""
    rows = pl.concat(frames, how="diagonal_relaxed")
    return rows.unique(subset=keys, keep="last", maintain_order=True).sort(keys) if keys else rows
