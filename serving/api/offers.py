"""What customers may buy next, best first."""

from datetime import date
from typing import Annotated, Literal

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.answers import MOST, Page, found, listed
from serving.api.parameters import NEXT, Listing, documented, with_csv
from serving.auth import needs
from serving.problems import responses
from serving.store import Held

_TABLE = "next_products"


class OfferFilters(Listing):
    """Whose offers, and how they are written."""

    customer_id: list[str] = Field(
        default=[], max_length=MOST, description="Only these customers; repeat it for several.", examples=[["12347"]]
    )
    kind: Literal["again", "new"] | None = Field(
        default=None, description="again: bought before; new: not yet.", examples=["new"]
    )


class Offer(BaseModel):
    """One product one customer may buy next."""

    model_config = ConfigDict(extra="allow")

    as_of: date
    customer_id: str
    kind: str
    rank: int
    product_id: str
    score: float
    because_of: str | None
    popularity_rank: int


class Offers(Page):
    """A page of offers."""

    items: list[Offer]


_EXAMPLE = {
    "as_of": "2011-12-09",
    "customer_id": "12347",
    "kind": "new",
    "rank": 1,
    "product_id": "22423",
    "score": 0.31,
    "because_of": "85123A",
    "popularity_rank": 2,
    "model": "item-knn",
}
_PAGE = {"as_of": "2011-12-09", "model_version": "churn 2, demand 3", "total": 10, "next": NEXT, "items": [_EXAMPLE]}


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["customers"], dependencies=[needs("customers:read")])

    @router.get(
        "/v1/next-products",
        summary="What customers may buy next",
        responses=with_csv(documented(Offers, _PAGE), "customer_id,kind,rank,product_id\n12347,new,1,22423\n")
        | responses("not-found", "not-in-this-shop", "cursor-expired"),
        response_model=Offers,
    )
    async def list_offers(request: Request, asked: Annotated[OfferFilters, Query()]) -> Response:
        """By customer, kind and rank. `because_of` is the own product that says most for it. CSV needs lists:export."""

        def rows(held: Held) -> pl.DataFrame:
            kinds: list[str] = [asked.kind] if asked.kind else []
            chosen = {"customer_id": asked.customer_id, "kind": kinds}
            return found(held.table(_TABLE), chosen, "There is no offer for {}.").sort("customer_id", "kind", "rank")

        return listed(request, _TABLE, rows, asked.model_dump(), "next-products", dated="as_of")

    return router
