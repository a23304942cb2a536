"""Figures, traces and the log, each read by a program that is not ours."""

from __future__ import annotations

import io
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pipelines.settings import Settings
from serving.app import create_app
from serving.logs import RequestLog
from serving.metrics import Metrics
from serving.telemetry import Telemetry
from serving.tracing import trace_of
from tests.made_shop import made_release, made_settings
from tests.unit.serving.conftest import LOCAL

NO_RELEASE = SimpleNamespace(held=None, refusals=0)
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def figures_of(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_latencies_are_what_prometheus_would_have_counted() -> None:
    metrics = Metrics(NO_RELEASE)
    seconds = [0.0005, 0.001, 0.0011, 0.02, 0.2, 3.0, 9.0]
    for one in seconds:
        metrics.observe("GET", "/v1/x", 200, one)
    found = figures_of(metrics.render())
    labels = (("method", "GET"), ("route", "/v1/x"), ("status", "200"))
    for edge in (0.001, 0.002, 0.03, 0.25, 2.5):
        key = ("purvey_request_seconds_bucket", (("le", str(edge)), *labels))
        assert found[key] == sum(one <= edge for one in seconds), edge
    assert found["purvey_request_seconds_count", labels] == len(seconds)
    assert found["purvey_request_seconds_sum", labels] == pytest.approx(sum(seconds))


def test_counts_and_queues_are_shown_and_unknown_ones_refused() -> None:
    metrics = Metrics(NO_RELEASE)
    metrics.count("limited")
    metrics.count("shed", 4)
    metrics.watch_queue("inbox", lambda: 7)
    found = figures_of(metrics.render())
    assert found["purvey_limited_total", ()] == 1
    assert found["purvey_shed_total", ()] == 4
    assert found["purvey_queue_length", (("queue", "inbox"),)] == 7
    with pytest.raises(ValueError, match="limitd"):
        metrics.count("limitd")


def test_workers_are_added_up_and_what_an_ended_one_counted_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, asked = Metrics(NO_RELEASE, tmp_path), Metrics(NO_RELEASE, tmp_path)
    for metrics, answers in ((ended, 3), (asked, 2)):
        for _ in range(answers):
            metrics.observe("GET", "/v1/x", 200, 0.01)
    ended.count("limited")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(os, "getpid", lambda: 1)
        ended.publish()
        ended.publish()
    asked.publish()
    found = figures_of(asked.render())
    labels = (("method", "GET"), ("route", "/v1/x"), ("status", "200"))
    assert found["purvey_request_seconds_count", labels] == 5
    assert found["purvey_limited_total", ()] == 1


@pytest.mark.parametrize("wanted", ["all", "errors", "off"])
def test_the_log_has_the_lines_that_are_wanted(wanted: str) -> None:
    written, requests = io.BytesIO(), RequestLog(wanted)
    requests.open(written)
    for status in (200, 304, 404, 500):
        requests.note((1.0e9, "r", "GET", "/v1/x", status, 0.0123, None, "t"))
    requests.close()
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    expected = {"all": [200, 304, 404, 500], "errors": [404, 500], "off": []}[wanted]
    assert [line["status"] for line in lines] == expected
    assert all(line["ms"] == 12.3 and line["at"].startswith("2001-09-09T01:46:40") for line in lines)


def test_a_log_nobody_reads_drops_lines_and_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.logs._MOST_WAITING", 10)
    monkeypatch.setattr("serving.logs._FLUSH_SECONDS", 0.001)
    reading, dropped = threading.Event(), []

    class Stuck(io.BytesIO):
        def write(self, content: object) -> int:
            stuck.set()
            reading.wait()
            return 0

    stuck = threading.Event()
    requests = RequestLog("all", dropped.append)
    requests.open(Stuck())
    line = (1.0e9, "r", "GET", "/v1/x", 200, 0.01, None, "t")
    requests.note(line)
    assert stuck.wait(10)
    for _ in range(25):
        requests.note(line)
    assert len(requests) == 10
    assert sum(dropped) == 15
    reading.set()
    requests.close()


@pytest.mark.parametrize(
    "header",
    [
        b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-" + b"0" * 16 + b"-01",
        b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        b"",
        b"\xff" * 55,
    ],
)
def test_a_malformed_traceparent_begins_a_trace_anew(header: bytes) -> None:
    assert trace_of(header, "a" * 32).trace_id == "a" * 32
    assert trace_of(header, "a" * 32).parent_id is None


def test_a_trace_is_carried_on(client: TestClient) -> None:
    answer = client.get("/health/live", headers={"traceparent": CALLER}).headers["traceparent"]
    version, trace, span, flags = answer.split("-")
    assert (version, trace, flags) == ("00", CALLER[3:35], "01")
    assert span != CALLER[36:52]
    assert len(span) == 16


def test_a_plain_route_is_named_by_its_template_and_an_unknown_path_is_not() -> None:
    async def thing(_request: object) -> PlainTextResponse:
        return PlainTextResponse("x", headers={"Content-Security-Policy": "default-src 'self'"})

    metrics = Metrics(NO_RELEASE)
    app = Starlette(routes=[Route("/things/{id}", thing)])
    app.add_middleware(Telemetry, metrics=metrics, requests=RequestLog("off"))
    with TestClient(app) as client:
        answers = [client.get("/things/7"), client.get("/elsewhere/7")]
    assert answers[0].headers["content-security-policy"] == "default-src 'self'"
    assert all(answer.headers["x-content-type-options"] == "nosniff" for answer in answers)
    assert {route for _, route, _, _ in metrics.figures()["seen"]} == {"/things/{id}", "unmatched"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_spans_reach_a_collector(tmp_path: Path) -> None:
    taken: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        settings: Settings = made_settings(tmp_path, serving={"opentelemetry": endpoint})
        made_release(settings)
        with TestClient(create_app(settings), **LOCAL) as client:
            client.get("/health/ready", headers={"traceparent": CALLER})
        server.shutdown()
        serving.join()
    spans = [
        span
        for body in taken
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [(span.name, span.trace_id.hex(), span.parent_span_id.hex()) for span in spans] == [
        ("GET /health/ready", CALLER[3:35], CALLER[36:52])
    ]
    assert 0 < spans[0].end_time_unix_nano - spans[0].start_time_unix_nano < 10e9
