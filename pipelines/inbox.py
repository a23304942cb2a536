"""What the API took in and the lake does not hold yet: committed here before it is acknowledged, drained by `ingest`.

A row is one thing that was said. What is said of one order line is numbered in its order (`step`): of two who speak at
once with the same number only one can be entered, whatever the database. Once drained, a row keeps what became of it
and loses its words: the lake has them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    func,
    insert,
    select,
    update,
)

from pipelines.database import TABLES, Database

DECISIONS, STOCK, CAMPAIGNS, FEEDBACK = "decisions", "stock", "campaign_outcomes", "feedback"
TAKEN = "taken"  # what is said of a row that reached the lake; else why it could not

INBOX = Table(
    "inbox",
    TABLES,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("receipt", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text),
    Column("step", Integer),
    Column("said", Text),
    Column("key", Text),
    Column("request_id", Text),
    Column("at", Text, nullable=False),
    Column("drained_at", Text, index=True),
    Column("became", Text),
    UniqueConstraint("subject", "step"),
)
_COLUMNS = ("number", "kind", "subject", "step", "said", "at", "drained_at")


def post(
    connection: Connection,
    kind: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: str | None = None,
    request_id: str | None = None,
) -> str:
    """Enter rows in the transaction of whoever acknowledges them.

    Args:
        connection: Of `Database.writing`.
        kind: What they are.
        rows: Plain data; `subject` and `step`, where there are any, number what is said of one order line.
        key: The prefix of the key they came with.
        request_id: The request they came with.

    Returns:
        A receipt.

    Raises:
        sqlalchemy.exc.IntegrityError: Somebody was first to say the step of a subject.
    """
    receipt, at = secrets.token_hex(8), as_text(datetime.now(UTC))
    entered = [
        {
            "receipt": receipt,
            "kind": kind,
            "subject": row.get("subject"),
            "step": row.get("step"),
            "said": orjson.dumps({name: row[name] for name in row if name not in ("subject", "step")}).decode(),
            "key": key,
            "request_id": request_id,
            "at": at,
        }
        for row in rows
    ]
    connection.execute(insert(INBOX), entered)
    return receipt


def waiting(database: Database, kind: str) -> pl.DataFrame:
    """What the lake does not hold yet: number, subject, step, at (UTC) and `said` (JSON), in its order."""
    wanted = select(*(INBOX.c[name] for name in _COLUMNS)).where(INBOX.c.drained_at.is_(None), INBOX.c.kind == kind)
    with database.reading() as connection:
        return _frame(connection.execute(wanted.order_by(INBOX.c.number)).all())


def steps(connection: Connection, subjects: Sequence[str]) -> dict[str, int]:
    """The last step that was said of each of these subjects."""
    wanted = select(INBOX.c.subject, INBOX.c.step).where(INBOX.c.subject.in_(subjects)).order_by(INBOX.c.step)
    return {row.subject: row.step for row in connection.execute(wanted)}


def since(connection: Connection, moment: datetime) -> list[dict[str, Any]]:
    """What was said of order lines and a release made at that moment cannot know: not drained, or drained later."""
    unknown = INBOX.c.drained_at.is_(None) | (INBOX.c.drained_at > as_text(moment))
    wanted = select(INBOX).where(
        INBOX.c.kind == DECISIONS, unknown, INBOX.c.became.is_(None) | (INBOX.c.became == TAKEN)
    )
    rows = connection.execute(wanted.order_by(INBOX.c.number)).mappings().all()
    return [{"order_line": row["subject"], "step": row["step"]} | orjson.loads(row["said"]) for row in rows]


def drained(database: Database, became: Mapping[int, str], *, forget: bool) -> None:
    """Say what became of rows, by number; `forget` their words, which name customers."""
    if not became:
        return
    at = as_text(datetime.now(UTC))
    change = update(INBOX).where(INBOX.c.number == bindparam("n")).values(drained_at=at, became=bindparam("b"))
    change = change.values(said=None) if forget else change
    with database.writing() as connection:
        connection.execute(change, [{"n": number, "b": text} for number, text in became.items()])


def refused(database: Database, moment: datetime) -> dict[str, int]:
    """Why rows could not go into the lake since a moment → how many of them."""
    count = func.count()
    wanted = select(INBOX.c.became, count).where(INBOX.c.drained_at >= as_text(moment), INBOX.c.became != TAKEN)
    with database.reading() as connection:
        rows = connection.execute(wanted.group_by(INBOX.c.became).order_by(count.desc())).all()
    return dict(map(tuple, rows))


def as_text(moment: datetime) -> str:
    """A moment as it stands in the store: sorted as text, it is sorted in time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _frame(rows: Sequence[Any]) -> pl.DataFrame:
    schema = {name: pl.Int64 if name in ("number", "step") else pl.String for name in _COLUMNS}
    frame = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
    return frame.with_columns(pl.col("at").str.to_datetime(time_unit="us", time_zone="UTC"))
