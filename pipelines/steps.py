"""The jobs in their order, what each depends on, and whether a shop needs it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING

from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary

if TYPE_CHECKING:
    from pipelines.tracking import Tracker

INPUTS = ("order_lines", "demand", "series", "products", "locations", "customers", "contracts", "covariates")
FORECAST = ("forecasts", "lead_time_demand", "path_ranks")
SUPPLY = ("stock", "stock_lots", "open_supply", "open_demand", "supply_terms", "suppliers")
STOCK = ("item_classes", "stock_review", "supply_advice", "count_plan")
SCORED = (
    *FORECAST,
    "forecast_drivers",
    "forecast_changes",
    "forecast_totals",
    "customer_scores",
    "segments",
    "replenishment",
    *STOCK,
)

# Settings that can change any result, and what a source says about the meaning of its columns (where its files are
# does not matter: what is in them is seen in the versions of the tables).
_ALWAYS = ("shop", "timezone", "currency", "seed", "threads")
_MEANING = ("table", "adapter", "columns", "known_ahead", "observed")


@dataclass
class Shop:
    """One shop's settings and the places its jobs work on."""

    settings: Settings

    @cached_property
    def lake(self) -> Lake:
        """The shop's tables."""
        return Lake(self.settings.lake_url, self.settings.storage_options)

    @cached_property
    def tracker(self) -> Tracker:
        """The shop's runs and models."""
        from pipelines.tracking import Tracker

        return Tracker(self.settings)


