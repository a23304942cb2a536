"""Data intake: check the sources, take in what is new, try quarantined rows again.

Order of a run: find files and their digests; leave out what the ledger knows; read, map, cast and judge everything;
stop if too much of a file is bad; only then write, the ledger last. Killed at any moment, the next run completes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from pipelines.errors import ConfigError, DataError, SourceError
from pipelines.ingest import ledger
from pipelines.ingest.adapters import ADAPTERS
from pipelines.ingest.intake import DUPLICATE, Door, Intake, Taken, take
from pipelines.ingest.landing import door, land
from pipelines.ingest.quarantine import quarantine_list, quarantine_replay, quarantine_show
from pipelines.ingest.sources import ROW, Extract, find
from pipelines.ingest.units import TABLES_WITH_UNITS
from pipelines.lake import Lake
from pipelines.settings import Settings, Source
from pipelines.summary import Summary, progress
from pipelines.tombstones import RULE as FORGOTTEN

__all__ = ["check", "ingest", "quarantine_list", "quarantine_replay", "quarantine_show"]

MOST_KINDS = 5


def check(settings: Settings) -> Summary:
    """Read and judge every source as `ingest` would, and write nothing.

    Raises:
        SourceError: A source cannot be read or lacks a column.
        DataError: More of a file is bad than the configuration allows.
        ConfigError: A column of the hierarchy is nowhere in the sources.
    """
    found = [extract for source in settings.sources for extract in find(source, settings)]
    taken = _take(found, Door(settings, datetime.now(UTC)))
    _check_hierarchy(settings, taken)
    intakes = [intake for one in taken for intake in one.intakes]
    summary = _summary("check", intakes)
    summary.changed = False
    bad = summary.figures["quarantined"]
    found_out = f"{bad:,} rows would go to quarantine" if bad else "Configuration and sources are in order"
    summary.notes.insert(0, f"{found_out}; nothing was written.")
    return summary


def ingest(settings: Settings, lake: Lake) -> Summary:
    """Take in files that are new or changed.

    Raises:
        SourceError: A source cannot be read or lacks a column. Nothing was written.
        DataError: More of a file is bad than the configuration allows. Nothing was written.
        LakeError: The lake cannot be written; the same command completes it later.
    """
    now = datetime.now(UTC)
    batches = lake.read_or_empty("batches")
    found = [extract for source in settings.sources for extract in find(source, settings)]
    new = ledger.due(found, batches)
    if not new:
        known = {extract.name: "already ingested" for extract in found}
        return Summary("ingest", read=known, figures={"lines_in": 0, "new_rows": 0}, changed=False)
    taken = _take(new, door(settings, lake, now, replaced={extract.source.table for extract in new}))
    written = land(settings, lake, taken, now)
    intakes = [intake for one in taken for intake in one.intakes]
    ledger.write(lake, intakes, now)
    summary = _summary("ingest", intakes)
    if summary.figures["quarantined"]:
        waiting = f"{summary.figures['quarantined']:,} rows wait in quarantine: purvey quarantine list"
        summary.notes.insert(0, waiting)
    for extract in found:
        summary.read.setdefault(extract.name, "already ingested")
    for result in written:
        summary.wrote[result.table] = summary.wrote.get(result.table, 0) + result.changed
    summary.figures["new_rows"] = sum(result.inserted for result in written)
    summary.figures["corrected_rows"] = sum(result.updated for result in written)
    if "order_lines" in summary.wrote:
        summary.figures |= _matched(lake)
    return summary


def _take(extracts: Sequence[Extract], door: Door) -> list[Taken]:
    """Read and judge, source by source: those first of which others speak."""
    sources = list({id(extract.source): extract.source for extract in extracts}.values())
    taken = []
    with progress("taking in", len(extracts)) as advance:
        for source in sorted(sources, key=_turn):
            mine = [extract for extract in extracts if extract.source is source]
            one = take(source, [(extract, extract.read()) for extract in mine], door)
            for intake in one.intakes:
                _refuse_if_bad(intake, door.settings.ingest.max_bad_share)
                door = door.knowing(source.table, intake.good)
            taken.append(one)
            advance(len(mine))
    _agree_on_keys(taken, door)
    return taken


def _turn(source: Source) -> tuple[bool, bool, int]:
    """Demand first, its periods tell the grid; overrides last, they name series; stock before what has its unit."""
    units = (*TABLES_WITH_UNITS, source.table)
    return source.table != "demand", source.table == "overrides", units.index(source.table)


def _refuse_if_bad(intake: Intake, limit: float) -> None:
    if intake.bad_share <= limit:
        return
    kinds = kinds_of_reasons([intake]).head(MOST_KINDS)
    first = kinds.row(0, named=True)
    words = [f"  {kind['rows']:,} as row {kind['for_example_row']}: {kind['reason']}" for kind in kinds.to_dicts()]
    raise DataError(
        f"{intake.quarantined.height:,} of {intake.lines_in:,} rows of this file break the rules of "
        f"{intake.table}: {intake.bad_share:.1%}, where ingest.max_bad_share allows {limit:.1%}. Nothing was written.\n"
        + "\n".join(words),
        file=intake.extract.name,
        row=first["for_example_row"],
        remedy="mend the file, or the `columns:` of this source; or raise ingest.max_bad_share",
    )


def _check_hierarchy(settings: Settings, taken: Sequence[Taken]) -> None:
    """Levels of the hierarchy are made of what names series, and of what is said of them."""
    keys = settings.demand.series
    known = list(keys)
    for table, own in (("series", keys), ("products", ["product_id"]), ("locations", ["location_id"])):
        brought = [one.tables[table] for one in taken if table in one.tables]
        brought += [intake.good for one in taken if one.source.table == table for intake in one.intakes]
        known += [name for frame in brought if set(own) <= set(keys) for name in frame.columns if name not in known]
    for level in settings.demand.hierarchy if settings.demand.enabled else ():
        for name in level:
            if name not in known:
                raise ConfigError(
                    "A column of demand.hierarchy is neither a series key nor an attribute that a source brings of "
                    "series, products or locations.",
                    file=settings.file,
                    column=name,
                    rule="demand.hierarchy",
                    remedy=f"use some of: {', '.join(known)}",
                )


def _agree_on_keys(taken: Sequence[Taken], door: Door) -> None:
    """Covariates of all sources, and those already held, must be keyed alike: they share one table."""
    series = door.settings.demand.series
    held = [name for name in series if name in door.kept.get("covariates", {})] if "covariates" in door.kept else None
    for one in taken:
        for intake in one.intakes if one.source.table == "covariates" else []:
            keys = [name for name in series if name in intake.good.columns]
            if held is not None and keys != held:
                raise SourceError(
                    f"These covariates are keyed by {', '.join([*keys, 'period'])}, others by "
                    f"{', '.join([*held, 'period'])}.",
                    file=intake.extract.name,
                    rule="all covariates of a shop have the same key columns",
                    remedy="repeat the values for every series in this file",
                )
            held = keys


def _matched(lake: Lake) -> dict[str, int]:
    links = lake.read("order_lines", columns=["kind", "cancels_order_id"]).filter(kind="return")["cancels_order_id"]
    return {"returns_in_all": len(links), "returns_matched_to_a_sale": len(links) - links.null_count()}


def _summary(job: str, intakes: Sequence[Intake]) -> Summary:
    balance = ledger.batch_rows(intakes, datetime.now(UTC)).drop("batch", "digest", "ingested_at")
    total = balance.select(pl.col(pl.Int64).sum()).row(0, named=True)
    summary = Summary(
        job, read={intake.extract.name: f"{intake.lines_in:,} lines" for intake in intakes}, figures=total
    )
    summary.tables["Lines in = good + returns + excluded + quarantined"] = balance
    excluded = ledger.exclusion_rows(intakes)
    if excluded.height:
        meaning: dict[str, str] = {}
        for adapter in sorted({str(one.extract.source.adapter) for one in intakes} & set(ADAPTERS)):
            meaning |= ADAPTERS[adapter].rules
        meaning.setdefault(DUPLICATE, "equal to a row before it")
        meaning[FORGOTTEN] = "says something of a customer who was forgotten"
        order = {rule: number for number, rule in enumerate(meaning)}
        summary.tables["Excluded by rule"] = (
            excluded.group_by("rule")
            .agg(pl.col("lines").sum())
            .sort(pl.col("rule").replace_strict(order, return_dtype=pl.Int64))
            .with_columns(applies_to=pl.col("rule").replace_strict(meaning, return_dtype=pl.String))
        )
    if total["quarantined"]:
        summary.tables["Quarantined"] = kinds_of_reasons(intakes)
    nameless = sum(intake.good["customer_id"].null_count() for intake in intakes if intake.table == "order_lines")
    if nameless:
        summary.notes.append(f"{nameless:,} good order lines name no customer: they count as demand, for no customer.")
    if forgotten := sum(intake.forgotten for intake in intakes):
        summary.notes.append(f"{forgotten:,} lines of forgotten customers were taken in without their customer.")
    return summary


def kinds_of_reasons(intakes: Sequence[Intake]) -> pl.DataFrame:
    """The kinds of reasons against rows, most frequent first, each with one example."""
    reasons = [
        intake.quarantined.select(
            pl.lit(intake.extract.name).alias("source"),
            pl.col(ROW).alias("for_example_row"),
            pl.col("rules").alias("reason"),
            _kind=pl.col("rules").str.replace_all(r"'[^']*'|-?\d[\d.:TZ-]*", "…"),
        )
        for intake in intakes
    ]
    return (
        pl.concat(reasons)
        .group_by("source", "_kind", maintain_order=True)
        .agg(rows=pl.len(), for_example_row=pl.col("for_example_row").first(), reason=pl.col("reason").first())
        .sort("rows", descending=True, maintain_order=True)
        .select("source", "rows", "for_example_row", "reason")
    )
