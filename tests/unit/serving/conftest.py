from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pipelines.settings import Settings
from serving.app import create_app
from serving.auth import demo_key
from tests.made_shop import made_release, made_settings

LOCAL = {"base_url": "http://127.0.0.1:8000", "client": ("127.0.0.1", 50_000)}


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = made_settings(tmp_path_factory.mktemp("served"))
    made_release(made)
    return made


@pytest.fixture(scope="session")
def key(settings: Settings) -> str:
    return demo_key(settings)


@pytest.fixture(scope="session")
def open_client(settings: Settings) -> Iterator[TestClient]:
    """On this machine, without a key."""
    with TestClient(create_app(settings), **LOCAL) as client:
        yield client


@pytest.fixture(scope="session")
def client(settings: Settings, key: str) -> Iterator[TestClient]:
    """On this machine, with the demo key."""
    with TestClient(create_app(settings), headers={"Authorization": f"Bearer {key}"}, **LOCAL) as client:
        yield client


@pytest.fixture
def new_settings(tmp_path: Path) -> Settings:
    """A shop of the test's own."""
    return made_settings(tmp_path)
