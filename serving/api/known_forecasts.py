"""Forecasts by name: of one series, and of up to 1,000 at once; what order systems ask for all day."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from serving.answers import MOST, MOST_LETTERS, Answer, ready
from serving.api.forecasts import Forecast, example
from serving.api.parameters import documented, example_keys
from serving.auth import Access, needs
from serving.bodies import Bodies, key_of
from serving.lean import LeanRoute, guarded, query
from serving.problems import Problem, responses
from serving.store import Held

_SCOPE = "forecasts:read"
_PLAIN = re.compile(rb"(\w+)=([\w.-]*)")  # one parameter with nothing to decode: what most ask


class ForecastAnswer(Answer):
    """The forecast of one series."""

    forecast: Forecast


class Batch(BaseModel):
    """Forecasts in the order they were asked for, without those that are not known."""

    model_config = ConfigDict(extra="forbid")

    items: list[Forecast]
    unknown: list[dict[str, str]]


class BatchAnswer(Answer):
    """The forecasts of several series. `unknown` names those that have none."""

    forecasts: Batch


def routes(series: list[str]) -> APIRouter:
    """The routes of this noun.

    Args:
        series: The shop's series columns: a series is named by all of them.
    """
    router = APIRouter(tags=["forecasts"], dependencies=[needs(_SCOPE)], route_class=LeanRoute)
    keys = example_keys(series)
    page = example(series)
    head = {"as_of": page["as_of"], "model_version": page["model_version"]}
    unknown = dict.fromkeys(series, "unknown")

    async def show_forecast(request: Request) -> Response:
        """The forecast of one series, named by all of the shop's series columns."""
        held: Held = request.app.state.store.now()
        key = _named(request.scope["query_string"], series)
        text = _bodies(held).find(key_of(key))
        if text is None or not _may_know(request, series, key):
            raise _unknown(series, key)
        return ready(request, held, "forecast", (text,), "forecasts", "issued_on")

    async def batch_forecasts(request: Request) -> Response:
        """Up to 1,000 series at once. Who is not known is named in `unknown` and does not fail the others."""
        held: Held = request.app.state.store.now()
        names = _names(await request.body(), series)
        bodies = _bodies(held)
        places = bodies.places(map(key_of, names))
        if request.state.access.locations is not None:
            may = (_may_know(request, series, name) for name in names)
            places = [place if one else None for place, one in zip(places, may, strict=True)]
        known = [place for place in places if place is not None]
        missing = [dict(zip(series, name, strict=True)) for name, at in zip(names, places, strict=True) if at is None]
        text = (b'{"items":[', bodies.joined(known), b'],"unknown":', orjson.dumps(missing), b"}")
        return ready(request, held, "forecasts", text, "forecasts", "issued_on")

    router.add_api_route(
        "/v1/forecasts/one",
        guarded(_SCOPE, show_forecast),
        methods=["GET"],
        summary="Forecast of one series",
        responses=documented(ForecastAnswer, head | {"forecast": page["items"][0]})
        | responses("not-found", "not-in-this-shop"),
        response_model=ForecastAnswer,
        openapi_extra={"parameters": [query(name, f"The series' {name}.", value) for name, value in keys.items()]},
    )
    router.add_api_route(
        "/v1/forecasts:batch",
        guarded(_SCOPE, batch_forecasts),
        methods=["POST"],
        summary="Forecasts of many series",
        responses=documented(BatchAnswer, head | {"forecasts": {"items": page["items"], "unknown": [unknown]}})
        | responses("not-in-this-shop"),
        response_model=BatchAnswer,
        openapi_extra={"requestBody": _body(series, [keys, unknown])},
    )
    return router


def _bodies(held: Held) -> Bodies:
    if held.forecast_bodies is None:
        raise Problem("not-in-this-shop", "This shop has no forecasts.")
    return held.forecast_bodies


def _may_know(request: Request, series: list[str], key: Sequence[str]) -> bool:
    """Whether the sender may know of a series: one at a place outside its key is, for it, not there."""
    access: Access = request.scope["state"]["access"]
    if access.locations is None:
        return True
    return "location_id" in series and bool(access.allows(key[series.index("location_id")]))


def _unknown(series: list[str], key: Sequence[str]) -> Problem:
    named = ", ".join(f"{column} {value[:MOST_LETTERS]}" for column, value in zip(series, key, strict=True))
    return Problem("not-found", f"There is no forecast for {named}.")


def _named(query_string: bytes, series: list[str]) -> list[str]:
    """The key of a series in a query, in the order of its columns.

    Raises:
        Problem: 422, a column is missing, named twice or none of the key.
    """
    plain = _PLAIN.fullmatch(query_string)
    if plain is not None and series == [plain[1].decode()]:
        return [plain[2].decode()]
    try:
        said = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=len(series) + 1)
    except ValueError:
        said = []
    given = dict(said)
    if len(said) == len(series) and given.keys() == set(series):
        return [given[column] for column in series]
    errors = [(column, "should be given once") for column in series if [name for name, _ in said].count(column) != 1]
    errors += [(name, "there is no such parameter") for name in given if name not in series]
    raise Problem("invalid-request", f"A series is named by {', '.join(series)}.", errors=errors)


def _names(body: bytes, series: list[str]) -> list[tuple[str, ...]]:
    """The keys of the series in the body of a batch.

    Raises:
        Problem: 422, it is not what a batch looks like.
    """
    try:
        asked = orjson.loads(body)["series"]
        if not 1 <= len(asked) <= MOST:
            raise ValueError(len(asked))
        columns = [[one[column] for one in asked] for column in series]
        if set(map(len, asked)) != {len(series)} or any(set(map(type, column)) != {str} for column in columns):
            raise TypeError
    except (ValueError, TypeError, KeyError) as error:
        raise Problem(
            "invalid-request",
            f'A batch is {{"series": […]}}: 1 to {MOST} objects with {", ".join(series)} as texts.',
            errors=[("series", f"should be 1 to {MOST} objects with {', '.join(series)}")],
        ) from error
    return list(zip(*columns, strict=True))


def _body(series: list[str], example_series: list[dict[str, Any]]) -> dict[str, Any]:
    one = {
        "type": "object",
        "properties": {column: {"type": "string"} for column in series},
        "required": list(series),
        "additionalProperties": False,
    }
    schema = {
        "type": "object",
        "properties": {"series": {"type": "array", "items": one, "minItems": 1, "maxItems": MOST}},
        "required": ["series"],
    }
    return {
        "required": True,
        "content": {"application/json": {"schema": schema, "example": {"series": example_series}}},
    }
