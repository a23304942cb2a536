"""Whether the service lives, whether it can answer, and its figures."""

from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from serving.api.parameters import RELEASE_ID
from serving.auth import needs
from serving.problems import responses
from serving.store import Store


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class Ready(BaseModel):
    """The service answers from a release. `trouble`: why a newer one was not taken up."""

    status: Literal["ready"]
    release: str
    age_days: float
    stale: bool
    trouble: str | None


_TROUBLE = f"20261124-061500-77ab01c3 was refused: its manifest is damaged; {RELEASE_ID} still answers"
_READY = {"status": "ready", "release": RELEASE_ID, "age_days": 0.4, "stale": False, "trouble": _TROUBLE}
_METRICS = "# TYPE purvey_release_age_seconds gauge\npurvey_release_age_seconds 3412.0\n"


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun. Health needs no key: those who ask are load balancers."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live", summary="Alive?", responses=_documented(Alive, {"status": "alive"}))
    async def live() -> Response:
        """Answers as long as the process does."""
        return _body({"status": "alive"})

    @router.get(
        "/health/ready",
        summary="Ready?",
        responses=_documented(Ready, _READY) | _problems(503),
    )
    async def ready(request: Request) -> Response:
        """Ready once a release is held. A damaged newer one leaves it ready; `trouble` says why it was refused."""
        store: Store = request.app.state.store
        held = store.now()
        return _body(
            {
                "status": "ready",
                "release": held.release.id,
                "age_days": round(held.age_days, 3),
                "stale": held.stale,
                "trouble": store.trouble,
            }
        )

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        dependencies=[needs("monitoring:read")],
        response_class=Response,
        responses=_problems(401, 403)
        | {200: {"description": "Text", "content": {"text/plain": {"example": _METRICS}}}},
    )
    async def metrics(request: Request) -> Response:
        """Latency by route template, release age, model versions, refusals."""
        return Response(request.app.state.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _documented(model: type[BaseModel], example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model, "description": "Yes", "content": {"application/json": {"example": example}}}}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: entry for status, entry in responses().items() if status in statuses}


def _body(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json", headers={"Cache-Control": "no-store"})
