"""The ledger of batches: which content was taken in, and what became of every one of its lines.

A batch is one content of one file (or query) for one table. The ledger is written last: a batch that is not in it was
not taken in, whatever a killed run had already written, and is taken in again with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from features.tables import TABLES
from pipelines.ingest.intake import Intake
from pipelines.ingest.sources import ROW, Extract
from pipelines.lake import Lake

REPLAYED = "~"  # between a batch and the digest of the rows of it that a replay released
OPEN, RELEASED, SUPERSEDED = "open", "released", "superseded"


def batch_of(extract: Extract) -> str:
    """The name of a batch: its table and the start of its digest."""
    return f"{extract.source.table}-{extract.digest[:12]}"


def due(found: Sequence[Extract], batches: pl.DataFrame) -> list[Extract]:
    """The files that have to be taken in.

    A file is known when its content was taken in and nothing else was taken in under its name since. A snapshot is all
    its files together: they are known when they are the ones of its last ingest, else all of them are read again.
    Content that stands twice is read once.
    """
    originals = batches.filter(~pl.col("batch").str.contains(REPLAYED, literal=True)).sort("ingested_at")
    unique = list({batch_of(extract): extract for extract in found}.values())
    tables = {extract.source.table for extract in unique}
    unchanged = {table for table in tables if _is_last_snapshot(table, unique, originals)}
    return [one for one in unique if one.source.table not in unchanged and not _is_known(one, originals)]


def _is_snapshot(table: str) -> bool:
    return TABLES[table].kind == "snapshot"


def _is_last_snapshot(table: str, found: Sequence[Extract], batches: pl.DataFrame) -> bool:
    mine = batches.filter(table=table)
    last = mine.filter(pl.col("ingested_at") == pl.col("ingested_at").max())["digest"]
    return _is_snapshot(table) and set(last) == {one.digest for one in found if one.source.table == table}


def _is_known(extract: Extract, batches: pl.DataFrame) -> bool:
    if _is_snapshot(extract.source.table):
        return False
    mine = batches.filter(table=extract.source.table)
    under_this_name = mine.filter(source=extract.name).tail(1)
    return extract.digest in (under_this_name if under_this_name.height else mine)["digest"].to_list()


def batch_rows(intakes: Sequence[Intake], now: datetime) -> pl.DataFrame:
    """The ledger's rows of these files."""
    rows = [
        {
            "batch": batch_of(intake.extract),
            "table": intake.table,
            "source": intake.extract.name,
            "digest": intake.extract.digest,
            "lines_in": intake.lines_in,
            "good": intake.good.height - intake.returns,
            "returns": intake.returns,
            "excluded": intake.excluded.height,
            "quarantined": intake.quarantined.height,
            "ingested_at": now,
        }
        for intake in intakes
    ]
    return TABLES["batches"].schema.validate(pl.DataFrame(rows), cast=True)


def exclusion_rows(intakes: Sequence[Intake]) -> pl.DataFrame:
    """How many lines each rule set aside, file by file."""
    counted = [
        intake.excluded.group_by("rule")
        .agg(lines=pl.len().cast(pl.Int64))
        .select(pl.lit(batch_of(intake.extract)).alias("batch"), "rule", "lines")
        .sort("rule")
        for intake in intakes
    ]
    return pl.concat(counted)


def quarantine_rows(intakes: Sequence[Intake], now: datetime) -> pl.DataFrame:
    """The quarantined rows of these files, waiting."""
    rows = [
        intake.quarantined.select(
            pl.lit(batch_of(intake.extract)).alias("batch"),
            pl.col(ROW).alias("source_row"),
            pl.lit(intake.table).alias("table"),
            pl.lit(intake.extract.name).alias("source"),
            "rules",
            "raw",
            pl.lit(OPEN).alias("state"),
            pl.lit(now, dtype=pl.Datetime("us", "UTC")).alias("recorded_at"),
        )
        for intake in intakes
    ]
    return pl.concat(rows)


def write(lake: Lake, intakes: Sequence[Intake], now: datetime) -> None:
    """Quarantine, exclusions and, last, the batches: from then on these files count as taken in."""
    waiting = lake.read_or_empty("quarantine")
    rows = quarantine_rows(intakes, now)
    recorded = ["batch", "source_row", "rules", "raw", "state"]
    rows = pl.concat([rows.join(waiting, on=recorded, how="anti"), _superseded(waiting, intakes)])
    if rows.height:
        lake.merge("quarantine", rows, ["batch", "source_row"])
    excluded = exclusion_rows(intakes)
    if excluded.height:
        lake.merge("exclusions", excluded, ["batch", "rule"])
    lake.merge("batches", batch_rows(intakes, now), ["batch"])


def _superseded(waiting: pl.DataFrame, intakes: Sequence[Intake]) -> pl.DataFrame:
    """Rows still waiting from an earlier content of the same files: the new content speaks for them."""
    now_in = pl.DataFrame(
        [{"table": one.table, "source": one.extract.name, "_batch": batch_of(one.extract)} for one in intakes]
    )
    earlier = waiting.filter(state=OPEN).join(now_in, on=["table", "source"])
    return (
        earlier.filter(pl.col("batch") != pl.col("_batch"))
        .drop("_batch")
        .select(waiting.columns)
        .with_columns(state=pl.lit(SUPERSEDED))
    )
