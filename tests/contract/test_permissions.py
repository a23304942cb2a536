"""Who may ask for what: every route × every scope × a key of another location × no key at all.

A route that is not in the table fails the tests: whoever adds one adds its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import pytest
from starlette.testclient import TestClient

from pipelines.settings import Settings
from serving.access.scopes import BY_LOCATION
from serving.app import create_app
from serving.auth import SCOPES, create_key
from tests.made_shop import PRODUCTS, made_release, made_settings, made_tables

ELSEWHERE = {"base_url": "http://shop.example.org", "client": ("203.0.113.7", 50_000)}
SERIES = ["product_id", "location_id"]


@dataclass(frozen=True)
class Row:
    """What one route asks for, and what it tells a key that is bound to another location.

    Attributes:
        path: The template, as the application names it.
        scope: What a key needs; None is open to all, `any key` is open to each.
        ask: A path that is answered well to who may.
        elsewhere: A path of a thing at LYON and how a key for PARIS is answered there; for a list, that it is empty.
        export: Whether `format=csv` answers, to who may also export.
        method: GET or POST.
        body: What is posted. An empty one passes the guard and is refused for what it is.
    """

    path: str
    scope: str | None
    ask: str = ""
    elsewhere: tuple[str, Literal[404] | Literal["empty"]] | None = None
    export: bool = False
    method: str = "GET"
    body: Any = None

    @property
    def good(self) -> str:
        return self.ask or self.path


LYON, PARIS = "lyon", "paris"
IN_LYON, IN_PARIS = PRODUCTS[0], PRODUCTS[-1]
ROWS = [
    Row("/v1/forecasts", "forecasts:read", elsewhere=("/v1/forecasts?location_id=lyon", 404), export=True),
    Row(
        "/v1/forecasts/drivers",
        "forecasts:read",
        elsewhere=("/v1/forecasts/drivers?location_id=lyon", 404),
        export=True,
    ),
    Row(
        "/v1/forecasts/changes",
        "forecasts:read",
        elsewhere=("/v1/forecasts/changes?location_id=lyon", 404),
        export=True,
    ),
    Row("/v1/forecasts/totals", "forecasts:read", elsewhere=("/v1/forecasts/totals?group=lyon", 404), export=True),
    Row("/v1/forecasts/one", "forecasts:read", f"/v1/forecasts/one?product_id={IN_PARIS}&location_id=paris"),
    Row("/v1/forecasts:batch", "forecasts:read", method="POST", body={}),
    Row("/v1/forecasts:simulate", "forecasts:read", method="POST", body={}),
    Row("/v1/customers", "customers:read", export=True),
    Row("/v1/customers:score", "customers:read", method="POST", body={}),
    Row("/v1/customers/{customer_id}", "customers:read", "/v1/customers/12346"),
    Row("/v1/segments", "customers:read", export=True),
    Row("/v1/segment-migration", "customers:read"),
    Row("/v1/next-products", "customers:read"),
    Row("/v1/lists", "customers:read"),
    Row("/v1/segments/{segment_id}/customers", "customers:read", "/v1/segments/champions/customers", export=True),
    Row("/v1/churn", "customers:read", export=True),
    Row(
        "/v1/replenishment",
        "replenishment:read",
        elsewhere=("/v1/replenishment?location_id=lyon", "empty"),
        export=True,
    ),
    Row("/v1/replenishment/decisions", "replenishment:write", method="POST", body={}),
    Row("/v1/outcomes/stock", "outcomes:write", method="POST", body={}),
    Row("/v1/outcomes/orders", "outcomes:write", method="POST", body={}),
    Row("/v1/outcomes/campaigns", "outcomes:write", method="POST", body={}),
    Row("/v1/feedback", "outcomes:write", method="POST", body={}),
    Row("/v1/monitoring/drift", "monitoring:read", export=True),
    Row("/v1/models", "monitoring:read"),
    Row("/v1/audit", "audit:read"),
    Row("/metrics", "monitoring:read"),
    Row("/reports/{name}", "monitoring:read", "/reports/drift.html"),
    Row("/lists/{name}", "forecasts:read", "/lists/forecasts"),
    Row("/lists/{name}", "replenishment:read", "/lists/replenishment"),
    Row("/lists/{name}", "customers:read", "/lists/churn"),
    Row("/lists/{name}", "customers:read", "/lists/segments"),
    Row("/", "any key"),
    Row("/docs", "any key"),
    Row("/openapi.json", "any key"),
    Row("/health/live", None),
    Row("/health/ready", None),
    Row("/sign-in", None),
    Row("/static/{name}", None, "/static/purvey.css"),
]
# Forms of the pages: they take a key and let go of it.
FORMS = {("POST", "/sign-in"), ("POST", "/sign-out")}
EXPORTS = [row for row in ROWS if row.export]
LOCATED = [row for row in ROWS if row.elsewhere]
rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.good}")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shop of two locations: the first half of the products is sold in Lyon, the others in Paris."""
    made = made_settings(tmp_path_factory.mktemp("matrix"), demand={"series": SERIES})
    made_release(made, replaced=located(made_tables()), series=SERIES)
    return made


