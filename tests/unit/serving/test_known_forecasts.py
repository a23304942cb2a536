"""Forecasts and customers by name, batches, columns and Arrow, against the tables they come from."""

from __future__ import annotations

import io

import polars as pl
import pytest
from starlette.testclient import TestClient

from pipelines.release import activate, freeze
from pipelines.settings import Settings
from serving.app import create_app
from serving.auth import demo_key
from tests.made_shop import CUSTOMERS, PRODUCTS, made_release, made_tables
from tests.unit.serving.conftest import LOCAL


def test_one_forecast_is_the_item_of_the_list(client: TestClient) -> None:
    for product in (PRODUCTS[0], PRODUCTS[7], PRODUCTS[59]):
        one = client.get("/v1/forecasts/one", params={"product_id": product})
        item = client.get("/v1/forecasts", params={"product_id": product}).json()["items"][0]
        assert one.json()["forecast"] == item
        assert client.get(one.request.url, headers={"If-None-Match": one.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("product_id=none", 404),
        ("", 422),
        ("product=80007A", 422),
        ("product_id=80007A&product_id=80001A", 422),
        ("product_id=80007A&lang=en", 422),
    ],
)
def test_a_series_is_named_by_its_columns_and_nothing_else(client: TestClient, query: str, status: int) -> None:
    assert client.get(f"/v1/forecasts/one?{query}").status_code == status


def test_several_key_columns_name_a_series_in_any_order(new_settings: Settings) -> None:
    forecasts = made_tables()["forecasts"].with_columns(location_id=pl.col("horizon") % 2)
    made = new_settings.model_copy(
        update={"demand": new_settings.demand.model_copy(update={"series": ["product_id", "location_id"]})}
    )
    shop = {"shop": "two", "series": ["product_id", "location_id"]}
    release = freeze(made.releases_dir, shop=shop, tables={"forecasts": forecasts}, models={}, reports={}, facts={})
    activate(made.releases_dir, release.id)
    headers = {"Authorization": f"Bearer {demo_key(made)}"}
    with TestClient(create_app(made), headers=headers, **LOCAL) as client:
        forecast = client.get(f"/v1/forecasts/one?location_id=1&product_id={PRODUCTS[3]}").json()["forecast"]
    expected = forecasts.filter(product_id=PRODUCTS[3], location_id=1).sort("period")
    assert (forecast["product_id"], forecast["location_id"]) == (PRODUCTS[3], 1)
    assert forecast["mean"] == pytest.approx(expected["mean"].to_list(), abs=1e-4)


def test_a_batch_keeps_the_order_and_names_the_unknown(client: TestClient) -> None:
    names = [PRODUCTS[9], "none", PRODUCTS[2], PRODUCTS[9]]
    body = client.post("/v1/forecasts:batch", json={"series": [{"product_id": name} for name in names]}).json()
    items = body["forecasts"]["items"]
    assert [item["product_id"] for item in items] == [PRODUCTS[9], PRODUCTS[2], PRODUCTS[9]]
    assert body["forecasts"]["unknown"] == [{"product_id": "none"}]
    assert items[1] == client.get(f"/v1/forecasts/one?product_id={PRODUCTS[2]}").json()["forecast"]


@pytest.mark.parametrize(
    "asked",
    [
        [],
        {},
        {"series": []},
        {"series": "80007A"},
        {"series": ["80007A"]},
        {"series": [{"product_id": 7}]},
        {"series": [{"product_id": "80007A", "more": "1"}]},
        {"series": [{"product_id": "80007A"}] * 1001},
    ],
)
def test_what_is_no_batch_is_refused(client: TestClient, asked: object) -> None:
    answer = client.post("/v1/forecasts:batch", json=asked)
    assert (answer.status_code, answer.json()["type"]) == (422, "/docs#invalid-request")


def test_one_customer_is_the_row_of_the_list(client: TestClient) -> None:
    one = client.get(f"/v1/customers/{CUSTOMERS[3]}").json()["customer"]
    assert one == client.get("/v1/customers", params={"customer_id": CUSTOMERS[3]}).json()["items"][0]
    assert client.get("/v1/customers/none").status_code == 404


