"""The figures of the server in Prometheus' format, of one worker or of several.

Counting has to cost next to nothing, so requests are counted in plain lists and become Prometheus' families only when
somebody asks. Each worker writes its figures beside those of the others every few seconds; whichever is asked adds the
others' to its own. What a worker that ended has counted stays counted.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from serving.store import Store

BUCKETS = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.5)
COUNTED = {
    "limited": "Requests refused because a key asked too often",
    "shed": "Requests refused because too many were under way",
    "log_lines_dropped": "Request lines lost because the reader of the log is too slow",
}
_Labels = tuple[str, str, int]
# Per method, route and status: the answers in each bucket, one past the last bucket, then the sum of seconds.
_Seen = dict[_Labels, list[float]]


class Metrics:
    """The figures of one application, in a registry of its own.

    Args:
        store: Where the release's age and models are read when the figures are asked for.
        shared: The folder in which the workers of one server leave their figures; None for a single one.
    """

    def __init__(self, store: Store, shared: Path | None = None) -> None:
        self._store = store
        self._shared = shared
        self._seen: _Seen = {}
        self._counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        self._queues: dict[str, Callable[[], int]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(_Answering(self))
        self._registry.register(_ReleaseFigures(store))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        labels = (method, route, status)
        tally = self._seen.get(labels)
        if tally is None:
            tally = self._seen[labels] = [0] * (len(BUCKETS) + 2)
        tally[bisect_left(BUCKETS, seconds)] += 1
        tally[-1] += seconds

    def count(self, what: str, by: int = 1) -> None:
        """Count something else that happened, one of COUNTED.

        Raises:
            ValueError: Nothing of that name is counted.
        """
        if what not in COUNTED:
            raise ValueError(f"nothing named {what!r} is counted")
        self._counts[what] += by

    def watch_queue(self, name: str, length: Callable[[], int]) -> None:
        """Show how many wait in a queue: it is asked whenever the figures are."""
        self._queues[name] = length

    def figures(self) -> dict[str, Any]:
        """This worker's figures as plain data."""
        return {
            "seen": [[*labels, tally] for labels, tally in list(self._seen.items())],
            "counts": {**self._counts, "release_refusals": self._store.refusals},
            "queues": {name: length() for name, length in self._queues.items()},
        }

    def publish(self) -> None:
        """Leave this worker's figures where the others find them."""
        if self._shared is not None:
            file = self._shared / f"{os.getpid()}.json"
            unfinished = file.with_suffix(".unfinished")
            unfinished.write_bytes(orjson.dumps(self.figures()))
            unfinished.replace(file)

    def render(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def merged(self) -> dict[str, Any]:
        """The figures of all workers, added up."""
        return merge([self.figures(), *self._of_others()])

    def _of_others(self) -> Iterable[dict[str, Any]]:
        if self._shared is None:
            return
        for file in sorted(self._shared.glob("*.json")):
            if file.stem != str(os.getpid()):
                yield orjson.loads(file.read_bytes())


def merge(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Add up what several workers counted.

    Example:
        >>> one = {"seen": [["GET", "/", 200, [1, 0.5]]], "counts": {"shed": 1}, "queues": {}}
        >>> merge([one, one])
        {'seen': [['GET', '/', 200, [2, 1.0]]], 'counts': {'shed': 2}, 'queues': {}}
    """
    seen: _Seen = {}
    counts: Counter[str] = Counter()
    queues: Counter[str] = Counter()
    for part in parts:
        for method, route, status, tally in part["seen"]:
            labels = (method, route, status)
            seen[labels] = [a + b for a, b in zip(seen[labels], tally, strict=True)] if labels in seen else tally
        counts.update(part["counts"])
        queues.update(part["queues"])
    return {
        "seen": [[*labels, tally] for labels, tally in seen.items()],
        "counts": dict(counts),
        "queues": dict(queues),
    }


class _Answering(Collector):
    """Requests, counts and queues of all workers."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Any]:
        figures = self._metrics.merged()
        seconds = HistogramMetricFamily(
            "purvey_request_seconds", "Seconds to answer a request", labels=["method", "route", "status"]
        )
        for method, route, status, tally in figures["seen"]:
            seconds.add_metric([method, route, str(status)], buckets=_cumulative(tally), sum_value=tally[-1])
        yield seconds
        counts = figures["counts"]
        for name, meaning in COUNTED.items():
            yield CounterMetricFamily(f"purvey_{name}", meaning, value=counts.get(name, 0))
        refused = "Releases refused because they are damaged or of a layout this program does not read"
        yield CounterMetricFamily("purvey_release_refusals", refused, value=counts["release_refusals"])
        waiting = GaugeMetricFamily("purvey_queue_length", "How many wait in a queue", labels=["queue"])
        for name, length in figures["queues"].items():
            waiting.add_metric([name], length)
        yield waiting


def _cumulative(tally: list[float]) -> list[tuple[str, float]]:
    edges = [*(str(edge) for edge in BUCKETS), "+Inf"]
    total, buckets = 0.0, []
    for edge, answers in zip(edges, tally[:-1], strict=True):
        total += answers
        buckets.append((edge, total))
    return buckets


class _ReleaseFigures(Collector):
    """The release that the worker which is asked holds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterable[Any]:
        held = self._store.held
        if held is None:
            return
        yield GaugeMetricFamily("purvey_release_age_seconds", "Age of the release", value=held.age_days * 86_400)
        yield GaugeMetricFamily("purvey_release_stale", "1 when the release is too old", value=float(held.stale))
        yield InfoMetricFamily("purvey_release", "The release held", value={"release": held.release.id})
        models = InfoMetricFamily("purvey_model", "Model versions of the release", labels=["model"])
        for name, version in held.release.model_versions.items():
            models.add_metric([name], {"version": version})
        yield models
