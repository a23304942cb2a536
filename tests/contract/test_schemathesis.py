"""Every operation of the API against its own description, by requests that schemathesis makes up, on a real server.

PURVEY_SCHEMATHESIS_EXAMPLES says how many of them an operation gets.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from serving.app import create_app
from serving.auth import create_key
from tests.made_shop import made_release, made_settings
from tests.served import served

EXAMPLES = int(os.environ.get("PURVEY_SCHEMATHESIS_EXAMPLES", "8"))
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    shop = made_settings(tmp_path_factory.mktemp("fuzzed"))
    made_release(shop)
    key = create_key(shop, name="schemathesis", scopes=["admin"])
    schema = schemathesis.openapi.from_dict(create_app(shop).openapi())
    with served(shop) as server:
        schema.config.update(base_url=server.address, headers={"Authorization": f"Bearer {key}"})
        yield schema
        assert server.process.poll() is None, "the server ended under made-up requests"
        assert '"level":"error"' not in server.log.read_text()


def test_every_operation_answers_as_it_is_described(api: schemathesis.BaseSchema) -> None:
    asked = []
    for operation in (found.ok() for found in api.get_all_operations()):

        @BOUNDED
        @given(operation.as_strategy())
        def answers_as_described(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        answers_as_described()
        asked.append(operation.label)
    assert len(asked) > 10


def test_operations_called_one_after_the_other_answer_as_described(api: schemathesis.BaseSchema) -> None:
    class Described(api.as_state_machine()):
        def validate_response(self, response: Any, case: schemathesis.Case, **_: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    Described.run(settings=settings(BOUNDED, stateful_step_count=6))


def test_an_answer_that_is_not_as_described_would_be_noticed(api: schemathesis.BaseSchema) -> None:
    document = copy.deepcopy(api.raw_schema)
    document["components"]["schemas"]["Ready"]["properties"]["age_days"] = {"type": "string"}
    described = schemathesis.openapi.from_dict(document)
    described.config.update(base_url=api.config.base_url)
    with pytest.raises(FailureGroup, match="is not of type"):
        described["/health/ready"]["GET"].Case().call_and_validate(checks=CHECKS)
