"""Routes for the hottest reads: documented like every other, but nothing stands between the request and its handler.

FastAPI reads parameters, solves dependencies and opens exit stacks for each request, which costs as much as the answer.
A lean route reads its own parameters. Its scope is checked here, so that none can forget it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import auth, problems

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


class Shortcut:
    """ASGI middleware, next to the router: takes requests to lean routes straight to their endpoints.

    Whatever it does not know, another method or a server behind a path prefix, the router answers as ever.

    Args:
        app: The router and what is around it.
        routes: The lean routes; the path of each is fixed, or ends in the only parameter.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[LeanRoute]) -> None:
        self._app = app
        self._fixed: dict[tuple[str, str], LeanRoute] = {}
        self._open: list[tuple[str, str, LeanRoute]] = []
        for route in routes:
            before, brace, parameter = route.path_format.partition("{")
            if brace:
                self._open.append((before, parameter.rstrip("}"), route))
            else:
                self._fixed |= {(method, route.path_format): route for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass it on."""
        route = None if scope["type"] != "http" or scope.get("root_path") else self._found(scope)
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            answer = await route.endpoint(request)
        except problems.Problem as problem:
            answer = problems.response(request, problem)
        await answer(scope, receive, send)

    def _found(self, scope: Scope) -> LeanRoute | None:
        path, method = scope["path"], scope["method"]
        route = self._fixed.get((method, path))
        if route is not None:
            return route
        for before, parameter, one in self._open:
            if path.startswith(before) and method in (one.methods or ()):
                scope["path_params"] = {parameter: path[len(before) :]}
                return one
        return None


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
