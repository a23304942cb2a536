"""What planners say, taken down, shown and taken back; and what it and everything else did to the forecasts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from features.calendar import Grid
from features.columns import MOST
from features.tables import TABLES
from pipelines.demand.inputs import grid_of, planned
from pipelines.demand.overrides import covers
from pipelines.demand.vintages import largest
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary

_TABLE = "overrides"


def override_add(
    settings: Settings,
    lake: Lake,
    *,
    series: Sequence[str],
    from_period: date,
    to_period: date,
    said: Mapping[str, float | None],
    who: str,
    why: str,
) -> Summary:
    """Take down what a planner says of coming periods; the next `purvey score demand` applies it.

    Args:
        settings: The shop.
        lake: Its tables.
        series: `KEY=VALUE` of key columns, of series with demand or with a launch ahead. A key that is left out stands
            for every value.
        from_period: Label of the first period.
        to_period: Label of the last period.
        said: `set` (total a period), `add` (units a period) and `multiply` (factor): exactly one is not None.
        who: Who says it.
        why: The reason, in words.

    Raises:
        ConfigError: A key, series, period or value cannot be meant, or who or why is empty.
        NotEnoughDataError: There is no demand yet to tell what can be meant.
    """
    if not lake.exists("demand"):
        raise NotEnoughDataError("There is no demand in the lake yet.", remedy="run `purvey run` first")
    keys = settings.demand.series
    demand = lake.read("demand", columns=[*keys, "period", "quantity"])
    kind, value = _value(said)
    _check_words(who=who, why=why)
    grid = grid_of(settings, demand)
    _check_periods(grid, from_period, to_period)
    last: date = demand.drop_nulls("quantity")["period"].max()  # type: ignore[assignment]
    ahead = planned(lake, demand, keys, grid.last_day(grid.number(last)))
    known = pl.concat([demand.select(keys).unique(), ahead])
    named = _named(pairs(series), known)
    row = {
        **named,
        "at": datetime.now(UTC),
        "who": who.strip(),
        "why": why.strip(),
        "from_period": from_period,
        "to_period": to_period,
        "kind": kind,
        "value": value,
        "withdrawn_at": None,
    }
    row["override_id"] = hashlib.sha256(repr(sorted(row.items())).encode()).hexdigest()[:8]
    frame = pl.DataFrame([row], schema={**known.schema, **TABLES[_TABLE].schema.create_empty().schema})
    lake.merge(_TABLE, frame, TABLES[_TABLE].keys())
    reached = known.filter(covers(row, keys)).height
    summary = Summary("override add", wrote={_TABLE: 1}, figures={"override_id": row["override_id"], "series": reached})
    summary.notes.append("It counts from the next `purvey score demand` (or `purvey run`).")
    if to_period <= last:
        summary.notes.append(f"All its periods are over: demand is known up to {last}.")
    return summary


def override_list(settings: Settings, lake: Lake) -> Summary:
    """Everything that was ever said, newest first, and what of it stands."""
    rows = lake.read_or_empty(_TABLE).sort("at", "override_id", descending=True)
    withdrawn = pl.format("withdrawn {}", pl.col("withdrawn_at").dt.strftime("%Y-%m-%d %H:%M"))
    keys = [key for key in settings.demand.series if key in rows.columns]
    columns = ["override_id", *keys, "from_period", "to_period", "kind", "value", "who", "why", "at", "state"]
    summary = Summary("override list", read=lake.versions([_TABLE]), changed=False)
    summary.tables["Overrides"] = rows.with_columns(state=withdrawn.fill_null("stands")).select(columns)
    return summary


def override_withdraw(settings: Settings, lake: Lake, override_id: str) -> Summary:
    """Let an override count no more from now on; what was said, and that it was taken back, stays on record.

    Raises:
        ConfigError: There is no such override, or it was withdrawn before.
    """
    rows = lake.read_or_empty(_TABLE)
    one = rows.filter(pl.col("override_id") == override_id)
    if one.is_empty():
        raise ConfigError(f"There is no override {override_id!r}.", remedy="`purvey override list` names them")
    if one["withdrawn_at"].item() is not None:
        raise ConfigError(f"Override {override_id} was withdrawn at {one['withdrawn_at'].item():%Y-%m-%d %H:%M} UTC.")
    now = pl.lit(datetime.now(UTC)).cast(one.schema["withdrawn_at"])
    lake.merge(_TABLE, one.with_columns(withdrawn_at=now), TABLES[_TABLE].keys())
    note = "The next `purvey score demand` (or `purvey run`) forecasts without it."
    return Summary("override withdraw", wrote={"withdrawn": override_id}, notes=[note])


def newest_changes(settings: Settings, lake: Lake) -> Summary:
    """The moves of the newest issue since the one before, the largest first.

    Raises:
        NotEnoughDataError: There is no earlier issue, or none that reached so far.
    """
    moves = lake.read_or_empty("forecast_changes")
    if moves.height:
        newest = lake.read("forecasts", columns=["issued_on"])["issued_on"].max()
        moves = moves.filter(pl.col("issued_on") == newest)
    if moves.is_empty():
        raise NotEnoughDataError(
            "The newest forecasts share no period with any before them.", remedy="score again once a period is over"
        )
    keys = settings.demand.series
    moves = largest(moves, keys)
    told = [name for name in ("move", "from_data", "from_model", "from_override") if moves[name].count()]
    issues = moves.row(0, named=True)
    summary = Summary("changes", read=lake.versions(["forecast_changes"]), changed=False)
    summary.figures = {"issued_on": issues["issued_on"], "issued_before": issues["issued_before"]}
    summary.figures |= {f"units_{name}": round(float(moves[name].sum()), 3) for name in told}
    shown = [*keys, "period", "mean_before", "mean", "move", "from_data", "from_model", "from_override"]
    summary.tables["Largest moves of a forecast"] = moves.select(shown)
    return summary


def _value(said: Mapping[str, float | None]) -> tuple[str, float]:
    given = {kind: value for kind, value in said.items() if value is not None}
    if len(given) != 1:
        raise ConfigError("An override says exactly one thing.", remedy="give one of --set, --add and --multiply")
    kind, value = next(iter(given.items()))
    if kind != "add" and value < 0:
        raise ConfigError(f"{kind} {value:g} is below 0.", rule="no demand is below zero", remedy="use --add for less")
    if not abs(value) <= MOST:
        raise ConfigError(f"{kind} {value:g} is not a quantity.", rule=f"a number up to {MOST:,.0f}")
    return kind, value


def _check_words(**words: str) -> None:
    for name, text in words.items():
        if not text.strip():
            raise ConfigError(f"It does not say {name}.", remedy=f"give --{name} in words: it is judged by it later")


def _check_periods(grid: Grid, first: date, last: date) -> None:
    for option, day in (("--from", first), ("--to", last)):
        number = grid.number_containing(day)
        if grid.name(number) != day:
            raise ConfigError(
                f"{option} {day} is not on the {grid.frequency} grid of the demand table.",
                rule="a period is named by its label",
                remedy=f"the period of that day is {grid.name(number)}",
            )
    if first > last:
        raise ConfigError(f"--from {first} is after --to {last}.", remedy="swap them")


def pairs(series: Sequence[str]) -> dict[str, str]:
    """Key column → value of what was said as `KEY=VALUE`.

    Raises:
        ConfigError: A text says no such thing, or a key is given twice.

    Example:
        >>> pairs(["store=S1", "item=7"])
        {'store': 'S1', 'item': '7'}
    """
    found: dict[str, str] = {}
    for text in series:
        key, sign, value = text.partition("=")
        if not sign or not key or not value:
            raise ConfigError(f"{text!r} is no KEY=VALUE.", remedy="for example product_id=85123A")
        if key in found:
            raise ConfigError(f"{key!r} is given twice.", remedy="name one value of each key, or leave the key out")
        found[key] = value
    return found


def _named(series: Mapping[str, str], known: pl.DataFrame) -> dict[str, Any]:
    """Typed key values, None for every value.

    Raises:
        ConfigError: A key does not name series, or no series has these values.
    """
    for key in series:
        if key not in known.columns:
            raise ConfigError(
                f"{key!r} does not name series.", remedy=f"series are named by {', '.join(known.columns)}"
            )
    for key, value in series.items():
        known = known.filter(pl.col(key).cast(pl.String) == value)
        if known.is_empty():
            named = ", ".join(f"{name}={text}" for name, text in series.items())
            remedy = "name one of the demand table, or one whose launched_on is still ahead"
            raise ConfigError(f"There is no series {named}.", column=key, remedy=remedy)
    return {key: known[key][0] if key in series else None for key in known.columns}
