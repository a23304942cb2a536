"""A campaign as the configuration describes it: its lists' names, its audience, what a contact costs and brings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from pipelines.errors import ConfigError
from pipelines.settings import Audience, Campaign, Customers, Settings


def named(settings: Settings, name: str | None) -> Sequence[Campaign]:
    """All campaigns of a shop, or the one of a name.

    Raises:
        ConfigError: There is none, or none of that name.
    """
    campaigns = settings.customers.campaigns
    found = [campaign for campaign in campaigns if name in (None, campaign.name)]
    if found:
        return found
    known = ", ".join(campaign.name for campaign in campaigns)
    raise ConfigError(
        f"There is no campaign {name!r}." if campaigns else "The shop has no campaigns.",
        file=settings.file,
        rule="customers.campaigns",
        remedy=f"campaigns of this shop: {known}" if known else "describe one, as configs/template.yaml shows",
    )


def list_id(campaign: Campaign, as_of: date) -> str:
    """The name of the campaign's list of a day: the same day gives the same list.

    Example:
        >>> call = Campaign(name="win_back", action="Call", channel="phone", response_rate=0.1, cost_per_contact=2)
        >>> list_id(call, date(2024, 3, 1))
        'win_back-2024-03-01'
    """
    return f"{campaign.name}-{as_of.isoformat()}"


def audience(scores: pl.DataFrame, wanted: Audience) -> pl.DataFrame:
    """The customers (table customer_scores, one day) that pass every filter; those without a value never do."""
    passes = [
        pl.col("status") == wanted.status,
        pl.col("churn_probability").is_between(wanted.min_churn_probability, wanted.max_churn_probability),
        pl.col("value").is_not_null(),
    ]
    if wanted.churn_bands:
        passes.append(pl.col("churn_band").is_in(wanted.churn_bands))
    if wanted.segments:
        passes.append(pl.col("segment").is_in(wanted.segments) | pl.col("rfm_segment").is_in(wanted.segments))
    if wanted.min_value is not None:
        passes.append(pl.col("value") >= wanted.min_value)
    return scores.filter(passes)


def margin_rate(campaign: Campaign, customers: Customers) -> float:
    """What of a customer's value is the shop's: values that are margins already count whole."""
    if customers.value == "margin":
        return 1.0
    return customers.margin_rate if campaign.margin_rate is None else campaign.margin_rate


def priced(people: pl.DataFrame, campaign: Campaign, *, margin: float, response_rate: float) -> pl.DataFrame:
    """The people with what contacting them costs and is expected to bring, in money.

    value_at_risk = P(churn) · value · margin
    cost = cost of the contact + cost of the offer · P(would stay anyway)
    expected_profit = P(respond | contact) · value_at_risk − cost

    where P(would stay anyway) = 1 − P(churn): who stays takes the offer and gives nothing for it.

    Args:
        people: churn_probability and value (money) of each customer.
        campaign: What a contact and the offer cost.
        margin: Share of value that is the shop's.
        response_rate: P(respond | contact) of those who would leave.

    Example:
        >>> call = Campaign(name="call", action="Call", channel="phone", response_rate=0.1, cost_per_contact=2,
        ...                 offer_cost=5)
        >>> one = pl.DataFrame({"churn_probability": [0.6], "value": [1000.0]})
        >>> priced(one, call, margin=0.5, response_rate=0.1).select(pl.exclude("value").round(2)).row(0)
        (0.6, 300.0, 4.0, 26.0)
    """
    risk = pl.col("churn_probability")
    return people.with_columns(
        value_at_risk=risk * pl.col("value").clip(lower_bound=0) * margin,
        cost=campaign.cost_per_contact + campaign.offer_cost * (1 - risk),
    ).with_columns(expected_profit=response_rate * pl.col("value_at_risk") - pl.col("cost"))
