from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from pipelines.errors import AccessError
from pipelines.settings import Settings
from serving import auth
from serving.app import create_app
from serving.auth import SCOPES, create_key, demo_key, is_local, list_keys, revoke_key
from tests.made_shop import made_release, made_settings
from tests.unit.serving.conftest import LOCAL

ELSEWHERE = {"base_url": "http://shop.example.org", "client": ("203.0.113.7", 50_000)}
# Every route and the scope it asks for: None = open to all, "page" = open on this machine, else any key;
# "data" = any key. A route that is not here fails the test.
PERMISSIONS: dict[str, str | None] = {
    "/v1/forecasts": "forecasts:read",
    "/v1/forecasts/drivers": "forecasts:read",
    "/v1/forecasts/changes": "forecasts:read",
    "/v1/forecasts/totals": "forecasts:read",
    "/v1/forecasts/one": "forecasts:read",
    "/v1/customers": "customers:read",
    "/v1/customers/{customer_id}": "customers:read",
    "/v1/segment-migration": "customers:read",
    "/v1/next-products": "customers:read",
    "/v1/lists": "customers:read",
    "/v1/segments": "customers:read",
    "/v1/segments/{segment_id}/customers": "customers:read",
    "/v1/churn": "customers:read",
    "/v1/replenishment": "replenishment:read",
    "/v1/monitoring/drift": "monitoring:read",
    "/v1/models": "monitoring:read",
    "/metrics": "monitoring:read",
    "/reports/{name}": "monitoring:read",
    "/lists/forecasts": "forecasts:read",
    "/lists/replenishment": "replenishment:read",
    "/lists/churn": "customers:read",
    "/lists/segments": "customers:read",
    "/": "page",
    "/docs": "page",
    "/openapi.json": "page",
    "/health/live": None,
    "/health/ready": None,
    "/sign-in": None,
    "/static/{name}": None,
}
WRITES = {"/sign-in", "/sign-out"}
READS_BY_POST = {"/v1/forecasts:batch": "forecasts:read"}
QUERIES = {"/v1/forecasts/one": "?product_id=80007A"}
VALUES = {"customer_id": "12346", "segment_id": "champions", "name": "drift.html"}
EXPORTS = {
    "/v1/customers?format=arrow": "customers:read",
    "/v1/forecasts?format=arrow": "forecasts:read",
    "/v1/monitoring/drift?format=csv": "monitoring:read",
    "/v1/churn?format=csv": "customers:read",
    "/v1/segments?format=csv": "customers:read",
    "/v1/segments/champions/customers?format=csv": "customers:read",
    "/v1/forecasts?format=csv": "forecasts:read",
    "/v1/forecasts/drivers?format=csv": "forecasts:read",
    "/v1/forecasts/changes?format=csv": "forecasts:read",
    "/v1/forecasts/totals?format=csv": "forecasts:read",
    "/v1/replenishment?format=csv": "replenishment:read",
}


def path_of(route: str) -> str:
    values = VALUES | ({"name": "purvey.css"} if route.startswith("/static") else {})
    for name, value in values.items():
        route = route.replace(f"{{{name}}}", value)
    return route + QUERIES.get(route, "")


@pytest.fixture(scope="module")
def keys(settings: Settings) -> dict[str, str]:
    return {scope: create_key(settings, name=scope, scopes=[scope]) for scope in SCOPES}


@pytest.fixture(scope="module")
def elsewhere(settings: Settings, keys: dict[str, str]) -> TestClient:
    with TestClient(create_app(settings), follow_redirects=False, **ELSEWHERE) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("scope", SCOPES)
def test_a_batch_is_for_keys_that_read_forecasts(elsewhere: TestClient, keys: dict[str, str], scope: str) -> None:
    for route, needed in READS_BY_POST.items():
        answer = elsewhere.post(route, json={"series": [{"product_id": "none"}]}, headers=bearer(keys[scope]))
        assert answer.status_code == (200 if scope in (needed, "admin") else 403), route
        assert elsewhere.post(route, json={}).status_code == 401


