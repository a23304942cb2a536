"""What is measured and logged: request ids, latencies by route, release age, model versions. No personal data.

Logs name the route template and the key's prefix; paths, queries and bodies hold customers' ids and are not logged.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import problems

if TYPE_CHECKING:
    from serving.store import Store

log = logging.getLogger("purvey.serving")
_BUCKETS = (0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.5)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def event(name: str, *, level: int = logging.INFO, **facts: Any) -> None:
    """Log one JSON line."""
    if log.isEnabledFor(level):
        said = {"at": datetime.now(UTC), "level": logging.getLevelName(level).lower(), "event": name, **facts}
        log.log(level, "%s", orjson.dumps(said, default=str).decode())


def fault(error: Exception, **facts: Any) -> None:
    """Log where an error happened, not what was in it: messages of exceptions can hold a customer's data."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    event("fault", level=logging.ERROR, error=type(error).__name__, frames=frames[-8:], **facts)


class Metrics:
    """The figures of one application, in a registry of its own.

    Args:
        store: Where the release's age and models are read when the figures are asked for.
    """

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "purvey_request_seconds",
            "Seconds to answer a request",
            ["method", "route", "status"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_ReleaseFigures(store))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._seconds.labels(method, route, str(status)).observe(seconds)

    def render(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _ReleaseFigures(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterable[Any]:
        refused = CounterMetricFamily("purvey_release_refusals", "Releases refused because they were damaged")
        refused.add_metric([], self._store.refusals)
        yield refused
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


class Telemetry:
    """ASGI middleware: gives each request an id, measures it, logs it, and answers for what went wrong unexpectedly."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request.state.request_id
                for name, value in _SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            fault(error, request_id=request.state.request_id)
            if status:
                raise
            problem = problems.Problem("unexpected", "Something went wrong on our side; report the request id.")
            await problems.response(request, problem)(scope, receive, sending)
        finally:
            self._note(request, status, time.perf_counter() - began)

    def _note(self, request: Request, status: int, seconds: float) -> None:
        route = getattr(request.scope.get("route"), "path_format", "unmatched")
        self._metrics.observe(_known_method(request.method), route, status, seconds)
        event(
            "request",
            request_id=request.state.request_id,
            method=_known_method(request.method),
            route=route,
            status=status,
            ms=round(seconds * 1000, 2),
            key=getattr(request.state, "key", None),
        )


def _known_method(method: str) -> str:
    return method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "OTHER"
