"""The shape of every answer: where it comes from, how old it is, pages and their cursors, CSV."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import date
from typing import Any

import orjson
import polars as pl
import polars.selectors as cs
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict

from pipelines.files import spreadsheet_safe
from serving import auth
from serving.problems import Problem
from serving.store import Held

MOST = 1000
MOST_LETTERS = 200
_LARGEST_START = 2**31
CSV = "text/csv"
_DECIMALS = 6


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


def answer(request: Request, held: Held, content: dict[str, Any], *, as_of: Any, model_version: str | None) -> Response:
    """Plain data as the body of an answer; 304 when the sender has it already."""
    said = {
        "release": held.release.id,
        "as_of": as_of,
        "model_version": model_version,
        "stale": held.stale,
    }
    body = orjson.dumps(said | content)
    tag = f'"{held.release.id}-{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Accept, Authorization, Cookie"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def page(held: Held, frame: pl.DataFrame, *, limit: int, cursor: str | None) -> tuple[pl.DataFrame, dict[str, Any]]:
    """One page of a frame, with the total and the cursor of the next page.

    Raises:
        Problem: 410 when the cursor is of another release, 422 when it is none.
    """
    start = _read_cursor(held, cursor) if cursor else 0
    end = start + limit
    following = _cursor(held, end) if end < frame.height else None
    return tidy(frame.slice(start, limit)), {"total": frame.height, "next": following}


def tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows as they are sent: numbers without the noise of their last digits."""
    return frame.with_columns(cs.float().round(_DECIMALS))


def wants_csv(request: Request, asked: str | None) -> bool:
    """Whether the sender asks for CSV, by `format=csv` or by the Accept header.

    Raises:
        Problem: 403 when its key may not export lists.
    """
    if asked != "csv" and (asked is not None or CSV not in request.headers.get("accept", "")):
        return False
    auth.require(request, "lists:export")
    auth.spend(request, "exports")
    return True


def csv(request: Request, held: Held, frame: pl.DataFrame, name: str) -> Response:
    """A whole list as a CSV file that is safe to open in a spreadsheet; noted in the audit. Lists in cells are JSON."""
    auth.note_audit(request, "export", rows=frame.height, list=name, release=held.release.id)
    nested = [column for column, dtype in frame.schema.items() if dtype.is_nested()]
    flat = tidy(frame).with_columns(
        pl.Series(column, [orjson.dumps(value).decode() for value in frame[column].to_list()], dtype=pl.String)
        for column in nested
    )
    file = f"{held.release.shop.get('shop', 'shop')}-{name}-{held.release.id}.csv"
    headers = {
        "Content-Disposition": f'attachment; filename="{file}"',
        "Cache-Control": "private, no-store",
        "X-Release": held.release.id,
        "X-Stale": str(held.stale).lower(),
    }
    return Response(spreadsheet_safe(flat).write_csv().encode(), media_type=CSV, headers=headers)


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
    held: Held,
    table: str,
    rows: pl.DataFrame,
    asked: dict[str, Any],
    file: str,
    items_of: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> Response:
    """A list of what a table holds: the whole as CSV, or one page of it.

    Args:
        request: Who asks.
        held: The release.
        table: The table; it says as of when, and by which model.
        rows: Its rows that are asked for, in their order.
        asked: `format`, `limit` and `cursor`.
        file: What the CSV file is called.
        items_of: Makes items of the rows of a page.

    Raises:
        Problem: As `wants_csv` and `page` raise.
    """
    if wants_csv(request, asked["format"]):
        return csv(request, held, rows, file)
    items, paging = page(held, rows, limit=asked["limit"], cursor=asked["cursor"])
    content = paging | {"items": items_of(items).to_dicts()}
    dated, made = held.only(table, "issued_on"), held.only(table, "model_version")
    return answer(request, held, content, as_of=dated, model_version=made)


def _cursor(held: Held, start: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([held.release.id, start])).decode().rstrip("=")


def _read_cursor(held: Held, cursor: str) -> int:
    try:
        release, start = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(start, int) or not 0 <= start < _LARGEST_START:
            raise ValueError(start)
    except (ValueError, TypeError) as error:
        raise Problem("invalid-request", "The cursor is not one of ours.", errors=[("cursor", "unreadable")]) from error
    if release != held.release.id:
        raise Problem("cursor-expired", f"The cursor is of release {release}; {held.release.id} is current now.")
    return start
