"""Every error the API answers with, as a problem document (RFC 9457). Never a stack trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException


@dataclass(frozen=True)
class Kind:
    """One kind of problem. Its `type` is a link to where the docs page explains it."""

    slug: str
    status: int
    title: str
    meaning: str

    @property
    def type(self) -> str:
        """The URI reference that names this kind."""
        return f"/docs#{self.slug}"


KINDS: dict[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind("no-key", 401, "No valid key", "The key is missing, unknown, expired or revoked."),
        Kind("not-allowed", 403, "Not allowed", "The key is valid, but not for this."),
        Kind("not-found", 404, "Not found", "There is no such thing in the current release."),
        Kind("not-in-this-shop", 404, "Not in this shop", "This shop has no data of that kind."),
        Kind("no-such-route", 404, "No such route", "The API has no such path; /docs lists them."),
        Kind("no-such-method", 405, "No such method", "The path exists, but not for this method."),
        Kind("conflict", 409, "Conflict", "What is asked for does not fit what somebody did before."),
        Kind("in-flight", 409, "In flight", "A request with this Idempotency-Key is still at work; ask again soon."),
        Kind("cursor-expired", 410, "Cursor expired", "A new release has come since; start again without a cursor."),
        Kind("too-large", 413, "Too large", "The body is larger than this route takes."),
        Kind("invalid-request", 422, "Invalid request", "A parameter is unknown or has an impossible value."),
        Kind("key-reused", 422, "Key reused", "This Idempotency-Key was sent before with another body."),
        Kind("too-many-requests", 429, "Too many requests", "The key asks more than it may; wait as Retry-After says."),
        Kind("headers-too-large", 431, "Headers too large", "The headers of the request are larger than we take."),
        Kind("unexpected", 500, "Unexpected error", "A fault of ours; report the request id."),
        Kind("store-away", 503, "Store away", "The API's own store cannot be reached; try again soon."),
        Kind("busy", 503, "Busy", "Too many what-ifs wait, or one took too long; ask again after Retry-After seconds."),
        Kind("not-ready", 503, "Not ready", "No release is loaded yet; /health/ready says why."),
    )
}
_ALWAYS = ("no-key", "not-allowed", "invalid-request", "too-many-requests", "not-ready", "store-away")
_BY_STATUS = {404: "no-such-route", 405: "no-such-method", 413: "too-large"}


class FieldError(BaseModel):
    """What is wrong with one parameter."""

    field: str
    message: str


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 describes it."""

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] = []


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so)
    """Raise it anywhere in a request; it becomes the answer.

    Args:
        slug: Which kind, a key of KINDS.
        detail: What happened here, in one sentence.
        errors: Field → what is wrong with it.
        headers: Headers the answer needs.
    """

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = KINDS[slug]
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


def document(kind: Kind, detail: str, *, instance: str, request_id: str, errors: Sequence[tuple[str, str]] = ()) -> Any:
    """The body of a problem as plain data.

    Example:
        >>> document(KINDS["not-found"], "No customer 7.", instance="/v1/customers/7", request_id="r")["status"]
        404
    """
    body: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": instance,
        "request_id": request_id,
    }
    if errors:
        body["errors"] = [{"field": field, "message": message} for field, message in errors]
    return body


def response(request: Request, problem: Problem) -> Response:
    """The answer to a request that met a problem."""
    body = document(
        problem.kind,
        problem.detail,
        instance=request.scope["path"],
        request_id=getattr(request.state, "request_id", ""),
        errors=problem.errors,
    )
    return Response(
        orjson.dumps(body),
        status_code=problem.kind.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


def responses(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of the problems an operation can meet, each with an example."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in (KINDS[slug] for slug in (*_ALWAYS, *slugs)):
        errors = [("limit", "Input should be less than or equal to 1000")] if kind.status == 422 else []
        example = document(kind, kind.meaning, instance="/v1/…", request_id="0f4c2d9e6b7a4f31", errors=errors)
        entry = found.setdefault(
            kind.status,
            {
                "description": kind.title,
                "content": {
                    "application/problem+json": {
                        "schema": {"$ref": "#/components/schemas/ProblemDocument"},
                        "examples": {},
                    }
                },
            },
        )
        entry["content"]["application/problem+json"]["examples"][kind.slug] = {"value": example}
    return found


def install(app: FastAPI) -> None:
    """Make every error of this application a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        (
            ".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0]),
            "there is no such parameter" if one["type"] == "extra_forbidden" else str(one["msg"]),
        )
        for one in error.errors()
    ]
    named = ", ".join(field for field, _ in errors)
    return response(request, Problem("invalid-request", f"The request is not valid: {named}.", errors=errors))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug = _BY_STATUS.get(error.status_code, "unexpected" if error.status_code >= 500 else "invalid-request")
    detail = {
        "no-such-route": "There is no such route; /docs lists them.",
        "no-such-method": f"{request.method} is not possible here.",
    }.get(slug, str(error.detail))
    return response(request, Problem(slug, detail, headers=error.headers))
