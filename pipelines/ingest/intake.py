"""One source taken in: every row of every file becomes good, excluded by a named rule, or quarantined."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from features.calendar import Grid
from pipelines.errors import ConfigError, SourceError
from pipelines.ingest.adapters import Adapter, adapter_of
from pipelines.ingest.casting import as_text, cast
from pipelines.ingest.mapping import complete_order_lines, rename, types_of
from pipelines.ingest.sources import ROW, Extract, nearest
from pipelines.ingest.units import with_units_of
from pipelines.ingest.validate import REASONS, Verdict, judge
from pipelines.settings import Settings, Source
from pipelines.tombstones import RULE as FORGOTTEN
from pipelines.tombstones import Tombstones

FILE = "_file"
DUPLICATE = "exact_duplicate"
LINE_NO = "_line_no"  # kept beside a raw row whose line number was counted: alone it could not be counted again
NAMING = ("demand", "order_lines", "series", "products", "locations")  # the tables that name series
NO_RULES = {ROW: pl.Int64(), "rule": pl.String()}


@dataclass(frozen=True)
class Intake:
    """What became of one file.

    Attributes:
        extract: The file or query.
        lines_in: Its rows.
        good: Rows that keep all rules, in the table's columns.
        excluded: `_row`, `rule`: rows a stated rule sets aside.
        quarantined: `_row`, `rules` (reasons in words), `raw` (the row as it came, as JSON).
        states_known_at: Whether the source itself says when each row was known.
        counts_lines: Whether its line numbers were merely counted.
        forgotten: Good lines whose customer was forgotten: they are a guest's now.
    """

    extract: Extract
    lines_in: int
    good: pl.DataFrame
    excluded: pl.DataFrame
    quarantined: pl.DataFrame
    states_known_at: bool = False
    counts_lines: bool = False
    forgotten: int = 0

    @property
    def table(self) -> str:
        """The table its good rows go to."""
        return self.extract.source.table

    @property
    def returns(self) -> int:
        """How many good rows are returns."""
        return self.good.filter(kind="return").height if self.table == "order_lines" else 0

    @property
    def bad_share(self) -> float:
        """Share of its rows that are quarantined."""
        return self.quarantined.height / self.lines_in if self.lines_in else 0.0


@dataclass(frozen=True)
class Taken:
    """What became of one source: its files, and tables that an adapter made beside them."""

    source: Source
    intakes: list[Intake]
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Door:
    """What decides on a row besides the row itself.

    Attributes:
        settings: The shop.
        now: The moment (UTC).
        periods: Periods of demand known so far: with those of the file they tell the grid.
        kept: Table → column → type of what is already in the lake.
        names: Keys of the series known so far, as text: what an override may speak of. Without any, it may of all.
        units: Units of the series known so far, from `units.with_units_of`.
        tombstones: Who was forgotten; None while nobody was.
    """

    settings: Settings
    now: datetime
    periods: pl.Series = field(default_factory=lambda: pl.Series("period", [], pl.Date))
    kept: Mapping[str, Mapping[str, pl.DataType]] = field(default_factory=dict)
    names: pl.DataFrame = field(default_factory=pl.DataFrame)
    units: pl.DataFrame = field(default_factory=pl.DataFrame)
    tombstones: Tombstones | None = None

    def knowing(self, table: str, rows: pl.DataFrame) -> Door:
        """The same door once rows of a table are known: their series have names, those of demand a grid."""
        periods = pl.concat([self.periods, rows["period"]]) if table == "demand" else self.periods
        keys, names = self.settings.demand.series, self.names
        if self.settings.has("overrides") and table in NAMING and set(keys) <= set(rows.columns):
            own = rows.select(pl.col(key).cast(pl.String) for key in keys)
            names = pl.concat([names, own], how="diagonal").unique(maintain_order=True)
        return replace(self, periods=periods, names=names, units=with_units_of(table, rows, keys, self.units))

    def series(self, table: str) -> tuple[str, ...]:
        """Key columns of a demand series that the table must have: order lines beside ready demand need none."""
        beside_demand = table == "order_lines" and self.settings.has("demand")
        return () if beside_demand else tuple(self.settings.demand.series)


def take(source: Source, frames: Sequence[tuple[Extract, pl.DataFrame]], door: Door) -> Taken:
    """Map, cast, complete and judge the rows of a source's files.

    Args:
        source: The part of the configuration.
        frames: Each file with its rows (and `_row`).
        door: What decides besides the rows.

    Raises:
        SourceError: A column is missing.
        ConfigError: There is no such adapter, or it lacks a series column.
    """
    adapter = adapter_of(source)
    if adapter is None:
        intakes = []
        for extract, raw in frames:
            intakes.append(_take_mapped(source, extract, raw, door))
            if not door.kept.get(source.table):  # the first file tells the types of a shop's own columns
                door = replace(door, kept={**door.kept, source.table: dict(intakes[0].good.schema)})
        return Taken(source, intakes)
    return _take_adapted(source, adapter, frames, door)


def _take_mapped(source: Source, extract: Extract, raw: pl.DataFrame, door: Door) -> Intake:
    renamed = rename(raw, source, door.series(source.table), extract.name)
    types = types_of(renamed, source, door.series(source.table), door.kept.get(source.table, {}))
    typed, refused = cast(renamed, types, door.settings.timezone)
    counted = source.table == "order_lines" and not {"order_id", "line_no"} <= set(typed.columns)
    if source.table == "order_lines":
        typed = complete_order_lines(typed)
    typed, theirs = _anonymous(source.table, typed, door)
    if source.table != "order_lines":
        refused = pl.concat([refused, theirs.with_columns(reason=pl.lit(FORGOTTEN))])
    once = _without_copies(raw)
    sound = typed.join(refused, on=ROW, how="anti", maintain_order="left")
    candidates = sound.join(once, on=ROW, how="semi", maintain_order="left")
    rows = _without_copies(candidates)
    refused = refused.join(once, on=ROW, how="semi", maintain_order="left")
    copies = [left.join(kept, on=ROW, how="anti").select(ROW) for left, kept in ((raw, once), (candidates, rows))]
    excluded = pl.concat(copies).sort(ROW).with_columns(rule=pl.lit(DUPLICATE))
    verdict = _judge(source.table, rows, door)
    return replace(_intake(extract, raw, verdict, refused, excluded, theirs), counts_lines=counted)


def _anonymous(table: str, rows: pl.DataFrame, door: Door) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows, order lines of forgotten customers as a guest's; and `_row` of all rows that were theirs."""
    if door.tombstones is None or "customer_id" not in rows.columns:
        return rows, rows.clear().select(ROW)
    if table == "order_lines":
        rows, theirs = door.tombstones.anonymise(rows)
    else:
        theirs = door.tombstones.named(rows["customer_id"])
    return rows, rows.filter(theirs).select(ROW)


