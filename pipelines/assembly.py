"""What goes into a release: the newest scored tables of the lake, the champions that made them, and the reports."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import polars as pl

from features.orders import with_revisions
from pipelines.lake import Lake
from pipelines.release import Release, activate, current, freeze, prune
from pipelines.sections import Channel
from pipelines.settings import Settings
from pipelines.summary import Summary

if TYPE_CHECKING:
    from pipelines.tracking import Tracker

HISTORY_PERIODS = 104
# Each scored table keeps every issue in the lake; a release holds the newest, found by this column.
NEWEST_BY = {
    "forecasts": "issued_on",
    "forecast_drivers": "issued_on",
    "forecast_inputs": "issued_on",
    "lead_time_demand": "issued_on",
    "forecast_changes": "issued_on",
    "forecast_totals": "issued_on",
    "path_ranks": "issued_on",
    "customer_scores": "as_of",
    "segments": "as_of",
    "segment_migration": "as_of",
    "customer_changes": "as_of",
    "customer_reasons": "as_of",
    "next_products": "as_of",
    "lists": "as_of",
    "replenishment": "as_of",
    "item_classes": "month",
    "stock_review": "as_of",
    "drift": "checked_at",
}
MODELS = ("demand", "churn", "value", "segments")


def make_release(settings: Settings, lake: Lake, tracker: Tracker) -> Summary:
    """Freeze, verify and activate a release of everything the lake now says.

    Raises:
        ReleaseError: It could not be written whole; the one before stays current.
    """
    tables = {name: newest(lake, name, column) for name, column in NEWEST_BY.items() if lake.exists(name)}
    for name in ("performance", "evaluation", "supply_advice", "count_plan"):
        if lake.exists(name):
            tables[name] = lake.read(name)
    keys = settings.demand.series
    if "forecasts" in tables:
        tables["series"] = series_attributes(lake, tables["forecasts"].select(keys).unique(), keys)
        tables["history"] = recent_history(lake, keys)
        tables["forecasts"] = tables["forecasts"].sort([*keys, "period"])  # as the API holds them: it need not sort
    if "lists" in tables:
        tables["contact_permissions"] = permissions(lake, tables["lists"])
        tables["contacts"] = contacts(settings, lake)
    champions = {name: tracker.champion(name) for name in MODELS}
    registered = [champion for champion in champions.values() if champion is not None]
    tables["models"] = pl.DataFrame(
        [
            {
                "name": model.name,
                "version": model.version,
                "run_id": model.run_id,
                "metrics": json.dumps(model.metrics, sort_keys=True),
            }
            for model in registered
        ],
        schema={"name": pl.String, "version": pl.String, "run_id": pl.String, "metrics": pl.String},
    )
    before = current(settings.releases_dir)
    release = freeze(
        settings.releases_dir,
        shop=_shop_facts(settings),
        tables=tables,
        models={model.name: tracker.model_folder(model.name) for model in registered},
        reports=_reports(settings.reports_dir),
        facts={
            "table_versions": lake.versions([*tables, "order_lines", "demand"]),
            "model_versions": {model.name: model.version for model in registered},
        },
    )
    activate(settings.releases_dir, release.id)
    prune(settings.releases_dir, keep=settings.serving.keep_releases)
    return _summary(release, before, tables)


def newest(lake: Lake, table: str, column: str) -> pl.DataFrame:
    """The rows of the newest issue; earlier ones are not read."""
    rows = lake.scan(table)
    last = rows.select(pl.col(column).max()).collect().item()
    return (rows if last is None else rows.filter(pl.col(column) == last)).collect()


def permissions(lake: Lake, lists: pl.DataFrame) -> pl.DataFrame:
    """Whom on a list the shop may write to, as it is known now; whoever is not on record is not among them."""
    columns = ["customer_id", "do_not_contact", "consent", *(f"consent_{one}" for one in get_args(Channel))]
    if not lake.exists("customers"):
        return pl.DataFrame(schema={name: pl.String if name == "customer_id" else pl.Boolean for name in columns})
    known = lake.read("customers")
    return known.select(one for one in columns if one in known.columns).join(lists, on="customer_id", how="semi")


def contacts(settings: Settings, lake: Lake) -> pl.DataFrame:
    """Every contact within the longest cool-off of a campaign: list, customer and day."""
    exported = lake.read("lists").filter(pl.col("state") == "exported")
    at = pl.col("contacted_at").dt.convert_time_zone(settings.timezone).dt.date()
    posted = lake.read_or_empty("campaign_outcomes").drop_nulls("contacted_at")
    both = pl.concat(
        [
            exported.select("list_id", "customer_id", contacted_on="exported_on"),
            posted.select("list_id", "customer_id", contacted_on=at),
        ]
    )
    longest = max((one.cool_off_days for one in settings.customers.campaigns), default=0)
    return both.filter(pl.col("contacted_on") > pl.col("contacted_on").max() - timedelta(days=longest + 1))


def series_attributes(lake: Lake, series: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The served series with what is known about them: product and location descriptions, own attributes."""
    for table, on in (("series", keys), ("products", ["product_id"]), ("locations", ["location_id"])):
        if lake.exists(table) and set(on) <= set(series.columns):
            attributes = lake.read(table)
            new = [name for name in attributes.columns if name in on or name not in series.columns]
            series = series.join(attributes.select(new), on=on, how="left", maintain_order="left")
    return series.sort(keys)


def recent_history(lake: Lake, keys: list[str]) -> pl.DataFrame:
    """Demand of the last periods as known now, for people to look at."""
    demand = lake.read("demand", columns=[*keys, "period", "quantity"])
    revisions = lake.read("demand_revisions") if lake.exists("demand_revisions") else None
    demand = with_revisions(demand, revisions, [*keys, "period"])
    periods = demand["period"].unique().sort().tail(HISTORY_PERIODS)
    return demand.filter(pl.col("period") >= periods.min()).sort([*keys, "period"])


def _shop_facts(settings: Settings) -> dict[str, Any]:
    return {
        "shop": settings.shop,
        "timezone": settings.timezone,
        "currency": settings.currency,
        "series": settings.demand.series,
        "frequency": settings.demand.frequency,
        "horizon": settings.demand.horizon,
        "quantiles": settings.demand.quantiles,
        "churn_horizon_days": settings.customers.churn_horizon_days,
        "value_horizon_days": settings.customers.value_horizon_days,
        "campaigns": {
            one.name: {"needs_consent": one.needs_consent, "cool_off_days": one.cool_off_days}
            for one in settings.customers.campaigns
        },
        "illustrative": settings.illustrates_supply,
    }


def _reports(folder: Path) -> dict[str, Path]:
    return {file.name: file for file in sorted(folder.glob("*.html"))} if folder.exists() else {}


def _summary(release: Release, before: Release | None, tables: dict[str, pl.DataFrame]) -> Summary:
    return Summary(
        job="release",
        read={name: frame.height for name, frame in tables.items()},
        wrote={"release": release.id},
        figures={"previous_release": before.id if before else None},
        changed=before is None or before.id != release.id,
    )
