"""The flow from a shop's sources to a release that can be served: what is due, in order, one writer at a time.

A step is skipped when nothing it depends on has changed since it last ended well. A run that was killed is completed
by the next one. What a shop has too little data for is said and left out; the rest goes on.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from pipelines import forgetting
from pipelines.errors import NotEnoughDataError, PurveyError
from pipelines.release import Release, current
from pipelines.release import rollback as roll_release_back
from pipelines.settings import Settings
from pipelines.steps import STEPS, Shop, Step
from pipelines.summary import Summary


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


Told = Callable[[str, str, Summary | None, float], None]


def run(
    shop: Shop,
    *,
    steps: Sequence[Step] = STEPS,
    again: bool = False,
    told: Told = lambda name, result, summary, seconds: None,
) -> Run:
    """Run the steps that are due, in order.

    Args:
        shop: The shop.
        steps: Which steps, in order. One for which the data are not enough is left out with all that need it, and
            that is its result; asked for alone, it fails.
        again: Run them even when nothing has changed.
        told: Called after each step with its name, result, summary (None when it did not run) and seconds.

    Raises:
        NotEnoughDataError: There is too little for any of them.
        PurveyError: A step failed; what earlier steps wrote stays and the next run goes on from there.
    """
    done, lacking = Run(datetime.now(UTC)), dict[str, NotEnoughDataError]()
    with locked(shop.settings):
        shop.lake.migrate()
        forgetting.complete(shop.settings, shop.lake)
        memory = Memory(shop.settings)
        _agree(shop, memory)
        for step in (step for step in steps if step.applies(shop.settings)):
            began, summary = time.perf_counter(), None
            try:
                _check_needs(step, shop, lacking)
                if again or step.name == "ingest" or not memory.holds(step, shop):
                    summary = step.job(shop)
                    memory.keep(step, shop)
            except NotEnoughDataError as error:
                if len(steps) == 1 or step.name == "release":
                    raise
                lacking[step.name] = error
            result = _result(step, summary, lacking)
            seconds = time.perf_counter() - began
            done.rows.append({"step": step.name, "seconds": round(seconds, 1), "result": result})
            done.summaries += [summary] if summary else []
            told(step.name, result, summary, seconds)
        release = current(shop.settings.releases_dir)
        memory.agreed_on(release.id if release else None)
    if not done.rows:
        raise NotEnoughDataError("Nothing to do: no step applies to this shop.", file=shop.settings.file)
    return done


def _check_needs(step: Step, shop: Shop, lacking: Mapping[str, NotEnoughDataError]) -> None:
    """A step cannot work without the results of those it needs, nor a release without anything to serve."""
    for name in step.needs:
        if name in lacking:
            raise lacking[name]
    if step.name == "release" and lacking and not shop.lake.versions(("forecasts", "customer_scores")):
        raise next(iter(lacking.values()))


def _result(step: Step, summary: Summary | None, lacking: Mapping[str, NotEnoughDataError]) -> str:
    if step.name in lacking:
        return f"left out: {lacking[step.name].message}"
    return "done" if summary is not None and summary.changed else "nothing new"


def rollback(shop: Shop) -> Release:
    """Make the previous release current again and its models champions; nothing is due until there is new input.

    Raises:
        ReleaseError: There is no release to go back to.
        TrackingError: The registry does not know its models any more; the release serves all the same.
    """
    with locked(shop.settings):
        memory = Memory(shop.settings)
        settled = [step for step in STEPS if step.applies(shop.settings) and memory.holds(step, shop)]
        release = roll_release_back(shop.settings.releases_dir)
        _agree(shop, memory)
        for step in settled:
            memory.keep(step, shop)
    return release


def _agree(shop: Shop, memory: Memory) -> None:
    """The release is the truth: where it was changed by something else than a run, the champions follow it."""
    release = current(shop.settings.releases_dir)
    if release is None or release.id == memory.agreed:
        return
    try:
        shop.tracker.repair(release.model_versions)
    finally:
        memory.agreed_on(release.id)  # also where the registry has lost them: that is said once, then trained anew


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
        self._write({step.name: step.fingerprint(shop)})

    @property
    def agreed(self) -> str | None:
        """The release that the champions were last known to agree with."""
        return self._known.get("champions of")

    def agreed_on(self, release: str | None) -> None:
        """Remember that the champions agree with this release."""
        if release is not None and release != self.agreed:
            self._write({"champions of": release})

    def _write(self, news: dict[str, str]) -> None:
        self._known |= news
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
