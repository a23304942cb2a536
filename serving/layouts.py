"""How an answer is written: JSON by rows or by columns, CSV, or an Arrow stream."""

from __future__ import annotations

import io
from typing import Any, Literal

import orjson
import polars as pl
from fastapi import Request, Response

from pipelines.files import spreadsheet_safe
from serving.bodies import tidy
from serving.store import Held

ROWS = "application/json"
COLUMNS = "application/vnd.purvey.columns+json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
Format = Literal["json", "csv", "arrow"]
Layout = Literal["rows", "columns"]
_EXPORTS = {"csv": CSV, "arrow": ARROW}


def media_type(request: Request, written: Format | None = None, layout: Layout | None = None) -> str:
    """What the sender wants: by parameter, else by the first type of its Accept header that is one of ours.

    Args:
        request: Who asks.
        written: `format` of the query.
        layout: `layout` of the query.
    """
    if written in _EXPORTS:
        return _EXPORTS[written]
    if layout is not None:
        return COLUMNS if layout == "columns" else ROWS
    accepted = [part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")]
    known = (COLUMNS,) if written == "json" else (ROWS, COLUMNS, CSV, ARROW)
    return next((one for one in accepted if one in known), ROWS)


def content(rows: pl.DataFrame, kind: str) -> dict[str, Any]:
    """Rows as a part of a JSON answer: `items`, one object a row, or `columns`, one list a column."""
    return {"columns": rows.to_dict(as_series=False)} if kind == COLUMNS else {"items": rows.to_dicts()}


def export(held: Held, frame: pl.DataFrame, name: str, kind: str) -> Response:
    """A whole list as a file.

    Args:
        held: The release.
        frame: The list.
        name: What the file is called.
        kind: CSV, which is safe to open in a spreadsheet and has JSON in cells that hold lists; or ARROW.
    """
    ending = "csv" if kind == CSV else "arrows"
    file = f"{held.release.shop.get('shop', 'shop')}-{name}-{held.release.id}.{ending}"
    headers = {
        "Content-Disposition": f'attachment; filename="{file}"',
        "Cache-Control": "private, no-store",
        "X-Release": held.release.id,
        "X-Stale": str(held.stale).lower(),
    }
    written = _csv(tidy(frame)) if kind == CSV else _arrow(tidy(frame))
    return Response(written, media_type=kind, headers=headers)


def _csv(frame: pl.DataFrame) -> bytes:
    nested = [column for column, dtype in frame.schema.items() if dtype.is_nested()]
    flat = frame.with_columns(
        pl.Series(column, [orjson.dumps(value).decode() for value in frame[column].to_list()], dtype=pl.String)
        for column in nested
    )
    return spreadsheet_safe(flat).write_csv().encode()


def _arrow(frame: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    frame.write_ipc_stream(written, compat_level=pl.CompatLevel.oldest())  # older readers know no string views
    return written.getvalue()
