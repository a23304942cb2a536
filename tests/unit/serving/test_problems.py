from __future__ import annotations

import base64
import io
import json
import logging

import pytest
from starlette.testclient import TestClient

from pipelines.settings import Settings
from serving.app import create_app
from serving.problems import KINDS, ProblemDocument
from tests.made_shop import made_release
from tests.unit.serving.conftest import LOCAL

CASES = [
    ("GET", "/v1/nothing", 404, "no-such-route"),
    ("GET", "/v1/forecasts/", 404, "no-such-route"),
    ("GET", "/../etc/passwd", 404, "no-such-route"),
    ("POST", "/v1/forecasts", 405, "no-such-method"),
    ("DELETE", "/v1/customers/12346", 405, "no-such-method"),
    ("GET", "/v1/customers/nobody", 404, "not-found"),
    ("GET", "/v1/segments/none/customers", 404, "not-found"),
    ("GET", "/v1/forecasts?product_id=none", 404, "not-found"),
    ("GET", "/reports/other.html", 404, "not-found"),
    ("GET", "/reports/..%2Fmanifest.json", 404, "no-such-route"),
    ("GET", "/v1/forecasts?limit=0", 422, "invalid-request"),
    ("GET", "/v1/forecasts?limit=1001", 422, "invalid-request"),
    ("GET", "/v1/forecasts?limit=many", 422, "invalid-request"),
    ("GET", "/v1/forecasts?produkt_id=85123A", 422, "invalid-request"),
    ("GET", "/v1/forecasts?cursor=abc", 422, "invalid-request"),
    ("GET", "/v1/churn?min_risk=1.5", 422, "invalid-request"),
    ("GET", "/v1/churn?format=xlsx", 422, "invalid-request"),
    ("GET", "/lists/churn?page=0", 422, "invalid-request"),
]


