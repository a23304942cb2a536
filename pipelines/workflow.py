"""The order of the jobs: from a shop's sources to a release that can be served.

A step is skipped when nothing it depends on has changed since it last ended well: its settings, the versions of the
tables it reads, the model it scores with, the program. A run that was killed is completed by the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, Any

import orjson

from pipelines.errors import NotEnoughDataError, PurveyError
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary

if TYPE_CHECKING:
    from pipelines.tracking import Tracker

INPUTS = ("order_lines", "demand", "series", "products", "locations", "customers", "contracts", "covariates")
SCORED = ("forecasts", "lead_time_demand", "customer_scores", "segments", "replenishment")


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
    """

    name: str
    job: Callable[[Shop], Summary]
    applies: Callable[[Settings], bool]
    reads: Sequence[str] = ()
    sections: Sequence[str] = ()
    models: Sequence[str] = ()
    made: Callable[[Shop], bool] = lambda shop: True

    def fingerprint(self, shop: Shop) -> str:
        """Changes whenever the step has to run again."""
        settings = shop.settings.model_dump(mode="json")
        facts = {
            "program": package_version("purvey"),
            "settings": {name: settings[name] for name in ("shop", "timezone", "seed", "threads", *self.sections)},
            "tables": shop.lake.versions(self.reads),
            "models": {name: _champion(shop, name) for name in self.models},
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _champion(shop: Shop, model: str) -> str | None:
    registered = shop.tracker.champion(model)
    return registered.version if registered else None


def _tables(*names: str) -> Callable[[Shop], bool]:
    return lambda shop: len(shop.lake.versions(names)) == len(names)


def _has_release(shop: Shop) -> bool:
    return (shop.settings.releases_dir / "current" / "manifest.json").exists()


def _ingest(shop: Shop) -> Summary:
    from pipelines.ingest import jobs

    return jobs.ingest(shop.settings, shop.lake)


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


def _replenish(shop: Shop) -> Summary:
    from pipelines.supply import jobs

    return jobs.replenish(shop.settings, shop.lake)


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
        reads=("order_lines",),
        sections=("demand",),
        made=_tables("demand"),
    ),
    Step(
        "train demand",
        _train_demand,
        lambda settings: settings.forecasts_demand,
        reads=("demand", "demand_revisions", "series", "products", "locations", "covariates"),
        sections=("demand",),
    ),
    Step(
        "train customers",
        _train_customers,
        lambda settings: settings.judges_customers,
        reads=("order_lines", "customers", "contracts"),
        sections=("customers",),
    ),
    Step(
        "score demand",
        _score_demand,
        lambda settings: settings.forecasts_demand,
        reads=("demand", "demand_revisions", "series", "products", "locations", "covariates"),
        sections=("demand",),
        models=("demand",),
        made=_tables("forecasts"),
    ),
    Step(
        "score customers",
        _score_customers,
        lambda settings: settings.judges_customers,
        reads=("order_lines", "customers", "contracts"),
        sections=("customers",),
        models=("churn", "value", "segments"),
        made=_tables("customer_scores"),
    ),
    Step(
        "replenish",
        _replenish,
        lambda settings: settings.forecasts_demand and settings.replenishes,
        reads=("forecasts", "lead_time_demand", "stock", "open_supply", "supply_terms", "order_lines", "demand"),
        sections=("supply", "demand"),
        made=_tables("replenishment"),
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


@dataclass
class Run:
    """What one run of the flow did, step by step."""

    started_at: datetime
    rows: list[dict[str, Any]] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of all steps."""
        return float(sum(row["seconds"] for row in self.rows))


def run(
    shop: Shop,
    *,
    steps: Sequence[Step] = STEPS,
    again: bool = False,
    told: Callable[[str, Summary | None, float], None] = lambda name, summary, seconds: None,
) -> Run:
    """Run the steps that are due, in order.

    Args:
        shop: The shop.
        steps: Which steps, in order.
        again: Run them even when nothing has changed.
        told: Called after each step with its name, summary (None when it was skipped) and seconds.

    Raises:
        PurveyError: A step failed; what earlier steps wrote stays and the next run goes on from there.
    """
    done = Run(datetime.now(UTC))
    with locked(shop.settings):
        shop.lake.migrate()
        memory = Memory(shop.settings)
        for step in steps:
            if not step.applies(shop.settings):
                continue
            began = time.perf_counter()
            summary = None
            if again or step.name == "ingest" or not memory.holds(step, shop):
                summary = step.job(shop)
                memory.keep(step, shop)
            seconds = time.perf_counter() - began
            done.rows.append({"step": step.name, "seconds": round(seconds, 1), "result": _outcome(summary)})
            if summary is not None:
                done.summaries.append(summary)
            told(step.name, summary, seconds)
    if not done.rows:
        raise NotEnoughDataError("Nothing to do: no step applies to this shop.", file=shop.settings.file)
    return done


def _outcome(summary: Summary | None) -> str:
    if summary is None:
        return "nothing new"
    return "done" if summary.changed else "nothing new"


class Memory:
    """Which steps ended well, and with what: one small file, replaced whole."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.home / "state" / "steps.json"
        self._known: dict[str, str] = {}
        if self._file.exists():
            try:
                self._known = orjson.loads(self._file.read_bytes())
            except orjson.JSONDecodeError:
                self._known = {}  # the steps can always be run again

    def holds(self, step: Step, shop: Shop) -> bool:
        """Whether the step ended well on exactly what there is now."""
        return self._known.get(step.name) == step.fingerprint(shop) and step.made(shop)

    def keep(self, step: Step, shop: Shop) -> None:
        """Remember that a step ended well on what there is now."""
        self._known[step.name] = step.fingerprint(shop)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_bytes(orjson.dumps(self._known))
        new.replace(self._file)


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold the shop while the block runs: one writing command at a time.

    Raises:
        PurveyError: Another command is at work on this shop.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PurveyError(
                f"Another purvey command is at work on {settings.shop}.",
                file=settings.home,
                remedy="wait until it has ended; it lets go by itself when it ends or is killed",
            ) from error
        yield
