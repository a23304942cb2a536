"""The shape of every answer: where it comes from, how old it is, what part of a list it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from typing import Any

import orjson
import polars as pl
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict

from serving import auth, layouts
from serving.bodies import tidy
from serving.cursors import Place
from serving.problems import Problem
from serving.store import Held

MOST = 1000
MOST_LETTERS = 200
_PAGING = {"limit", "cursor", "format", "layout"}
_VARY = "Accept, Authorization, Cookie"


class Answer(BaseModel):
    """What every answer says of itself."""

    model_config = ConfigDict(extra="forbid")

    release: str
    as_of: date | None
    model_version: str | None
    stale: bool


class Page(Answer):
    """An answer with items, in pages."""

    total: int
    next: str | None


class Columns(Page):
    """A page as one list a column instead of one object an item: some three times smaller."""

    model_config = ConfigDict(extra="allow")

    columns: dict[str, list[Any]]


def answer(
    request: Request,
    held: Held,
    content: dict[str, Any],
    *,
    as_of: Any,
    model_version: str | None,
    media_type: str = layouts.ROWS,
) -> Response:
    """Plain data as the body of an answer; 304 when the sender has it already."""
    body = orjson.dumps(_said(held, as_of, model_version) | content)
    return sent(request, held, body, media_type=media_type)


class Ready(Response):
    """An answer whose headers are bytes already: none is encoded again each time."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.status_code, self.raw_headers, self.body = status, headers, body
        self.background = None


def ready(
    request: Request, held: Held, name: str, content: tuple[bytes | memoryview, ...], table: str, dated: str
) -> Response:
    """What is JSON already as the only field of an answer; 304 when the sender of a GET has it already.

    Its ETag is not made of the body: what is under a path changes only with the release, its staleness and the program.

    Args:
        request: Who asks.
        held: The release.
        name: The field.
        content: Parts of its JSON text.
        table: The table it is of, which says by which model.
        dated: The column that says as of when.
    """
    opening, tag = _opening(held, name, table, dated)
    headers = [(b"cache-control", _kept(request, held).encode()), (b"vary", _VARY.encode())]
    if request.scope["method"] == "GET":  # a path that is posted to has more than one answer
        headers.append((b"etag", tag.encode()))
        known = auth.header_of(request, b"if-none-match")
        if known and _has(known, tag):
            return Ready(304, headers)
    body = b"".join((opening, *content, b"}"))
    headers += ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    return Ready(200, headers, body)


def _opening(held: Held, name: str, table: str, dated: str) -> tuple[bytes, str]:
    """The text before the only field of an answer, and the answer's ETag: the same for all rows of a table."""
    place = name, held.stale
    found: tuple[bytes, str] | None = held.openings.get(place)
    if found is None:
        said = orjson.dumps(_said(held, held.only(table, dated), held.only(table, "model_version")))[:-1]
        opening = said + f',"{name}":'.encode()
        mark = hashlib.blake2b(opening + version("purvey").encode(), digest_size=8).hexdigest()
        found = held.openings[place] = opening, f'"{held.release.id}-{mark}"'
    return found


