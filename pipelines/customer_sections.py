"""The part of a configuration that is about customers: what is scored, and the campaigns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipelines.sections import Channel, Probability, Section, Share


class Audience(Section):
    """Whom a campaign is for; a customer must pass every filter that is set."""

    status: Literal["active", "lapsed"] = "active"
    churn_bands: list[Literal["low", "medium", "high"]] = Field(default=[])
    min_churn_probability: Share = 0.0
    max_churn_probability: Share = 1.0
    segments: list[str] = Field(default=[], description="names of either scheme, k-means or RFM")
    min_value: float | None = None


class Campaign(Section):
    """One action toward customers: whom it is for, what it costs, and how far it may go.

    Attributes:
        opt_in: Whether only who has said yes may be contacted; unset: on every channel but post.
        response_rate: Assumed P(respond | contact) of those who would leave, until the campaign's own lists are
            measured.
        holdout: Share of the list that is never contacted, so that what the campaign brings can be measured.
        cool_off_days: Nobody whom any campaign contacted within so many days is contacted again.
        measure_days: Orders count as responses within so many days of the export.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    audience: Audience = Audience()
    action: str = Field(min_length=1)
    channel: Channel
    opt_in: bool | None = None
    response_rate: Probability
    cost_per_contact: float = Field(ge=0, allow_inf_nan=False)
    offer_cost: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    margin_rate: Share | None = None
    budget: float | None = Field(default=None, gt=0)
    capacity: int | None = Field(default=None, ge=1)
    holdout: float = Field(default=0.1, gt=0, le=0.5)
    cool_off_days: int = Field(default=30, ge=0, le=3_650)
    expires_days: int = Field(default=28, ge=1, le=3_650)
    measure_days: int = Field(default=28, ge=1, le=3_650)
    owner: str | None = None

    @property
    def needs_consent(self) -> bool:
        """Whether a customer who never said yes is left alone."""
        return self.channel != "post" if self.opt_in is None else self.opt_in


class Customers(Section):
    """How customers are judged: repeat buyers (transactional) or subscribers (contractual)."""

    enabled: bool = True
    kind: Literal["transactional", "contractual"] = "transactional"
    period_days: int = Field(default=7, ge=1)
    churn_horizon_days: int = Field(default=91, ge=1, le=3_650)
    value_horizon_days: int = Field(default=365, ge=1, le=36_500)
    value: Literal["revenue", "margin"] = "revenue"
    margin_rate: Share = 0.3
    discount_rate_a_year: float = Field(default=0.0, ge=0)
    active_days: int | None = Field(default=None, ge=1)
    cuts: int = Field(default=4, ge=1, le=24)
    cut_step_days: int = Field(default=28, ge=1)
    trees: int = Field(default=150, ge=1)
    most_learned_from: int = Field(
        default=100_000, ge=1_000, description="customers that models learn from and are judged on; all are scored"
    )
    fee_column: str | None = Field(default=None, description="of table contracts: the fee a month")
    protected: list[str] = Field(default=[])
    segment_names: dict[str, str] = Field(default={})
    campaigns: list[Campaign] = Field(default=[])

    @field_validator("segment_names")
    @classmethod
    def _told_apart(cls, segment_names: dict[str, str]) -> dict[str, str]:
        if not all(segment_names.values()) or len(set(segment_names.values())) != len(segment_names):
            raise ValueError("give each segment a name of its own")
        return segment_names

    @field_validator("campaigns")
    @classmethod
    def _named_once(cls, campaigns: list[Campaign]) -> list[Campaign]:
        if len({campaign.name for campaign in campaigns}) != len(campaigns):
            raise ValueError("give each campaign a name of its own")
        return campaigns

    @model_validator(mode="after")
    def _margin_once(self) -> Customers:
        if self.value == "margin" and any(campaign.margin_rate is not None for campaign in self.campaigns):
            raise ValueError(
                "a campaign's margin_rate has no meaning where `value: margin`: values are margins already"
            )
        return self
