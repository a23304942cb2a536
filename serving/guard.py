"""What stands between the network and the application: no request larger than it may be, no answer without its limits,
no export that is not in the audit before its first byte leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.database import Database
from pipelines.errors import StoreError
from pipelines.sections import Limits
from serving import limits, problems
from serving.access import audit
from serving.logs import fault
from serving.problems import Problem


class _TooLarge(Exception):  # noqa: N818 (it never leaves this module)
    """The body went over its limit while it was read."""


class Guard:
    """ASGI middleware. A request may carry, in its state, `rate` (its sender's bucket) and `audited` (what it did)."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refused(scope["headers"])
        if refused is not None:
            await problems.response(Request(scope), refused)(scope, receive, send)
            return
        passing = _Passing(scope, receive, send, self._limits.body_bytes)
        try:
            await self._app(scope, passing.receive, passing.send)
        except _TooLarge:
            await passing.refuse(_too_large(self._limits.body_bytes))
        except StoreError as error:
            fault(error)
            await passing.refuse(Problem("store-away", "The API's own store cannot be reached now.", headers=_SOON))

    def _refused(self, headers: Sequence[tuple[bytes, bytes]]) -> Problem | None:
        size = 0
        for name, value in headers:
            size += len(name) + len(value)
            if name == b"content-length" and (not value.isdigit() or int(value) > self._limits.body_bytes):
                return _too_large(self._limits.body_bytes)
        if size > self._limits.header_bytes:
            return Problem(
                "headers-too-large", f"Headers have at most {self._limits.header_bytes} bytes.", headers=_CLOSE
            )
        return None


class _Passing:
    """One request on its way through."""

    __slots__ = ("_left", "_limit", "_receive", "_refused", "_scope", "_send", "_too_large")

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._left = self._limit = limit
        self._too_large = self._refused = False

    async def receive(self) -> Message:
        """A part of the body, counted: a sender may leave out Content-Length, or lie."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self._too_large = True
                raise _TooLarge
        return message

    async def send(self, message: Message) -> None:
        """A part of the answer. The first one waits until the audit is written, and carries the limits."""
        if message["type"] == "http.response.start":
            if self._too_large:  # whatever the application made of a body cut short
                await self.refuse(_too_large(self._limit))
                return
            state = self._scope.get("state", {})
            entries = state.get("audited")
            if entries and message["status"] < 400 and not await self._written(entries):
                return
            said = message.get("headers", ())
            if state.get("rate") is not None and all(name != b"ratelimit-limit" for name, _ in said):
                message["headers"] = [*said, *limits.headers(*state["rate"])]  # a 429 names the empty bucket itself
        if not self._refused:
            await self._send(message)

    async def _written(self, entries: list[audit.Entry]) -> bool:
        database: Database = self._scope["app"].state.database
        try:
            await asyncio.to_thread(_write, database, entries)
        except StoreError:
            await self.refuse(Problem("store-away", "This cannot be recorded now, so it is not done.", headers=_SOON))
            return False
        return True

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem in place of whatever the application says."""
        if not self._refused:
            self._refused = True
            await problems.response(Request(self._scope), problem)(self._scope, self._receive, self._send)


_CLOSE = {"Connection": "close"}
_SOON = {"Retry-After": "5"}


def _write(database: Database, entries: list[audit.Entry]) -> None:
    with database.writing() as connection:
        audit.write(connection, *entries)


def _too_large(limit: int) -> Problem:
    return Problem("too-large", f"A body has at most {limit} bytes.", headers=_CLOSE)
