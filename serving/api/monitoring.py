"""What is watched: drift of the newest data against the reference."""

from datetime import date, datetime
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from serving.answers import Page, answer, page
from serving.api.parameters import NEXT, Paging, documented
from serving.auth import needs
from serving.problems import responses
from serving.store import Held

DRIFT_REPORT = "drift.html"


class DriftFilters(Paging):
    """Which checks."""

    dataset: str | None = Field(default=None, description="Only checks of this data set.", examples=["demand"])
    status: str | None = Field(default=None, description="Only checks with this outcome.", examples=["drift"])


class DriftCheck(BaseModel):
    """One check of one column."""

    checked_at: datetime
    dataset: str
    column: str
    metric: str
    value: float | None
    threshold: float | None
    status: str


class DriftChecks(Page):
    """A page of checks, when they were made, and where the report for people is. `as_of` is the date of the data."""

    checked_on: date | None
    report: str | None
    items: list[DriftCheck]


_EXAMPLE = {
    "as_of": "2011-12-09",
    "model_version": "churn 2, demand 3",
    "total": 812,
    "next": NEXT,
    "checked_on": "2026-11-23",
    "report": "/reports/drift.html",
    "items": [
        {
            "checked_at": "2026-11-23T06:14:31Z",
            "dataset": "demand",
            "column": "unit_price",
            "metric": "psi",
            "value": 0.07,
            "threshold": 0.2,
            "status": "ok",
        }
    ],
}


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["monitoring"], dependencies=[needs("monitoring:read")])

    @router.get(
        "/v1/monitoring/drift",
        summary="Drift checks",
        responses=documented(DriftChecks, _EXAMPLE) | responses("not-in-this-shop", "cursor-expired"),
        response_model=DriftChecks,
    )
    async def list_drift(request: Request, asked: Annotated[DriftFilters, Query()]) -> Response:
        """Each column's distance from the reference, and from which on it counts as drift."""
        held: Held = request.app.state.store.now()
        rows = held.table("drift")
        for column, value in asked.model_dump(include={"dataset", "status"}, exclude_none=True).items():
            rows = rows.filter(pl.col(column) == value)
        items, paging = page(held, rows, limit=asked.limit, cursor=asked.cursor)
        checked_at = held.table("drift")["checked_at"].max()
        return answer(
            request,
            held,
            paging
            | {
                "checked_on": checked_at.date() if isinstance(checked_at, datetime) else None,
                "report": f"/reports/{DRIFT_REPORT}" if DRIFT_REPORT in held.release.reports else None,
                "items": items.to_dicts(),
            },
            as_of=held.data_as_of,
            model_version=held.model_versions,
        )

    return router
