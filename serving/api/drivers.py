"""Why forecasts are what they are: their drivers in units, and the strongest of them in words."""

from datetime import date
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from features.forecast_tables import DRIVERS
from serving.answers import Page, found, listed
from serving.api.parameters import NEXT, documented, example_keys, filters, with_csv
from serving.auth import needs, visible
from serving.problems import responses
from serving.store import Held

_TABLE = "forecast_drivers"


class Explanation(BaseModel):
    """The drivers of one forecast, which add up to its mean; one more field a series column."""

    model_config = ConfigDict(extra="allow")

    issued_on: date
    period: date
    mean: float
    drivers: dict[str, float]
    words: str
    model_version: str


class Explanations(Page):
    """A page of explanations, one item a series and period."""

    items: list[Explanation]


def routes(series: list[str]) -> APIRouter:
    """The routes of this noun.

    Args:
        series: The shop's series columns.
    """
    router = APIRouter(tags=["forecasts"], dependencies=[needs("forecasts:read")])
    language = Field(default="en", description="Language of `words`: English or Chinese.", examples=["en"])
    asked_for = filters("DriverFilters", series, lang=(Literal["en", "zh"], language))

    @router.get(
        "/v1/forecasts/drivers",
        summary="Drivers of forecasts",
        responses=with_csv(documented(Explanations, _example(series)), _example_csv(series))
        | responses("not-found", "not-in-this-shop", "cursor-expired"),
        response_model=Explanations,
    )
    async def list_drivers(request: Request, asked: Annotated[asked_for, Query()]) -> Response:  # type: ignore[valid-type]
        """One item a series and period, for the largest series: the usual level, and what moves the mean away from it.

        CSV has one column a driver and needs the scope lists:export.
        """
        given = asked.model_dump()  # type: ignore[attr-defined]
        chosen = {column: given[column] for column in series}
        nothing = "No drivers are stored for {}: only the largest series have them."

        def rows(held: Held) -> pl.DataFrame:
            known = found(visible(request, held.table(_TABLE)), chosen, nothing).sort(*series, "period")
            return known.with_columns(words=f"words_{given['lang']}").drop("words_en", "words_zh")

        return listed(request, _TABLE, rows, given, "drivers", items_of=_together)

    return router


def _together(rows: pl.DataFrame) -> pl.DataFrame:
    """The drivers of each row in one field."""
    drivers = [name for name in DRIVERS if name in rows.columns]  # a release made before knows fewer
    return rows.with_columns(drivers=pl.struct(drivers)).drop(drivers)


def _example_csv(series: list[str]) -> str:
    keys = example_keys(series)
    columns = [*keys, "issued_on", "period", "mean", "level", "season", "trend"]
    return f"{','.join(columns)}\n{','.join(keys.values())},2011-12-05,2011-12-05,412.6,370.1,61.3,-14.9\n"


def _example(series: list[str]) -> dict[str, Any]:
    moved = {"season": 61.3, "trend": -14.9, "calendar": -3.9}
    item = example_keys(series) | {
        "issued_on": "2011-12-05",
        "period": "2011-12-05",
        "mean": 412.6,
        "drivers": dict.fromkeys(DRIVERS, 0.0) | {"level": 370.1} | moved,
        "words": "413 units: usual level 370; +61 from the season",
        "model_version": "3",
    }
    return {"as_of": "2011-12-05", "model_version": "3", "total": 4000, "next": NEXT, "items": [item]}