def _without_copies(rows: pl.DataFrame) -> pl.DataFrame:
    """Of rows equal in all but their number the first."""
    content = [name for name in rows.columns if name != ROW]
    return rows.unique(subset=content, keep="first", maintain_order=True)


def _take_adapted(
    source: Source, adapter: Adapter, frames: Sequence[tuple[Extract, pl.DataFrame]], door: Door
) -> Taken:
    typed, refusals = [], []
    for number, (extract, raw) in enumerate(frames):
        rows, refused = cast(_columns(source, adapter, extract, raw), adapter.columns, door.settings.timezone)
        typed.append(rows.with_columns(pl.lit(number, dtype=pl.Int32).alias(FILE)))
        refusals.append(refused)
    adapted = adapter.adapt(pl.concat(typed, how="vertical_relaxed"))
    for name in door.series(source.table):
        if name not in adapted.columns:
            raise ConfigError(
                f"The adapter {source.adapter} brings no column {name!r}, which demand.series names.",
                rule="demand.series",
                remedy=f"it brings {', '.join(column for column in adapted.columns if not column.startswith('_'))}",
            )
    intakes, brought = [], []
    for number, (extract, raw) in enumerate(frames):
        lines = adapted.filter(pl.col(FILE) == number).drop(FILE)
        if LINE_NO in raw.columns:
            lines = lines.with_columns(line_no=raw[LINE_NO].cast(pl.Int64))
        lines, theirs = _anonymous(source.table, lines, door)
        judged = lines.join(refusals[number], on=ROW, how="anti")
        excluded = judged.filter(pl.col("rule").is_not_null()).select(ROW, "rule")
        going_on = judged.filter(pl.col("rule").is_null())
        verdict = _judge(adapter.table, going_on, door)
        unknown = adapter.unknown(going_on)
        verdict = Verdict(verdict.good.join(unknown, on=ROW, how="anti"), pl.concat([verdict.reasons, unknown]))
        counted = lines.select(ROW, **{LINE_NO: "line_no"})
        intakes.append(_intake(extract, raw, verdict, refusals[number], excluded, theirs, counted))
        brought.append(lines.join(verdict.good, on=ROW, how="semi"))
    return Taken(source, intakes, adapter.attributes(pl.concat(brought)))


