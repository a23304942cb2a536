"""Segments of customers, in words and figures, and who is in them."""

from datetime import date
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.answers import MOST_LETTERS, Page, answer, csv, page, wants_csv
from serving.api.customers import EXAMPLE as CUSTOMER
from serving.api.customers import Customer
from serving.api.parameters import NEXT, Listing, documented, with_csv
from serving.auth import needs
from serving.problems import Problem, responses
from serving.store import Held

# Segments come from several schemes; this is where a customer's segment of each scheme stands.
_COLUMN_OF_SCHEME = {"rfm": "rfm_segment"}


class SegmentFilters(Listing):
    """Which segments, and how they are written."""

    scheme: str | None = Field(default=None, description="Only segments of this scheme.", examples=["kmeans"])


class Segment(BaseModel):
    """One segment."""

    model_config = ConfigDict(extra="allow")

    as_of: date
    segment: str
    scheme: str
    name: str
    description: str
    customers: int
    share_of_customers: float
    model_version: str


class Segments(Page):
    """The segments of a shop."""

    items: list[Segment]


class SegmentCustomers(Page):
    """A page of the customers in a segment."""

    segment: str
    items: list[Customer]


_EXAMPLE = {
    "as_of": "2011-12-09",
    "segment": "champions",
    "scheme": "rfm",
    "name": "Champions",
    "description": "Bought lately, often and for much.",
    "customers": 812,
    "share_of_customers": 0.137,
    "share_of_spend": 0.61,
    "mean_days_since_last_order": 12.4,
    "mean_orders": 19.8,
    "mean_spend": 9120.3,
    "mean_churn_probability": 0.09,
    "mean_value": 4830.1,
    "model_version": "2",
}
_PAGE = {"as_of": "2011-12-09", "model_version": "2", "total": 812, "next": NEXT}


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["customers"], dependencies=[needs("customers:read")])

    @router.get(
        "/v1/segments",
        summary="Segments of customers",
        responses=with_csv(
            documented(Segments, _PAGE | {"items": [_EXAMPLE]}),
            "segment,scheme,name,customers\nchampions,rfm,Champions,812\n",
        )
        | responses("not-in-this-shop", "cursor-expired"),
        response_model=Segments,
    )
    async def list_segments(request: Request, asked: Annotated[SegmentFilters, Query()]) -> Response:
        """Every segment with its size and means. CSV needs the scope lists:export."""
        held: Held = request.app.state.store.now()
        rows = held.table("segments")
        if asked.scheme is not None:
            rows = rows.filter(pl.col("scheme") == asked.scheme)
        return _list(request, held, rows, asked, "segments", {})

    @router.get(
        "/v1/segments/{segment_id:path}/customers",
        summary="Customers of a segment",
        responses=with_csv(
            documented(SegmentCustomers, _PAGE | {"segment": "champions", "items": [CUSTOMER]}),
            "customer_id,churn_probability,segment\n12347,0.18,champions\n",
        )
        | responses("not-found", "not-in-this-shop", "cursor-expired"),
        response_model=SegmentCustomers,
    )
    async def list_customers(
        request: Request,
        segment_id: Annotated[
            str,
            Path(min_length=1, max_length=MOST_LETTERS, description="`segment` of a segment.", examples=["champions"]),
        ],
        asked: Annotated[SegmentFilters, Query()],
    ) -> Response:
        """Most at risk first. CSV needs the scope lists:export."""
        held: Held = request.app.state.store.now()
        rows = _members(held, segment_id, asked.scheme)
        return _list(request, held, rows, asked, f"segment-{_file_name(segment_id)}", {"segment": segment_id})

    return router


def _list(
    request: Request, held: Held, rows: pl.DataFrame, asked: SegmentFilters, name: str, more: dict[str, str]
) -> Response:
    if wants_csv(request, asked.format):
        return csv(request, held, rows, name)
    items, paging = page(held, rows, limit=asked.limit, cursor=asked.cursor)
    return answer(
        request,
        held,
        more | paging | {"items": items.to_dicts()},
        as_of=held.only("segments", "as_of"),
        model_version=held.only("segments", "model_version"),
    )


def _members(held: Held, segment: str, scheme: str | None) -> pl.DataFrame:
    """Customers of a segment; the segment's scheme says which column names it."""
    known = held.table("segments").filter(pl.col("segment") == segment)
    if scheme is not None:
        known = known.filter(pl.col("scheme") == scheme)
    if known.is_empty():
        raise Problem("not-found", f"There is no segment {segment}.")
    # A name that several schemes use means the main one, unless a scheme is asked for.
    columns = {_COLUMN_OF_SCHEME.get(one, "segment") for one in known["scheme"].to_list()}
    column = "segment" if "segment" in columns else columns.pop()
    return held.table("customer_scores").filter(pl.col(column) == segment)


def _file_name(segment: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in segment)
