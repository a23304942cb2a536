"""Who sends a request and what they may: asked by every route that is not open to all.

Routes say `needs(scope)`, or `require(request, scope)` where it depends on the request. `visible` holds back what a key
bound to locations may not know of; `note_audit` records what cannot be taken back.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import polars as pl
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from pipelines.settings import Serving, is_loopback
from serving import limits
from serving.access.audit import Entry, list_audit
from serving.access.keyring import SESSION_HOURS, Keyring
from serving.access.keys import create_key, demo_key, list_keys, revoke_key, rotate_key
from serving.access.scopes import READING, SCOPES, Access
from serving.access.tokens import Issuer, is_token
from serving.problems import Problem

__all__ = [
    "COOKIE",
    "READING",
    "SCOPES",
    "SESSION_HOURS",
    "Access",
    "Keyring",
    "access_of",
    "create_key",
    "demo_key",
    "header_of",
    "is_local",
    "list_audit",
    "list_keys",
    "needs",
    "no_key",
    "note_audit",
    "require",
    "revoke_key",
    "rotate_key",
    "spend",
    "visible",
]
COOKIE = "purvey_session"
_PROXY_HEADERS = frozenset({b"forwarded", b"via", b"x-real-ip"})


def is_local(request: Request) -> bool:
    """Whether a request comes from this machine itself and was addressed to it.

    Nobody is local once others can reach the server. A request that shows it passed a proxy is not local either (nginx
    speaks HTTP/1.0 to what is behind it unless told otherwise; no browser does), nor one that names another host: a
    page elsewhere could otherwise point its own name at 127.0.0.1 and read along (DNS rebinding).
    """
    serving: Serving = request.app.state.serving
    if request.client is None or not serving.on_this_machine_only or request.scope["http_version"] == "1.0":
        return False
    for name, _ in request.scope["headers"]:
        if name in _PROXY_HEADERS or name.startswith(b"x-forwarded-"):
            return False
    return is_loopback(request.client.host) and is_loopback(_host(header_of(request, b"host")))


def header_of(request: Request, name: bytes) -> str:
    """A header as it came, the first of its name; empty where there is none."""
    for one, value in request.scope["headers"]:
        if one == name:
            return value.decode("latin-1")  # type: ignore[no-any-return]
    return ""


def access_of(request: Request) -> Access | None:
    """What the sender of a request may do: by its key, a token of the identity provider, or its session cookie."""
    ring: Keyring = request.app.state.keyring
    scheme, _, key = header_of(request, b"authorization").partition(" ")
    if key:
        if scheme.lower() != "bearer":
            return None
        key = key.strip()
        issuer: Issuer | None = request.app.state.issuer
        if issuer is not None and is_token(key):
            return issuer.access_of(key)
        return ring.of_key(key, local=is_local(request))
    token = request.cookies.get(COOKIE)
    return ring.of_session(token, local=is_local(request)) if token else None


def require(request: Request, scope: str) -> Access:
    """Let a request pass or stop it. It is counted once, however often this is asked.

    Raises:
        Problem: 401 without a valid key, 403 when the key does not cover the scope, 429 when it asks too much.
    """
    state = request.scope.setdefault("state", {})
    access: Access | None = state.get("access")
    if access is None:
        access = access_of(request)
        if access is None:
            raise no_key(request)
        state["key"], state["access"] = access.prefix, access
        state["rate"] = request.app.state.limiter.take("requests", access.prefix)
    if not access.may(scope):
        raise Problem("not-allowed", f"This key has no scope {scope}.")
    return access


def no_key(request: Request) -> Problem:
    """What is answered to a sender without a valid key.

    Raises:
        Problem: 429, there were too many of them from this address.
    """
    request.app.state.limiter.take("refused", request.client.host if request.client else "")
    return Problem(
        "no-key",
        "Send a valid key: `Authorization: Bearer <key>`.",
        headers={"WWW-Authenticate": 'Bearer realm="purvey"'},
    )


def spend(request: Request, of: limits.Of) -> None:
    """Count a request that costs more than others against its sender's smaller bucket; `require` comes before.

    Raises:
        Problem: 429, there were too many.
    """
    rate = request.app.state.limiter.take(of, request.state.access.prefix)
    request.state.rate = rate or request.state.rate


def visible(request: Request, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that the sender of a request, let in before, may know of."""
    access: Access = request.state.access
    return access.within(rows)


def note_audit(request: Request, what: str, *, rows: int | None = None, **facts: Any) -> None:
    """Record what a request does: it is written before the answer's first byte leaves, or the answer is a problem.

    Args:
        request: Let in before.
        what: For example `export`.
        rows: How many rows it concerns.
        **facts: What else is worth knowing; no personal data.
    """
    access: Access = request.state.access
    entry = Entry(what, access.name, access.prefix, rows, request.state.request_id, facts)
    if not hasattr(request.state, "audited"):
        request.state.audited = []
    request.state.audited.append(entry)


_bearer = HTTPBearer(auto_error=False, description="A key made by `purvey keys create`.")


def needs(scope: str, cost: limits.Of | None = None) -> Any:
    """The dependency of a route that only keys with this scope may use.

    Args:
        scope: What the key must cover.
        cost: The smaller bucket a request is counted against, too.
    """

    async def check(request: Request, _documented: HTTPAuthorizationCredentials | None = Depends(_bearer)) -> None:
        issuer: Issuer | None = request.app.state.issuer
        if issuer is not None:
            await issuer.look_again_for(request.headers.get("authorization", ""))
        require(request, scope)
        if cost is not None:
            spend(request, cost)

    return Depends(check)


@lru_cache(maxsize=256)
def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
