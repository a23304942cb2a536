"""Forecasts of demand: per series the mean, quantiles and the chance of none, over the coming periods."""

from datetime import date
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from serving.answers import MOST_LETTERS, Page, answer, csv, matching, page, wants_csv
from serving.api.parameters import NEXT, documented, example_keys, filters, with_csv
from serving.auth import needs
from serving.problems import Problem, responses
from serving.store import Held


class Forecast(BaseModel):
    """The forecast of one series, as lists over its periods; one more field a series column."""

    model_config = ConfigDict(extra="allow")

    issued_on: date
    periods: list[date]
    mean: list[float]
    quantiles: dict[str, list[float]] | None
    p_zero: list[float | None]
    flags: list[str]
    model_version: str
    attributes: dict[str, Any] | None = None


class Forecasts(Page):
    """A page of forecasts, one item a series."""

    items: list[Forecast]


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
        responses=with_csv(documented(Forecasts, _example(series)), _example_csv(series))
        | responses("not-found", "not-in-this-shop", "cursor-expired"),
        response_model=Forecasts,
    )
    async def list_forecasts(request: Request, asked: Annotated[asked_for, Query()]) -> Response:  # type: ignore[valid-type]
        """One item a series. Name series by their key columns; repeat a parameter to ask for several.

        CSV has one row a series and period and needs the scope lists:export.
        """
        held: Held = request.app.state.store.now()
        given = asked.model_dump()  # type: ignore[attr-defined]
        chosen = {column: given[column] for column in series}
        if wants_csv(request, given["format"]):
            return csv(held, _rows(held.table("forecasts"), chosen), "forecasts")
        if held.forecasts is None:
            raise Problem("not-in-this-shop", "This shop has no forecasts.")
        rows = _rows(held.forecasts, chosen)
        items, paging = page(held, rows, limit=given["limit"], cursor=given["cursor"])
        return answer(
            request,
            held,
            paging | {"items": items.to_dicts()},
            as_of=held.only("forecasts", "issued_on"),
            model_version=held.only("forecasts", "model_version"),
        )

    return router


def _rows(forecasts: pl.DataFrame, chosen: dict[str, list[str]]) -> pl.DataFrame:
    rows = matching(forecasts, chosen)
    if rows.is_empty() and any(chosen.values()):
        named = ", ".join(f"{column} {'|'.join(values)[:MOST_LETTERS]}" for column, values in chosen.items() if values)
        raise Problem("not-found", f"There is no forecast for {named}.")
    return rows


def _example_csv(series: list[str]) -> str:
    keys = example_keys(series)
    columns = [*keys, "issued_on", "period", "horizon", "mean", "p50"]
    return f"{','.join(columns)}\n{','.join(keys.values())},2011-12-05,2011-12-05,1,412.6,396.1\n"


def _example(series: list[str]) -> dict[str, Any]:
    item = example_keys(series) | {
        "issued_on": "2011-12-05",
        "periods": ["2011-12-05", "2011-12-12"],
        "mean": [412.6, 371.2],
        "quantiles": {"p10": [240.0, 206.5], "p50": [396.1, 352.8], "p90": [604.7, 561.0]},
        "p_zero": [0.01, 0.02],
        "flags": [],
        "model_version": "3",
        "attributes": {"description": "WHITE HANGING HEART T-LIGHT HOLDER"},
    }
    return {"as_of": "2011-12-05", "model_version": "3", "total": 812, "next": NEXT, "items": [item]}
