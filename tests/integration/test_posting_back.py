"""Posting back to the real server: nothing acknowledged is lost, one of two wins, a repeated request works once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import orjson
import pytest

from pipelines import inbox
from pipelines.database import Database
from pipelines.settings import Settings
from serving.auth import create_key
from tests.integration.test_api import SCRIPT, free_port, running, wait_until_ready
from tests.made_shop import made_release, made_settings
from tests.postgres import Postgres, database_url, postgres

__all__ = ["Postgres", "database_url", "postgres"]
DECISIONS, EVENTS = "/v1/replenishment/decisions", "/v1/outcomes/orders"


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    made = made_settings(tmp_path, serving={"database": database_url})
    (tmp_path / "shop.yaml").write_bytes(orjson.dumps(made.model_dump(mode="json")))
    made_release(made)
    return made


@contextmanager
def served(settings: Settings, folder: Path) -> Iterator[tuple[httpx2.Client, object]]:
    key = create_key(settings, name="erp", scopes=["replenishment:read", "replenishment:write", "outcomes:write"])
    port = free_port()
    with running(folder / "log", "-c", SCRIPT, folder, port) as server:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(address)
        with httpx2.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
            yield client, server


def approve(line: str) -> dict:
    return {"decisions": [{"order_line": line, "decision": "approve", "why": "needed"}]}


def open_lines(client: httpx2.Client) -> list[str]:
    answer = client.get("/v1/replenishment", params={"min_quantity": 1, "limit": 100})
    assert answer.status_code == 200, answer.text
    return [item["order_line"] for item in answer.json()["items"] if item["state"] == "proposed"]


def test_one_of_two_wins_a_repeat_is_replayed_and_states_are_shown(settings, tmp_path):
    with served(settings, tmp_path) as (client, _):
        line, other, *_ = open_lines(client)
        codes: list[int] = []

        def go() -> None:
            codes.append(client.post(DECISIONS, json=approve(line)).status_code)

        both = [threading.Thread(target=go) for _ in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()
        # approved → approved is not allowed, so that the second is told
        assert sorted(codes) == [202, 409]
        named = {"Idempotency-Key": "a"}
        first = client.post(DECISIONS, json=approve(other), headers=named)
        again = client.post(DECISIONS, json=approve(other), headers=named)
        assert (first.status_code, again.status_code) == (202, 202)
        assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
        assert client.post(DECISIONS, json=approve(line), headers=named).status_code == 422
        assert not {line, other} & set(open_lines(client))
        missing = client.post(DECISIONS, json=approve("20990101-0"))
        assert missing.status_code == 404
        assert missing.json()["errors"][0]["field"] == "decisions.0.order_line"
        row = {"product_id": "80000A", "as_of": "2011-12-10", "on_hand": -1}
        refused = client.post("/v1/outcomes/stock", json={"rows": [row | {"on_hand": 3}, row]})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "rows.1.on_hand"
        assert client.post("/v1/outcomes/stock", json={"rows": [row | {"on_hand": 3}]}).status_code == 202
        to_come = client.post("/v1/outcomes/stock", json={"rows": [row | {"on_hand": 3, "as_of": "9999-12-31"}]})
        assert (to_come.status_code, to_come.json()["errors"][0]["field"]) == (422, "rows.0.as_of")
    with closing(Database(settings)) as database:
        assert inbox.waiting(database, inbox.DECISIONS).height == 2
        assert inbox.waiting(database, inbox.STOCK).height == 1


def test_what_the_store_or_the_ledger_could_not_hold_is_refused(settings, tmp_path):
    with served(settings, tmp_path) as (client, _):
        event = {"order_line": open_lines(client)[0], "event": "received", "quantity": 3}
        twice = client.post(EVENTS, json={"rows": [event, event | {"order_line": f"REC-{event['order_line']}"}]})
        assert (twice.status_code, twice.json()["errors"][0]["field"]) == (422, "rows.1")
        for path, body in ((EVENTS, {"rows": [event | {"order_line": "a\0"}]}), (DECISIONS, approve("a\0"))):
            assert client.post(path, json=body).status_code == 422
        both = client.post(EVENTS, json={"rows": [event | {"event": "acknowledged"}, event]})
        assert both.status_code == 202
    with closing(Database(settings)) as database:
        assert inbox.waiting(database, inbox.DECISIONS).height == 2


def test_no_acknowledged_decision_is_lost_when_the_server_is_killed(settings, tmp_path):
    acknowledged: list[str] = []
    with served(settings, tmp_path) as (client, server):
        lines = open_lines(client)

        def go(mine: list[str]) -> None:
            for line in mine:
                try:
                    if client.post(DECISIONS, json=approve(line)).status_code == 202:
                        acknowledged.append(line)
                except httpx2.TransportError:
                    return
                if len(acknowledged) == 8:
                    server.kill()

        threads = [threading.Thread(target=go, args=(lines[part::4],)) for part in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert len(acknowledged) >= 8
    with closing(Database(settings)) as database:
        kept = inbox.waiting(database, inbox.DECISIONS)["subject"].to_list()
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))


def test_a_key_of_other_places_is_told_nothing_of_a_line(settings, tmp_path):
    elsewhere = create_key(settings, name="nice", scopes=["replenishment:write"], locations=["nice"])
    with served(settings, tmp_path) as (client, _):
        line = open_lines(client)[0]
        theirs = {"Authorization": f"Bearer {elsewhere}"}
        assert client.post(DECISIONS, json=approve(line), headers=theirs).status_code == 404
        assert line in open_lines(client)