def sent(request: Request, held: Held, body: bytes, *, media_type: str = layouts.ROWS) -> Response:
    """A body with its ETag and how long it may be kept; 304 when the sender has it already."""
    tag = f'"{held.release.id}-{hashlib.blake2b(body, digest_size=8).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": _kept(request, held), "Vary": _VARY}
    if _has(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def opened(request: Request, asked: dict[str, Any]) -> tuple[Held, int]:
    """The release to answer from, and where on its list: for a walk the release it began on.

    Args:
        request: Who asks.
        asked: The query; `cursor` among it.

    Raises:
        Problem: 503 without a release, 422 when the cursor is of another question, 410 when its release is gone.
    """
    store = request.app.state.store
    if not asked.get("cursor"):
        return store.now(), 0
    place = request.app.state.cursors.read(asked["cursor"], _question(request, asked))
    return store.of(place.release), place.start


def page(
    request: Request, held: Held, frame: pl.DataFrame, asked: dict[str, Any], start: int
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """One page of a frame, with the total and the cursor of the next page.

    Args:
        request: Who asks.
        held: The release, as `opened` gave it.
        frame: The whole list.
        asked: The query; `limit` among it.
        start: Where the page begins, as `opened` gave it.
    """
    end = start + asked["limit"]
    following = None
    if end < frame.height:
        following = request.app.state.cursors.make(Place(held.release.id, end), _question(request, asked))
    return tidy(frame.slice(start, asked["limit"])), {"total": frame.height, "next": following}


def wanted(request: Request, asked: dict[str, Any]) -> str:
    """The media type the sender asks for; whole lists need their own scope.

    Raises:
        Problem: 403 when a key may not export lists.
    """
    kind = layouts.media_type(request, asked.get("format"), asked.get("layout"))
    if is_export(kind):
        auth.require(request, "lists:export")
        auth.spend(request, "exports")
    return kind


def is_export(kind: str) -> bool:
    """Whether a media type means the whole list as a file."""
    return kind in (layouts.CSV, layouts.ARROW)


def export(request: Request, held: Held, rows: pl.DataFrame, file: str, kind: str) -> Response:
    """A whole list as a file; the audit says who took it."""
    auth.note_audit(request, "export", rows=rows.height, list=file, release=held.release.id)
    return layouts.export(held, rows, file, kind)


def matching(frame: pl.DataFrame, filters: dict[str, list[str]]) -> pl.DataFrame:
    """Rows whose columns have one of the given values; values are read as the column's type.

    Raises:
        Problem: 422 when a value cannot be of that type.
    """
    for column, values in filters.items():
        if not values:
            continue
        try:
            typed = pl.Series(values, dtype=pl.String).cast(frame.schema[column], strict=True)
        except pl.exceptions.PolarsError as error:
            kind = str(frame.schema[column]).lower()
            raise Problem(
                "invalid-request",
                f"{column} is not of type {kind}.",
                errors=[(column, f"should be of type {kind}")],
            ) from error
        frame = frame.filter(pl.col(column).is_in(typed.implode()))
    return frame


def found(frame: pl.DataFrame, filters: dict[str, list[str]], nothing: str) -> pl.DataFrame:
    """Rows as `matching` gives them, where there are any or everything was asked for.

    Args:
        frame: Rows.
        filters: Column → values, any of them.
        nothing: What is said where no row has these values; `{}` stands for them.

    Raises:
        Problem: 404 when no row has these values, 422 when one cannot be of the column's type.
    """
    rows = matching(frame, filters)
    if rows.is_empty() and any(filters.values()):
        named = ", ".join(f"{column} {'|'.join(values)[:MOST_LETTERS]}" for column, values in filters.items() if values)
        raise Problem("not-found", nothing.format(named))
    return rows


def listed(
    request: Request,
    table: str,
    rows_of: Callable[[Held], pl.DataFrame],
    asked: dict[str, Any],
    file: str,
    *,
    items_of: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
    more: Callable[[Held], dict[str, Any]] = lambda _held: {},
    dated: str = "issued_on",
) -> Response:
    """A list of what a table holds: the whole as a file, or one page of it.

    Args:
        request: Who asks.
        table: The table; it says as of when, and by which model.
        rows_of: The rows of a release that are asked for, in their order.
        asked: The query: `format`, `layout`, `limit`, `cursor` and filters.
        file: What the file is called.
        items_of: Makes items of the rows of a page.
        more: What else a page says.
        dated: The column that says as of when.

    Raises:
        Problem: As `opened` and `wanted` raise.
    """
    kind = wanted(request, asked)
    held, start = opened(request, asked)
    rows = rows_of(held)
    if is_export(kind):
        return export(request, held, rows, file, kind)
    items, paging = page(request, held, rows, asked, start)
    content = more(held) | paging | layouts.content(items_of(items), kind)
    columns = held.table(table).columns
    return answer(
        request,
        held,
        content,
        as_of=held.only(table, dated) if dated in columns else held.data_as_of,
        model_version=held.only(table, "model_version") if "model_version" in columns else held.model_versions,
        media_type=kind,
    )


def _said(held: Held, as_of: Any, model_version: str | None) -> dict[str, Any]:
    return {"release": held.release.id, "as_of": as_of, "model_version": model_version, "stale": held.stale}


def _kept(request: Request, held: Held) -> str:
    """How long an answer may be kept, as Cache-Control."""
    seconds = held.max_age_seconds(request.app.state.serving.runs_every_hours)
    return f"private, max-age={seconds}" if seconds else "private, no-cache"


def _has(known: str | None, tag: str) -> bool:
    """Whether If-None-Match names a tag: weak ones count as strong (RFC 9110, 13.1.2)."""
    if known is None:
        return False
    return known == "*" or tag in (one.strip().removeprefix("W/") for one in known.split(","))


def _question(request: Request, asked: dict[str, Any]) -> list[Any]:
    return [request.scope["path"], {name: value for name, value in asked.items() if name not in _PAGING}]
