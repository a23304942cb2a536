"""Forecasts of groups of series: their means summed over the levels of the shop's hierarchy."""

from datetime import date
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.answers import MOST, Page, found, listed
from serving.api.parameters import NEXT, Listing, documented, with_csv
from serving.auth import needs
from serving.problems import responses
from serving.store import Held

_TABLE = "forecast_totals"
_EXAMPLE = {
    "issued_on": "2011-12-05",
    "level": "country",
    "group": "France",
    "period": "2011-12-12",
    "horizon": 2,
    "series": 1240,
    "mean": 5312.4,
    "model_version": "3",
}
_EXAMPLE_OF_PAGE = {"as_of": "2011-12-05", "model_version": "3", "total": 296, "next": NEXT, "items": [_EXAMPLE]}
_EXAMPLE_OF_CSV = f"{','.join(_EXAMPLE)}\n{','.join(map(str, _EXAMPLE.values()))}\n"


class Total(BaseModel):
    """The mean of one group of series in one period, and how many series it is summed over."""

    model_config = ConfigDict(extra="forbid")

    issued_on: date
    level: str
    group: str
    period: date
    horizon: int
    series: int
    mean: float
    model_version: str


class Totals(Page):
    """A page of totals, one item a group and period."""

    items: list[Total]


class TotalFilters(Listing):
    """Which totals."""

    level: list[str] = Field(
        default=[],
        max_length=MOST,
        description="Only this level, as `demand.hierarchy` names it.",
        examples=[["country"]],
    )
    group: list[str] = Field(
        default=[], max_length=MOST, description="Only this group; repeat it for several.", examples=[["France"]]
    )


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["forecasts"], dependencies=[needs("forecasts:read")])

    @router.get(
        "/v1/forecasts/totals",
        summary="Forecasts of groups of series",
        responses=with_csv(documented(Totals, _EXAMPLE_OF_PAGE), _EXAMPLE_OF_CSV)
        | responses("not-found", "not-in-this-shop", "cursor-expired"),
        response_model=Totals,
    )
    async def list_totals(request: Request, asked: Annotated[TotalFilters, Query()]) -> Response:
        """One item a group and period, level by level of the shop's hierarchy: the sum of the means of its series.

        A level of several columns is named by all of them, `country × category`, and so are its groups. Quantiles do
        not add up, so there are none. CSV needs the scope lists:export.
        """
        chosen = {"level": asked.level, "group": asked.group}

        def rows(held: Held) -> pl.DataFrame:
            known = request.state.access.within_totals(held.table(_TABLE))
            return found(known, chosen, "There is no total for {}.").sort("level", "group", "period")

        return listed(request, _TABLE, rows, asked.model_dump(), "forecast-totals")

    return router
