"""Routes for the hottest reads: documented like every other, but nothing stands between the request and its handler.

FastAPI reads parameters, solves dependencies and opens exit stacks for each request, which costs as much as the answer.
A lean route reads its own parameters. Its scope is checked here, so that none can forget it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import request_response
from starlette.types import Receive, Scope, Send

from serving import auth

Endpoint = Callable[[Request], Awaitable[Response]]


class LeanRoute(APIRoute):
    """A route whose endpoint takes the request alone; parameters and body are documented by `openapi_extra`."""

    def __init__(self, path: str, endpoint: Endpoint, **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        self._lean = request_response(endpoint)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; what is not a method of this route is FastAPI's to refuse."""
        if scope["method"] in (self.methods or ()):
            await self._lean(scope, receive, send)
        else:
            await super().handle(scope, receive, send)


def guarded(scope: str, endpoint: Endpoint) -> Endpoint:
    """The endpoint for keys with a scope only."""

    async def check(request: Request) -> Response:
        auth.require(request, scope)
        return await endpoint(request)

    check.__doc__, check.__name__ = endpoint.__doc__, getattr(endpoint, "__name__", "check")
    return check


def query(name: str, description: str, example: str) -> dict[str, Any]:
    """One required text parameter of the query, for `openapi_extra`."""
    return {
        "name": name,
        "in": "query",
        "required": True,
        "description": description,
        "schema": {"type": "string", "examples": [example]},
    }
