"""Around every request: its id and trace, the headers that keep browsers safe, its figures, its line in the log.

Logs name the route template and the key's prefix; paths, queries and bodies hold customers' ids and are not logged.
This stands in the path of every read, so it works on raw headers and leaves the writing to a thread.
"""

from __future__ import annotations

import random
import re
import time
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import problems
from serving.logs import RequestLog, fault
from serving.metrics import Metrics
from serving.tracing import Spans, trace_of

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SAFE_NAMES = frozenset(name for name, _ in _SAFE_HEADERS)


class Telemetry:
    """ASGI middleware: gives each request an id, measures it, logs it, and answers for what went wrong unexpectedly.

    Args:
        app: What is measured.
        metrics: Where answers are counted.
        requests: Where they are logged.
        spans: Where their traces are sent, if anywhere.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, requests: RequestLog, spans: Spans | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._requests = requests
        self._spans = spans
        self._templates: dict[Any, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        given = parent = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"traceparent":
                parent = value
        fresh = f"{random.getrandbits(128) or 1:032x}"  # it names a request and keeps no secret
        request_id = given.decode() if given is not None and _REQUEST_ID.fullmatch(given) else fresh
        trace = trace_of(parent, fresh)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        ours = ((b"x-request-id", request_id.encode()), (b"traceparent", trace.header()))

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_ours(message.get("headers", ()), ours)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            fault(error, request_id=request_id)
            if status:
                raise
            problem = problems.Problem("unexpected", "Something went wrong on our side; report the request id.")
            await problems.response(Request(scope), problem)(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            route = self._template(scope)
            self._metrics.observe(method, route, status, seconds)
            self._requests.note(
                (time.time(), request_id, method, route, status, seconds, state.get("key"), trace.trace_id)
            )
            if self._spans is not None:
                self._spans.record(trace, method=method, route=route, status=status, seconds=seconds)

    def _template(self, scope: Scope) -> str:
        """The template of the route that answered; what no route answered is `unmatched`, whatever its path."""
        route = scope.get("route")
        if route is not None:
            return getattr(route, "path_format", "unmatched")
        endpoint = scope.get("endpoint")  # a plain route leaves only this
        if endpoint is None:
            return "unmatched"
        if endpoint not in self._templates:
            self._templates[endpoint] = next(
                (one.path_format for one in scope["app"].routes if getattr(one, "endpoint", None) is endpoint),
                "unmatched",
            )
        return self._templates[endpoint]


def _with_ours(headers: Any, ours: tuple[tuple[bytes, bytes], ...]) -> list[tuple[bytes, bytes]]:
    """The answer's headers, ours beside them; what a page says of its own safety stands."""
    own = [name for name, _ in headers if name in _SAFE_NAMES]
    safe = [one for one in _SAFE_HEADERS if one[0] not in own] if own else _SAFE_HEADERS
    return [*headers, *ours, *safe]
