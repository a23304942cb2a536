"""openapi.json is the contract: a change of it is a change of the file, seen in review."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.settings import load_settings, sample_config
from serving.app import create_app
from serving.auth import demo_key
from tests.made_shop import PRODUCTS, made_release, made_settings
from tests.unit.serving.conftest import LOCAL

COMMITTED = Path(__file__).parents[2] / "serving" / "openapi.json"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = load_settings(sample_config(), data_dir=str(tmp_path_factory.mktemp("contract")))
    return json.loads(json.dumps(create_app(settings).openapi()))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_the_committed_contract_is_the_one_that_is_served(document: dict[str, Any]) -> None:
    """After a change that is meant: `python -m serving.contract`."""
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == document


def test_every_operation_has_words_and_examples(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["operationId"], name
        for status, answer in operation["responses"].items():
            for content in answer["content"].values():
                assert "example" in content or "examples" in content, f"{name} {status}"
        for parameter in operation.get("parameters", []):
            assert parameter["description"], f"{name} {parameter['name']}"


def test_every_operation_but_health_asks_for_a_key(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert bool(operation.get("security")) != name.startswith("get /health"), name


def test_every_example_obeys_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for name, operation in operations(document):
        for answer in operation["responses"].values():
            for kind, content in answer["content"].items():
                if "json" not in kind:
                    continue
                values = [content["example"]] if "example" in content else []
                values += [example["value"] for example in content.get("examples", {}).values()]
                for value in values:
                    assert list(violations(value, content["schema"], document)) == [], name
                    checked += 1
    assert checked > 30


@pytest.mark.parametrize(
    "broken", [{"release": 7}, {"stale": None}, {"total": "1"}, {"items": [{}]}, {"surprise": 1}, {"as_of": 2011}]
)
def test_a_broken_example_would_be_noticed(document: dict[str, Any], broken: dict[str, Any]) -> None:
    content = document["paths"]["/v1/churn"]["get"]["responses"]["200"]["content"]["application/json"]
    assert list(violations(content["example"] | broken, content["schema"], document))


def test_real_answers_obey_the_contract(tmp_path: Path, document: dict[str, Any]) -> None:
    settings = made_settings(tmp_path)
    made_release(settings)
    headers = {"Authorization": f"Bearer {demo_key(settings)}"}
    values = {"{customer_id}": "12346", "{segment_id}": "champions"}
    named = {"/v1/forecasts/one": {"product_id": PRODUCTS[7]}}
    batch = {"series": [{"product_id": PRODUCTS[7]}, {"product_id": "none"}]}
    with TestClient(create_app(settings), headers=headers, **LOCAL) as client:
        for path, methods in document["paths"].items():
            method, operation = next(iter(methods.items()))
            if method == "post" and path != "/v1/forecasts:batch":
                continue  # what is posted has tests of its own, and schemathesis
            schema = operation["responses"]["200"]["content"].get("application/json", {}).get("schema")
            if schema is None:
                continue
            for name, value in values.items():
                path = path.replace(name, value)
            answer = (
                client.get(path, params=named.get(path))
                if method == "get"
                else client.request(method, path, json=batch)
            )
            assert answer.status_code == 200, path
            assert list(violations(answer.json(), schema, document)) == [], path


def violations(value: Any, schema: dict[str, Any], document: dict[str, Any], at: str = "") -> Iterator[str]:
    """Where a value breaks a JSON schema: the part of the language that the contract uses, and no other."""
    known = {"$ref", "type", "anyOf", "const", "enum", "properties", "required", "additionalProperties", "items"}
    ignored = {"title", "description", "default", "format", "examples"}
    assert not schema.keys() - known - ignored, f"the checker does not know {schema.keys() - known - ignored}"
    if "$ref" in schema:
        yield from violations(value, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document, at)
        return
    if "anyOf" in schema:
        if all(any(violations(value, option, document, at)) for option in schema["anyOf"]):
            yield f"{at}: {value!r} is none of {schema['anyOf']}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {value!r} is not {schema['const']!r}"
    if "type" in schema and not is_of_type(value, schema["type"]):
        yield f"{at}: {value!r} is not of type {schema['type']}"
        return
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        yield from (f"{at}.{name} is missing" for name in schema.get("required", []) if name not in value)
        for name, part in value.items():
            if name in properties:
                yield from violations(part, properties[name], document, f"{at}.{name}")
            elif others is False:
                yield f"{at}.{name} is not foreseen"
            elif isinstance(others, dict):
                yield from violations(part, others, document, f"{at}.{name}")
    if isinstance(value, list):
        for place, part in enumerate(value):
            yield from violations(part, schema.get("items", {}), document, f"{at}[{place}]")


def is_of_type(value: Any, name: str) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "null": value is None,
        "number": number,
        "integer": number and float(value).is_integer(),
    }[name]
