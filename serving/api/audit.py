"""What was exported, decided and changed, and by whom."""

from datetime import datetime
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from pipelines.database import Database
from serving.access.audit import entries
from serving.answers import MOST, Answer, answer
from serving.api.parameters import documented
from serving.auth import needs
from serving.problems import responses
from serving.store import Held

_LARGEST = 2**63 - 1  # what a database takes as a number


class AuditEntry(BaseModel):
    """One thing that was done. `key` is null where it was done at the command line."""

    model_config = ConfigDict(extra="forbid")

    number: int
    at: datetime
    what: str
    name: str
    key: str | None
    rows: int | None
    request_id: str | None
    facts: dict[str, Any]


class AuditPage(Answer):
    """A page of entries, the newest first. `next` is the `before` of the page after."""

    next: int | None
    items: list[AuditEntry]


class AuditFilters(BaseModel):
    """Which entries. What is not known is refused, so that a typing error is not ignored."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=MOST, description="How many entries at most.", examples=[100])
    before: int | None = Field(default=None, ge=1, description="Only entries with a smaller number.", examples=[4711])


_EXAMPLE = {
    "as_of": "2011-12-09",
    "model_version": "churn 2, demand 3",
    "next": 4710,
    "items": [
        {
            "number": 4710,
            "at": "2026-11-23T06:14:31+00:00",
            "what": "export",
            "name": "crm",
            "key": "pv5c1d9e0a77",
            "rows": 812,
            "request_id": "0f4c2d9e6b7a4f31",
            "facts": {"list": "churn", "release": "20261123-061500-5c1d9e0a"},
        }
    ],
}


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["audit"], dependencies=[needs("audit:read")])

    @router.get(
        "/v1/audit",
        summary="Who did what",
        responses=documented(AuditPage, _EXAMPLE) | responses(),
        response_model=AuditPage,
    )
    async def list_audit(request: Request, asked: Annotated[AuditFilters, Query()]) -> Response:
        """Exports, decisions and changes of keys, the newest first: each stood here before it was answered."""
        held: Held = request.app.state.store.now()
        database: Database = request.app.state.database

        def read() -> list[dict[str, Any]]:
            before = None if asked.before is None else min(asked.before, _LARGEST)
            return entries(database, limit=asked.limit + 1, before=before)

        found = await anyio.to_thread.run_sync(read)
        items = found[: asked.limit]
        following = items[-1]["number"] if len(found) > asked.limit else None
        content = {"next": following, "items": items}
        return answer(request, held, content, as_of=held.data_as_of, model_version=held.model_versions)

    return router
