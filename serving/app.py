"""The application: one shop's release over HTTP, for programs (/v1) and for people (/)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version as package_version
from typing import Any

from fastapi import FastAPI

from pipelines.settings import Settings
from serving import pages, problems
from serving.api import (
    churn,
    customers,
    drivers,
    forecasts,
    health,
    models,
    monitoring,
    replenishment,
    segments,
    simulations,
    totals,
)
from serving.auth import Keyring
from serving.bench import Bench
from serving.store import Store
from serving.telemetry import Metrics, Telemetry, event

_NOUNS = (
    forecasts,
    simulations,
    drivers,
    totals,
    customers,
    segments,
    churn,
    replenishment,
    monitoring,
    models,
    health,
)


def create_app(settings: Settings) -> FastAPI:
    """The API and pages of one shop.

    Args:
        settings: The shop. Its series columns are query parameters.
    """
    store = Store(settings.releases_dir, settings.serving.stale_after_days)
    metrics = Metrics(store)
    app = FastAPI(
        title=f"Purvey: {settings.shop}",
        version=package_version("purvey"),
        summary="Forecasts, customer scores and replenishment of one shop.",
        description="Every answer says which release it comes from (`release`), what it is as of (`as_of`), which "
        "model made it (`model_version`) and whether it is older than it should be (`stale`). Errors are problem "
        "documents (RFC 9457).",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=partial(_lifespan, settings=settings, store=store),
        separate_input_output_schemas=False,
    )
    app.state.store = store
    app.state.metrics = metrics
    app.state.bench = Bench()
    app.state.serving = settings.serving
    for noun in _NOUNS:
        app.include_router(noun.routes(settings.demand.series))
    app.include_router(pages.routes(settings))
    problems.install(app)
    app.add_middleware(Telemetry, metrics=metrics)
    app.openapi = partial(_openapi, app.openapi)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, *, settings: Settings, store: Store) -> AsyncIterator[None]:
    ring = Keyring(settings)
    app.state.keyring = ring
    store.refresh()
    _say(store)
    watching = asyncio.create_task(store.watch(_Changes(store), ring.note_uses))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        app.state.bench.close()
        ring.close()


class _Changes:
    """Called after each look at `current`: logs what has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = _state(store)

    def __call__(self) -> None:
        if _state(self._store) != self._last:
            self._last = _state(self._store)
            _say(self._store)


def _state(store: Store) -> tuple[str | None, str | None]:
    return (store.held.release.id if store.held else None), store.trouble


def _say(store: Store) -> None:
    release, trouble = _state(store)
    event("release", release=release, trouble=trouble)


def _openapi(generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """FastAPI's document, plus the schema of problems, which no operation names as its own answer."""
    document = generate()
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = problems.ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["ProblemDocument"] = problem
    return document
