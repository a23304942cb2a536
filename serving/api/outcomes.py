"""What became of things, as the systems that know it post it back: stock, orders, contacts, what customers said."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, create_model, field_validator
from sqlalchemy import Connection

from features.columns import MOST
from pipelines import inbox
from serving.access.audit import Entry
from serving.access.scopes import LOCATION
from serving.api.parameters import example_keys, taken, without_nul
from serving.auth import Access, needs
from serving.decided import lines_of
from serving.idempotency import once
from serving.problems import Problem, responses

MOST_ROWS = 1000
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Units = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StockRow(_Row):
    """What is on hand of one series at the opening of a day; one more field a series column."""

    as_of: date
    on_hand: Units

    @field_validator("as_of")
    @classmethod
    def _not_to_come(cls, as_of: date) -> date:
        """A count of a day to come would stand above every real one until that day."""
        if as_of > datetime.now(UTC).date() + timedelta(days=1):  # a day ahead: it is tomorrow somewhere already
            raise ValueError("is a day to come")
        return as_of


class OrderEvent(_Row):
    """What became of an order that was sent. `order_line` may be the reference it carries (REC-…)."""

    order_line: Annotated[Name, AfterValidator(without_nul)]
    event: Literal["acknowledged", "received", "cancelled"]
    quantity: Annotated[float, Field(gt=0, le=MOST, allow_inf_nan=False)] | None = None
    order_id: Name | None = None
    why: str = Field(default="the order system said so", min_length=1, max_length=1000, pattern=r"\S")


class CampaignRow(_Row):
    """What came of one contact; what is left out stays as it was said before."""

    list_id: Name
    customer_id: Name
    contacted_at: AwareDatetime | None = None
    responded: bool | None = None
    revenue: Units | None = None


class FeedbackRow(_Row):
    """What a customer said."""

    customer_id: Name
    at: AwareDatetime
    kind: Literal["csat", "nps", "complaint"]
    score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    text: str | None = Field(default=None, max_length=4000)
    order_id: Name | None = None


class Receipt(BaseModel):
    """How many rows were taken in, and under which receipt."""

    receipt: str
    rows: int


Check = Callable[[Request, Access, list[dict[str, Any]]], list[dict[str, Any]]]


def routes(series: list[str]) -> APIRouter:
    """The routes of this noun.

    Args:
        series: The shop's series columns.
    """
    router = APIRouter(tags=["outcomes"], dependencies=[needs("outcomes:write")])
    keys: dict[str, Any] = dict.fromkeys(series, (Name, ...))
    stock = create_model("SeriesStockRow", __base__=StockRow, **keys)
    customer = {"customer_id": "12346"}
    line = {"order_line": "REC-20111205-a2d117b419da230d", "event": "acknowledged", "quantity": 600}
    contact = customer | {"list_id": "win-back-20111209", "responded": True, "revenue": 42.5}
    said = customer | {"at": "2011-12-10T09:30:00Z", "kind": "nps", "score": 9}
    held = example_keys(series) | {"as_of": "2011-12-10", "on_hand": 310}
    for path, row, kind, example, summary, check in (
        ("/v1/outcomes/stock", stock, inbox.STOCK, held, "Actual stock", _own_locations),
        ("/v1/outcomes/orders", OrderEvent, inbox.DECISIONS, line, "What became of orders", _as_decisions),
        ("/v1/outcomes/campaigns", CampaignRow, inbox.CAMPAIGNS, contact, "What campaigns brought", _plain),
        ("/v1/feedback", FeedbackRow, inbox.FEEDBACK, said, "What customers said", _plain),
    ):
        _add(router, path, row, kind, example, summary, check)
    return router


def _add(
    router: APIRouter, path: str, row: type[BaseModel], kind: str, example: Any, summary: str, check: Check
) -> None:
    rows: Any = (list[row], Field(min_length=1, max_length=MOST_ROWS))  # type: ignore[valid-type]
    body: Any = create_model(f"{row.__name__}s", __config__=ConfigDict(extra="forbid"), rows=rows)
    answer = {"receipt": "5f0c3f6f2d9a4b1e", "rows": 1}

    async def take(request: Request, asked: Any) -> Response:
        given = [one.model_dump(mode="json") for one in asked.rows]

        def effect(connection: Connection, access: Access) -> tuple[dict[str, Any], Entry]:
            entered, request_id = check(request, access, given), request.state.request_id
            if kind == inbox.DECISIONS:
                entered = _numbered(connection, entered)
            receipt = inbox.post(connection, kind, entered, key=access.prefix, request_id=request_id)
            entry = Entry("outcome", access.name, access.prefix, len(given), request_id, {"kind": kind})
            return {"receipt": receipt, "rows": len(given)}, entry

        return await once(request, effect)

    take.__annotations__["asked"] = Annotated[body, Body(examples=[{"rows": [example]}])]
    take.__name__ = f"take_{path.rsplit('/', 1)[1]}"
    router.post(
        path,
        status_code=202,
        summary=summary,
        description="All rows or none. On disk when it is answered; `purvey ingest` takes it into the shop's tables. "
        "Send an `Idempotency-Key` so that a request can be repeated.",
        response_model=Receipt,
        responses=taken(answer) | responses("not-found", "in-flight", "key-reused"),
    )(take)


def _plain(_request: Request, _access: Access, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return rows


def _own_locations(_request: Request, access: Access, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    foreign = [(f"rows.{at}", "no such series") for at, row in enumerate(rows) if not _within(access, row)]
    if foreign:
        raise Problem("not-found", "There is no such series.", errors=foreign)
    return rows


def _within(access: Access, row: dict[str, Any]) -> bool:
    return access.locations is None or (LOCATION in row and access.allows(row[LOCATION]))


def _as_decisions(request: Request, access: Access, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order events as changes of lines. Lines of earlier runs are judged when they are drained, by the whole ledger."""
    names = [row["order_line"].removeprefix("REC-") for row in rows]
    said = list(zip(names, (row["event"] for row in rows), strict=True))
    if len(set(said)) < len(said):  # within one request they share their moment: the ledger could not tell them apart
        again = [(f"rows.{at}", "said before in this request") for at, one in enumerate(said) if one in said[:at]]
        raise Problem("invalid-request", "An event of a line is named twice.", errors=again)
    if access.locations is not None:
        known = set(access.within(lines_of(request.app.state.store.now()))["order_line"])
        foreign = [(f"rows.{at}.order_line", "no such line") for at, name in enumerate(names) if name not in known]
        if foreign:
            raise Problem("not-found", "There is no such order line.", errors=foreign)
    return [
        {"subject": name, "state": row["event"], "who": access.name, "why": row["why"].strip(),
         "quantity": row["quantity"], "order_id": row["order_id"]}
        for name, row in zip(names, rows, strict=True)
    ]  # fmt: skip


def _numbered(connection: Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is said of each line, numbered after what was said of it before."""
    steps = inbox.steps(connection, [row["subject"] for row in rows])
    numbered = []
    for row in rows:
        steps[row["subject"]] = steps.get(row["subject"], 0) + 1
        numbered.append(row | {"step": steps[row["subject"]]})
    return numbered
