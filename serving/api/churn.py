"""Who is about to leave: active customers, most at risk first."""

from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from serving.answers import Page, listed
from serving.api.customers import EXAMPLE as CUSTOMER
from serving.api.customers import Customer
from serving.api.parameters import NEXT, Listing, documented, with_csv
from serving.auth import needs
from serving.problems import responses
from serving.store import Held


class ChurnFilters(Listing):
    """Which customers, and how they are written."""

    min_risk: float = Field(default=0.0, ge=0, le=1, description="Only from this churn probability.", examples=[0.5])
    min_value: float | None = Field(default=None, description="Only from this expected value.", examples=[500])
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

        def rows(held: Held) -> pl.DataFrame:
            known = at_risk(held, asked.min_risk, asked.band, asked.segment)
            return known if asked.min_value is None else known.filter(pl.col("value") >= asked.min_value)

        return listed(request, "customer_scores", rows, asked.model_dump(), "churn", dated="as_of")

    return router


def at_risk(held: Held, min_risk: float = 0.0, band: str | None = None, segment: str | None = None) -> pl.DataFrame:
    """Active customers from a risk on, in the order the store keeps them: most at risk first."""
    rows = held.table("customer_scores").filter(pl.col("status") == "active", pl.col("churn_probability") >= min_risk)
    if band is not None:
        rows = rows.filter(pl.col("churn_band") == band)
    if segment is not None:
        rows = rows.filter(pl.col("segment") == segment)
    return rows
