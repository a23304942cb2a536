from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.sections import Limits
from pipelines.settings import Settings
from serving import limits
from serving.app import create_app
from serving.auth import create_key
from serving.limits import Limiter
from serving.problems import Problem
from tests.made_shop import made_release, made_settings
from tests.unit.serving.conftest import LOCAL


class Clock:
    """A monotonic clock that stands still until told otherwise; the clock on the wall may do what it likes."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall = 1e9

    def monotonic(self) -> float:
        return self.seconds

    def time(self) -> float:
        return self.wall


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(limits, "time", made)
    return made


def taken(limiter: Limiter, sender: str = "a") -> bool:
    try:
        limiter.take("requests", sender)
    except Problem:
        return False
    return True


def test_a_bucket_gives_its_burst_and_then_its_rate(clock: Clock) -> None:
    limiter = Limiter(Limits(requests_per_second=2, burst=5))
    assert [taken(limiter) for _ in range(6)] == [True] * 5 + [False]
    assert taken(limiter, "b"), "each sender has its own"
    clock.seconds += 1.0
    assert [taken(limiter) for _ in range(3)] == [True, True, False]
    clock.seconds += 3600
    assert sum(taken(limiter) for _ in range(100)) == 5, "a pause saves up one burst, no more"


def test_over_any_time_no_more_than_burst_and_rate(clock: Clock) -> None:
    """The definition of a token bucket, counted by hand: n ≤ burst + rate × seconds."""
    limiter = Limiter(Limits(requests_per_second=3, burst=4))
    given = 0
    for _ in range(500):
        given += taken(limiter)
        clock.seconds += 0.125
        assert given <= 4 + 3 * (clock.seconds - 1000.0)
    assert given >= 3 * 500 * 0.125, "and no less than the rate"


def test_a_clock_set_back_or_forth_changes_no_bucket(clock: Clock) -> None:
    limiter = Limiter(Limits(requests_per_second=1, burst=2))
    assert [taken(limiter), taken(limiter), taken(limiter)] == [True, True, False]
    clock.wall += 1e7
    assert not taken(limiter)
    clock.wall -= 1e8
    clock.seconds += 1
    assert taken(limiter)


def test_what_is_remembered_of_senders_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_SENDERS", 10)
    limiter = Limiter(Limits(requests_per_second=1, burst=2))
    assert [taken(limiter, "busy"), taken(limiter, "busy"), taken(limiter, "busy")] == [True, True, False]
    for number in range(9):
        taken(limiter, str(number))
    clock.seconds += 1.0  # they are full again, the busy one is not
    taken(limiter, "one more")
    assert len(limiter._levels["requests"]) == 2
    assert [taken(limiter, "busy"), taken(limiter, "busy")] == [True, False], "it is still remembered"


SMALL: dict[str, Any] = {
    "requests_per_second": 0.001,
    "burst": 6,
    "exports_per_minute": 0.001,
    "exports_burst": 2,
    "refused_per_second": 0.001,
    "refused_burst": 3,
    "body_bytes": 1024,
    "header_bytes": 2048,
}


@pytest.fixture
def limited(tmp_path: Path) -> Settings:
    settings = made_settings(tmp_path, serving={"limits": SMALL})
    made_release(settings)
    return settings


@pytest.fixture
def client(limited: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(limited), **LOCAL) as client:
        yield client


def bearer(settings: Settings, *scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_key(settings, name='x', scopes=scopes)}"}


def test_answers_say_what_is_left_and_then_to_wait(limited: Settings, client: TestClient) -> None:
    key = bearer(limited, "admin")
    for left in (5, 4, 3, 2, 1, 0):
        answer = client.get("/v1/models", headers=key)
        assert answer.status_code == 200
        assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == ("6", str(left))
    answer = client.get("/v1/models", headers=key)
    assert (answer.status_code, answer.json()["type"]) == (429, "/docs#too-many-requests")
    assert 0 < int(answer.headers["retry-after"]) <= 1000
    assert answer.headers["ratelimit-remaining"] == "0"
    another = bearer(limited, "admin")
    assert client.get("/v1/models", headers=another).status_code == 200, "another key"
    assert "purvey_limited_total 1.0" in client.get("/metrics", headers=another).text
    assert client.get("/health/live").status_code == 200


def test_exports_have_a_smaller_bucket(limited: Settings, client: TestClient) -> None:
    key = bearer(limited, "customers:read", "lists:export")
    answers = [client.get("/v1/churn?format=csv", headers=key) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[2].headers.get_list("ratelimit-limit") == ["2"], "of the bucket that is empty, and of no other"
    assert client.get("/v1/churn", headers=key).status_code == 200


def test_guessing_is_slowed_by_address_and_stops_nobody_else(limited: Settings, client: TestClient) -> None:
    wrong = {"Authorization": "Bearer pv0.guess"}
    assert [client.get("/v1/models", headers=wrong).status_code for _ in range(4)] == [401] * 3 + [429]
    assert client.post("/sign-in", data={"key": "pv0.guess"}).status_code == 429
    assert client.get("/v1/models", headers=bearer(limited, "admin")).status_code == 200


def test_limits_can_be_switched_off(tmp_path: Path) -> None:
    settings = made_settings(tmp_path, serving={"limits": SMALL | {"enabled": False}})
    made_release(settings)
    with TestClient(create_app(settings), **LOCAL) as client:
        key = bearer(settings, "admin")
        answers = [client.get("/v1/models", headers=key) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit-limit" not in answers[0].headers


def test_a_body_is_refused_before_it_is_read_and_while_it_comes_in(client: TestClient) -> None:
    read = 0

    def parts() -> Iterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"x" * 512

    told = client.post("/sign-in", content=b"x" * 1025)
    streamed = client.post("/sign-in", content=parts())
    for answer in (told, streamed):
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
        assert answer.headers["connection"] == "close"


def test_headers_have_a_size_and_a_length_that_is_none_is_refused(client: TestClient) -> None:
    assert client.get("/health/live", headers={"X-Long": "x" * 3000}).status_code == 431
    assert client.post("/sign-in", content=b"", headers={"Content-Length": "many"}).status_code == 413
