"""Proposed orders: how much of what by when, and why."""

from datetime import date
from typing import Annotated, Any

import anyio.to_thread
import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.answers import Page, listed, matching, opened
from serving.api.parameters import NEXT, documented, example_keys, filters, with_csv
from serving.auth import needs, visible
from serving.problems import responses
from serving.store import Held


class Proposal(BaseModel):
    """One proposed order line; one more field a series column."""

    model_config = ConfigDict(extra="allow")

    order_line: str
    as_of: date
    supplier_id: str
    quantity: float
    order_value: float | None = None
    order_by: date | None
    receive_on: date | None
    receive_on_p90: date | None = None
    stock_out_risk_before: float
    stock_out_risk: float
    binding_constraint: str
    drivers: str
    illustrative: bool
    state: str
    data_versions: str | None = None
    model_version: str


class Proposals(Page):
    """A page of proposals. `illustrative`: whether stock and terms behind any of them are made up."""

    illustrative: bool
    items: list[Proposal]


def routes(series: list[str]) -> APIRouter:
    """The routes of this noun.

    Args:
        series: The shop's series columns.
    """
    router = APIRouter(tags=["replenishment"], dependencies=[needs("replenishment:read")])
    asked_for = filters(
        "ReplenishmentFilters",
        series,
        supplier_id=(list[str], Field(default=[], description="Only this supplier; repeat it for several.")),
        state=(
            list[str],
            Field(default=[], description="Only in this state; repeat it for several.", examples=[["proposed"]]),
        ),
        min_quantity=(float, Field(default=0.0, ge=0, description="Only from this quantity.", examples=[1])),
    )

    @router.get(
        "/v1/replenishment",
        summary="Proposed orders",
        responses=with_csv(documented(Proposals, _example(series)), _example_csv(series))
        | responses("not-in-this-shop", "cursor-expired"),
        response_model=Proposals,
    )
    async def list_proposals(request: Request, asked: Annotated[asked_for, Query()]) -> Response:  # type: ignore[valid-type]
        """The most urgent first: by order date, then by the risk of running out. CSV needs the scope lists:export."""
        given = asked.model_dump()  # type: ignore[attr-defined]
        chosen = {column: given[column] for column in (*series, "supplier_id", "state")}
        lines = await anyio.to_thread.run_sync(request.app.state.decided.of, opened(request, given)[0])

        def rows(held: Held) -> pl.DataFrame:
            return matching(visible(request, proposals(held, given["min_quantity"], lines)), chosen)

        return listed(
            request,
            "replenishment",
            rows,
            given,
            "replenishment",
            more=lambda held: {"illustrative": is_illustrative(held)},
            dated="as_of",
        )

    return router


def proposals(held: Held, min_quantity: float = 0.0, lines: pl.DataFrame | None = None) -> pl.DataFrame:
    """Proposals from a quantity on, the most urgent first; `lines` are those of the release as they are now."""
    rows = (held.table("replenishment") if lines is None else lines).filter(pl.col("quantity") >= min_quantity)
    return rows.sort(
        ["order_by", "stock_out_risk_before", *held.series, "supplier_id"],
        descending=[False, True, *[False] * len(held.series), False],
        nulls_last=True,
    )


def is_illustrative(held: Held) -> bool:
    """Whether any proposal rests on made-up stock or terms."""
    return bool(held.table("replenishment")["illustrative"].any())


def _example_csv(series: list[str]) -> str:
    keys = example_keys(series)
    columns = [*keys, "supplier_id", "quantity", "order_by", "receive_on", "illustrative"]
    return f"{','.join(columns)}\n{','.join(keys.values())},illustrative,1200.0,2011-12-05,2011-12-19,true\n"


def _example(series: list[str]) -> dict[str, Any]:
    item = example_keys(series) | {
        "order_line": "20111205-a2d117b419da230d",
        "as_of": "2011-12-05",
        "supplier_id": "illustrative",
        "quantity": 1200.0,
        "order_value": 1020.0,
        "order_by": "2011-12-05",
        "receive_on": "2011-12-19",
        "receive_on_p90": "2011-12-22",
        "on_hand": 310.0,
        "on_order": 0.0,
        "protection_days": 21.0,
        "demand_mean": 1240.0,
        "demand_p50": 1190.0,
        "demand_p90": 1720.0,
        "order_up_to": 1510.0,
        "unconstrained_quantity": 1200.0,
        "expected_cost_at_zero": 1480.2,
        "expected_cost": 96.4,
        "expected_cost_unconstrained": 96.4,
        "stock_out_risk_before": 0.99,
        "stock_out_risk": 0.08,
        "binding_constraint": "none",
        "trace": None,
        "drivers": "demand of 1,240 expected in 21 days; 310 on hand",
        "illustrative": True,
        "state": "proposed",
        "state_reason": None,
        "run": "3",
        "data_versions": "stock 12, forecasts 7",
        "model_version": "3",
    }
    head = {"as_of": "2011-12-05", "model_version": "3", "total": 812, "next": NEXT, "illustrative": True}
    return head | {"items": [item]}
