"""The application: one shop's release over HTTP, for programs (/v1) and for people (/)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from pipelines.database import Database
from pipelines.settings import Settings
from serving import pages, problems
from serving.access.tokens import Issuer
from serving.api import (
    audit,
    churn,
    customers,
    decisions,
    drivers,
    forecasts,
    health,
    known_forecasts,
    lists,
    models,
    monitoring,
    offers,
    outcomes,
    replenishment,
    segments,
    simulations,
    totals,
    unseen,
)
from serving.auth import Keyring
from serving.bench import Bench
from serving.cursors import Cursors, signing_key
from serving.decided import Decided
from serving.guard import Guard
from serving.lean import LeanRoute, Shortcut
from serving.limits import Limiter
from serving.logs import RequestLog, event
from serving.metrics import Metrics
from serving.store import Store
from serving.telemetry import Telemetry
from serving.tracing import Spans

SHARED_FIGURES = "PURVEY_SHARED_FIGURES"  # set for its workers by the process that starts them
# The hottest reads come first: routes are tried in this order.
_NOUNS = (
    known_forecasts, customers, forecasts, simulations, drivers, totals, segments, churn, offers, lists, replenishment,
    unseen, decisions, outcomes, monitoring, models, audit, health,
)  # fmt: skip


def shared_figures() -> Path | None:
    """Where the workers of one server leave their figures for each other, as the process that started them says."""
    folder = os.environ.get(SHARED_FIGURES)
    return Path(folder) if folder else None


def create_app(settings: Settings) -> FastAPI:
    """The API and pages of one shop.

    Args:
        settings: The shop. Its series columns are query parameters.
    """
    store = Store(settings.releases_dir, settings.serving.stale_after_days)
    metrics = Metrics(store, shared_figures())
    requests = RequestLog(settings.serving.log, partial(metrics.count, "log_lines_dropped"))
    metrics.watch_queue("request_log", requests.__len__)
    spans = Spans(settings.serving.opentelemetry) if settings.serving.opentelemetry else None
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
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours is around every request already
        lifespan=partial(_lifespan, settings=settings, store=store),
        separate_input_output_schemas=False,
    )
    app.state.store = store
    app.state.metrics = metrics
    app.state.requests = requests
    app.state.spans = spans
    app.state.bench = Bench(shed=partial(metrics.count, "shed"))
    app.state.serving = settings.serving
    app.state.limiter = Limiter(settings.serving.limits, refused=partial(metrics.count, "limited"))
    app.state.issuer = Issuer(settings.serving.oidc) if settings.serving.oidc else None
    nouns = [noun.routes(settings.demand.series) for noun in _NOUNS]
    for noun in nouns:
        app.include_router(noun)
    app.include_router(pages.routes(settings))
    problems.install(app)
    lean = [route for noun in nouns for route in noun.routes if isinstance(route, LeanRoute)]
    app.add_middleware(Shortcut, routes=lean)
    app.add_middleware(Guard, limits=settings.serving.limits)
    app.add_middleware(Telemetry, metrics=metrics, requests=requests, spans=spans)
    app.openapi = partial(_openapi, app.openapi)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, *, settings: Settings, store: Store) -> AsyncIterator[None]:
    app.state.database = database = Database(settings)
    app.state.decided = Decided(database)
    app.state.keyring = ring = Keyring(database)
    app.state.cursors = Cursors(signing_key(settings.api_dir))
    issuer: Issuer | None = app.state.issuer
    store.refresh()
    _say(store)
    after = (_Changes(store), ring.note_uses, app.state.metrics.publish)
    watches = [store.watch(*after), ring.watch(), *([issuer.watch()] if issuer else [])]
    watching = asyncio.gather(*watches)
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        app.state.bench.close()
        ring.close()
        database.close()
        app.state.metrics.publish()
        app.state.requests.close()
        if app.state.spans is not None:
            await asyncio.to_thread(app.state.spans.close)


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