@pytest.mark.parametrize(
    "path", ["/v1/forecasts", "/v1/customers", "/v1/churn", "/v1/segments", "/v1/replenishment", "/v1/lists",
             "/v1/next-products", "/v1/segment-migration", "/v1/forecasts/drivers", "/v1/monitoring/drift"]
)  # fmt: skip
def test_columns_and_arrow_say_what_rows_say(client: TestClient, path: str) -> None:
    rows = client.get(path, params={"limit": 7}).json()
    answer = client.get(path, params={"limit": 7}, headers={"Accept": "application/vnd.purvey.columns+json"})
    assert answer.headers["content-type"] == "application/vnd.purvey.columns+json"
    columns = answer.json()["columns"]
    assert [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] == rows["items"]
    assert client.get(path, params={"limit": 7, "layout": "columns"}).json() == answer.json()
    arrow = pl.read_ipc_stream(io.BytesIO(client.get(path, params={"format": "arrow"}).content))
    exported = client.get(path, params={"format": "csv"})
    assert arrow.height == pl.read_csv(exported.content).height
    assert path == "/v1/lists" or arrow.height >= rows["total"]


def test_a_list_leaves_only_with_whom_may_be_contacted(client: TestClient, new_settings: Settings) -> None:
    assert client.get("/v1/lists").json()["total"] == 8
    sent = pl.read_csv(client.get("/v1/lists?format=csv").content, schema_overrides={"customer_id": pl.String})
    assert sent["customer_id"].to_list() == [CUSTOMERS[0], CUSTOMERS[5]]
    made_release(new_settings, without=("contact_permissions",))
    headers = {"Authorization": f"Bearer {demo_key(new_settings)}"}
    with TestClient(create_app(new_settings), headers=headers, **LOCAL) as other:
        assert other.get("/v1/lists?format=csv").status_code == 404, "not knowing is a no"
        assert other.get("/v1/lists?format=arrow").status_code == 404


def test_segments_say_who_entered_and_left(client: TestClient) -> None:
    found = {one["segment"]: one for one in client.get("/v1/segments?scheme=rfm").json()["items"]}
    assert (found["champions"]["entered"], found["champions"]["left"]) == (9, 5)
    assert (found["others"]["entered"], found["others"]["left"]) == (5, 7)


def test_the_shortcut_says_what_the_router_says(settings: Settings, key: str) -> None:
    """A server behind a path prefix takes the router's way: same answers, same headers, same figures."""
    headers = {"Authorization": f"Bearer {key}", "X-Request-Id": "r"}
    paths = [
        f"/v1/forecasts/one?product_id={PRODUCTS[7]}",
        f"/v1/forecasts/one?product_id=%{ord(PRODUCTS[7][0]):02X}{PRODUCTS[7][1:]}",
        "/v1/forecasts/one?product_id=none",
        "/v1/forecasts/one",
        f"/v1/customers/{CUSTOMERS[3]}",
        "/v1/customers/none",
        "/v1/customers/",
    ]
    drifting = {"ratelimit-remaining", "traceparent"}
    with (
        TestClient(create_app(settings), headers=headers, **LOCAL) as short,
        TestClient(create_app(settings), headers=headers, root_path="/shop", **LOCAL) as long,
    ):
        for path in paths:
            one, other = short.get(path), long.get(path)
            assert (one.status_code, one.content) == (other.status_code, other.content), path
            said, others = ({n: v for n, v in two.headers.items() if n not in drifting} for two in (one, other))
            assert said == others, path
        assert short.put(paths[0]).status_code == long.put(paths[0]).status_code == 405
        figures = [client.get("/metrics").text for client in (short, long)]
    counted = [sorted(line for line in text.splitlines() if "seconds_count" in line) for text in figures]
    assert any('route="/v1/customers/{customer_id' in line for line in counted[0])
    assert counted[0] == counted[1]
