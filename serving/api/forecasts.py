"""Forecasts of demand: per series the mean, quantiles and the chance of none, over the coming periods."""

from datetime import date
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from serving import layouts
from serving.answers import Page, answer, export, found, is_export, listed, opened, page, wanted
from serving.api.parameters import NEXT, documented, example_keys, filters, with_csv
from serving.auth import needs, visible
from serving.problems import responses
from serving.store import Held


class Forecast(BaseModel):
    """The forecast of one series, as lists over its periods; one more field a series column."""

    model_config = ConfigDict(extra="allow")

    issued_on: date
    periods: list[date]
    mean: list[float]
    mean_model: list[float | None] | None = None
    overrides: list[str] | None = None
    quantiles: dict[str, list[float]] | None
    p_zero: list[float | None]
    flags: list[str]
    model_version: str
    attributes: dict[str, Any] | None = None


class Forecasts(Page):
    """A page of forecasts, one item a series."""

    items: list[Forecast]


class Change(BaseModel):
    """How far the mean of one period moved since the issue before, and why; one more field a series column."""

    model_config = ConfigDict(extra="allow")

    issued_on: date
    issued_before: date
    period: date
    mean_before: float
    mean: float
    from_data: float
    from_model: float | None
    from_override: float
    model_version: str


class Changes(Page):
    """A page of changes, the largest first."""

    items: list[Change]


def routes(series: list[str]) -> APIRouter:
    """The routes of this noun.

    Args:
        series: The shop's series columns.
    """
    router = APIRouter(tags=["forecasts"], dependencies=[needs("forecasts:read")])
    asked_for = filters("ForecastFilters", series)

    @router.get(
        "/v1/forecasts",
        summary="Forecasts of demand",
        responses=with_csv(documented(Forecasts, example(series)), _example_csv(series))
        | responses("not-found", "not-in-this-shop", "cursor-expired"),
        response_model=Forecasts,
    )
    async def list_forecasts(request: Request, asked: Annotated[asked_for, Query()]) -> Response:  # type: ignore[valid-type]
        """One item a series. Name series by their key columns; repeat a parameter to ask for several.

        `overrides` name what planners put on top of `mean_model`. CSV and Arrow have one row a series and period and
        need the scope lists:export.
        """
        given = asked.model_dump()  # type: ignore[attr-defined]
        chosen = {column: given[column] for column in series}
        nothing = "There is no forecast for {}."
        kind = wanted(request, given)
        held, start = opened(request, given)
        if is_export(kind):
            rows = found(visible(request, held.table("forecasts")), chosen, nothing)
            return export(request, held, rows, "forecasts", kind)
        rows = found(visible(request, held.forecast_series), chosen, nothing)
        named, paging = page(request, held, rows, given, start)
        items = held.forecasts_of(named)
        return answer(
            request,
            held,
            paging | layouts.content(items, kind),
            as_of=held.only("forecasts", "issued_on"),
            model_version=held.only("forecasts", "model_version"),
            media_type=kind,
        )

    @router.get(
        "/v1/forecasts/changes",
        summary="What moved since the issue before",
        responses=with_csv(documented(Changes, _example_of_changes(series)), _example_csv_of_changes(series))
        | responses("not-found", "not-in-this-shop", "cursor-expired"),
        response_model=Changes,
    )
    async def list_changes(request: Request, asked: Annotated[asked_for, Query()]) -> Response:  # type: ignore[valid-type]
        """One item a series and period, the largest move first.

        mean = mean_before + from_data + from_model + from_override. `from_model` is null where the former model could
        not be asked any more: its part is in `from_data`. CSV and Arrow need the scope lists:export.
        """
        given = asked.model_dump()  # type: ignore[attr-defined]
        chosen = {column: given[column] for column in series}

        def rows(held: Held) -> pl.DataFrame:
            known = visible(request, held.table("forecast_changes"))
            return found(known, chosen, "There is no change of a forecast for {}.")

        return listed(request, "forecast_changes", rows, given, "forecast-changes")

    return router


def _example_csv(series: list[str]) -> str:
    keys = example_keys(series)
    columns = [*keys, "issued_on", "period", "horizon", "mean", "p50"]
    return f"{','.join(columns)}\n{','.join(keys.values())},2011-12-05,2011-12-05,1,412.6,396.1\n"


def example(series: list[str]) -> dict[str, Any]:
    """A page of forecasts of imaginary series."""
    item = example_keys(series) | {
        "issued_on": "2011-12-05",
        "periods": ["2011-12-05", "2011-12-12"],
        "mean": [412.6, 371.2],
        "mean_model": [412.6, 330.2],
        "overrides": ["5c1d9e0a"],
        "quantiles": {"p10": [240.0, 206.5], "p50": [396.1, 352.8], "p90": [604.7, 561.0]},
        "p_zero": [0.01, 0.02],
        "flags": [],
        "model_version": "3",
        "attributes": {"description": "WHITE HANGING HEART T-LIGHT HOLDER"},
    }
    return {"as_of": "2011-12-05", "model_version": "3", "total": 812, "next": NEXT, "items": [item]}


def _example_of_changes(series: list[str]) -> dict[str, Any]:
    item = example_keys(series) | {
        "issued_on": "2011-12-05",
        "issued_before": "2011-11-28",
        "period": "2011-12-12",
        "mean_before": 334.1,
        "mean": 371.2,
        "from_data": -12.4,
        "from_model": 8.5,
        "from_override": 41.0,
        "model_version": "3",
    }
    return {"as_of": "2011-12-05", "model_version": "3", "total": 5684, "next": NEXT, "items": [item]}


def _example_csv_of_changes(series: list[str]) -> str:
    keys = example_keys(series)
    columns = [*keys, "period", "mean_before", "mean", "from_data", "from_model", "from_override"]
    return f"{','.join(columns)}\n{','.join(keys.values())},2011-12-12,334.1,371.2,-12.4,8.5,41.0\n"
