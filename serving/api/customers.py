"""One customer: status, risk of leaving, value, segment, reasons."""

from datetime import date
from typing import Annotated, Literal

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.answers import MOST, MOST_LETTERS, Answer, Page, listed, matching, ready
from serving.api.parameters import NEXT, Listing, documented, with_csv
from serving.auth import needs
from serving.lean import LeanRoute, guarded
from serving.problems import Problem, responses
from serving.store import Held

_SCOPE = "customers:read"
_ID = {
    "name": "customer_id",
    "in": "path",
    "required": True,
    "description": "The customer's id.",
    "schema": {"type": "string", "minLength": 1, "examples": ["12347"]},
}


class Customer(BaseModel):
    """What is expected of one customer; a shop's own columns come along."""

    model_config = ConfigDict(extra="allow")

    as_of: date
    customer_id: str
    status: str
    churn_probability: float
    churn_band: str
    p_alive: float | None
    expected_orders: float | None
    value: float | None
    value_low: float | None
    value_high: float | None
    segment: str
    next_order_on: date | None
    next_order_from: date | None = None
    next_order_to: date | None = None
    model_version: str


class CustomerAnswer(Answer):
    """One customer."""

    customer: Customer


EXAMPLE = {
    "as_of": "2011-12-09",
    "customer_id": "12347",
    "status": "active",
    "churn_probability": 0.18,
    "churn_band": "low",
    "p_alive": 0.97,
    "expected_orders": 6.4,
    "value": 3120.5,
    "value_low": 1890.0,
    "value_high": 4710.0,
    "segment": "champions",
    "next_order_on": "2012-01-22",
    "next_order_from": "2011-12-14",
    "next_order_to": "2012-03-30",
    "model_version": "2",
}


class Customers(Page):
    """A page of customers."""

    items: list[Customer]


class CustomerFilters(Listing):
    """Which customers, and how they are written."""

    customer_id: list[str] = Field(default=[], max_length=MOST, description="Only these; repeat it for several.")
    status: Literal["active", "lapsed"] | None = Field(
        default=None, description="Only with this status.", examples=["active"]
    )
    segment: list[str] = Field(default=[], max_length=MOST, description="Only this segment.", examples=[["champions"]])
    min_value: float | None = Field(default=None, description="Only from this expected value.", examples=[500])


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["customers"], dependencies=[needs(_SCOPE)])
    page = {"as_of": "2011-12-09", "model_version": "2", "total": 5852, "next": NEXT, "items": [EXAMPLE]}

    @router.get(
        "/v1/customers",
        summary="Customers",
        responses=with_csv(documented(Customers, page), "customer_id,status,value\n12347,active,3120.5\n")
        | responses("not-in-this-shop", "cursor-expired"),
        response_model=Customers,
    )
    async def list_customers(request: Request, asked: Annotated[CustomerFilters, Query()]) -> Response:
        """Every customer with their scores, most at risk first. CSV and Arrow need the scope lists:export."""
        return listed(
            request,
            "customer_scores",
            lambda held: _chosen(held, asked),
            asked.model_dump(),
            "customers",
            dated="as_of",
        )

    # A lean route: CRM screens ask for one customer at each call they take.
    router.add_api_route(
        "/v1/customers/{customer_id:path}",
        guarded(_SCOPE, show_customer),
        methods=["GET"],
        summary="One customer",
        responses=documented(CustomerAnswer, {"as_of": "2011-12-09", "model_version": "2", "customer": EXAMPLE})
        | responses("not-found", "not-in-this-shop"),
        response_model=CustomerAnswer,
        openapi_extra={"parameters": [_ID]},
        route_class_override=LeanRoute,
    )
    return router


async def show_customer(request: Request) -> Response:
    """Scores of one customer as of the release's date."""
    held: Held = request.app.state.store.now()
    if held.customer_bodies is None:
        raise Problem("not-in-this-shop", "This shop has no customer scores.")
    customer_id = request.path_params["customer_id"]
    text = held.customer_bodies.find(customer_id)
    if text is None:
        raise Problem("not-found", f"There is no customer {customer_id[:MOST_LETTERS]}.")
    return ready(request, held, "customer", (text,), "customer_scores", "as_of")


def _chosen(held: Held, asked: CustomerFilters) -> pl.DataFrame:
    rows = matching(held.table("customer_scores"), {"customer_id": asked.customer_id, "segment": asked.segment})
    if asked.status is not None:
        rows = rows.filter(status=asked.status)
    return rows if asked.min_value is None else rows.filter(pl.col("value") >= asked.min_value)
