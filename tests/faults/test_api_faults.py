"""The real server under what a hostile or broken world sends it: it refuses, stays up and stays right."""

from __future__ import annotations

import csv
import io
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from pipelines.release import MANIFEST, current
from pipelines.settings import Settings
from serving.auth import create_key
from tests.made_shop import CUSTOMERS, PRODUCTS, made_release, made_settings
from tests.served import Served, free_port, served

MB = 1_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = made_settings(tmp_path_factory.mktemp("faults"))
    made_release(settings)
    return settings


@pytest.fixture(scope="module")
def key(shop: Settings) -> str:
    return create_key(shop, name="faults", scopes=["admin"])


@pytest.fixture(scope="module")
def server(shop: Settings) -> Iterator[Served]:
    with served(shop) as one:
        yield one
        assert one.process.poll() is None, "the server ended"
        assert '"level":"error"' not in one.log.read_text()


@pytest.fixture
def client(server: Served, key: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.address, headers={"Authorization": f"Bearer {key}"}, timeout=20) as one:
        yield one
        assert one.get("/health/ready").status_code == 200, "it does not answer others any more"


def refused(answer: httpx2.Response, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("path", ["/v1/forecasts", "/v1/customers/12346", "/sign-in", "/nowhere"])
def test_ten_megabytes_of_body_are_refused_or_ignored(client: httpx2.Client, path: str) -> None:
    answer = client.post(path, content=b"x" * 10 * MB)
    assert 400 <= answer.status_code < 500


def test_ten_thousand_ids_are_refused(server: Served, client: httpx2.Client, key: str) -> None:
    """Sent by hand: no client of ours would write such a line."""
    asked = "&".join(f"product_id=p{number}" for number in range(10_000))
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as call:
        call.sendall(f"GET /v1/forecasts?{asked} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        assert call.recv(12) in (b"HTTP/1.1 422", b"HTTP/1.1 414", b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "customer",
    [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "....//",
        "a\x00b",
        "😀",
        "\u202e12346",
        "'; DROP TABLE keys; --",
        "a" * 5000,
        "12346\r\nX-Injected: 1",
        "%",
        "{customer_id}",
    ],
)
def test_odd_ids_are_not_found_and_reach_no_file(client: httpx2.Client, customer: str) -> None:
    answer = client.get(f"/v1/customers/{quote(customer, safe='')}")
    refused(answer, 404, 422)
    assert "x-injected" not in answer.headers
    refused(client.get("/v1/forecasts", params={"product_id": customer}), 404, 422)


@pytest.mark.parametrize("report", ["..%2f..%2fmanifest.json", "%2e%2e/manifest.json", "%2fetc%2fpasswd", "a%00.html"])
def test_reports_lead_to_no_other_file(client: httpx2.Client, report: str) -> None:
    for path in ("/monitoring/reports", "/reports", "/v1/reports", "/static"):
        answer = client.get(f"{path}/{report}")
        assert answer.status_code in (404, 422), path
        assert "sha256" not in answer.text
        assert "root:" not in answer.text


@pytest.mark.parametrize("bomb", [{"X-Long": "a" * 200_000}, {f"X-{number}": "a" * 100 for number in range(5000)}])
def test_header_bombs_do_no_harm(client: httpx2.Client, bomb: dict[str, str]) -> None:
    try:
        answer = client.get("/health/live", headers=bomb)
    except httpx2.TransportError:
        return  # the door was shut, which the fixture checks is all that happened
    assert answer.status_code in (200, 400, 413, 431)


@pytest.mark.parametrize(
    "said",
    [
        b"GET /health/live HTTP/1.1\r\n",  # and then nothing
        b"POST /v1/forecasts HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS at a plain door
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"\x00" * 5000,
    ],
)
def test_slow_and_broken_callers_keep_nobody_waiting(server: Served, client: httpx2.Client, said: bytes) -> None:
    calls = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    try:
        for call in calls:
            call.sendall(said)
        assert client.get("/v1/forecasts", params={"product_id": PRODUCTS[0]}).status_code == 200
    finally:
        for call in calls:
            call.close()


def test_no_cell_of_a_file_starts_a_formula(client: httpx2.Client) -> None:
    for path in ("/v1/churn", "/v1/forecasts", "/v1/replenishment"):
        answer = client.get(path, params={"format": "csv"})
        rows = list(csv.reader(io.StringIO(answer.text)))
        assert len(rows) > 2
        numbers = [cell for row in rows for cell in row if cell[:1] in {"=", "+", "-", "@", "\t", "\r"}]
        for cell in numbers:
            float(cell)  # a negative number is no formula; anything else fails here


def test_a_truncated_release_is_refused_and_the_old_one_answers(tmp_path: Path) -> None:
    shop = made_settings(tmp_path)
    old = made_release(shop, 1)
    key = create_key(shop, name="faults", scopes=["admin"])
    with served(shop) as server:
        new = made_release(shop, 2, current=False)
        table = new.folder / "tables" / "forecasts.arrow"
        table.write_bytes(table.read_bytes()[:-100])
        link = shop.releases_dir / "next"
        link.symlink_to(new.id)
        link.replace(shop.releases_dir / "current")
        ready = answered(server, lambda said: said["trouble"] is not None)
        assert ready["release"] == old.id
        assert new.id in ready["trouble"]
        with httpx2.Client(base_url=server.address, headers={"Authorization": f"Bearer {key}"}) as client:
            assert client.get("/v1/forecasts", params={"product_id": PRODUCTS[0]}).json()["release"] == old.id
            assert "purvey_release_refusals_total 1.0" in client.get("/metrics").text


def test_reads_survive_the_loss_of_everything_on_disk_but_the_keys(tmp_path: Path) -> None:
    """The lake, MLflow and the releases themselves are gone: what is in memory answers."""
    shop = made_settings(tmp_path)
    held = made_release(shop)
    key = create_key(shop, name="faults", scopes=["admin"])
    with served(shop) as server, httpx2.Client(base_url=server.address) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        shop.releases_dir.rename(tmp_path / "gone")
        for folder in ("lake", "mlruns"):
            (shop.home / folder).exists() and (shop.home / folder).rename(tmp_path / folder)
        time.sleep(0.2)  # several looks at `current`
        for path in (
            "/v1/forecasts",
            "/v1/churn",
            f"/v1/customers/{CUSTOMERS[0]}",
            "/v1/segments",
            "/v1/replenishment",
        ):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["release"]) == (200, held.id), path


