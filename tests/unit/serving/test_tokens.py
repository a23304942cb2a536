"""Tokens of an identity provider: a JWKS server of the tests' own, real keys, and every way we know to cheat."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.testclient import TestClient

from pipelines.sections import Oidc
from serving.access import tokens
from serving.app import create_app
from tests.made_shop import made_release, made_settings
from tests.unit.serving.conftest import LOCAL

ISSUER, AUDIENCE = "https://id.example.com/", "purvey"
RSA, OTHER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC = ec.generate_private_key(ec.SECP256R1())


class Provider:
    """What it publishes, and how often it was asked."""

    def __init__(self) -> None:
        self.keys = [
            published(RSA, "one", jwt.algorithms.RSAAlgorithm),
            published(EC, "two", jwt.algorithms.ECAlgorithm),
        ]
        self.asked = 0


def published(key: Any, kid: str, algorithm: Any) -> dict[str, Any]:
    return json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"}


@pytest.fixture(scope="module")
def provider() -> Iterator[tuple[Provider, str]]:
    made = Provider()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked += 1
            body = json.dumps({"keys": made.keys}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made, f"http://127.0.0.1:{server.server_port}/keys"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, provider: tuple[Provider, str]) -> Iterator[TestClient]:
    oidc = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": provider[1], "leeway_seconds": 5}
    settings = made_settings(tmp_path_factory.mktemp("oidc"), serving={"oidc": oidc, "limits": {"refused_burst": 1000}})
    made_release(settings)
    with TestClient(create_app(settings), **LOCAL) as client:
        yield client


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "erp",
        "iat": now,
        "exp": now + 60,
        "scope": "monitoring:read openid",
    }
    return {name: value for name, value in (said | more).items() if value is not None}


def signed(said: dict[str, Any], key: Any = RSA, kid: str | None = "one", algorithm: str = "RS256") -> str:
    return jwt.encode(said, key, algorithm=algorithm, headers={"kid": kid} if kid else {})


def status(client: TestClient, token: str, path: str = "/v1/models") -> int:
    return client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code


def forged(header: dict[str, Any], said: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(said).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_a_token_opens_what_its_scopes_say(client: TestClient) -> None:
    assert status(client, signed(claims())) == 200
    assert status(client, signed(claims(), EC, "two", "ES256")) == 200
    assert status(client, signed(claims()), "/v1/churn") == 403
    assert status(client, signed(claims(scope=["customers:read"])), "/v1/churn") == 200


def public_pem() -> bytes:
    return RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def with_public_key_as_secret() -> str:
    """HS256 signed with what everybody can read: PyJWT refuses to make such a token, so it is made by hand."""
    import hashlib
    import hmac

    body = forged({"alg": "HS256", "kid": "one", "typ": "JWT"}, claims()).rpartition(".")[0]
    signature = base64.urlsafe_b64encode(hmac.digest(public_pem(), body.encode(), hashlib.sha256))
    return f"{body}.{signature.decode().rstrip('=')}"


CHEATS = {
    "alg none": lambda: forged({"alg": "none", "kid": "one"}, claims()),
    "alg None": lambda: forged({"alg": "None", "kid": "one"}, claims()),
    "the public key as a secret": with_public_key_as_secret,
    "another's key": lambda: signed(claims(), OTHER),
    "another kid's key": lambda: signed(claims(), EC, "one", "ES256"),
    "an algorithm that was not configured": lambda: signed(claims(), RSA, "one", "RS512"),
    "expired": lambda: signed(claims(exp=int(time.time()) - 60)),
    "without expiry": lambda: signed(claims(exp=None)),
    "not yet": lambda: signed(claims(nbf=int(time.time()) + 600)),
    "another audience": lambda: signed(claims(aud="crm")),
    "no audience": lambda: signed(claims(aud=None)),
    "another issuer": lambda: signed(claims(iss="https://id.example.org/")),
    "nobody": lambda: signed(claims(sub=None)),
    "unknown kid": lambda: signed(claims(), RSA, "nine"),
    "no kid": lambda: signed(claims(), RSA, None),
    "another body": lambda: ".".join([*signed(claims()).split(".")[:1], "e30", signed(claims()).split(".")[2]]),
    "no token": lambda: "a.b.c",
    "a key of its own inside": lambda: forged(
        {"alg": "RS256", "kid": "one", "jwk": published(OTHER, "one", jwt.algorithms.RSAAlgorithm)}, claims(), b"x"
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_is_refused(client: TestClient, cheat: str) -> None:
    assert status(client, CHEATS[cheat]()) == 401


def test_a_clock_a_little_off_is_forgiven(client: TestClient) -> None:
    assert status(client, signed(claims(exp=int(time.time()) - 2))) == 200
    assert status(client, signed(claims(nbf=int(time.time()) + 2))) == 200


def test_a_token_once_found_good_still_expires(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed(claims())
    assert status(client, token) == 200
    later = time.time() + 70
    monkeypatch.setattr(tokens.clock, "now", lambda: later)
    assert status(client, token) == 401


def test_new_keys_of_the_provider_are_read_when_a_token_names_one(
    client: TestClient, provider: tuple[Provider, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = provider
    token, asked = signed(claims(), OTHER, "three"), made.asked
    made.keys = [*made.keys, published(OTHER, "three", jwt.algorithms.RSAAlgorithm)]
    client.app.state.issuer._looked_at = time.monotonic()
    assert [status(client, token) for _ in range(5)] == [401] * 5
    assert made.asked == asked, "a flood of unknown kids does not become a flood of questions"
    monkeypatch.setattr(tokens, "LOOK_AGAIN_SECONDS", 0.0)
    assert [status(client, token) for _ in range(3)] == [200] * 3
    assert made.asked == asked + 1


def test_who_comes_while_the_keys_are_read_waits_for_them(provider: tuple[Provider, str]) -> None:
    issuer = tokens.Issuer(Oidc(issuer=ISSUER, audience=AUDIENCE, jwks_url=provider[1]))
    token = signed(claims())

    async def start() -> object:
        reading = asyncio.create_task(issuer.refresh())
        await asyncio.sleep(0)  # it has begun and is not done
        await issuer.look_again_for(f"Bearer {token}")
        found = issuer.access_of(token)
        await reading
        return found

    assert asyncio.run(start()) is not None


def test_the_locations_of_a_token(provider: tuple[Provider, str]) -> None:
    settings = Oidc(issuer=ISSUER, audience=AUDIENCE, jwks_url=provider[1], locations_claim="shops")
    issuer = tokens.Issuer(settings)
    issuer._keys = issuer._published()

    def places(**more: Any) -> frozenset[str] | None:
        access = issuer.access_of(signed(claims(**more)))
        assert access is not None
        return access.locations

    assert places(shops=["nice", "lyon"]) == {"nice", "lyon"}
    assert places(shops="new york") == {"new york"}
    assert places(shops=["*"]) is None
    assert places() == frozenset(), "a token that says nothing of shops sees none"


def test_keys_are_read_over_tls_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https://"):
        made_settings(
            tmp_path, serving={"oidc": {"issuer": "x", "audience": "y", "jwks_url": "http://id.example.com/"}}
        )