def test_every_route_stands_in_the_table(client: TestClient) -> None:
    found = set()
    for route in client.app.routes:
        nested = getattr(route, "original_router", None)
        for one in nested.routes if nested is not None else [route]:
            found |= {(method, one.path_format) for method in one.methods - {"HEAD"}}
    listed = {("GET", "/lists/{name}" if route.startswith("/lists/") else route) for route in PERMISSIONS}
    assert found == listed | {("POST", route) for route in WRITES | READS_BY_POST.keys()}


@pytest.mark.parametrize("route", PERMISSIONS)
def test_each_scope_opens_what_it_should_and_nothing_else(
    elsewhere: TestClient, keys: dict[str, str], route: str
) -> None:
    needed = PERMISSIONS[route]
    for scope, key in keys.items():
        answer = elsewhere.get(path_of(route), headers=bearer(key))
        expected = 200 if needed in (None, "page", scope) or scope == "admin" else 403
        assert answer.status_code == expected, f"{scope} on {route}"


@pytest.mark.parametrize("route", PERMISSIONS)
def test_without_a_key_only_health_sign_in_and_style_answer(elsewhere: TestClient, route: str) -> None:
    answer = elsewhere.get(path_of(route))
    if PERMISSIONS[route] is None:
        assert answer.status_code == 200
    elif route == "/":
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    else:
        assert answer.status_code == 401


@pytest.mark.parametrize("path", EXPORTS)
def test_a_list_is_exported_only_by_who_may_read_and_export(
    settings: Settings, elsewhere: TestClient, keys: dict[str, str], path: str
) -> None:
    both = create_key(settings, name="crm", scopes=[EXPORTS[path], "lists:export"])
    assert elsewhere.get(path, headers=bearer(keys[EXPORTS[path]])).status_code == 403
    assert elsewhere.get(path, headers=bearer(keys["lists:export"])).status_code == 403
    assert elsewhere.get(path, headers=bearer(both)).status_code == 200


def test_the_secret_is_nowhere_on_disk(settings: Settings, keys: dict[str, str]) -> None:
    prefix, secret = keys["admin"].split(".")
    assert len(secret) >= 43, "256 bits in base64"
    for file in settings.api_dir.iterdir():
        assert secret.encode() not in file.read_bytes()
    row = next(row for row in list_keys(settings) if row["prefix"] == prefix)
    assert row["name"] == "admin"
    assert not {"secret", "secret_sha256"} & row.keys()


def test_a_wrong_secret_a_cut_key_and_another_scheme_are_refused(elsewhere: TestClient, keys: dict[str, str]) -> None:
    key = keys["admin"]
    prefix = key.split(".")[0]
    for header in (f"Bearer {key[:-1]}", f"Bearer {prefix}", f"Bearer {prefix}.", f"Basic {key}", "Bearer", "Bearer ."):
        answer = elsewhere.get("/v1/models", headers={"Authorization": header})
        assert answer.status_code == 401, header
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_key_is_useless_at_once(settings: Settings, elsewhere: TestClient) -> None:
    key = create_key(settings, name="leaver", scopes=["admin"])
    assert elsewhere.get("/v1/models", headers=bearer(key)).status_code == 200
    revoke_key(settings, key.split(".")[0])
    assert elsewhere.get("/v1/models", headers=bearer(key)).status_code == 401
    with pytest.raises(AccessError, match="no key"):
        revoke_key(settings, key.split(".")[0])


def test_an_expired_key_is_refused(settings: Settings, elsewhere: TestClient) -> None:
    key = create_key(settings, name="old", scopes=["admin"], days=-1)
    assert elsewhere.get("/v1/models", headers=bearer(key)).status_code == 401