def located(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    half = tables["forecasts"]["product_id"].unique().sort()[:20].implode()
    place = pl.when(pl.col("product_id").is_in(half)).then(pl.lit(LYON)).otherwise(pl.lit(PARIS))
    found = {
        name: frame.with_columns(location_id=place) for name, frame in tables.items() if "product_id" in frame.columns
    }
    totals = tables["forecast_totals"]
    shops = [totals.with_columns(level=pl.lit("location_id"), group=pl.lit(name)) for name in (LYON, PARIS)]
    return found | {"forecast_totals": pl.concat([totals, *shops])}


@pytest.fixture(scope="module")
def keys(settings: Settings) -> dict[str, str]:
    return {scope: create_key(settings, name=scope, scopes=[scope]) for scope in SCOPES}


@pytest.fixture(scope="module")
def in_paris(settings: Settings) -> dict[str, str]:
    return bearer(create_key(settings, name="paris", scopes=sorted(BY_LOCATION), locations=[PARIS]))


@pytest.fixture(scope="module")
def client(settings: Settings, keys: dict[str, str], in_paris: dict[str, str]) -> Iterator[TestClient]:
    with TestClient(create_app(settings), follow_redirects=False, **ELSEWHERE) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_route_stands_in_the_table(client: TestClient) -> None:
    found = set()
    for route in client.app.routes:
        nested = getattr(route, "original_router", None)
        for one in nested.routes if nested is not None else [route]:
            found |= {(method, one.path_format) for method in one.methods - {"HEAD"}}
    assert found == {(row.method, row.path) for row in ROWS} | FORMS


@rows
@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_opens_what_it_should_and_nothing_else(
    client: TestClient, keys: dict[str, str], row: Row, scope: str
) -> None:
    answer = client.request(row.method, row.good, json=row.body, headers=bearer(keys[scope]))
    allowed = row.scope in (None, "any key", scope) or scope == "admin"
    assert passed(answer, row) if allowed else answer.status_code == 403, answer.text


def passed(answer: Any, row: Row) -> bool:
    return bool(answer.status_code == 422 if row.body == {} else answer.is_success)


@rows
def test_without_a_key_only_health_sign_in_and_style_answer(client: TestClient, row: Row) -> None:
    answer = client.request(row.method, row.good, json=row.body)
    if row.scope is None:
        assert answer.status_code == 200
    elif row.path == "/":
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    else:
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"


@rows
def test_a_key_for_some_locations_opens_only_what_knows_locations(
    client: TestClient, in_paris: dict[str, str], row: Row
) -> None:
    answer = client.request(row.method, row.good, json=row.body, headers=in_paris)
    allowed = row.scope in (None, "any key") or row.scope in BY_LOCATION
    assert passed(answer, row) if allowed else answer.status_code == 403, answer.text
    if row.path.startswith("/v1/") and row.scope in BY_LOCATION and row.method == "GET" and "one" not in row.path:
        assert row.elsewhere, "say how a key of another location is answered"


@pytest.mark.parametrize("row", LOCATED, ids=lambda row: row.path)
def test_another_location_is_not_there(
    client: TestClient, keys: dict[str, str], in_paris: dict[str, str], row: Row
) -> None:
    assert row.elsewhere
    path, expected = row.elsewhere
    everywhere = client.get(path, headers=bearer(keys["admin"]))
    assert everywhere.json()["total"] > 0, "there is something to hold back"
    answer = client.get(path, headers=in_paris)
    if expected == "empty":
        assert (answer.status_code, answer.json()["items"]) == (200, [])
    else:
        assert answer.status_code == 404, "not 403: whoever asks learns nothing"
        unknown = client.get(path.replace(LYON, "narnia"), headers=in_paris).json()
        told = answer.json()
        assert {told[name].replace(LYON, "narnia") for name in ("title", "detail", "type")} == {
            unknown[name] for name in ("title", "detail", "type")
        }


def test_a_series_elsewhere_is_as_unknown_as_one_that_is_not(
    client: TestClient, keys: dict[str, str], in_paris: dict[str, str]
) -> None:
    there = {"product_id": IN_LYON, "location_id": LYON}
    assert client.get("/v1/forecasts/one", params=there, headers=bearer(keys["admin"])).status_code == 200
    assert client.get("/v1/forecasts/one", params=there, headers=in_paris).status_code == 404
    asked = {"series": [there, {"product_id": IN_PARIS, "location_id": PARIS}]}
    everywhere = client.post("/v1/forecasts:batch", json=asked, headers=bearer(keys["admin"])).json()["forecasts"]
    own = client.post("/v1/forecasts:batch", json=asked, headers=in_paris).json()["forecasts"]
    assert (everywhere["unknown"], len(everywhere["items"])) == ([], 2)
    assert (own["unknown"], len(own["items"])) == ([there], 1)


@pytest.mark.parametrize("row", LOCATED, ids=lambda row: row.path)
def test_a_list_silently_holds_the_locations_of_the_key_alone(
    client: TestClient, keys: dict[str, str], in_paris: dict[str, str], row: Row
) -> None:
    def places(key: dict[str, str]) -> tuple[set[str], int]:
        found = client.get(row.path, params={"limit": 1000}, headers=key).json()
        name = "group" if row.path.endswith("totals") else "location_id"
        return {item[name] for item in found["items"]}, found["total"]

    all_places, all_rows = places(bearer(keys["admin"]))
    assert {LYON, PARIS} <= all_places
    own_places, own_rows = places(in_paris)
    assert own_places == {PARIS}
    assert 0 < own_rows < all_rows, "the total does not tell of the others"
    exported = client.get(f"{row.path}?format=csv", headers=in_paris)
    assert exported.status_code == 200
    assert LYON not in exported.text


def test_the_page_of_a_list_holds_back_the_same(
    client: TestClient, keys: dict[str, str], in_paris: dict[str, str]
) -> None:
    for name in ("forecasts", "replenishment"):
        assert LYON in client.get(f"/lists/{name}", headers=bearer(keys["admin"])).text
        assert LYON not in client.get(f"/lists/{name}", headers=in_paris).text
    assert "units expected" in client.get("/", headers=bearer(keys["admin"])).text
    assert "units expected" not in client.get("/", headers=in_paris).text, "a figure of the whole shop"


@pytest.mark.parametrize("row", EXPORTS, ids=lambda row: row.path)
def test_a_list_is_exported_only_by_who_may_read_and_export(
    settings: Settings, client: TestClient, keys: dict[str, str], row: Row
) -> None:
    path = f"{row.good}?format=csv"
    both = create_key(settings, name="crm", scopes=[row.scope or "", "lists:export"])
    assert client.get(path, headers=bearer(keys[row.scope or ""])).status_code == 403
    assert client.get(path, headers=bearer(keys["lists:export"])).status_code == 403
    exported = client.get(path, headers=bearer(both))
    assert exported.status_code == 200
    newest = client.get("/v1/audit?limit=1", headers=bearer(keys["audit:read"])).json()["items"][0]
    assert (newest["what"], newest["key"]) == ("export", both.split(".")[0])
    assert newest["rows"] == len(exported.text.splitlines()) - 1
    assert newest["request_id"] == exported.headers["x-request-id"]
