"""The routes of the pages: start, sign-in, lists, reports, docs.

On this machine the start page and the docs are open: they hold no personal data. Everything else, and everything from
elsewhere, needs a session, opened by entering a key.
"""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, Any
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipelines.settings import Settings
from serving.api.replenishment import is_illustrative
from serving.auth import COOKIE, SESSION_HOURS, Access, access_of, is_local, no_key, require
from serving.pages import figures
from serving.problems import KINDS, Problem
from serving.store import Held

_HERE = FilePath(__file__).parent
_STATIC = {"purvey.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
_MOST_BYTES = 4096
# A report with scripts of its own runs them in a sandbox of no origin: it cannot read the session nor call home.
_WITH_SCRIPTS = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'none'"
)
_WITHOUT_SCRIPTS = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"


def routes(settings: Settings) -> APIRouter:
    """The routes of the pages.

    Args:
        settings: The shop.
    """
    router = APIRouter(include_in_schema=False)
    render = _renderer(settings)
    secure = settings.serving.public_url is not None
    static = {name: (_HERE / "static" / name).read_bytes() for name in _STATIC}

    @router.get("/")
    async def home(request: Request) -> Response:
        access = _visitor(request)
        if access is None and not is_local(request):
            return RedirectResponse("/sign-in", 303)
        held: Held | None = request.app.state.store.held
        whole = access is None or access.locations is None  # figures of the whole shop are not for some locations
        return render(
            "home.html",
            access=access,
            held=held,
            trouble=request.app.state.store.trouble,
            figures=figures.key_figures(held) if held and whole else [],
            chart=figures.demand_chart(held) if held and whole else None,
            listings=figures.listings(held) if held else {},
        )

    @router.get("/sign-in")
    async def sign_in(request: Request) -> Response:
        return render("sign_in.html", access=_visitor(request), refused=False)

    @router.post("/sign-in")
    async def signed_in(request: Request) -> Response:
        _same_site(request)
        key = (await _form(request)).get("key", "").strip()
        ring = request.app.state.keyring
        access = ring.of_key(key, local=is_local(request))
        if access is None:
            no_key(request)
            return render("sign_in.html", status=401, access=None, refused=True)
        answer = RedirectResponse("/", 303)
        token = await asyncio.to_thread(ring.open_session, access)
        answer.set_cookie(COOKIE, token, max_age=SESSION_HOURS * 3600, httponly=True, samesite="strict", secure=secure)
        return answer

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        _same_site(request)
        await asyncio.to_thread(request.app.state.keyring.close_session, request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=secure)
        return answer

    @router.get("/lists/{name}")
    async def show_list(
        request: Request,
        name: Annotated[str, Path(max_length=40)],
        page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    ) -> Response:
        if _visitor(request) is None:
            return _to_sign_in(request)
        held: Held = request.app.state.store.now()
        listing = figures.listings(held).get(name)
        if listing is None:
            require(request, "forecasts:read")
            raise Problem("not-found", f"There is no list {name}.")
        access = require(request, listing.scope)
        columns, rows, total = figures.shown(held, listing, page, access)
        pages = max(1, -(-total // figures.ROWS_A_PAGE))
        return render(
            "list.html",
            access=access,
            held=held,
            name=name,
            listing=listing,
            columns=columns,
            rows=rows,
            total=total,
            page=page,
            pages=pages,
            illustrative=name == "replenishment" and is_illustrative(held),
        )

    @router.get("/reports/{name}")
    async def show_report(request: Request, name: Annotated[str, Path(max_length=100)]) -> Response:
        if _visitor(request) is None:
            return _to_sign_in(request)
        require(request, "monitoring:read")
        held: Held = request.app.state.store.now()
        if name not in held.reports:
            raise Problem("not-found", f"There is no report {name}.")
        content = held.reports[name]
        policy = _WITH_SCRIPTS if b"<script" in content.lower() else _WITHOUT_SCRIPTS
        return Response(content, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy})

    @router.get("/docs")
    async def docs(request: Request) -> Response:
        access = _visitor(request)
        if access is None and not is_local(request):
            return _to_sign_in(request)
        document = request.app.openapi()
        return render("docs.html", access=access, document=document, operations=operations(document), kinds=KINDS)

    @router.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        if _visitor(request) is None and not is_local(request):
            raise no_key(request)
        return Response(orjson.dumps(request.app.openapi()), media_type="application/json")

    @router.get("/static/{name}")
    async def show_static(name: str) -> Response:
        if name not in static:
            raise Problem("no-such-route", "There is no such file.")
        return Response(static[name], media_type=_STATIC[name], headers={"Cache-Control": "max-age=3600"})

    return router


def operations(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The operations of an OpenAPI document by tag, each with its first example as indented text."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = (operation["responses"].get("200") or operation["responses"]["202"])["content"]
            example = next(iter(content.values())).get("example", "")
            text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
            said = {
                "path": path,
                "method": method.upper(),
                "example": text,
                "parameters": [one | {"example": _example(one)} for one in operation.get("parameters", [])],
            }
            found.setdefault(operation["tags"][0], []).append(operation | said)
    return found


def _example(parameter: dict[str, Any]) -> str:
    first = next(iter(parameter["schema"].get("examples", [""])))
    return str(first[0] if isinstance(first, list) else first)


def with_code(text: str) -> Markup:
    """A text as HTML, what stands in backticks set as code.

    Example:
        >>> with_code("`next` < 3")
        Markup('<code>next</code> &lt; 3')
    """
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _renderer(settings: Settings) -> Callable[..., Response]:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": figures.number,
        "day": figures.day,
        "report_title": figures.report_title,
        "with_code": with_code,
    }
    environment.globals |= {"shop": settings.shop, "demo": settings.serving.on_this_machine_only}

    def render(template: str, *, status: int = 200, **content: Any) -> Response:
        text = environment.get_template(template).render(content)
        headers = {"Cache-Control": "private, no-store"}
        return Response(text, status_code=status, media_type="text/html; charset=utf-8", headers=headers)

    return render


def _visitor(request: Request) -> Access | None:
    access = access_of(request)
    if access is not None:
        request.state.key = access.prefix
    return access


def _to_sign_in(request: Request) -> Response:
    """People are led to the form; programs are told what is missing."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/sign-in", 303)
    raise no_key(request)


def _same_site(request: Request) -> None:
    """Forms are taken from our own pages only.

    Raises:
        Problem: 403, the form was sent by another site.
    """
    origin = request.headers.get("origin")
    public = request.app.state.serving.public_url
    # Behind a proxy the Host header may be the server's own; what the browser shows is public_url.
    ours = origin == public if public else (origin or "").partition("://")[2] == request.headers.get("host")
    if origin is not None and not ours:
        raise Problem("not-allowed", "This form was sent by another site.")


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form.

    Raises:
        Problem: 413, it is larger than any form of ours.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise Problem("too-large", f"A form has at most {_MOST_BYTES} bytes.")
    fields = parse_qs(body.decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}
