"""One customer: status, risk of leaving, value, segment, reasons."""

from datetime import date
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict

from serving.answers import MOST_LETTERS, Answer, answer, tidy
from serving.api.parameters import documented
from serving.auth import needs
from serving.problems import Problem, responses
from serving.store import Held


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


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["customers"], dependencies=[needs("customers:read")])

    @router.get(
        "/v1/customers/{customer_id:path}",
        summary="One customer",
        responses=documented(CustomerAnswer, {"as_of": "2011-12-09", "model_version": "2", "customer": EXAMPLE})
        | responses("not-found", "not-in-this-shop"),
        response_model=CustomerAnswer,
    )
    async def show_customer(
        request: Request,
        customer_id: Annotated[
            str, Path(min_length=1, max_length=MOST_LETTERS, description="The customer's id.", examples=["12347"])
        ],
    ) -> Response:
        """Scores of one customer as of the release's date."""
        held: Held = request.app.state.store.now()
        row = _row(held, customer_id)
        return answer(request, held, {"customer": row}, as_of=row["as_of"], model_version=row["model_version"])

    return router


def _row(held: Held, customer_id: str) -> dict[str, Any]:
    rows = held.table("customer_scores").filter(pl.col("customer_id") == customer_id)
    if rows.is_empty():
        raise Problem("not-found", f"There is no customer {customer_id}.")
    return tidy(rows).row(0, named=True)
