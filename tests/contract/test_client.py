"""The typed client that is generated from the contract, against the real server."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from serving.app import create_app
from serving.auth import create_key
from tests.made_shop import CUSTOMERS, made_release, made_settings
from tests.served import served


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The generated package beside a client of it that is connected to a server."""
    folder = tmp_path_factory.mktemp("client")
    settings = made_settings(folder)
    release = made_release(settings)
    document = folder / "openapi.json"
    document.write_bytes(orjson.dumps(create_app(settings).openapi()))
    program = Path(sys.executable).with_name("openapi-python-client")
    subprocess.run(
        [program, "generate", "--path", document, "--meta", "none", "--output-path", folder / "purvey_client"],
        check=True,
        capture_output=True,
        env={"PATH": str(program.parent), "HOME": str(folder)},
    )
    sys.path.insert(0, str(folder))
    try:
        package = importlib.import_module("purvey_client")
        with served(settings) as server:
            token = create_key(settings, name="client", scopes=["admin"])
            with package.AuthenticatedClient(base_url=server.address, token=token) as connected:
                yield connected, release
    finally:
        sys.path.remove(str(folder))


def operation(module: str) -> Any:
    return importlib.import_module(f"purvey_client.api.{module}")


def test_answers_arrive_as_typed_objects(client: Any) -> None:
    connected, release = client
    ready = operation("health.ready_health_ready_get").sync(client=connected)
    assert (ready.status, ready.release, ready.stale) == ("ready", release.id, False)
    customer = operation("customers.show_customer_v1_customers_customer_id_get").sync(CUSTOMERS[0], client=connected)
    assert customer.release == release.id
    assert customer.customer.customer_id == CUSTOMERS[0]
    assert 0 <= customer.customer.churn_probability <= 1


def test_a_problem_arrives_as_a_typed_problem(client: Any) -> None:
    connected, _ = client
    show = operation("customers.show_customer_v1_customers_customer_id_get")
    problem = show.sync("nobody", client=connected)
    assert type(problem).__name__ == "ProblemDocument"
    assert (problem.status, problem.title) == (404, "Not found")
