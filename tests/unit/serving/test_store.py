from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from pipelines.release import activate, freeze, rollback
from pipelines.settings import Settings
from serving.answers import matching
from serving.app import create_app
from serving.auth import demo_key
from serving.problems import Problem
from serving.store import Store
from tests.made_shop import made_release
from tests.unit.serving.conftest import LOCAL

HEAVY = ("mlflow", "evidently", "sklearn", "lightgbm", "pandas", "deltalake", "scipy", "matplotlib")


def store_of(settings: Settings) -> Store:
    return Store(settings.releases_dir, settings.serving.stale_after_days)


def test_without_a_release_there_is_trouble_and_a_503(new_settings: Settings) -> None:
    store = store_of(new_settings)
    assert not store.refresh()
    with pytest.raises(Problem, match="no release yet") as problem:
        store.now()
    assert problem.value.kind.status == 503


def test_a_new_release_is_taken_up_and_a_rollback_too(new_settings: Settings) -> None:
    first = made_release(new_settings, 1)
    store = store_of(new_settings)
    assert store.refresh()
    assert not store.refresh(), "nothing has changed"
    second = made_release(new_settings, 2)
    assert store.refresh()
    assert store.now().release.id == second.id
    rollback(new_settings.releases_dir)
    assert store.refresh()
    assert store.now().release.id == first.id


def test_a_damaged_release_is_refused_and_the_old_one_answers_on(
    new_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made_release(new_settings, 1)
    store = store_of(new_settings)
    store.refresh()
    second = made_release(new_settings, 2)
    table = second.folder / "tables" / "forecasts.arrow"
    sound = table.read_bytes()
    table.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert not store.refresh()
    assert store.now().release.id == first.id
    assert store.trouble is not None
    assert second.id in store.trouble
    assert "forecasts.arrow is damaged" in store.trouble
    assert f"{first.id} still answers" in store.trouble
    store.refresh()
    assert store.refusals == 1, "it is not read again at every look"

    table.write_bytes(sound)
    monkeypatch.setattr("serving.store.RETRY_SECONDS", 0.0)
    assert store.refresh(), "mended in place, it is taken up"
    assert store.trouble is None


def test_readiness_and_the_start_page_say_why_a_release_was_refused(new_settings: Settings) -> None:
    first = made_release(new_settings, 1)
    with TestClient(create_app(new_settings), **LOCAL) as client:
        second = made_release(new_settings, 2)
        (second.folder / "manifest.json").write_bytes(b"{")
        client.app.state.store.refresh()
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["release"]) == (200, first.id)
        assert f"{second.id} was refused" in ready.json()["trouble"]
        assert f"{second.id} was refused" in client.get("/").text


def test_before_the_first_release_pages_answer_and_readiness_does_not(new_settings: Settings) -> None:
    with TestClient(create_app(new_settings), headers={}, **LOCAL) as client:
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["type"]) == (503, "/docs#not-ready")
        assert client.get("/health/live").status_code == 200
        assert "purvey run" in client.get("/").text
        key = demo_key(new_settings)
        assert client.get("/v1/churn", headers={"Authorization": f"Bearer {key}"}).status_code == 503
        made_release(new_settings)
        client.app.state.store.refresh()
        assert client.get("/health/ready").status_code == 200


def test_a_release_whose_tables_do_not_fit_together_is_refused(new_settings: Settings) -> None:
    first = made_release(new_settings, 1)
    store = store_of(new_settings)
    store.refresh()
    odd = freeze(
        new_settings.releases_dir,
        shop={"series": ["product_id"]},
        tables={"forecasts": pl.DataFrame({"product_id": ["a"]})},
        models={},
        reports={},
        facts={},
    )
    activate(new_settings.releases_dir, odd.id)
    assert not store.refresh()
    assert store.now().release.id == first.id
    assert store.trouble is not None


def test_series_keys_are_compared_as_their_own_type() -> None:
    frame = pl.DataFrame({"store": [1, 2, 3], "item": ["1", "01", "x"]})
    assert matching(frame, {"store": ["2", "3"], "item": []})["store"].to_list() == [2, 3]
    assert matching(frame, {"store": [], "item": ["1"]})["store"].to_list() == [1]
    with pytest.raises(Problem, match="not of type"):
        matching(frame, {"store": ["two"]})


def test_importing_the_server_loads_nothing_heavy(tmp_path: Path) -> None:
    script = f"import serving.app, serving.run, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
