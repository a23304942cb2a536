from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from pipelines.release import activate, freeze, prune, rollback
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


def test_nothing_stops_the_watch(
    new_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A locked file of keys, whatever is wrong with a look: logged, and the next look follows."""
    first = made_release(new_settings, 1)
    store = store_of(new_settings)
    threads = []
    refresh = store.refresh

    def stumbling() -> bool:
        threads.append(threading.current_thread())
        if len(threads) == 2:
            raise RuntimeError("a bad look")
        return refresh()

    def locked() -> None:
        threads.append(threading.current_thread())
        raise sqlite3.OperationalError("database is locked")

    async def watched() -> None:
        watching = asyncio.create_task(store.watch(locked))
        while len(threads) < 6:
            await asyncio.sleep(0.001)
        assert not watching.done()
        watching.cancel()

    monkeypatch.setattr("serving.store.CHECK_SECONDS", 0.001)
    monkeypatch.setattr(store, "refresh", stumbling)
    with caplog.at_level(logging.ERROR, logger="purvey.serving"):
        asyncio.run(asyncio.wait_for(watched(), timeout=10))
    assert store.now().release.id == first.id
    assert "OperationalError" in caplog.text
    assert threading.main_thread() not in threads, "requests are not held up"


def test_reports_outlive_the_pruning_of_their_folder(new_settings: Settings) -> None:
    made_release(new_settings, 1)
    headers = {"Authorization": f"Bearer {demo_key(new_settings)}"}
    with TestClient(create_app(new_settings), headers=headers, **LOCAL) as client:
        before = client.get("/reports/drift.html")
        for seed in (2, 3, 4):
            made_release(new_settings, seed)
        held = client.app.state.store.now().release
        prune(new_settings.releases_dir, keep=1)
        assert not held.folder.exists()
        after = client.get("/reports/drift.html")
        assert (after.status_code, after.content) == (200, before.content)
        assert client.get("/v1/churn").status_code == 200
        assert client.get("/lists/forecasts").status_code == 200


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
