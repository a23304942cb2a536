"""Who is about to leave: active customers, most at risk first."""

from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from serving.answers import Page, answer, csv, page, wants_csv
from serving.api.customers import EXAMPLE as CUSTOMER
from serving.api.customers import Customer
from serving.api.parameters import NEXT, Listing, documented, with_csv
from serving.auth import needs
from serving.problems import responses
from serving.store import Held


class ChurnFilters(Listing):
    """Which customers, and how they are written."""

    min_risk: float = Field(default=0.0, ge=0, le=1, description="Only from this churn probability.", examples=[0.5])
    band: str | None = Field(default=None, description="Only this churn band.", examples=["high"])
    segment: str | None = Field(default=None, description="Only this segment.", examples=["champions"])


class ChurnList(Page):
    """A page of active customers at risk."""

    items: list[Customer]


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["customers"], dependencies=[needs("customers:read")])

    @router.get(
        "/v1/churn",
        summary="Customers at risk of leaving",
        responses=with_csv(
            documented(
                ChurnList,
                {"as_of": "2011-12-09", "model_version": "2", "total": 812, "next": NEXT, "items": [CUSTOMER]},
            ),
            "customer_id,churn_probability,churn_band,value\n12347,0.18,low,3120.5\n",
        )
        | responses("not-in-this-shop", "cursor-expired"),
        response_model=ChurnList,
    )
    async def list_churn(request: Request, asked: Annotated[ChurnFilters, Query()]) -> Response:
        """Active customers only: the lapsed have left already. CSV needs the scope lists:export."""
        held: Held = request.app.state.store.now()
        rows = at_risk(held, asked.min_risk, asked.band, asked.segment)
        if wants_csv(request, asked.format):
            return csv(request, held, rows, "churn")
        items, paging = page(held, rows, limit=asked.limit, cursor=asked.cursor)
        return answer(
            request,
            held,
            paging | {"items": items.to_dicts()},
            as_of=held.only("customer_scores", "as_of"),
            model_version=held.only("customer_scores", "model_version"),
        )

    return router


def at_risk(held: Held, min_risk: float = 0.0, band: str | None = None, segment: str | None = None) -> pl.DataFrame:
    """Active customers from a risk on, in the order the store keeps them: most at risk first."""
    rows = held.table("customer_scores").filter(pl.col("status") == "active", pl.col("churn_probability") >= min_risk)
    if band is not None:
        rows = rows.filter(pl.col("churn_band") == band)
    if segment is not None:
        rows = rows.filter(pl.col("segment") == segment)
    return rows
