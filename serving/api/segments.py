"""Segments of customers, in words and figures, and who is in them."""

from datetime import date
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.answers import MOST_LETTERS, Page, listed
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
    previous_as_of: date | None = None
    entered: int | None = None
    left: int | None = None
    model_version: str


class Segments(Page):
    """The segments of a shop."""

    items: list[Segment]


class Migration(BaseModel):
    """How many customers went from one segment to another (or stayed), and what they were and are worth."""

    model_config = ConfigDict(extra="forbid")

    as_of: date
    previous_as_of: date
    scheme: str
    from_segment: str
    to_segment: str
    customers: int
    share_of_from_segment: float
    value_before: float
    value_now: float


class Migrations(Page):
    """A page of moves between segments."""

    items: list[Migration]


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
    "previous_as_of": "2011-12-02",
    "entered": 41,
    "left": 12,
    "model_version": "2",
}
_MOVE = {
    "as_of": "2011-12-09",
    "previous_as_of": "2011-12-02",
    "scheme": "kmeans",
    "from_segment": "loyal",
    "to_segment": "at_risk",
    "customers": 31,
    "share_of_from_segment": 0.04,
    "value_before": 41200.0,
    "value_now": 22850.0,
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

        def rows(held: Held) -> pl.DataFrame:
            return _with_moves(held, _of_scheme(held, asked.scheme))

        return listed(request, "segments", rows, asked.model_dump(), "segments", dated="as_of")

    @router.get(
        "/v1/segment-migration",
        summary="Who moved between segments",
        responses=with_csv(
            documented(Migrations, _PAGE | {"items": [_MOVE]}), "from_segment,to_segment,customers\nloyal,at_risk,31\n"
        )
        | responses("not-in-this-shop", "cursor-expired"),
        response_model=Migrations,
    )
    async def list_migration(request: Request, asked: Annotated[SegmentFilters, Query()]) -> Response:
        """Customers and value by the segment they were in at the snapshot before and the one they are in, most first.

        `outside` is where new customers come from and those no longer on record go to.
        """

        def rows(held: Held) -> pl.DataFrame:
            moves = held.table("segment_migration")
            moves = moves if asked.scheme is None else moves.filter(scheme=asked.scheme)
            return moves.sort(
                "customers", "scheme", "from_segment", "to_segment", descending=[True, False, False, False]
            )

        return listed(request, "segment_migration", rows, asked.model_dump(), "segment-migration", dated="as_of")

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
        return listed(
            request,
            "customer_scores",
            lambda held: _members(held, segment_id, asked.scheme),
            asked.model_dump(),
            f"segment-{_file_name(segment_id)}",
            more=lambda _held: {"segment": segment_id},
            dated="as_of",
        )

    return router


def _of_scheme(held: Held, scheme: str | None) -> pl.DataFrame:
    rows = held.table("segments")
    return rows if scheme is None else rows.filter(scheme=scheme)


def _with_moves(held: Held, segments: pl.DataFrame) -> pl.DataFrame:
    """Segments with how many customers entered and left since the snapshot before; null where there was none."""
    if not held.has("segment_migration"):
        nothing = pl.lit(None, dtype=pl.Int64)
        return segments.with_columns(previous_as_of=pl.lit(None, dtype=pl.Date), entered=nothing, left=nothing)
    moves = held.table("segment_migration").filter(pl.col("from_segment") != pl.col("to_segment"))
    entered = moves.group_by("scheme", segment="to_segment").agg(entered=pl.col("customers").sum())
    left = moves.group_by("scheme", segment="from_segment").agg(left=pl.col("customers").sum())
    for counted in (entered, left):
        segments = segments.join(counted, on=["scheme", "segment"], how="left", maintain_order="left")
    since = held.table("segment_migration")["previous_as_of"].max()
    return segments.with_columns(pl.col("entered", "left").fill_null(0), previous_as_of=pl.lit(since, dtype=pl.Date))


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
