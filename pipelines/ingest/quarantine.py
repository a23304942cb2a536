"""Rows that broke a rule: counted, shown, and tried again after the configuration or the rules were mended.

A replay reads each waiting row as it came, through the same door as the first time. Rows that pass are merged and
accounted for in a batch of their own, named after the batch they came from; the others keep waiting with the reasons
they now have.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from fnmatch import fnmatch

import polars as pl

from features.tables import TABLES
from pipelines.errors import DataError
from pipelines.ingest import ledger
from pipelines.ingest.intake import Intake, take
from pipelines.ingest.landing import door, land
from pipelines.ingest.sources import ROW, Extract
from pipelines.lake import Lake
from pipelines.settings import Settings, Source
from pipelines.summary import Summary


def quarantine_list(settings: Settings, lake: Lake) -> Summary:
    """Count quarantined rows by batch, state and kind of reason."""
    rows = lake.read_or_empty("quarantine")
    counted = (
        rows.sort("recorded_at", "batch", "source_row")
        .group_by("batch", "table", "source", "state", maintain_order=True)
        .agg(rows=pl.len(), for_example=pl.col("rules").first())
    )
    figures = {state: rows.filter(state=state).height for state in (ledger.OPEN, ledger.RELEASED, ledger.SUPERSEDED)}
    return Summary(
        "quarantine list",
        read={"quarantine": f"{rows.height:,} rows"},
        figures=figures,
        tables={"Batches": counted},
        changed=False,
    )


def quarantine_show(settings: Settings, lake: Lake, batch: str) -> Summary:
    """The rows of one batch as they came, each with its reasons.

    Raises:
        DataError: Nothing of such a batch is in quarantine.
    """
    rows = lake.read_or_empty("quarantine")
    known = rows["batch"].unique().sort().to_list()
    shown = rows.filter(pl.col("batch").str.starts_with(batch)).sort("batch", "source_row")
    if shown.is_empty():
        waiting = f"batches in quarantine: {', '.join(known)}" if known else "quarantine is empty"
        raise DataError(f"No row of batch {batch!r} is in quarantine.", remedy=waiting)
    columns = ["source", "source_row", "state", "rules", "raw"]
    return Summary(
        "quarantine show",
        read={"quarantine": f"{shown.height:,} rows"},
        tables={batch: shown.select(columns)},
        changed=False,
    )


def quarantine_replay(settings: Settings, lake: Lake) -> Summary:
    """Try every waiting row again.

    Raises:
        SourceError: The rows lack a column that the configuration now names.
        LakeError: The lake cannot be written; the same command completes it later.
    """
    now = datetime.now(UTC)
    rows = lake.read_or_empty("quarantine")
    waiting = rows.filter(state=ledger.OPEN).sort("batch", "source_row")
    summary = Summary("quarantine replay", read={"quarantine": f"{waiting.height:,} rows"}, changed=False)
    outcome = []
    for (batch,), group in waiting.partition_by("batch", as_dict=True, maintain_order=True).items():
        source = _source_of(settings, group)
        if source is None:
            summary.notes.append(f"{batch}: no source of the configuration brings {group['table'][0]} any more.")
            continue
        outcome.append(_replay(settings, lake, source, group, now))
    figures = {name: sum(one[name] for one in outcome) for name in ("good", "returns", "excluded", "still_waiting")}
    summary.figures = figures
    summary.changed = bool(waiting.height - figures["still_waiting"]) if outcome else False
    return summary


def _source_of(settings: Settings, group: pl.DataFrame) -> Source | None:
    table, name = group["table"][0], group["source"][0]
    candidates = [source for source in settings.sources if source.table == table]
    for source in candidates:
        if any(fnmatch(name, path.removeprefix("./")) for path in source.paths):
            return source
    return candidates[0] if candidates else None


def _replay(settings: Settings, lake: Lake, source: Source, group: pl.DataFrame, now: datetime) -> dict[str, int]:
    """One batch: tables first, then its account, then the state of its rows."""
    name = group["source"][0]
    raw = pl.DataFrame([json.loads(row) for row in group["raw"]], infer_schema_length=None)
    raw = raw.cast(pl.String).with_columns(group["source_row"].alias(ROW)).select(ROW, pl.exclude(ROW))
    as_text = source.model_copy(update={"format": "csv"})  # kept as text, so read as csv is
    extract = Extract(as_text, f"{name} (replayed)", "")
    taken = take(as_text, [(extract, raw)], door(settings, lake, now))
    intake = taken.intakes[0]
    still_bad = intake.quarantined
    released = group.filter(~pl.col("source_row").is_in(still_bad[ROW].implode()))
    if released.height:
        land(settings, lake, [taken], now, replayed=True)
        _account(lake, group["batch"][0], intake, released, now)
    judged_again = group.drop("rules").join(
        still_bad.select("rules", source_row=ROW), on="source_row", how="inner", maintain_order="left"
    )
    rows = pl.concat([released.with_columns(state=pl.lit(ledger.RELEASED)), judged_again.select(group.columns)])
    lake.merge("quarantine", rows, ["batch", "source_row"])
    return {
        "good": intake.good.height - intake.returns,
        "returns": intake.returns,
        "excluded": intake.excluded.height,
        "still_waiting": still_bad.height,
    }


def _account(lake: Lake, batch: str, intake: Intake, released: pl.DataFrame, now: datetime) -> None:
    """A batch of its own for the released rows; its name tells which they are, so it is written once."""
    digest = hashlib.sha256(",".join(map(str, released["source_row"])).encode()).hexdigest()
    row = {
        "batch": f"{batch}{ledger.REPLAYED}{digest[:12]}",
        "table": intake.table,
        "source": intake.extract.name,
        "digest": digest,
        "lines_in": released.height,
        "good": intake.good.height - intake.returns,
        "returns": intake.returns,
        "excluded": intake.excluded.height,
        "quarantined": 0,
        "ingested_at": now,
    }
    lake.merge("batches", TABLES["batches"].schema.validate(pl.DataFrame([row]), cast=True), ["batch"])
