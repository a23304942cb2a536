"""Scores of customers whom the shop does not know yet, given as their order lines."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Body, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from features.columns import EARLIEST, MOST
from serving.answers import Answer, answer
from serving.api.parameters import documented
from serving.auth import needs
from serving.problems import Problem, responses
from serving.store import Held

MOST_CUSTOMERS, MOST_LINES = 100, 10_000
_DECIMALS = 4
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)  # the last hours of the calendar have no name in other time zones
_Id = Annotated[str, Field(min_length=1, max_length=200)]
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "customer_id": pl.String,
    "order_id": pl.String,
    "product_id": pl.String,
    "kind": pl.String,
    "quantity": pl.Float64,
    "unit_price": pl.Float64,
    "ordered_at": pl.Datetime("us", "UTC"),
}


class Line(BaseModel):
    """One line of an order, or one that came back."""

    model_config = ConfigDict(extra="forbid")

    order_id: _Id
    product_id: _Id
    ordered_at: AwareDatetime = Field(
        ge=EARLIEST, le=_LATEST, description="With its offset; of a return, when it came back."
    )
    quantity: float = Field(gt=0, le=MOST)
    unit_price: float = Field(ge=0, le=MOST)
    kind: Literal["sale", "return"] = "sale"


class Unknown(BaseModel):
    """A customer to score."""

    model_config = ConfigDict(extra="forbid")

    customer_id: _Id = Field(description="Any name; it comes back with the score.")
    lines: list[Line] = Field(min_length=1, max_length=MOST_LINES)


class Asked(BaseModel):
    """Whom to score."""

    model_config = ConfigDict(extra="forbid")

    customers: list[Unknown] = Field(min_length=1, max_length=MOST_CUSTOMERS)


class Score(BaseModel):
    """What is expected of one customer."""

    customer_id: str
    churn_probability: float
    p_alive: float | None
    expected_orders: float | None
    value: float | None
    value_low: float | None
    value_high: float | None
    next_order_in_days: int | None


class Scores(Answer):
    """One item a customer, in their order; `level_of` is the day whose customers set the level of churn."""

    level_of: date
    items: list[Score]


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["customers"], dependencies=[needs("customers:read", cost="what_if")])

    @router.post(
        "/v1/customers:score",
        summary="Scores of unseen customers",
        responses=documented(Scores, _EXAMPLE) | responses("not-in-this-shop", "busy"),
        response_model=Scores,
    )
    async def score_customers(
        request: Request, asked: Annotated[Asked, Body(openapi_examples={"one": {"value": _ASKED}})]
    ) -> Response:
        """What the champions say of customers at the end of the release's day. Nothing is kept.

        What the shop alone can say of a customer (its feedback, channels, deliveries and list prices) is taken as
        unknown.
        """
        held: Held = request.app.state.store.now()
        _accept(asked)
        found = await request.app.state.bench.work(lambda: _scored(held, asked))
        as_of, version = held.only("customer_scores", "as_of"), held.only("customer_scores", "model_version")
        return answer(request, held, found, as_of=as_of, model_version=version)

    return router


def _accept(asked: Asked) -> None:
    lines = sum(len(one.lines) for one in asked.customers)
    if lines > MOST_LINES:
        raise _refused("customers", f"should have at most {MOST_LINES} lines together, not {lines}")
    names = [one.customer_id for one in asked.customers]
    if len(set(names)) < len(names):
        raise _refused("customers", "should name each customer once")


def _scored(held: Held, asked: Asked) -> dict[str, Any]:
    champions = held.unseen()
    lines = pl.DataFrame(
        [line.model_dump() | {"customer_id": one.customer_id} for one in asked.customers for line in one.lines],
        schema=_SCHEMA,
    )
    if later := champions.later(lines):
        raise _refused(later[0], f"should have no lines after {champions.as_of}, the day customers are seen at")
    scores = champions.score(lines)
    order = pl.DataFrame({"customer_id": [one.customer_id for one in asked.customers]})
    without = order.join(scores, on="customer_id", how="anti")["customer_id"].to_list()
    if without:
        raise _refused(without[0], "should have a sale among its lines")
    rows = order.join(scores, on="customer_id", how="left", maintain_order="left")
    items = rows.with_columns(pl.col(pl.Float64).round(_DECIMALS)).select(list(Score.model_fields)).to_dicts()
    return {"level_of": champions.level_of, "items": items}


def _refused(what: str, rule: str) -> Problem:
    return Problem("invalid-request", "These customers cannot be scored.", errors=[(what, rule)])


_ASKED = {
    "customers": [
        {
            "customer_id": "new",
            "lines": [
                {
                    "order_id": "1",
                    "product_id": "85123A",
                    "ordered_at": "2011-11-02T10:15:00+00:00",
                    "quantity": 6,
                    "unit_price": 2.55,
                }
            ],
        }
    ]
}
_EXAMPLE = {
    "as_of": "2011-12-09",
    "model_version": "churn 2 value 2 segments 1",
    "level_of": "2011-12-09",
    "items": [
        {
            "customer_id": "new",
            "churn_probability": 0.41,
            "p_alive": 0.86,
            "expected_orders": 2.1,
            "value": 310.5,
            "value_low": 60.0,
            "value_high": 710.2,
            "next_order_in_days": 88,
        }
    ],
}