def test_the_demo_key_works_here_only_and_replaces_the_earlier_one(new_settings: Settings) -> None:
    made_release(new_settings)
    first, second = demo_key(new_settings), demo_key(new_settings)
    rows = list_keys(new_settings)
    assert [row["name"] for row in rows] == ["demo"]
    assert rows[0]["loopback_only"]
    app = create_app(new_settings)
    with TestClient(app, **LOCAL) as here:
        assert here.get("/v1/models", headers=bearer(first)).status_code == 401
        assert here.get("/v1/models", headers=bearer(second)).status_code == 200
        forwarded = ({"X-Forwarded-For": "127.0.0.1"}, {"Via": "1.1 proxy"}, {"Forwarded": "for=127.0.0.1"})
        for header in (*forwarded, {"Host": "shop.example.org"}, {"Host": "[::1"}, {"Host": "127.0.0.1.example.org"}):
            assert here.get("/v1/models", headers=bearer(second) | header).status_code == 401, header
    with TestClient(app, **ELSEWHERE) as there:
        assert there.get("/v1/models", headers=bearer(second)).status_code == 401
        assert there.get("/v1/models", headers=bearer(second) | {"Host": "127.0.0.1"}).status_code == 401


def test_an_unknown_scope_names_the_nearest(new_settings: Settings) -> None:
    with pytest.raises(AccessError, match=r"did you mean 'forecasts:read'"):
        create_key(new_settings, name="x", scopes=["forecast:read"])
    with pytest.raises(AccessError, match="at least one scope"):
        create_key(new_settings, name="x", scopes=[])


def test_the_last_use_is_noted(new_settings: Settings) -> None:
    made_release(new_settings)
    key = create_key(new_settings, name="order system", scopes=["monitoring:read"])
    with TestClient(create_app(new_settings), **LOCAL) as client:
        client.get("/v1/models", headers=bearer(key))
    assert list_keys(new_settings)[0]["last_used_at"] is not None


