"""One list of one campaign: who is on it, in which order, who is held out, and why the others are not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from features.tables import TABLES
from pipelines.customers import budget, suppression
from pipelines.customers.campaigns import audience, list_id, margin_rate, priced
from pipelines.customers.outcomes import Response
from pipelines.settings import Campaign, Customers

#: Why somebody of the audience who may be contacted is not on the list.
BESIDES: dict[str, str] = {
    "no_profit": "costs more than it is expected to bring",
    "beyond_budget": "others bring more within the budget and capacity",
}


@dataclass(frozen=True)
class Built:
    """A list and what was decided on the way.

    Attributes:
        rows: Table lists.
        reasons: Table list_suppressions.
        leavers: Table list_leavers.
    """

    rows: pl.DataFrame
    reasons: pl.DataFrame
    leavers: pl.DataFrame


def build(
    scores: pl.DataFrame,
    campaign: Campaign,
    terms: Customers,
    *,
    customers: pl.DataFrame,
    contacts: pl.DataFrame,
    before: pl.DataFrame,
    response: Response,
) -> Built:
    """Make the list of a campaign from the scores of one day.

    The control group is drawn before anyone is ranked, by a hash of list and customer alone: it neither depends on
    the scores nor on who else is there, and costs none of the budget.

    Args:
        scores: Table customer_scores of one day.
        campaign: Whom it is for, what it costs, how far it may go.
        terms: What the values mean.
        customers: Table customers as it is now.
        contacts: customer_id, contacted_on of all campaigns, by the day of the scores.
        before: Table lists, rows of the campaign's last list (none: an empty frame).
        response: P(respond | contact), assumed or measured.
    """
    as_of: date = scores["as_of"][0]
    name = list_id(campaign, as_of)
    people = audience(scores, campaign.audience).sort("customer_id")
    margin = margin_rate(campaign, terms)
    people = priced(people, campaign, margin=margin, response_rate=response.rate)
    people = suppression.judge(
        people,
        customers,
        contacts,
        channel=campaign.channel,
        needs_consent=campaign.needs_consent,
        since=suppression.since(as_of, campaign.cool_off_days),
    )
    judged = _choose(people, campaign, name)
    listed = judged.filter(pl.col("reason").is_null()).sort(
        ["expected_profit", "customer_id"], descending=[True, False]
    )
    rows = listed.with_columns(
        list_id=pl.lit(name),
        campaign=pl.lit(campaign.name),
        rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        action=pl.lit(campaign.action),
        channel=pl.lit(campaign.channel),
        owner=pl.lit(campaign.owner, dtype=pl.String),
        response_rate=pl.lit(response.rate),
        response_basis=pl.lit(response.basis),
        expires_on=pl.lit(as_of + timedelta(days=campaign.expires_days)),
        change=_change(before),
        state=pl.lit("built"),
        exported_on=pl.lit(None, dtype=pl.Date),
    ).select(TABLES["lists"].schema.column_names())
    reasons = suppression.counted(judged, list_id=name, campaign=campaign.name, stage="build")
    return Built(rows, reasons, _leavers(before, rows, judged, name))


def draw(customers: pl.Series, list_id: str) -> np.ndarray:
    """A number between 0 and 1 for each customer of a list: the same on every machine and in every version.

    Example:
        >>> draw(pl.Series(["a", "b"]), "win_back-2024-03-01").round(4).tolist()
        [0.1914, 0.9301]
    """
    key = list_id.encode()
    digests = b"".join(hashlib.blake2b(one.encode(), key=key[-64:], digest_size=8).digest() for one in customers)
    return np.frombuffer(digests, dtype=">u8") / 2.0**64


def _choose(people: pl.DataFrame, campaign: Campaign, name: str) -> pl.DataFrame:
    """Everyone of the audience with `control_group`, and `reason` where they are not on the list."""
    held = draw(people["customer_id"], name) < campaign.holdout
    people = people.with_columns(control_group=pl.Series(held, dtype=pl.Boolean))
    loses = pl.when(pl.col("reason").is_null() & (pl.col("expected_profit") <= 0)).then(pl.lit("no_profit"))
    people = people.with_columns(reason=pl.coalesce("reason", loses))
    open_ = people["reason"].is_null().to_numpy()
    chosen = open_.copy()
    chosen[open_] = budget.select(
        people["expected_profit"].to_numpy()[open_],
        people["cost"].to_numpy()[open_],
        spends=~held[open_],
        budget=campaign.budget,
        capacity=campaign.capacity,
    )
    beyond = pl.when(pl.Series(open_ & ~chosen, dtype=pl.Boolean)).then(pl.lit("beyond_budget"))
    return people.with_columns(reason=pl.coalesce("reason", beyond))


def _change(before: pl.DataFrame) -> pl.Expr:
    stayed = pl.col("customer_id").is_in(before["customer_id"].implode())
    return pl.when(stayed).then(pl.lit("stayed")).otherwise(pl.lit("entered"))


def _leavers(before: pl.DataFrame, rows: pl.DataFrame, judged: pl.DataFrame, name: str) -> pl.DataFrame:
    """Who was on the last list and is not on this one; who is not of the audience any more left it."""
    gone = before.join(rows, on="customer_id", how="anti")
    why = judged.select("customer_id", "reason")
    return (
        gone.join(why, on="customer_id", how="left")
        .select(
            "customer_id",
            "campaign",
            list_id=pl.lit(name),
            previous_list_id="list_id",
            reason=pl.col("reason").fill_null("not_in_audience"),
        )
        .select(TABLES["list_leavers"].schema.column_names())
        .sort("customer_id")
    )
