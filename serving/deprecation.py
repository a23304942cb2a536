"""How a route says that it will go: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), and what comes instead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response as AnyResponse


def headers(since: date, until: date, instead: str) -> dict[str, str]:
    """The headers of a route that will go.

    Args:
        since: The day from which it should not be used any more.
        until: The last day it answers.
        instead: Where what replaces it is described.

    Raises:
        ValueError: It would go before it is announced.

    Example:
        >>> headers(date(2026, 1, 1), date(2026, 7, 1), "/docs#forecasts")["Deprecation"]
        '@1767225600'
    """
    if until <= since:
        raise ValueError(f"a route announced to go on {since} cannot be gone by {until}")
    return {
        "Deprecation": f"@{int(_midnight(since).timestamp())}",
        "Sunset": format_datetime(_midnight(until), usegmt=True),
        "Link": f'<{instead}>; rel="deprecation"',
    }


def deprecated(since: date, until: date, instead: str) -> type[APIRoute]:
    """The kind of route that says so with each of its answers: `APIRouter(route_class=deprecated(…))`.

    Args:
        since: The day from which it should not be used any more.
        until: The last day it answers.
        instead: Where what replaces it is described.
    """
    said = headers(since, until, instead)

    class Deprecated(APIRoute):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **(named | {"deprecated": True}))

        def get_route_handler(self) -> Callable[[Request], Any]:
            answer = super().get_route_handler()

            async def with_headers(request: Request) -> AnyResponse:
                response: AnyResponse = await answer(request)
                response.headers.update(said)
                return response

            return with_headers

    return Deprecated


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
