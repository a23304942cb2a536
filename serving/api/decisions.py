"""What people decide on proposed orders: approve, edit, reject."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection

from features.columns import MOST
from pipelines import inbox
from pipelines.supply.orders import APPROVED, EDITED, NEXT, NOT_PEOPLE, REJECTED
from serving import decided
from serving.access.audit import Entry
from serving.api.parameters import taken, without_nul
from serving.auth import Access, needs
from serving.idempotency import once
from serving.problems import Problem, responses
from serving.store import Held

MOST_ROWS = 1000
_STATES = {"approve": APPROVED, "edit": EDITED, "reject": REJECTED}
_EXAMPLE = {
    "decisions": [{"order_line": "20111205-a2d117b419da230d", "decision": "edit", "quantity": 600, "why": "promotion"}]
}
_ANSWER = {
    "receipt": "5f0c3f6f2d9a4b1e",
    "decided": [{"order_line": "20111205-a2d117b419da230d", "state": "edited", "quantity": 600.0}],
}


class Decision(BaseModel):
    """One decision. `who`: on whose behalf; the key's name unless said."""

    model_config = ConfigDict(extra="forbid")

    order_line: Annotated[str, AfterValidator(without_nul)] = Field(min_length=1, max_length=100)
    decision: Literal["approve", "edit", "reject"]
    quantity: float | None = Field(default=None, gt=0, le=MOST, allow_inf_nan=False)
    who: str | None = Field(default=None, min_length=1, max_length=100, pattern=r"\S")
    why: str = Field(min_length=1, max_length=1000, pattern=r"\S")

    @model_validator(mode="after")
    def _quantity_of_edits(self) -> "Decision":
        if (self.quantity is None) == (self.decision == "edit"):
            raise ValueError("quantity belongs to an edit, and to nothing else")
        if self.who is not None and self.who.strip() in NOT_PEOPLE:
            raise ValueError("who is a name the program speaks under")
        return self


class Decisions(BaseModel):
    """Decisions that are taken together or not at all."""

    model_config = ConfigDict(extra="forbid")

    decisions: list[Decision] = Field(min_length=1, max_length=MOST_ROWS)


class DecidedLine(BaseModel):
    """A line after the decision."""

    order_line: str
    state: str
    quantity: float


class DecisionReceipt(BaseModel):
    """What was taken in."""

    receipt: str
    decided: list[DecidedLine]


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["replenishment"], dependencies=[needs("replenishment:write")])

    @router.post(
        "/v1/replenishment/decisions",
        status_code=202,
        summary="Approve, edit or reject proposed orders",
        response_model=DecisionReceipt,
        responses=taken(_ANSWER) | responses("not-found", "not-in-this-shop", "conflict", "in-flight", "key-reused"),
    )
    async def decide(request: Request, asked: Annotated[Decisions, Body(examples=[_EXAMPLE])]) -> Response:
        """All of them or none. On disk when it is answered; `purvey ingest` takes it into the shop's tables.

        Of two that decide on one line at once the second is told what became of it. Send an `Idempotency-Key` so that
        a request can be repeated.
        """
        held: Held = request.app.state.store.now()
        request_id = request.state.request_id
        return await once(
            request, lambda connection, access: _decide(connection, access, held, asked.decisions, request_id)
        )

    return router


def _decide(
    connection: Connection, access: Access, held: Held, wanted: list[Decision], request_id: str
) -> tuple[dict[str, Any], Entry]:
    subjects = [one.order_line for one in wanted]
    if len(set(subjects)) < len(subjects):
        raise Problem("invalid-request", "A line is named twice.", errors=[("decisions", "a line is named twice")])
    steps = inbox.steps(connection, subjects)
    lines = {row["order_line"]: row for row in access.within(decided.now(connection, held)).iter_rows(named=True)}
    unknown = [(f"decisions.{at}.order_line", "no such line") for at, name in enumerate(subjects) if name not in lines]
    if unknown:
        raise Problem("not-found", "There is no such order line in the current release.", errors=unknown)
    stuck = []
    for at, one in enumerate(wanted):
        state = lines[one.order_line]["state"]
        if _STATES[one.decision] not in NEXT[state] or not lines[one.order_line]["quantity"] + (one.quantity or 0):
            stuck.append((f"decisions.{at}.decision", f"{one.order_line} is {state} and cannot become that"))
    if stuck:
        raise Problem("conflict", f"{stuck[0][1]}. Nothing was taken.", errors=stuck)
    rows = [
        {"subject": one.order_line, "step": steps.get(one.order_line, 0) + 1, "state": _STATES[one.decision],
         "who": (one.who or access.name).strip(), "why": one.why.strip(), "quantity": one.quantity}
        for one in wanted
    ]  # fmt: skip
    receipt = inbox.post(connection, inbox.DECISIONS, rows, key=access.prefix, request_id=request_id)
    after = [
        {"order_line": row["subject"], "state": row["state"],
         "quantity": row["quantity"] or lines[str(row["subject"])]["quantity"]}
        for row in rows
    ]  # fmt: skip
    entry = Entry("decision", access.name, access.prefix, len(rows), request_id, {"receipt": receipt})
    return {"receipt": receipt, "decided": after}, entry
