"""The models behind the answers: name, version, training run, metrics."""

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from serving.answers import Answer, answer
from serving.api.parameters import documented
from serving.auth import needs
from serving.problems import responses
from serving.store import Held


class Model(BaseModel):
    """One registered model, as released."""

    name: str
    version: str
    run_id: str
    metrics: dict[str, float | None]


class Models(Answer):
    """The models of a release."""

    items: list[Model]


_EXAMPLE = {
    "as_of": "2026-11-23",
    "model_version": "churn 2, demand 3",
    "items": [
        {"name": "demand", "version": "3", "run_id": "5f0c1d7e9a8b4c62", "metrics": {"wape": 0.58}},
        {"name": "churn", "version": "2", "run_id": "0b9e2f4d6c8a4e10", "metrics": {"auc": 0.81}},
    ],
}


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["monitoring"], dependencies=[needs("monitoring:read")])

    @router.get(
        "/v1/models",
        summary="Models of the release",
        responses=documented(Models, _EXAMPLE) | responses("not-in-this-shop"),
        response_model=Models,
    )
    async def list_models(request: Request) -> Response:
        """Champions at the time of the release. `as_of` is the day it was made."""
        held: Held = request.app.state.store.now()
        items = [_item(row) for row in held.table("models").iter_rows(named=True)]
        made_on = held.release.created_at.date()
        return answer(request, held, {"items": items}, as_of=made_on, model_version=held.model_versions)

    return router


def _item(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"metrics": orjson.loads(row["metrics"])}
