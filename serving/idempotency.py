"""The same request sent twice does its work once: `Idempotency-Key`, kept for 24 hours with the answer.

What a request does and the record that it was done are one transaction: a server that is killed has done both or
neither. The claim on the key is entered first, so that of two at once the second meets it, on every database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio.to_thread
import orjson
from fastapi import Request, Response
from sqlalchemy import Column, Connection, LargeBinary, Table, Text, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from pipelines.database import TABLES, Database
from pipelines.inbox import as_text
from serving.access import audit
from serving.auth import Access
from serving.problems import Problem

HOURS = 24
HEADER, REPLAYED = "idempotency-key", "Idempotency-Replayed"
_LONGEST = 255

RECORDS = Table(
    "idempotency",
    TABLES,
    Column("sender", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("asked_sha256", Text, nullable=False),
    Column("answer", LargeBinary),
    Column("at", Text, nullable=False),
)

Effect = Callable[[Connection, Access], tuple[dict[str, Any], audit.Entry]]


async def once(request: Request, effect: Effect) -> Response:
    """Do what a request asks, once, and answer; committed before the answer.

    Args:
        request: Let in before. Without an Idempotency-Key it is simply done.
        effect: Does it in the transaction it is given; returns the answer and what the audit says of it.

    Raises:
        Problem: 422 where the key came with another body, 409 where it is at work, or whatever the effect raises.
    """
    key = request.headers.get(HEADER)
    if key is not None and not 0 < len(key) <= _LONGEST:
        raise Problem("invalid-request", f"Idempotency-Key has 1 to {_LONGEST} letters.", errors=[(HEADER, "too long")])
    asked = hashlib.sha256(request.scope["path"].encode() + b"\0" + await request.body()).hexdigest()
    database: Database = request.app.state.database
    done, replayed = await anyio.to_thread.run_sync(_done, database, request.state.access, key, asked, effect)
    request.app.state.decided.forget()
    headers = {"Cache-Control": "no-store"} | ({REPLAYED: "true"} if replayed else {})
    return Response(done, status_code=202, media_type="application/json", headers=headers)


def _done(database: Database, access: Access, key: str | None, asked: str, effect: Effect) -> tuple[bytes, bool]:
    try:
        with database.writing() as connection:
            if key is not None:
                known = _known(connection, access.prefix, key, asked)
                if known is not None:
                    return known, True
            said, entry = effect(connection, access)
            body = orjson.dumps(said)
            audit.write(connection, entry)
            if key is not None:
                mine = (RECORDS.c.sender == access.prefix) & (RECORDS.c.key == key)
                connection.execute(update(RECORDS).where(mine).values(answer=body))
            return body, False
    except IntegrityError as error:
        raise Problem(
            "in-flight", "Somebody else is saying this at the same moment.", headers={"Retry-After": "1"}
        ) from error


def _known(connection: Connection, sender: str, key: str, asked: str) -> bytes | None:
    """What was answered before; else the key is claimed."""
    now = datetime.now(UTC)
    connection.execute(delete(RECORDS).where(RECORDS.c.at <= as_text(now - timedelta(hours=HOURS))))
    mine = (RECORDS.c.sender == sender) & (RECORDS.c.key == key)
    row = connection.execute(select(RECORDS.c.asked_sha256, RECORDS.c.answer).where(mine)).first()
    if row is None:
        claim = {"sender": sender, "key": key, "asked_sha256": asked, "at": as_text(now)}
        connection.execute(insert(RECORDS), [claim])
        return None
    if row.asked_sha256 != asked:
        raise Problem("key-reused", "This Idempotency-Key was sent before with another body; take a new one.")
    return bytes(row.answer)
