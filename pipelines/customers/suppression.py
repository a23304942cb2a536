"""Whom a campaign must leave alone. Judged when a list is built and again when it is exported, and strict: where a
channel needs a yes, not knowing is a no; whom the shop has no record of is not contacted at all.
"""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

#: Why somebody is left alone, strongest first, and what it says to people.
REASONS: dict[str, str] = {
    "not_on_record": "no row in the customers table",
    "do_not_contact": "asked not to be contacted",
    "consent_refused": "said no to this channel",
    "consent_unknown": "never said yes, which this channel needs",
    "recently_contacted": "contacted within the cool-off days",
}


def judge(
    people: pl.DataFrame,
    customers: pl.DataFrame,
    contacts: pl.DataFrame,
    *,
    channel: str,
    needs_consent: bool,
    since: date,
) -> pl.DataFrame:
    """Say of everyone whether they may be contacted.

    Args:
        people: Rows with `customer_id`.
        customers: Table customers as it is now: consent is never read as it was.
        contacts: `customer_id`, `contacted_on` of every earlier contact that counts (`contacted`).
        channel: email, phone, sms, post or app.
        needs_consent: Whether only a yes allows contact.
        since: Who was contacted after this day is left alone.

    Returns:
        The people, in their order, with `reason` (null = may be contacted) and `consent_basis` (consent, or
        legitimate_interest where the channel needs no yes).

    Example:
        >>> people = pl.DataFrame({"customer_id": ["a", "b", "c"]})
        >>> record = pl.DataFrame({"customer_id": ["a", "b"], "consent": [True, None], "consent_email": [None, None],
        ...                        "do_not_contact": [None, False]})
        >>> nobody = pl.DataFrame(schema={"customer_id": pl.String, "contacted_on": pl.Date})
        >>> terms = dict(channel="email", needs_consent=True, since=date(2024, 1, 1))
        >>> judge(people, record, nobody, **terms)["reason"].to_list()
        [None, 'consent_unknown', 'not_on_record']
    """
    said = pl.coalesce(pl.col(f"consent_{channel}").cast(pl.Boolean), pl.col("consent").cast(pl.Boolean))
    record = customers.select("customer_id", "do_not_contact", _said=said, _known=pl.lit(True))
    recent = contacts.filter(pl.col("contacted_on") > since).select("customer_id", _recent=pl.lit(True)).unique()
    judged = people.join(record, on="customer_id", how="left", maintain_order="left")
    judged = judged.join(recent, on="customer_id", how="left", maintain_order="left")
    against = {
        "not_on_record": pl.col("_known").is_null(),
        "do_not_contact": pl.col("do_not_contact"),
        "consent_refused": ~pl.col("_said"),
        "consent_unknown": pl.lit(needs_consent) & pl.col("_said").is_null(),
        "recently_contacted": pl.col("_recent"),
    }
    reason = pl.coalesce(pl.when(against[name]).then(pl.lit(name)) for name in REASONS)
    basis = pl.when(pl.col("_said")).then(pl.lit("consent")).otherwise(pl.lit("legitimate_interest"))
    return judged.with_columns(reason=reason, consent_basis=basis).drop("do_not_contact", "^_.*$")


def contacted(lists: pl.DataFrame, outcomes: pl.DataFrame, *, timezone: str, besides: str) -> pl.DataFrame:
    """Every contact on record: whoever was exported, and whoever another system says it contacted.

    Args:
        lists: Table lists.
        outcomes: Table campaign_outcomes.
        timezone: The shop's, in which a day begins.
        besides: A list whose own contacts do not count.

    Returns:
        customer_id, contacted_on.
    """
    exported = lists.filter(pl.col("state") == "exported").select("list_id", "customer_id", contacted_on="exported_on")
    at = pl.col("contacted_at").dt.convert_time_zone(timezone).dt.date()
    posted = outcomes.drop_nulls("contacted_at").select("list_id", "customer_id", contacted_on=at)
    both = pl.concat([exported, posted]).filter(pl.col("list_id") != besides)
    return both.select("customer_id", "contacted_on")


def since(day: date, cool_off_days: int) -> date:
    """The day after which a contact is too recent on `day`."""
    return day - timedelta(days=cool_off_days)


def counted(judged: pl.DataFrame, *, list_id: str, campaign: str, stage: str) -> pl.DataFrame:
    """Table list_suppressions for one list and stage: customers by reason, rows without one left out."""
    return (
        judged.drop_nulls("reason")
        .group_by("reason")
        .agg(customers=pl.len().cast(pl.Int64))
        .select(
            "reason",
            "customers",
            list_id=pl.lit(list_id),
            stage=pl.lit(stage),
            campaign=pl.lit(campaign),
        )
        .select("list_id", "stage", "reason", "campaign", "customers")
        .sort("reason")
    )