def _columns(source: Source, adapter: Adapter, extract: Extract, raw: pl.DataFrame) -> pl.DataFrame:
    wanted = {name: source.columns.get(name, name) for name in adapter.columns}
    for name, original in wanted.items():
        if original not in raw.columns:
            raise SourceError(
                f"The adapter {source.adapter} needs the column {original!r}; the file has none of that name.",
                file=extract.name,
                column=name,
                remedy=nearest([column for column in raw.columns if column != ROW], original),
            )
    return raw.select(ROW, **{name: pl.col(original) for name, original in wanted.items()})


def _judge(table: str, rows: pl.DataFrame, door: Door) -> Verdict:
    if table == "order_lines":  # for the rules; what was not stated is decided when the row is written
        at = pl.col("ordered_at")
        rows = rows.with_columns(known_at=pl.col("known_at").fill_null(at) if "known_at" in rows.columns else at)
    return judge(table, rows, door.series(table), door.now, _grid(table, rows, door), door.names, door.units)


def _grid(table: str, rows: pl.DataFrame, door: Door) -> Grid | None:
    if table == "overrides" and not door.settings.has("demand"):
        return Grid.starting_monday(door.settings.demand.frequency)  # the one on which order lines are counted
    if table not in ("demand", "covariates", "overrides"):
        return None
    own = table == "demand" or (table == "covariates" and door.periods.is_empty())
    labels = pl.concat([door.periods, rows["period"]]) if own else door.periods
    if labels.null_count() == len(labels):
        return None
    return Grid.from_labels(door.settings.demand.frequency, labels, door.settings.demand.period_label)


def _intake(
    extract: Extract,
    raw: pl.DataFrame,
    verdict: Verdict,
    refused: pl.DataFrame,
    excluded: pl.DataFrame,
    theirs: pl.DataFrame,
    counted: pl.DataFrame | None = None,
) -> Intake:
    """The account of one file. A bad row of a forgotten customer (`theirs`) is not kept as it came: it is excluded."""
    reasons = pl.concat([refused, verdict.reasons.cast(REASONS)]).unique(maintain_order=True)  # type: ignore[arg-type]
    left_out = reasons.join(theirs, on=ROW, how="semi").select(ROW).unique().with_columns(rule=pl.lit(FORGOTTEN))
    excluded = pl.concat([excluded.cast(NO_RULES), left_out.cast(NO_RULES)])  # type: ignore[arg-type]
    reasons = reasons.join(theirs, on=ROW, how="anti", maintain_order="left")
    why = reasons.group_by(ROW).agg(rules=pl.col("reason").str.join("; ")).sort(ROW)
    return Intake(
        extract,
        lines_in=raw.height,
        good=verdict.good.drop(ROW),
        excluded=excluded,
        quarantined=_with_raw(why, raw, counted),
        states_known_at="known_at" in extract.source.columns or "known_at" in raw.columns,
        forgotten=verdict.good.join(theirs, on=ROW, how="semi").height,
    )


def _with_raw(why: pl.DataFrame, raw: pl.DataFrame, counted: pl.DataFrame | None) -> pl.DataFrame:
    """Each bad row as it came, all values as text, so that it can be read again as csv is."""
    rows = raw.join(why, on=ROW, how="semi", maintain_order="left")
    if counted is not None and LINE_NO not in rows.columns:
        rows = rows.join(counted, on=ROW, how="left", maintain_order="left")
    text = rows.select(as_text(pl.col(name), dtype).alias(name) for name, dtype in rows.schema.items() if name != ROW)
    as_json = pl.Series("raw", [json.dumps(row, ensure_ascii=False) for row in text.iter_rows(named=True)], pl.String)
    return rows.select(ROW).with_columns(as_json).join(why, on=ROW).select(ROW, "rules", "raw")