@dataclass(frozen=True)
class Step:
    """One job in the flow.

    Attributes:
        name: What people call it.
        job: Runs it.
        applies: Whether this shop needs it.
        reads: Tables whose versions decide whether it must run again.
        sections: Parts of the settings that do the same.
        models: Registered models whose champion versions do the same.
        made: Whether what it makes is there; if not, it runs whatever else is unchanged.
        needs: Steps without whose results it has nothing to work on.
    """

    name: str
    job: Callable[[Shop], Summary]
    applies: Callable[[Settings], bool]
    reads: Sequence[str] = ()
    sections: Sequence[str] = ()
    models: Sequence[str] = ()
    made: Callable[[Shop], bool] = lambda shop: True
    needs: Sequence[str] = ()

    def fingerprint(self, shop: Shop) -> str:
        """Changes with the program, the settings of its sections, what it reads and the models it uses."""
        settings = shop.settings.model_dump(mode="json")
        settings["campaigns"] = settings["customers"].pop("campaigns")  # no model is trained anew for a campaign
        facts = {
            "program": package_version("purvey"),
            "settings": {name: settings[name] for name in (*_ALWAYS, *self.sections)},
            "sources": [{name: source[name] for name in _MEANING} for source in settings["sources"]],
            "tables": shop.lake.versions(self.reads),
            "models": {name: _champion(shop, name) for name in self.models},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _champion(shop: Shop, model: str) -> str | None:
    registered = shop.tracker.champion(model)
    return registered.version if registered else None


def _tables(*names: str) -> Callable[[Shop], bool]:
    return lambda shop: len(shop.lake.versions(names)) == len(names)


def _has_champions(*names: str) -> Callable[[Shop], bool]:
    return lambda shop: all(_champion(shop, name) is not None for name in names)


def _has_customer_champions(shop: Shop) -> bool:
    contractual = shop.settings.customers.kind == "contractual"
    return _has_champions(*(("churn",) if contractual else ("churn", "value", "segments")))(shop)


def _has_release(shop: Shop) -> bool:
    return (shop.settings.releases_dir / "current" / "manifest.json").exists()


def _ingest(shop: Shop) -> Summary:
    from pipelines.drain import drain, refusals
    from pipelines.ingest import jobs

    began = datetime.now(UTC)
    drained = drain(shop.settings, shop.lake)
    refused = refusals(shop.settings, began)
    summary = jobs.ingest(shop.settings, shop.lake)
    if drained:
        said = ", ".join(f"{rows:,} {table}" for table, rows in drained.items())
        summary.notes.append(f"Taken from the API: {said}.")
        summary.changed = True
    if refused:
        said = "; ".join(f"{rows:,}: {why}" for why, rows in list(refused.items())[:3])
        summary.notes.append(f"Not taken from the API, {sum(refused.values()):,} in all. {said}.")
    return summary


def _features(shop: Shop) -> Summary:
    from pipelines.demand import jobs

    return jobs.build_features(shop.settings, shop.lake)


def _train_demand(shop: Shop) -> Summary:
    from pipelines.demand import jobs

    return jobs.train(shop.settings, shop.lake, shop.tracker)


def _score_demand(shop: Shop) -> Summary:
    from pipelines.demand import jobs

    return jobs.score(shop.settings, shop.lake, shop.tracker)


def _train_customers(shop: Shop) -> Summary:
    from pipelines.customers import jobs

    return jobs.train(shop.settings, shop.lake, shop.tracker)


def _score_customers(shop: Shop) -> Summary:
    from pipelines.customers import jobs

    return jobs.score(shop.settings, shop.lake, shop.tracker)


def _lists(shop: Shop) -> Summary:
    from pipelines.customers import campaign_jobs

    return campaign_jobs.build(shop.settings, shop.lake, shop.tracker)


def _replenish(shop: Shop) -> Summary:
    from pipelines.supply import jobs

    return jobs.replenish(shop.settings, shop.lake)


def _stock(shop: Shop) -> Summary:
    from pipelines.stock import review_stock

    return review_stock(shop.settings, shop.lake)


def _monitor(shop: Shop) -> Summary:
    from pipelines.monitoring import jobs

    return jobs.monitor(shop.settings, shop.lake)


def _release(shop: Shop) -> Summary:
    from pipelines.assembly import make_release

    return make_release(shop.settings, shop.lake, shop.tracker)


STEPS: tuple[Step, ...] = (
    Step("ingest", _ingest, lambda settings: True),
    Step(
        "features",
        _features,
        lambda settings: settings.forecasts_demand and not settings.has("demand"),
        reads=("order_lines", "superseded_lines"),
        sections=("demand",),
        made=_tables("demand"),
    ),
    Step(
        "train demand",
        _train_demand,
        lambda settings: settings.forecasts_demand,
        reads=("demand", "demand_revisions", "series", "products", "locations", "covariates"),
        sections=("demand",),
        made=_has_champions("demand"),
        needs=("features",),
    ),
    Step(
        "train customers",
        _train_customers,
        lambda settings: settings.judges_customers,
        reads=("order_lines", "superseded_lines", "feedback", "customers", "contracts"),
        sections=("customers",),
        made=_has_customer_champions,
    ),
    Step(
        "score demand",
        _score_demand,
        lambda settings: settings.forecasts_demand,
        reads=("demand", "demand_revisions", "series", "products", "locations", "covariates", "overrides"),
        sections=("demand",),
        models=("demand",),
        made=_tables("forecasts"),
        needs=("train demand",),
    ),
    Step(
        "score customers",
        _score_customers,
        lambda settings: settings.judges_customers,
        reads=("order_lines", "superseded_lines", "feedback", "customers", "contracts"),
        sections=("customers",),
        models=("churn", "value", "segments"),
        made=_tables("customer_scores"),
        needs=("train customers",),
    ),
    Step(
        "lists",
        _lists,
        lambda settings: settings.runs_campaigns,
        reads=("customer_scores", "customers", "order_lines", "campaign_outcomes"),
        sections=("customers", "campaigns"),
        models=("churn", "value", "segments"),
        made=_tables("lists"),
        needs=("score customers",),
    ),
    Step(
        "replenish",
        _replenish,
        lambda settings: settings.forecasts_demand and settings.replenishes,
        reads=(*FORECAST, *SUPPLY, "order_lines", "demand", "decisions"),
        sections=("supply", "demand"),
        made=_tables("replenishment"),
        needs=("score demand",),
    ),
    Step(
        "stock",
        _stock,
        lambda settings: settings.forecasts_demand and settings.replenishes,
        reads=(*FORECAST, *SUPPLY, "stock_counts", "order_lines", "demand", "demand_revisions"),
        sections=("supply", "demand"),
        made=_tables(*STOCK),
        needs=("replenish",),
    ),
    Step(
        "monitor",
        _monitor,
        lambda settings: True,
        reads=("order_lines", "demand", "demand_revisions", *SCORED),
        sections=("monitoring",),
    ),
    Step(
        "release",
        _release,
        lambda settings: True,
        reads=(*INPUTS, *SCORED, "evaluation", "drift", "performance"),
        sections=("serving", "demand"),
        made=_has_release,
    ),
)


def steps_named(names: Sequence[str]) -> list[Step]:
    """The steps whose name, or its first word, is among these."""
    return [step for step in STEPS if step.name in names or step.name.split()[0] in names]