def test_a_manifest_from_the_future_is_refused_by_name(tmp_path: Path) -> None:
    shop = made_settings(tmp_path)
    old = made_release(shop, 1)
    with served(shop) as server:
        new = made_release(shop, 2, current=False)
        manifest = new.folder / MANIFEST
        manifest.write_text(
            manifest.read_text().replace('"layout":1', '"layout":99').replace('"layout": 1', '"layout": 99')
        )
        link = shop.releases_dir / "next"
        link.symlink_to(new.id)
        link.replace(shop.releases_dir / "current")
        ready = answered(server, lambda said: said["trouble"] is not None)
    assert ready["release"] == old.id
    assert "layout 99" in ready["trouble"]


def test_killed_under_load_and_started_again_it_answers_the_same(tmp_path: Path) -> None:
    shop = made_settings(tmp_path)
    made_release(shop)
    key = create_key(shop, name="faults", scopes=["admin"])
    port, headers = free_port(), {"Authorization": f"Bearer {key}"}
    answers: list[bytes] = []

    def ask(address: str, stop: threading.Event) -> None:
        with httpx2.Client(base_url=address, headers=headers) as client:
            while not stop.is_set():
                try:
                    answers.append(client.get("/v1/forecasts", params={"product_id": PRODUCTS[3]}).content)
                except httpx2.TransportError:
                    return

    for _ in range(2):
        stop = threading.Event()
        with served(shop, port=port) as server:
            loads = [threading.Thread(target=ask, args=(server.address, stop)) for _ in range(3)]
            for load in loads:
                load.start()
            before = len(answers)
            while len(answers) < before + 30:
                time.sleep(0.01)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            stop.set()
            for load in loads:
                load.join()
    assert len(set(answers)) == 1
    assert (now := current(shop.releases_dir)) is not None
    assert now.id.encode() in answers[0]


def test_what_is_under_way_is_answered_before_it_ends(tmp_path: Path) -> None:
    shop = made_settings(tmp_path)
    made_release(shop)
    with served(shop) as server, socket.create_connection(("127.0.0.1", server.port)) as call:
        call.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")  # half a request
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        call.sendall(b"\r\n")
        assert call.recv(100).startswith(b"HTTP/1.1 200"), "a request that had begun was dropped"
        assert server.process.wait(timeout=10) == 0


def answered(server: Served, wanted: object) -> dict[str, object]:
    """What /health/ready says once it says what is wanted."""
    assert callable(wanted)
    for _ in range(400):
        said = httpx2.get(f"{server.address}/health/ready").json()
        if wanted(said):
            return said
        time.sleep(0.025)
    raise AssertionError(f"after 10 s it still says {said}")
