"""What is watched: drift of the newest data against the reference."""

from datetime import date, datetime
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from serving.answers import Page, listed
from serving.api.parameters import NEXT, Listing, documented, with_csv
from serving.auth import needs
from serving.problems import responses
from serving.store import Held

DRIFT_REPORT = "drift.html"


class DriftFilters(Listing):
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
_EXAMPLE_CSV = "dataset,column,metric,value,threshold,status\ndemand,unit_price,psi,0.07,0.2,ok\n"


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["monitoring"], dependencies=[needs("monitoring:read")])

    @router.get(
        "/v1/monitoring/drift",
        summary="Drift checks",
        responses=with_csv(documented(DriftChecks, _EXAMPLE), _EXAMPLE_CSV)
        | responses("not-in-this-shop", "cursor-expired"),
        response_model=DriftChecks,
    )
    async def list_drift(request: Request, asked: Annotated[DriftFilters, Query()]) -> Response:
        """Each column's distance from the reference, and from which on it counts as drift."""
        chosen = asked.model_dump(include={"dataset", "status"}, exclude_none=True)

        def rows(held: Held) -> pl.DataFrame:
            return held.table("drift").filter(pl.lit(True), **chosen)

        return listed(request, "drift", rows, asked.model_dump(), "drift", more=_checked, dated="data_as_of")

    return router


def _checked(held: Held) -> dict[str, Any]:
    checked_at = held.table("drift")["checked_at"].max()
    return {
        "checked_on": checked_at.date() if isinstance(checked_at, datetime) else None,
        "report": f"/reports/{DRIFT_REPORT}" if DRIFT_REPORT in held.release.reports else None,
    }
