"""Forgetting customers: they go from every table, every earlier version, every release; the sales stay.

| what | becomes |
|---|---|
| order lines, and versions of them that were corrected | a guest's: `customer_id` null, the order renamed for good |
| every other table with a `customer_id`, and their rows in quarantine | rows are deleted |
| earlier versions and the logs of these tables | removed from the disk: no training can be repeated from them |
| releases | one without them is made and activated, all that hold them are deleted |

What is left is a tombstone (`pipelines.tombstones`) by which a file that names them again is known. Sums over many
people (demand, evaluations, segments, parameters of models) stay; models are trained anew by the next `purvey run`.
The work is written down before it begins: killed at any moment, `purvey forget` or `purvey run` completes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl

from features.tables import TABLES, OrderLines
from pipelines.errors import ConfigError, DataError, SourceError
from pipelines.ingest.adapters import ADAPTERS
from pipelines.lake import Lake
from pipelines.redaction import holding, redact
from pipelines.settings import Settings
from pipelines.summary import Summary, progress
from pipelines.tombstones import TABLE, Tombstones, make_salt, tombstones, write_private

DELETED, ANONYMOUS = "rows deleted", "a guest's, order renamed"
QUARANTINE = "quarantine"
_MOST_NAMED = 5
_ELSEWHERE = (
    "Backups made before, exported lists and the source files still hold them: purvey does not reach those.",
    "Earlier versions of these tables are gone: no training can be repeated from them. Models learned from sums over "
    "all customers; `purvey run` trains them anew without these.",
)


@dataclass(frozen=True)
class Trace:
    """What one table holds of customers.

    Attributes:
        table: Its name.
        rows: Rows of its newest version that name one of them.
        names: Which of them any file on disk names: the newest version, earlier ones, leftovers.
    """

    table: str
    rows: int
    names: frozenset[str]


@dataclass(frozen=True)
class Journal:
    """What has begun and is not complete: the only place that names forgotten customers, and only meanwhile.

    Attributes:
        customers: Whom.
        tables: Tables that held them when it began.
        why: The reason.
    """

    customers: list[str]
    tables: list[str]
    why: str

    @classmethod
    def read(cls, settings: Settings) -> Journal | None:
        """The journal of the shop, None when nothing waits."""
        file = _journal_file(settings)
        return cls(**orjson.loads(file.read_bytes())) if file.exists() else None

    def write(self, settings: Settings) -> None:
        """Put it on the disk, for its owner only."""
        write_private(_journal_file(settings), orjson.dumps(asdict(self)))


def forget(
    settings: Settings, lake: Lake, customers: Sequence[str], *, why: str = "", dry_run: bool = False
) -> Summary:
    """Remove customers from lake and releases for good; what an earlier call left undone is completed first.

    Args:
        settings: The shop.
        lake: Its tables.
        customers: Whom, by `customer_id`; nobody = only complete what was cut short.
        why: The reason, kept with the tombstones.
        dry_run: Only say what would go.

    Raises:
        ConfigError: Nobody is named, the reason names one of them, or demand is keyed by customer.
        DataError: One of them is nowhere on record. Nothing was changed.
        LakeError: A table cannot be written; the same command completes it later.
        ReleaseError: The current release holds one of them and is damaged.
    """
    whom = sorted({name.strip() for name in customers} - {""})
    pending = False if dry_run else complete(settings, lake)
    _refuse(settings, whom, why, pending=pending)
    gone = _forgotten(tombstones(settings, lake), whom)
    traces, held = survey(settings, lake, whom), holding(settings.releases_dir, whom)
    _refuse_unknown(set(whom) - gone, traces, held)
    changed = pending or bool(traces or held)
    if not dry_run and (traces or held):
        Journal(whom, [trace.table for trace in traces], why).write(settings)
        complete(settings, lake)
    return _summary(whom, gone, traces, list(held), dry_run=dry_run, changed=changed and not dry_run)


def complete(settings: Settings, lake: Lake) -> bool:
    """Do what the journal says, in an order in which nobody comes back: tombstones, tables, releases.

    Returns:
        Whether there was anything to do.
    """
    journal = Journal.read(settings)
    if journal is None:
        return False
    _bury(settings, lake, journal)
    with progress("forgetting", len(journal.tables) + 1) as advance:
        for table in journal.tables:
            lake.rewrite(table, _without(settings, lake, table, journal.customers))
            advance()
        redact(settings.releases_dir, journal.customers)
        advance()
    _journal_file(settings).unlink()
    return True


def survey(settings: Settings, lake: Lake, customers: Sequence[str]) -> list[Trace]:
    """The tables that name one of the customers, in any version that is on the disk."""
    traces = [_trace(settings, lake, table, customers) for table in _tables_of_people(lake)] if customers else []
    return [trace for trace in traces if trace is not None]


def names_in(file: Path) -> list[str]:
    """Customers from a text file, one a line.

    Raises:
        SourceError: The file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            "The list of customers cannot be read.", file=file, remedy="one customer_id a line"
        ) from error


def _tables_of_people(lake: Lake) -> list[str]:
    there = [table for table in TABLES if lake.exists(table)]
    return [table for table in there if table == QUARANTINE or "customer_id" in lake.scan(table).collect_schema()]


