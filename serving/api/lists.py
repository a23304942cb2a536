"""Lists of campaigns: whom to contact, best first, and who must be left alone."""

from datetime import date
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from pipelines.customers import suppression
from serving import layouts
from serving.answers import MOST, Page, found, is_export, listed
from serving.api.parameters import NEXT, Listing, documented, with_csv
from serving.auth import needs
from serving.problems import Problem, responses
from serving.store import Held

_TABLE = "lists"
_PERMISSIONS = "contact_permissions"
_CONTACTS = "contacts"


class ListFilters(Listing):
    """Which lists, and how they are written."""

    campaign: list[str] = Field(
        default=[],
        max_length=MOST,
        description="Only of this campaign; repeat it for several.",
        examples=[["win_back"]],
    )
    list_id: list[str] = Field(default=[], max_length=MOST, description="Only this list; repeat it for several.")


class Listed(BaseModel):
    """One customer on one list; nobody of the control group is to be contacted."""

    model_config = ConfigDict(extra="allow")

    list_id: str
    customer_id: str
    campaign: str
    as_of: date
    rank: int
    action: str
    channel: str
    expected_profit: float
    expires_on: date
    control_group: bool
    state: str
    model_version: str


class Lists(Page):
    """A page of the customers on lists."""

    items: list[Listed]


_EXAMPLE = {
    "list_id": "win_back-2011-12-09",
    "customer_id": "12347",
    "campaign": "win_back",
    "as_of": "2011-12-09",
    "rank": 1,
    "action": "call",
    "channel": "phone",
    "expected_profit": 84.2,
    "expires_on": "2012-01-06",
    "control_group": False,
    "state": "built",
    "model_version": "2",
}
_PAGE = {"as_of": "2011-12-09", "model_version": "2", "total": 120, "next": NEXT, "items": [_EXAMPLE]}


def routes(_series: list[str]) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["customers"], dependencies=[needs("customers:read")])

    @router.get(
        "/v1/lists",
        summary="Lists of campaigns",
        responses=with_csv(
            documented(Lists, _PAGE), "list_id,rank,customer_id,action\nwin_back-2011-12-09,1,12347,call\n"
        )
        | responses("not-found", "not-in-this-shop", "cursor-expired"),
        response_model=Lists,
    )
    async def list_lists(request: Request, asked: Annotated[ListFilters, Query()]) -> Response:
        """Everyone on the newest lists, by list and rank.

        CSV and Arrow are for contact and need lists:export: the control group stays behind, and so does everyone of
        whom the release does not say that they may be contacted. Post back whom you contacted.
        """
        kind = layouts.media_type(request, asked.format, asked.layout)

        def rows(held: Held) -> pl.DataFrame:
            chosen = {"campaign": asked.campaign, "list_id": asked.list_id}
            known = found(held.table(_TABLE), chosen, "There is no list for {}.").sort("list_id", "rank")
            return contactable(held, known) if is_export(kind) else known

        return listed(request, _TABLE, rows, asked.model_dump(), "lists", dated="as_of")

    return router


def contactable(held: Held, rows: pl.DataFrame) -> pl.DataFrame:
    """Who on lists may be contacted by what the release knows; without permissions on record, nobody.

    Raises:
        Problem: 404, the release does not say who may be contacted.
    """
    if not held.has(_PERMISSIONS) or not held.has(_CONTACTS):
        raise Problem("not-in-this-shop", "This release does not say who may be contacted, so no list can be exported.")
    terms = held.release.shop.get("campaigns", {})
    parts = [_of_list(held, part, terms.get(part["campaign"][0], {})) for part in rows.partition_by("list_id")]
    return pl.concat(parts) if parts else rows


def _of_list(held: Held, rows: pl.DataFrame, terms: dict[str, int | bool]) -> pl.DataFrame:
    """One list judged as `purvey lists export` does, on the day of its scores; unknown terms are the strictest."""
    day: date = rows["as_of"][0]
    judged = suppression.judge(
        rows.drop("consent_basis"),
        held.table(_PERMISSIONS),
        held.table(_CONTACTS).filter(pl.col("list_id") != rows["list_id"][0]),
        channel=rows["channel"][0],
        needs_consent=bool(terms.get("needs_consent", True)),
        since=suppression.since(day, int(terms.get("cool_off_days", 3_650))),
    )
    free = pl.col("reason").is_null() & ~pl.col("control_group") & (pl.col("state") != "suppressed")
    return judged.filter(free).select(rows.columns)
