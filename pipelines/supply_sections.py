"""The part of a configuration that is about supply: terms, approval, classes and the stock review."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from features.supply_tables import Rounding
from pipelines.sections import Probability, Section, Share


class Illustration(Section):
    """Supply data made up from a seed, for shops that have none. Everything made from it is marked."""

    seed: int = 20111209
    cover_weeks: float = Field(default=4.0, gt=0)


class Approval(Section):
    """Which proposed orders need nobody's approval, which are held, and how long open ones count.

    Attributes:
        by_rule: Approve what keeps within all the limits below; else every line waits for somebody.
        max_value: Most money a line.
        max_change: Most times the usual order of the series.
        min_confidence: Least probability that without the order something would be missing.
        hold_above: Times the usual order above which a line is held until somebody approves it by name; null: never.
        lapse_days: Days after which a line that was edited or held but never approved, or exported but never
            acknowledged, no longer counts as on order; null: it counts until somebody says otherwise.
    """

    by_rule: bool = False
    max_value: float | None = Field(default=None, ge=0)
    max_change: float | None = Field(default=2.0, gt=0)
    min_confidence: Share = 0.0
    hold_above: float | None = Field(default=5.0, gt=0)
    lapse_days: int | None = Field(default=None, ge=1)


class Capacity(Section):
    """What all orders of one run may take together, in units of the terms' `volume` and `weight`; unset: no limit."""

    volume: float | None = Field(default=None, ge=0)
    weight: float | None = Field(default=None, ge=0)
    units: float | None = Field(default=None, ge=0)


class Classes(Section):
    """Where classes of series begin, and how far beyond a cut a series has to be to change class at once.

    Attributes:
        abc: Shares of usage value that classes A, and A and B together, hold.
        xyz: Coefficients of variation, without season, up to which demand counts as X, and as Y.
        margin: Share of a cut (of what is left above it, for shares) that counts as being at the cut.
    """

    abc: tuple[Probability, Probability] = (0.8, 0.95)
    xyz: tuple[float, float] = (0.5, 1.0)
    margin: Share = 0.1

    @field_validator("abc", "xyz")
    @classmethod
    def _rising(cls, cuts: tuple[float, float]) -> tuple[float, float]:
        if not 0 < cuts[0] < cuts[1]:
            raise ValueError("two cuts above 0, the lower one first")
        return cuts


class StockReview(Section):
    """What counts as too much, as dead, as worth a word to a supplier, and how often stock is counted.

    Attributes:
        cover_days: The cover horizon: stock that demand is not likely to take by then is excess.
        obsolete_after_days: Days without demand after which a series without a forecast is obsolete.
        expedite_days: Days after which a hurried order arrives.
        expedite_cost_share: What hurrying costs, of what the units cost.
        least_gain: Money an advice has to bring to be given.
        count_every_days: Days between counts of classes A, B and C.
        count_tolerance: Share of the record by which a count may differ and still confirm it.
        plan_days: How far ahead counts are planned.
        wrong_a_year: Share of records that go wrong within a year of a count, before anything is known of them.
        phantom_share: Share of records that hold stock which is not there, before anything is known of them.
    """

    cover_days: int = Field(default=90, ge=1)
    obsolete_after_days: int = Field(default=180, ge=1)
    expedite_days: int = Field(default=3, ge=0)
    expedite_cost_share: Share = 0.1
    least_gain: float = Field(default=1.0, ge=0)
    count_every_days: tuple[int, int, int] = (30, 91, 365)
    count_tolerance: Share = 0.02
    plan_days: int = Field(default=28, ge=1)
    wrong_a_year: Probability = 0.1
    phantom_share: Probability = 0.02


class Supply(Section):
    """How replenishment is decided; defaults for what the supply_terms table leaves open.

    Attributes:
        orders_placed_at: Local time of day at which orders go out; a supplier whose cut-off is earlier sees them on
            its next order day.
    """

    unmet_demand: Literal["lost", "backorder"] = "lost"
    objective: Literal["cost", "service", "fill_rate"] = "cost"
    service_target: Probability = 0.95
    review_days: int = Field(default=7, ge=1)
    orders_placed_at: str = Field(default="09:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    lead_time_days: float = Field(default=14, ge=0)
    lead_time_sd_days: float = Field(default=0, ge=0)
    moq: float = Field(default=0, ge=0)
    multiple: float = Field(default=1, gt=0)
    rounding: Rounding = "best"
    fixed_order_cost: float = Field(default=0, ge=0, description="of one order line")
    unit_cost_share: Share = Field(default=0.5, description="of the selling price, where no unit_cost is given")
    holding_rate_a_year: float = Field(default=0.25, ge=0)
    shortage_cost_share: Share = Field(default=0.5, description="of the selling price, lost margin per unit")
    concentration: float = Field(default=0, ge=0, description="surcharge on the price of a supplier that has all spend")
    effective_ratio: Literal["auto"] | Share = Field(default="auto", description="scales the critical ratio")
    method: Literal["paths", "quantiles"] = "paths"
    budget: float | None = Field(default=None, ge=0, description="money for the orders of one run")
    capacity: Capacity = Capacity()
    approval: Approval = Approval()
    classes: Classes = Classes()
    stock_review: StockReview = StockReview()
    illustrative: Illustration | None = None

    @field_validator("orders_placed_at", mode="before")
    @classmethod
    def _as_a_clock_says_it(cls, at: object) -> object:
        """YAML reads 10:30 as the number of minutes."""
        return f"{at // 60:02d}:{at % 60:02d}" if isinstance(at, int) else at