def test_a_locked_file_neither_blocks_requests_nor_loses_uses(
    new_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_release(new_settings)
    key = create_key(new_settings, name="order system", scopes=["monitoring:read"])
    with TestClient(create_app(new_settings), **LOCAL) as client:
        ring = client.app.state.keyring
        monkeypatch.setattr(auth, "_BUSY_SECONDS", 0.01)
        other = sqlite3.connect(new_settings.api_dir / "access.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert client.get("/v1/models", headers=bearer(key)).status_code == 200
        with pytest.raises(sqlite3.OperationalError):
            ring.note_uses()
        assert client.get("/v1/models", headers=bearer(key)).status_code == 200
        other.execute("ROLLBACK")
        other.close()
        ring.note_uses()
        assert list_keys(new_settings)[0]["last_used_at"] is not None


# What a visitor from elsewhere looks like behind a proxy on this machine that forwards nothing but the request.
PROXIED = LOCAL | {"follow_redirects": False}
PUBLIC = "https://shop.example.org"


@pytest.mark.parametrize("serving", [{"public_url": PUBLIC}, {"host": "0.0.0.0"}])
def test_nobody_is_local_where_others_can_reach_the_server(tmp_path: Path, serving: dict[str, str]) -> None:
    here = made_settings(tmp_path)
    made_release(here)
    demo = demo_key(here)
    settings = made_settings(tmp_path, serving=serving)
    with TestClient(create_app(settings), **PROXIED) as client:
        assert client.get("/").headers["location"] == "/sign-in"
        assert client.get("/docs").status_code == 401
        assert "--demo" not in client.get("/sign-in").text
        assert client.get("/openapi.json").status_code == 401
        assert client.get("/v1/models", headers=bearer(demo)).status_code == 401, "a demo key made before"
    with pytest.raises(AccessError, match="no demo key"):
        demo_key(settings)


def test_serving_elsewhere_by_hand_counts_too(new_settings: Settings) -> None:
    assert new_settings.serving.on_this_machine_only
    assert not new_settings.served_at("0.0.0.0", 8000).serving.on_this_machine_only
    assert new_settings.served_at("::1", 9).serving.on_this_machine_only


def test_a_proxy_that_shows_itself_brings_no_locals(open_client: TestClient) -> None:
    for header in ({"X-Real-IP": "203.0.113.7"}, {"X-Forwarded-Proto": "https"}):
        assert open_client.get("/docs", headers=header).status_code == 401, header
    scope = {"type": "http", "app": open_client.app, "client": ("127.0.0.1", 5), "headers": [(b"host", b"127.0.0.1")]}
    assert is_local(Request(scope | {"http_version": "1.1"}))
    assert not is_local(Request(scope | {"http_version": "1.0"})), "nginx as it comes"


def test_sign_in_behind_a_tls_proxy(tmp_path: Path) -> None:
    settings = made_settings(tmp_path, serving={"public_url": "https://Shop.example.org:443/"})
    made_release(settings)
    key = {"key": create_key(settings, name="planner", scopes=["customers:read"])}
    with TestClient(create_app(settings), **PROXIED) as client:
        answer = client.post("/sign-in", data=key, headers={"Origin": PUBLIC})
        assert answer.status_code == 303
        assert "; Secure" in answer.headers["set-cookie"]
        for origin in ("http://127.0.0.1:8000", "http://shop.example.org", "https://shop.example.org.evil.org", "null"):
            assert client.post("/sign-in", data=key, headers={"Origin": origin}).status_code == 403, origin


@pytest.mark.parametrize("url", ["http://shop.example.org", "shop.example.org", "https://shop.example.org/purvey"])
def test_a_public_url_is_tls_and_a_host(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="https:// and a host"):
        made_settings(tmp_path, serving={"public_url": url})


def test_keys_of_a_newer_program_are_refused(new_settings: Settings) -> None:
    create_key(new_settings, name="x", scopes=["admin"])
    connection = sqlite3.connect(new_settings.api_dir / "access.db")
    connection.execute(f"PRAGMA user_version={auth._LAYOUT + 1}")
    connection.close()
    with pytest.raises(AccessError, match="newer program"):
        list_keys(new_settings)


def test_signing_in_opens_the_lists_and_signing_out_closes_them(settings: Settings, key: str) -> None:
    with TestClient(create_app(settings), follow_redirects=False, **LOCAL) as client:
        html = {"Accept": "text/html"}
        assert client.get("/lists/churn", headers=html).headers["location"] == "/sign-in"
        assert client.post("/sign-in", data={"key": "wrong"}).status_code == 401
        answer = client.post("/sign-in", data={"key": key})
        cookie = answer.headers["set-cookie"]
        assert (answer.status_code, "HttpOnly" in cookie, "SameSite=strict" in cookie) == (303, True, True)
        assert client.get("/lists/churn").status_code == 200
        assert client.get("/v1/churn?format=csv").status_code == 200
        token = client.cookies[auth.COOKIE]
        client.post("/sign-out")
        client.cookies.set(auth.COOKIE, token)
        assert client.get("/lists/churn", headers=html).status_code == 303, "the session itself has ended"


def test_a_session_ends_with_its_key(settings: Settings) -> None:
    key = create_key(settings, name="short", scopes=["admin"])
    with TestClient(create_app(settings), follow_redirects=False, **LOCAL) as client:
        client.post("/sign-in", data={"key": key})
        assert client.get("/lists/churn").status_code == 200
        revoke_key(settings, key.split(".")[0])
        assert client.get("/lists/churn").status_code == 401


def test_another_site_cannot_send_our_forms(client: TestClient, key: str) -> None:
    for origin in ("https://example.org", "null", "http://[", "http://127.0.0.1:8000.example.org"):
        assert client.post("/sign-in", data={"key": key}, headers={"Origin": origin}).status_code == 403, origin
    assert client.post("/sign-in", content=b"key=" + b"x" * 5000).status_code == 413
