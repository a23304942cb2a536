"""Unseen customers scored over HTTP: one of the shop's own, posted with its lines, gets the score of the release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from starlette.testclient import TestClient

from features.customers import ledger
from pipelines.customers.models import fit
from pipelines.customers.outputs import score_customers
from pipelines.customers.record import first_and_last
from pipelines.release import activate, freeze
from pipelines.settings import Settings, load_settings
from serving.app import create_app
from serving.auth import create_key, demo_key
from tests.shops import orders, tea_shop
from tests.unit.serving.conftest import LOCAL

ROUTE = "/v1/customers:score"
SAME = ["churn_probability", "p_alive", "expected_orders", "value", "value_low", "value_high"]


def tea_lines() -> pl.DataFrame:
    at = pl.col("ordered_at").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us").dt.replace_time_zone("UTC")
    quantity = pl.col("quantity").cast(pl.Float64)
    return orders().with_columns(quantity, ordered_at=at, known_at=at, kind=pl.lit("sale"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(tea_shop(tmp_path_factory.mktemp("tea")))


@pytest.fixture(scope="module")
def asked(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    # What only the whole shop's lines tell, its list prices, nobody can know of one unseen: here no model learns it.
    book = ledger(tea_lines(), timezone=settings.timezone).with_columns(listed=0, discounts=0)
    _, last = first_and_last(book)
    models, _ = fit(book, last, settings, lambda: None)
    folder = tmp_path_factory.mktemp("models")
    for name, model in models.by_name().items():
        model.to_dir(folder / name)
    release = freeze(
        settings.releases_dir,
        shop={"shop": "tea", "series": settings.demand.series, "timezone": settings.timezone},
        tables={"customer_scores": score_customers(book, last, models, settings, "1")},
        models={name: folder / name for name in models.by_name()},
        reports={},
        facts={},
    )
    activate(settings.releases_dir, release.id)
    key = {"Authorization": f"Bearer {demo_key(settings)}"}
    with TestClient(create_app(settings), headers=key, **LOCAL) as client:
        yield client


def posted(*customers: str) -> dict[str, Any]:
    columns = ["order_id", "product_id", "ordered_at", "quantity", "unit_price"]
    lines = tea_lines().with_columns(pl.col("ordered_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    own = {one: lines.filter(customer_id=one).select(columns).to_dicts() for one in customers}
    return {"customers": [{"customer_id": f"as {one}", "lines": own[one]} for one in customers]}


def test_a_customer_of_the_shop_gets_the_score_of_the_release(asked: TestClient) -> None:
    names = [f"C{number}" for number in range(0, 60, 2)]
    found = asked.post(ROUTE, json=posted(*names)).json()
    released = asked.get("/v1/customers", params={"customer_id": names, "limit": 100}).json()
    scores = {item["customer_id"]: item for item in released["items"]}
    assert len(scores) == len(names)
    assert [item["customer_id"] for item in found["items"]] == [f"as {name}" for name in names]
    for name, item in zip(names, found["items"], strict=True):
        assert [item[fact] for fact in SAME] == pytest.approx([scores[name][fact] for fact in SAME], abs=1e-3), name
    assert found["level_of"] == found["as_of"]


def test_a_score_does_not_depend_on_who_else_is_asked_about(asked: TestClient) -> None:
    alone = asked.post(ROUTE, json=posted("C4")).json()["items"]
    assert asked.post(ROUTE, json=posted("C2", "C4", "C6")).json()["items"][1:2] == alone


def line(**changes: object) -> dict[str, Any]:
    one = {"order_id": "1", "product_id": "T1", "ordered_at": "2023-06-01T10:00:00Z", "quantity": 1, "unit_price": 2}
    return {"customer_id": "new", "lines": [one | changes]}


@pytest.mark.parametrize(
    "customers",
    [
        [],
        [line(), line()],
        [line(quantity=-1)],
        [line(colour="red")],
        [line(kind="return")],
        [line(ordered_at="2023-06-01T10:00:00")],
        [line(ordered_at="9999-12-31T23:59:59-14:00")],
        [line(ordered_at="2099-01-01T10:00:00Z")],
        [line() | {"customer_id": f"c{number}"} for number in range(101)],
        [{"customer_id": name, "lines": line()["lines"] * 5_001} for name in "ab"],
    ],
)
def test_what_cannot_be_asked(asked: TestClient, customers: object) -> None:
    answer = asked.post(ROUTE, json={"customers": customers})
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"].endswith("#invalid-request")


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ({"scopes": ["customers:read"]}, 200),
        ({"scopes": ["forecasts:read"]}, 403),
        ({"scopes": ["forecasts:read"], "locations": ["paris"]}, 403),
    ],
)
def test_only_who_may_read_customers_may_ask(
    settings: Settings, asked: TestClient, key: dict[str, Any], status: int
) -> None:
    made = create_key(settings, name="crm", **key)
    answer = asked.post(ROUTE, json=posted("C2"), headers={"Authorization": f"Bearer {made}"})
    assert answer.status_code == status, answer.text
