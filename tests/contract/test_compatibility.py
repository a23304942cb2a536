"""What counts as breaking the contract, case by case, and that the change since the committed one breaks nothing."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from serving import contract, deprecation
from serving.compatibility import breaking_changes


def promised() -> dict[str, Any]:
    item = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "mean": {"type": "number"},
            "band": {"enum": ["low", "high"]},
            "value": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "inner": {"$ref": "#/components/schemas/Item"},
        },
        "required": ["id", "mean"],
    }
    order = {
        "type": "object",
        "properties": {"note": {"type": "string", "maxLength": 90}, "kind": {"enum": ["a", "b"]}},
        "required": ["kind"],
    }
    return {
        "paths": {
            "/v1/items": {
                "get": {
                    "parameters": [
                        {"in": "query", "name": "limit", "schema": {"type": "integer", "maximum": 1000}},
                        {"in": "query", "name": "id", "schema": {"type": "string"}, "required": True},
                    ],
                    "responses": {
                        "200": {
                            "content": {
                                "application/json": {
                                    "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}
                                },
                                "text/csv": {"schema": {"type": "string"}},
                            }
                        }
                    },
                },
                "post": {
                    "requestBody": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}
                    },
                    "responses": {"201": {"content": {}}},
                },
            }
        },
        "components": {"schemas": {"Item": item, "Order": order}},
    }


def changed(place: str, value: Any) -> dict[str, Any]:
    """The promised document with one place changed; the value None takes it away."""
    document = copy.deepcopy(promised())
    *way, last = place.split("|")
    at: Any = document
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    key: Any = int(last) if isinstance(at, list) else last
    if value is None:
        del at[key]
    else:
        at[key] = value
    return document


GET, POST = "paths|/v1/items|get", "paths|/v1/items|post"
ITEM, ORDER = "components|schemas|Item", "components|schemas|Order"
BREAKING = [
    ("paths|/v1/items", None, "get /v1/items is gone"),
    (POST, None, "post /v1/items is gone"),
    (f"{GET}|parameters|0", None, "parameter limit is gone"),
    (f"{GET}|parameters|0|required", True, "parameter limit is required now"),
    (f"{GET}|parameters|0|schema|maximum", 100, "maximum is 100 now"),
    (f"{GET}|parameters|0|schema|minimum", 5, "minimum is 5 now"),
    (f"{GET}|parameters|1|schema|pattern", "^[a-z]$", "another pattern"),
    (f"{GET}|parameters|1|schema|type", "integer", "takes no string any more"),
    (f"{GET}|parameters|1", {"in": "header", "name": "id", "schema": {}, "required": True}, "id is new and required"),
    (f"{GET}|responses|200|content|text/csv", None, "no text/csv any more"),
    (f"{GET}|responses", {"202": {}}, "no answer 200 any more"),
    (f"{ITEM}|properties|mean", None, "[].mean is gone"),
    (f"{ITEM}|properties|mean|type", "string", "[].mean: may be string now"),
    (f"{ITEM}|properties|value|anyOf|0|type", "string", "[].value: may be string now"),
    (f"{ITEM}|properties|band|enum", ["low", "high", "none"], "[].band: may be 'none' now"),
    (f"{ITEM}|properties|id", {"anyOf": [{"type": "string"}, {"type": "null"}]}, "[].id: may be null now"),
    (f"{ITEM}|required", ["id"], "[].mean may be missing now"),
    (f"{ORDER}|properties|kind|enum", ["a"], "body.kind: takes no 'b' any more"),
    (f"{ORDER}|properties|note|maxLength", 10, "body.note: maxLength is 10 now"),
    (f"{ORDER}|properties|note", None, "body.note is gone"),
    (f"{ORDER}|required", ["kind", "note"], "body.note is required now"),
    (f"{POST}|requestBody|required", True, "the body is required now"),
    (f"{POST}|requestBody", None, "takes no body any more"),
]
HARMLESS = [
    ("paths|/v1/more", {"get": {"responses": {}}}),
    ("paths|/v1/items|delete", {"responses": {}}),
    (f"{GET}|parameters|1|required", False),
    (f"{GET}|parameters|0|schema|maximum", 2000),
    (f"{GET}|parameters|0|schema|type", "number"),
    (f"{GET}|summary", "Items"),
    (f"{GET}|responses|429", {"content": {}}),
    (f"{GET}|responses|200|content|text/plain", {"schema": {}}),
    (f"{ITEM}|properties|more", {"type": "string"}),
    (f"{ITEM}|properties|band|enum", ["low"]),
    (f"{ITEM}|properties|mean|type", "integer"),
    (f"{ITEM}|properties|value", {"type": "number"}),
    (f"{ITEM}|required", ["id", "mean", "band"]),
    (f"{ORDER}|properties|kind|enum", ["a", "b", "c"]),
    (f"{ORDER}|properties|kind", {"type": "string"}),
    (f"{ORDER}|properties|note|maxLength", 100),
    (f"{ORDER}|properties|more", {"type": "string"}),
    (f"{ORDER}|required", []),
]


@pytest.mark.parametrize(("place", "value", "said"), BREAKING, ids=[said for _, _, said in BREAKING])
def test_what_breaks_programs_is_named(place: str, value: Any, said: str) -> None:
    found = breaking_changes(promised(), changed(place, value))
    assert any(said in line for line in found), found


@pytest.mark.parametrize(("place", "value"), HARMLESS, ids=[f"{place} {value}" for place, value in HARMLESS])
def test_what_breaks_nothing_passes(place: str, value: Any) -> None:
    assert breaking_changes(promised(), changed(place, value)) == []


def test_the_program_serves_what_was_promised() -> None:
    """The committed contract may be behind what is served, never ahead of it."""
    assert contract.main(["--check"]) == 0


def test_a_break_is_refused_and_nothing_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    committed = orjson.loads(contract.FILE.read_bytes())
    committed["paths"]["/v1/gone"] = {"get": {"responses": {}}}
    file = tmp_path / "openapi.json"
    file.write_bytes(orjson.dumps(committed))
    monkeypatch.setattr(contract, "FILE", file)
    assert contract.main() == 1
    assert "breaking: get /v1/gone is gone" in capsys.readouterr().err
    assert "/v1/gone" in file.read_text()
    assert contract.main(["--force"]) == 0
    assert "/v1/gone" not in file.read_text()


def test_a_route_that_will_go_says_so() -> None:
    router = APIRouter(route_class=deprecation.deprecated(date(2027, 1, 1), date(2027, 7, 1), "/docs#forecasts"))

    @router.get("/v1/old")
    async def old() -> str:
        return "x"

    app = FastAPI()
    app.include_router(router)
    with TestClient(app) as client:
        said = client.get("/v1/old").headers
    assert datetime.fromtimestamp(int(said["deprecation"].removeprefix("@")), UTC) == datetime(2027, 1, 1, tzinfo=UTC)
    assert parsedate_to_datetime(said["sunset"]) == datetime(2027, 7, 1, tzinfo=UTC)
    assert said["link"] == '</docs#forecasts>; rel="deprecation"'
    assert app.openapi()["paths"]["/v1/old"]["get"]["deprecated"]
    with pytest.raises(ValueError, match="2027-01-01"):
        deprecation.headers(date(2027, 1, 1), date(2026, 7, 1), "/docs")
