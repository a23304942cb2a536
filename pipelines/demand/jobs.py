"""The jobs of demand: order lines → demand → model → forecasts."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from features.outliers import outliers
from features.panel import Panel
from features.tables import MEAN, quantile_column
from pipelines.demand import figures
from pipelines.demand.alignment import levels_in, totals
from pipelines.demand.backtest import MODEL
from pipelines.demand.backtest import backtest as roll
from pipelines.demand.consistency import TOLERATED_GAP
from pipelines.demand.evaluation import ALL
from pipelines.demand.inputs import (
    READ,
    demand_from_lines,
    notes_on_covariates,
    notes_on_lifecycle,
    one_series,
    open_panel,
)
from pipelines.demand.issues import champion_of, moves, rows_for, write
from pipelines.demand.model import STEPS, DemandModel
from pipelines.demand.origins import Origins
from pipelines.demand.outputs import ASIDE, decide, explained, largest, named
from pipelines.demand.overrides import apply
from pipelines.demand.promotion import has_champion, is_promoted
from pipelines.demand.report import evaluation_rows, tables_of
from pipelines.demand.whatif import FROZEN, freeze
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.files import write_frame
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary, progress

if TYPE_CHECKING:
    from pipelines.tracking import Tracker

_SHOWN = 5  # outliers in a summary


def build_features(settings: Settings, lake: Lake) -> Summary:
    """Write `demand` and `demand_revisions` from order lines; a shop that brings demand keeps its own."""
    summary = Summary("features", read=lake.versions(["order_lines", "demand"]))
    if settings.has("demand"):
        summary.notes.append("The shop brings its own demand table: there is nothing to build.")
        summary.changed = False
        return summary
    demand, revisions = demand_from_lines(settings, lake)
    written = [lake.replace("demand", demand), lake.replace("demand_revisions", revisions)]
    summary.wrote = {"demand": demand.height, "demand_revisions": revisions.height}
    summary.changed = any(table.changed for table in written)
    periods = demand.select(pl.col("period").min().alias("first"), pl.col("period").max().alias("last"))
    summary.figures = {
        "series": demand.select(settings.demand.series).n_unique(),
        "first_period": periods.item(0, "first"),
        "last_period": periods.item(0, "last"),
        "units": demand["quantity"].sum(),
        "units_revised_later": revisions["quantity"].sum(),
    }
    _tell_outliers(open_panel(settings, lake), summary)
    return summary


def train(settings: Settings, lake: Lake, tracker: Tracker) -> Summary:
    """Backtest, fit on everything known, register, and promote unless a baseline is better.

    `evaluation` tells of the champion: it is written only with a promotion; the run keeps the figures of every model.

    Raises:
        NotEnoughDataError: Less than two periods of demand.
    """
    demand = settings.demand
    panel = open_panel(settings, lake)
    origins = Origins(panel, settings, demand.horizon)
    with (
        progress("train demand", demand.backtest_origins + 1) as advance,
        tracker.run("train demand", parameters(settings, panel)) as run,
        tempfile.TemporaryDirectory() as folder,
    ):
        run.log_data(lake, [table for table in READ if lake.exists(table)])
        long = roll(origins, demand.backtest_origins, demand.quantiles, advance)
        evaluation = evaluation_rows(long, panel, run.id, demand.quantiles, levels_in(panel.series, demand.hierarchy))
        model = DemandModel.fit(origins, panel.last, demand.quantiles)
        advance()
        model.to_dir(Path(folder))
        rows = origins.rows(panel.last)
        gaps = model.mean_gaps(rows)
        overall = _overall(evaluation)
        run.log_metrics({f"{row['model']}.{row['metric']}": row["value"] for row in overall.iter_rows(named=True)})
        run.log_metrics({f"mean_gap_{volume}": gap for volume, gap in gaps.items()})
        run.log_features(model.trees.features)
        run.log_table("importance", model.trees.importance())
        run.log_table("evaluation", evaluation.drop("capability", "run"))
        for name, figure in figures.of_backtest(long, evaluation, panel, demand.quantiles).items():
            run.log_figure(name, figure)
        version = run.register("demand", Path(folder), rows.head(5))
    notes = notes_on_lifecycle(lake, panel) + _notes_on_intervals(model)
    summary = Summary("train demand", read=lake.versions(READ), notes=notes)
    summary.figures = {
        "version": version,
        "trained_to": panel.grid.name(panel.last),
        "features": len(model.trees.features),
    }
    _tell_outliers(panel, summary)
    summary.figures |= {"level": round(model.alignment.level, 4), "calibrated_on_origins": model.calibrated_on}
    _tell_gaps(gaps, summary)
    summary.tables |= tables_of(long, evaluation, settings)
    if is_promoted(has_champion(settings, panel, tracker, summary), overall, summary, demand.optimise_for):
        lake.replace_where("evaluation", evaluation, {"capability": "demand"})
        summary.wrote = {"evaluation": evaluation.height}
        tracker.promote("demand", version)
    return summary


def score(settings: Settings, lake: Lake, tracker: Tracker) -> Summary:
    """Write `forecasts` of the champion from the last whole period, with what planners said, and all beside them.

    That is their drivers, `lead_time_demand`, `path_ranks`, and in `forecast_changes` what moved since the last issue.

    Raises:
        TrackingError: No demand model has been promoted, or it does not fit the configuration any more.
    """
    champion, model = champion_of(tracker)
    demand, keys = settings.demand, settings.demand.series
    with progress("score demand", 5) as advance:
        panel = open_panel(settings, lake)
        advance()
        rows = rows_for(settings, panel, model)
        advance()
        forecasts, lead_time = decide(model, rows, panel, settings)
        forecasts, lead_time = apply(forecasts, lead_time, _said(lake), datetime.now(UTC), keys, whole=model.whole)
        advance()
        most = largest(forecasts, keys, demand.explained_series)
        drivers = explained(model.trees, rows, most, panel)
        advance()
        issued_on = panel.grid.first_day(panel.last + 1)
        stamp = {"issued_on": pl.lit(issued_on), "model_version": pl.lit(champion.version)}
        forecasts, lead_time = (frame.with_columns(**stamp) for frame in (forecasts.drop(ASIDE), lead_time))
        moved, notes = moves(settings, lake, tracker, panel, forecasts)
        issue = {
            "path_ranks": model.joint.table().with_columns(issued_on=pl.lit(issued_on)),
            "forecasts": forecasts,
            "forecast_drivers": drivers.with_columns(**stamp),
            "lead_time_demand": lead_time,
            "forecast_changes": moved,
            "forecast_totals": totals(forecasts, panel.series, keys, demand.hierarchy).with_columns(**stamp),
        }
        changed = [write(lake, table, frame, issued_on) for table, frame in issue.items()]
        frozen = freeze(model, rows, panel, demand.winsorise)
        if frozen is not None:  # the newest issue only: nobody asks what an older one would have said
            lake.replace(FROZEN, frozen.with_columns(**stamp))
        advance()
    flags = forecasts.filter(horizon=1)["flags"]
    return Summary(
        "score demand",
        read=lake.versions((*READ, "overrides")),
        wrote={table: frame.height for table, frame in issue.items() if frame.height},
        figures={
            "model_version": champion.version,
            "last_known_period": panel.grid.name(panel.last),
            "issued_on": issued_on,
            "series": panel.series.height,
            "cold_start": int(flags.str.contains("cold_start").sum()),
            "obsolete": int(flags.str.contains("obsolete").sum()),
            "units_expected": round(float(forecasts["mean"].sum()), 1),
            "overridden": forecasts["override_id"].count(),
        },
        notes=notes_on_covariates(panel, demand.horizon) + _notes_on_intervals(model) + notes,
        changed=any(changed),
    )


def forecast(
    settings: Settings, lake: Lake, *, cutoff: date | None = None, horizon: int | None = None, out: Path
) -> Summary:
    """Forecast for the occasion: fit on what was known once the cutoff period was over, write one file.

    Args:
        settings: The shop.
        lake: Its tables; nothing is written there.
        cutoff: The last period whose demand is known; by default the newest.
        horizon: Periods ahead; by default as configured.
        out: Parquet file: series keys, `period`, `mean` and a column a quantile.
    """
    panel = open_panel(settings, lake, cutoff=cutoff, fresh=True)
    origins = Origins(panel, settings, horizon or settings.demand.horizon)
    with progress("forecast", STEPS) as advance:
        model = DemandModel.fit(origins, panel.last, settings.demand.quantiles, advance)
    rows = origins.rows(panel.last)
    forecasts, _ = decide(model, rows, panel, settings)
    columns = [*settings.demand.series, "period", "mean", *map(quantile_column, settings.demand.quantiles)]
    write_frame(forecasts.select(columns), Path(out))
    return Summary(
        "forecast",
        read=lake.versions((*READ, "order_lines")),
        wrote={str(out): forecasts.height},
        figures={
            "cutoff": panel.grid.name(panel.last),
            "series": panel.series.height,
            "units_expected": round(float(forecasts["mean"].sum()), 1),
        },
        notes=notes_on_covariates(panel, origins.horizon) + _notes_on_intervals(model),
    )


def explain(
    settings: Settings,
    lake: Lake,
    tracker: Tracker,
    series: Mapping[str, str],
    *,
    cutoff: date | None = None,
    horizon: int | None = None,
) -> Summary:
    """Why the champion and planners forecast what they do for one series; nothing is fitted and nothing written.

    Args:
        settings: The shop.
        lake: Its tables.
        tracker: Its models.
        series: Key column → value: enough of them to name one series.
        cutoff: The last period whose demand, and what planners said of coming ones, is known; by default the newest.
        horizon: Periods ahead; by default, and at most, as configured.

    Raises:
        ConfigError: No series is named so, or several are; the horizon is too long.
        TrackingError: As in `score`.
    """
    keys, ahead = settings.demand.series, horizon or settings.demand.horizon
    if ahead > settings.demand.horizon:
        raise ConfigError(
            f"The champion looks {settings.demand.horizon} periods ahead, not {ahead}.",
            remedy="shorten --horizon, or set demand.horizon and train again",
        )
    champion, model = champion_of(tracker)
    panel = open_panel(settings, lake, cutoff=cutoff)
    wanted = one_series(panel, series)
    rows = rows_for(settings, panel, model)
    asked_at = datetime.now(UTC) if cutoff is None else _end_of(panel, settings)
    forecasts, _ = apply(*decide(model, rows, panel, settings), _said(lake), asked_at, keys, whole=model.whole)
    own = forecasts.join(wanted, on=keys, how="semi", maintain_order="left")
    drivers = explained(model.trees, rows, own, panel)
    return Summary(
        "explain",
        read=lake.versions((*READ, "overrides")),
        figures={"model_version": champion.version, "last_known_period": panel.grid.name(panel.last)},
        tables={"drivers": drivers.filter(pl.col("period") <= panel.grid.name(panel.last + ahead))},
        notes=[] if cutoff is None else ["The champion may have learned from periods after the cutoff."],
    )


def backtest(settings: Settings, lake: Lake, *, origins: int | None = None, out: Path) -> Summary:
    """Forecast from past cutoffs and write predictions beside what came true.

    Args:
        settings: The shop.
        lake: Its tables; nothing is written there.
        origins: How many cutoffs, one horizon apart; by default as configured.
        out: Parquet file: as `forecast` writes, with `cutoff` and `actual` (null = unknown).

    Raises:
        NotEnoughDataError: There is no cutoff with a whole horizon after it.
    """
    demand = settings.demand
    panel = open_panel(settings, lake, fresh=True)
    count = origins or demand.backtest_origins
    with progress("backtest", count) as advance:
        long = roll(Origins(panel, settings, demand.horizon), count, demand.quantiles, advance)
    if long.is_empty():
        raise NotEnoughDataError(
            f"{panel.last - panel.first + 1} periods are too few to look {demand.horizon} ahead from a past one.",
            remedy="shorten demand.horizon, or ingest more history",
        )
    own = named(long.filter(model=MODEL), panel).with_columns(
        cutoff=panel.grid.labels(pl.col("cutoff")), actual=pl.col("actual").fill_nan(None)
    )
    columns = [*demand.series, "cutoff", "period", "actual", "mean", *map(quantile_column, demand.quantiles)]
    write_frame(own.select(columns).sort(*demand.series, "cutoff", "period"), Path(out))
    evaluation = evaluation_rows(long, panel, "", demand.quantiles, levels_in(panel.series, demand.hierarchy))
    return Summary(
        "backtest demand",
        read=lake.versions((*READ, "order_lines")),
        wrote={str(out): own.height},
        figures={"cutoffs": own["cutoff"].n_unique(), "series": own.select(demand.series).n_unique()},
        tables=tables_of(long, evaluation, settings),
    )


def _said(lake: Lake) -> pl.DataFrame | None:
    return lake.read("overrides") if lake.exists("overrides") else None


def _end_of(panel: Panel, settings: Settings) -> datetime:
    """The moment at which the last period of a panel is over."""
    return datetime.combine(panel.grid.first_day(panel.last + 1), time.min, settings.zone)


def _notes_on_intervals(model: DemandModel) -> list[str]:
    """Errors of forecasts that had seen what they foretold are smaller than those to come."""
    if model.calibrated_on:
        return []
    return [
        "The record is too short to forecast from a past origin: intervals are calibrated within the sample, so they "
        "are a rough guide, probably too narrow."
    ]


def _tell_outliers(panel: Panel, summary: Summary) -> None:
    """Outliers are told, nothing is changed: some are news, some are slips of a pen."""
    found = outliers(panel, panel.last)
    summary.figures["outliers_of_the_last_year"] = found.height
    if found.height:
        summary.tables["the farthest outliers"] = found.head(_SHOWN)


def _tell_gaps(gaps: Mapping[str, float], summary: Summary) -> None:
    """Mean and quantiles are two forecasts of the same demand; a planner who uses both should know how far apart."""
    summary.figures["largest_mean_gap"] = round(max(map(abs, gaps.values()), default=0.0), 4)
    wide = {volume: gap for volume, gap in gaps.items() if abs(gap) > TOLERATED_GAP}
    if wide:
        said = ", ".join(f"{gap:+.0%} for {volume} volumes" for volume, gap in wide.items())
        summary.notes.append(
            f"The mean the quantiles imply differs from `mean` by more than {TOLERATED_GAP:.0%}: {said}. This is no "
            "bar to promotion: trust `mean` for totals and quantiles for safety stock."
        )


def _overall(evaluation: pl.DataFrame) -> pl.DataFrame:
    return evaluation.filter(pl.col("slice") == ALL, pl.col("cut") == MEAN)


def parameters(settings: Settings, panel: Panel) -> dict[str, Any]:
    """What a run is told of the shop and its panel."""
    return {
        "demand": settings.demand.model_dump(),
        "seed": settings.seed,
        "series": panel.series.height,
        "periods": panel.quantity.shape[1],
        "last_period": panel.grid.name(panel.last).isoformat(),
    }
