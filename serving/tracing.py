"""Traces across services: W3C `traceparent` in and out, and spans to an OpenTelemetry collector where one is named."""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SERVICE = "purvey"


class Trace(NamedTuple):
    """Where a request stands in a trace.

    Attributes:
        trace_id: The trace, 32 hexadecimal digits.
        span_id: This service's part of it, 16 hexadecimal digits.
        parent_id: The caller's part; None when the trace begins here.
        flags: Two hexadecimal digits; the lowest bit says whether the caller records the trace.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    flags: str

    def header(self) -> bytes:
        """The trace as `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}".encode()


def trace_of(header: bytes | None, fallback: str) -> Trace:
    """The trace a request belongs to.

    Args:
        header: Its `traceparent`; one that is malformed counts as none, as the standard asks.
        fallback: 32 hexadecimal digits that name the trace when it begins here.

    Example:
        >>> trace_of(b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", "f" * 32).parent_id
        'bbbbbbbbbbbbbbbb'
    """
    span_id = f"{random.getrandbits(64) or 1:016x}"
    if header is not None and (found := _PARENT.fullmatch(header)):
        trace_id, parent_id, flags = found.groups()
        return Trace(trace_id.decode(), span_id, parent_id.decode(), flags.decode())
    return Trace(fallback, span_id, None, "00")


class Spans:
    """Sends a span a request to a collector, in batches, from a thread; a collector that is away holds nothing up.

    Args:
        endpoint: Where traces are taken by OTLP over HTTP, e.g. `http://127.0.0.1:4318/v1/traces`.

    Raises:
        ConfigError: The extra `opentelemetry` is not installed.
    """

    def __init__(self, endpoint: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise ConfigError(
                "serving.opentelemetry needs OpenTelemetry.", remedy="pip install 'purvey[opentelemetry]'"
            ) from error
        exporter: SpanExporter = OTLPSpanExporter(endpoint=endpoint, timeout=5)
        self._resource = Resource.create({"service.name": _SERVICE})
        self._processor = BatchSpanProcessor(exporter, max_queue_size=4096, schedule_delay_millis=1000)

    def record(self, trace: Trace, *, method: str, route: str, status: int, seconds: float) -> None:
        """Take down one answered request."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        ended = time.time_ns()
        number, sampled = int(trace.trace_id, 16), TraceFlags(TraceFlags.SAMPLED)
        parent = None
        if trace.parent_id:
            parent = SpanContext(number, int(trace.parent_id, 16), is_remote=True, trace_flags=sampled)
        span = ReadableSpan(
            name=f"{method} {route}",
            context=SpanContext(number, int(trace.span_id, 16), is_remote=False, trace_flags=sampled),
            parent=parent,
            resource=self._resource,
            attributes={"http.request.method": method, "http.route": route, "http.response.status_code": status},
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if status >= 500 else StatusCode.UNSET),
            start_time=ended - int(seconds * 1e9),
            end_time=ended,
        )
        self._processor.on_end(span)

    def close(self) -> None:
        """Send what is waiting."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]