ODD = [
    "%00",
    "a%00b",
    "%F0%9F%98%80",
    "%FF",
    "%ED%A0%80",
    "x" * 201,
    "x" * 20_000,
    "%0A",
    "..%2F..%2Fetc",
    "'",
    "%E2%80%AE",
]
ODD_CURSORS = ["bnVsbA", "W10", "e30", "é", "====", "WyJ4IiwxZTMwXQ", "WyJ4Iiwi4oKsIl0"]
PLACES = [
    "/v1/customers/{}",
    "/v1/segments/{}/customers",
    "/v1/segments?scheme={}",
    "/v1/churn?band={}&segment={}",
    "/v1/forecasts?product_id={}",
    "/v1/replenishment?supplier_id={}&min_quantity={}",
    "/v1/monitoring/drift?dataset={}",
    "/v1/churn?cursor={}",
    "/lists/{}",
    "/lists/churn?page={}",
    "/reports/{}",
    "/static/{}",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("odd", ODD, ids=[odd[:12] for odd in ODD])
def test_odd_ids_are_nobody_or_not_valid_but_never_a_fault(client: TestClient, place: str, odd: str) -> None:
    answer = client.get(place.replace("{}", odd))
    assert answer.status_code in {200, 404, 422}
    if "?" not in place:
        assert answer.status_code != 200
    if answer.status_code != 200:
        assert ProblemDocument.model_validate_json(answer.content).status == answer.status_code
        assert len(answer.json()["detail"]) < 400


@pytest.mark.parametrize("cursor", ODD_CURSORS)
def test_odd_cursors_are_not_valid(client: TestClient, cursor: str) -> None:
    assert client.get("/v1/churn", params={"cursor": cursor}).status_code == 422


@pytest.mark.parametrize("start", [1e30, 2**63, 2**40, -1, "1", None])
def test_a_cursor_beyond_every_list_is_not_valid(client: TestClient, start: object) -> None:
    release = client.get("/health/ready").json()["release"]
    cursor = base64.urlsafe_b64encode(json.dumps([release, start]).encode()).decode().rstrip("=")
    assert client.get("/v1/churn", params={"cursor": cursor}).status_code == 422


@pytest.mark.parametrize(("method", "path", "status", "slug"), CASES)
def test_every_error_is_a_problem_document(client: TestClient, method: str, path: str, status: int, slug: str) -> None:
    answer = client.request(method, path, headers={"X-Request-ID": "r-42"})
    assert answer.headers["content-type"] == "application/problem+json"
    problem = ProblemDocument.model_validate_json(answer.content)
    assert (answer.status_code, problem.status, problem.type) == (status, status, f"/docs#{slug}")
    assert problem.request_id == answer.headers["x-request-id"] == "r-42"
    assert problem.instance.startswith("/")
    if status == 422:
        assert [error.field for error in problem.errors] == [path.partition("?")[2].partition("=")[0]]


def test_several_wrong_fields_are_all_named(client: TestClient) -> None:
    problem = client.get("/v1/churn?min_risk=x&limit=-1&sgment=a").json()
    assert {error["field"] for error in problem["errors"]} == {"min_risk", "limit", "sgment"}


def test_an_unexpected_fault_shows_and_logs_no_data(
    settings: Settings, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings)

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("customer 12346 broke it")

    with caplog.at_level(logging.INFO, logger="purvey.serving"), TestClient(app, **LOCAL) as client:
        answer = client.get("/boom")
    assert (answer.status_code, answer.json()["type"]) == (500, "/docs#unexpected")
    assert "12346" not in answer.text
    assert "Traceback" not in answer.text
    assert "12346" not in caplog.text
    fault = next(json.loads(record.message) for record in caplog.records if '"fault"' in record.message)
    assert fault["error"] == "RuntimeError"
    assert fault["request_id"] == answer.json()["request_id"]
    assert any("test_problems.py" in frame for frame in fault["frames"])


def test_logs_name_routes_and_key_prefixes_but_no_customers(client: TestClient, key: str) -> None:
    written = io.BytesIO()
    client.app.state.requests.open(written)
    client.get("/v1/customers/12346")
    client.app.state.requests.close()
    line = json.loads(written.getvalue())
    assert (line["route"], line["status"], line["key"]) == ("/v1/customers/{customer_id}", 200, key.split(".")[0])
    assert b"12346" not in written.getvalue()
    assert key.split(".")[1].encode() not in written.getvalue()


def test_an_odd_request_id_is_not_taken_over(client: TestClient) -> None:
    assert client.get("/health/live", headers={"X-Request-ID": 'a"b'}).headers["x-request-id"] != 'a"b'


def test_a_shop_without_customers_says_so_and_is_ready(new_settings: Settings, key: str) -> None:
    from serving.auth import demo_key

    made_release(new_settings, without=("customer_scores", "segments", "replenishment", "drift"))
    headers = {"Authorization": f"Bearer {demo_key(new_settings)}"}
    with TestClient(create_app(new_settings), headers=headers, **LOCAL) as client:
        for path in ("/v1/customers/12346", "/v1/segments", "/v1/churn", "/v1/replenishment", "/v1/monitoring/drift"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (404, "/docs#not-in-this-shop"), path
        assert client.get("/health/ready").status_code == 200
        assert client.get("/v1/forecasts").status_code == 200
        page = client.get("/")
        assert page.status_code == 200
        assert "Customers at risk" not in page.text


def test_a_shop_without_demand_says_so_and_is_ready(new_settings: Settings) -> None:
    from serving.auth import demo_key

    made_release(new_settings, without=("forecasts", "lead_time_demand", "history", "series", "replenishment"))
    headers = {"Authorization": f"Bearer {demo_key(new_settings)}"}
    with TestClient(create_app(new_settings), headers=headers, **LOCAL) as client:
        assert client.get("/v1/forecasts").json()["type"] == "/docs#not-in-this-shop"
        assert client.get("/v1/churn").status_code == 200
        assert client.get("/").status_code == 200
        assert client.get("/health/ready").status_code == 200


def test_every_kind_of_problem_is_explained_on_the_docs_page(client: TestClient) -> None:
    page = client.get("/docs").text
    for slug in KINDS:
        assert f'id="{slug}"' in page