def _trace(settings: Settings, lake: Lake, table: str, customers: Sequence[str]) -> Trace | None:
    """None where no file of the table names them. A file nobody can read may, so it counts as one that does."""
    named, nobody = _named(settings, table, customers), frozenset[str]()
    now = lake.scan(table).select(named.alias("customer_id")).drop_nulls().collect()
    try:
        ever = (
            lake.scan_files(table, named.meta.root_names())
            .select(named.alias("customer_id"))
            .drop_nulls()
            .unique()
            .collect()
        )
    except (OSError, pl.exceptions.PolarsError):
        return Trace(table, now.height, nobody.union(now["customer_id"]))
    return Trace(table, now.height, nobody.union(ever["customer_id"])) if ever.height else None


def _named(settings: Settings, table: str, customers: Sequence[str]) -> pl.Expr:
    """Which of the customers a row names; null = none of them."""
    if table != QUARANTINE:
        name = pl.col("customer_id").cast(pl.String)
        return pl.when(name.is_in(list(customers))).then(name)
    columns, wanted = _customer_columns(settings), frozenset(customers)
    return pl.struct("table", "raw").map_elements(
        lambda row: _named_in(json.loads(row["raw"]), columns.get(row["table"], frozenset()), wanted),
        return_dtype=pl.String,
    )


def _named_in(raw: dict[str, str | None], columns: frozenset[str], wanted: frozenset[str]) -> str | None:
    """A row in quarantine says who it is of in the column the sources name; where it has none, in any."""
    own = columns.intersection(raw) or raw.keys()
    values = [(raw[name] or "").strip() for name in own]
    return next((value for value in values if value in wanted), None)


def _customer_columns(settings: Settings) -> dict[str, frozenset[str]]:
    """Table → what its sources call the customer."""
    columns: dict[str, frozenset[str]] = {}
    for source in settings.sources:
        name = ADAPTERS[source.adapter].customer if source.adapter in ADAPTERS else "customer_id"
        columns[source.table] = columns.get(source.table, frozenset()) | {source.columns.get(name, name)}
    return columns


def _without(settings: Settings, lake: Lake, table: str, customers: Sequence[str]) -> pl.DataFrame:
    frame = lake.read(table)
    stones = tombstones(settings, lake)
    if _is_of_orders(table) and stones is not None:
        return stones.anonymise(frame)[0]
    return frame.filter(_named(settings, table, customers).is_null())


def _is_of_orders(table: str) -> bool:
    return issubclass(TABLES[table].schema, OrderLines)


def _bury(settings: Settings, lake: Lake, journal: Journal) -> None:
    digests = Tombstones(make_salt(settings)).digests(pl.Series(journal.customers, dtype=pl.String))
    rows = pl.DataFrame({"customer_digest": digests}).with_columns(
        forgotten_at=pl.lit(datetime.now(UTC), dtype=pl.Datetime("us", "UTC")),
        why=pl.lit(journal.why or None, dtype=pl.String),
    )
    new = rows.join(lake.read_or_empty(TABLE), on="customer_digest", how="anti")
    lake.merge(TABLE, TABLES[TABLE].schema.validate(new), ["customer_digest"])


def _forgotten(stones: Tombstones | None, whom: Sequence[str]) -> set[str]:
    names = pl.Series(whom, dtype=pl.String)
    return set(names.filter(stones.named(names))) if stones is not None else set()


def _refuse(settings: Settings, whom: Sequence[str], why: str, *, pending: bool) -> None:
    if not whom and not pending:
        raise ConfigError("Nobody is named.", remedy="purvey forget CUSTOMER …, or --from FILE with one a line")
    if "customer_id" in settings.demand.series:
        raise ConfigError(
            "Demand of this shop is forecast for each customer, so its models name customers.",
            file=settings.file,
            rule="demand.series",
            remedy="take customer_id out of demand.series and begin anew in an empty data_dir",
        )
    if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", why) for name in whom):
        raise ConfigError("The reason names a customer, and is kept.", rule="--why", remedy="say it without the name")


def _refuse_unknown(whom: set[str], traces: Sequence[Trace], held: dict[str, dict[str, pl.DataFrame]]) -> None:
    known = {name for trace in traces for name in trace.names}
    known.update(name for tables in held.values() for frame in tables.values() for name in frame["customer_id"])
    if unknown := sorted(whom - known):
        more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
        raise DataError(
            f"Nowhere on record: {', '.join(unknown[:_MOST_NAMED])}{more}. Nobody was forgotten.",
            column="customer_id",
            remedy="check how they are written, or leave them out",
        )


def _summary(
    whom: Sequence[str], gone: set[str], traces: Sequence[Trace], held: Sequence[str], *, dry_run: bool, changed: bool
) -> Summary:
    fates = [
        {"table": one.table, "rows": one.rows, "become": ANONYMOUS if _is_of_orders(one.table) else DELETED}
        for one in traces
    ]
    fates += [{"table": f"release {name}", "rows": None, "become": "deleted, a new one made"} for name in held]
    summary = Summary("forget", changed=changed)
    summary.figures = {"customers": len(whom), "forgotten_before": len(gone)}
    schema = {"table": pl.String, "rows": pl.Int64, "become": pl.String}
    summary.tables["What would go" if dry_run else "What went"] = pl.DataFrame(fates, schema=schema)
    if dry_run:
        summary.notes.append("Nothing was changed.")
    elif fates:
        summary.notes += _ELSEWHERE
    elif whom:
        summary.notes.append("All of them were forgotten before: nothing of them is on record.")
    if changed and not fates:
        summary.notes.append("What an earlier call had begun is complete.")
    return summary


def _journal_file(settings: Settings) -> Path:
    return settings.home / "state" / "forgetting.json"
