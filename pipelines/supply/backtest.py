"""Ordering policies replayed on demand that really came, with the forecasts that were to be had at each review.

A policy sees what a planner would have seen: stock, what is on its way, demand until then and the forecasts issued at
that moment. All policies meet the same demand and the same terms, so their differences are paired, series by series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from features.quantiles import demand_at
from pipelines.settings import Supply
from pipelines.supply.decision import decide
from pipelines.supply.frontier import frontier
from pipelines.supply.line_arrays import Lines
from pipelines.supply.measures import best_static, cost, measure
from pipelines.supply.outlook import Outlook
from pipelines.supply.paths import Array
from pipelines.supply.policies.erp import POLICIES
from pipelines.supply.policies.known import Forecast, Known
from pipelines.supply.policies.rules import OrderUpTo
from pipelines.supply.ratios import effective_ratios
from pipelines.supply.scenario import Scenario, Units
from pipelines.supply.simulator import Order, Totals, simulate

_EXACT = 1e-9
_CARE = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)  # probabilities that nothing is missing
_REMEMBERED_YEARS = 1  # of history, for rules that look at nothing else
_FARTHEST = 60  # periods beyond now whose place in the year is named


@dataclass(frozen=True)
class Past:
    """A stretch of the past to replay: n lines, T periods.

    Attributes:
        demand: Units asked for in every period known by its end, the stretch last, shape (n, B + T); not-a-number
            where it is unknown.
        outlooks: Demand ahead as it was forecast when each of the T periods began.
        terms: From `terms.complete_terms`, one row a line.
        days_a_period: Mean length of a period, days.
        lost: Whether unmet demand is lost; otherwise it waits.
    """

    demand: Array
    outlooks: Sequence[Outlook]
    terms: pl.DataFrame
    days_a_period: float
    lost: bool

    @property
    def periods(self) -> int:
        """Periods replayed."""
        return len(self.outlooks)

    @property
    def before(self) -> int:
        """Periods known before them."""
        return int(self.demand.shape[1]) - self.periods

    @property
    def lead(self) -> npt.NDArray[np.int64]:
        """Whole periods an order takes, shape (n,): one that comes within a period can be sold in the next."""
        return np.ceil(self._of("lead_time_days") / self.days_a_period - _EXACT).astype(np.int64)

    @property
    def review(self) -> npt.NDArray[np.int64]:
        """Whole periods between reviews, shape (n,)."""
        return np.asarray(np.maximum(np.rint(self._of("review_days") / self.days_a_period), 1), np.int64)

    @property
    def protection(self) -> npt.NDArray[np.int64]:
        """Periods until an order placed at the next review can be sold, at most as many as are forecast, shape (n,)."""
        return np.asarray(np.minimum(self.lead + self.review, self.outlooks[0].horizon))

    @property
    def ratio(self) -> Array:
        """Shortage cost ÷ (shortage cost + holding cost until the next review), shape (n,)."""
        shortage, holding = self._of("shortage_cost"), self._of("holding_cost") * self.review
        return shortage / np.maximum(shortage + holding, np.finfo(float).tiny)

    def scenario(self) -> Scenario:
        """The world: demand as it came, unknown as it was expected; stock for the first wait on average."""
        came = self.demand[:, self.before :]
        expected = np.stack([np.rint(ahead.sums_mean[:, 0]) for ahead in self.outlooks], axis=1)
        opening = np.rint(self.outlooks[0].sums_mean[np.arange(len(came)), self.protection - 1])
        return Scenario(
            demand=np.where(np.isnan(came), expected, came),
            lead=self.lead,
            on_hand=opening,
            holding_cost=self._of("holding_cost"),
            shortage_cost=self._of("shortage_cost"),
            lost=self.lost,
            moq=self._of("moq"),
            multiple=self._of("multiple"),
            maximum=self._of("maximum"),
            review=self.review,
            warm_up=min(int(self.lead.max(initial=0)) + 1, self.periods - 1),
        )

    def quantiles(self, level: Array) -> Array:
        """Quantiles of demand over the protection interval, as forecast when each period began, shape (T, n), units."""
        place = np.arange(len(self.terms)), self.protection - 1
        return np.stack(
            [
                demand_at(level[:, None], ahead.levels, ahead.sums[place], ahead.sums_mean[place])[:, 0]
                for ahead in self.outlooks
            ]
        )

    def known(self, period: int, service_target: float | None = None) -> Known:
        """What rules of the textbook know when a period begins; by default they aim at the service costs ask for."""
        until, ahead = self.before + period, self.outlooks[period]
        place = np.arange(len(self.terms)), self.protection - 1
        year = round(365.25 / self.days_a_period)
        return Known(
            history=self.demand[:, max(until - _REMEMBERED_YEARS * year, 0) : until],
            lead_time=self.lead.astype(np.float64),
            review=self.review.astype(np.float64),
            holding_cost=self._of("holding_cost"),
            shortage_cost=self._of("shortage_cost"),
            fixed_cost=np.zeros(len(self.terms)),
            service_target=self.ratio if service_target is None else np.full(len(self.terms), service_target),
            season=np.arange(max(until - _REMEMBERED_YEARS * year, 0), until + _FARTHEST) % year,
            forecast=Forecast(ahead.levels, ahead.sums[place], ahead.sums_mean[place]),
        )

    def _of(self, column: str) -> Array:
        return self.terms[column].cast(pl.Float64).to_numpy()


NAMES = ("paths", *POLICIES)
"""Policies that can be replayed: the decision of `purvey replenish`, and what planning systems do."""


@dataclass(frozen=True)
class Walk:
    """What one policy came to.

    Attributes:
        totals: Sums over the periods that count.
        cost: Money a period, shape (n,).
    """

    totals: Totals
    cost: Units


def walk(past: Past, name: str, supply: Supply, *, seed: int, threads: int = 1) -> Walk:
    """Replay one policy of `NAMES`."""
    order = path_rule(past, supply, seed=seed, threads=threads) if name == "paths" else known_policy(past, name)
    scenario = past.scenario()
    totals = simulate(scenario, order).totals
    return Walk(totals, cost(scenario, totals))


def judge(past: Past, walks: Mapping[str, Walk]) -> pl.DataFrame:
    """A row a policy, in their order: its measures, and what it costs more than the first, with standard errors."""
    scenario, first = past.scenario(), next(iter(walks.values()))
    level = best_static(scenario)
    hindsight = float(cost(scenario, simulate(scenario, OrderUpTo(level)).totals).sum())
    rows = []
    for name, one in walks.items():
        extra = one.cost - first.cost
        found = asdict(measure(scenario, one.totals, days_a_period=past.days_a_period))
        rows.append(
            {
                "policy": name,
                **found,
                "extra_cost": float(extra.sum()),
                "standard_error": float(extra.std(ddof=1) * np.sqrt(len(extra))) if len(extra) > 1 else float("nan"),
                "regret": found["cost"] - hindsight,
            }
        )
    return pl.DataFrame(rows).drop("expired")


def by_series(series: pl.DataFrame, past: Past, walks: Mapping[str, Walk]) -> pl.DataFrame:
    """Keys, `policy`, and what it came to in a period: cost, demand, unmet, stock, ordered, order_lines."""
    return pl.concat(
        series.with_columns(
            policy=pl.lit(name),
            cost=one.cost,
            **{
                column: getattr(one.totals, column) / one.totals.periods
                for column in ("demand", "unmet", "stock", "ordered", "order_lines")
            },
        )
        for name, one in walks.items()
    )


def frontier_of(past: Past, supply: Supply, *, seed: int, threads: int = 1) -> pl.DataFrame:
    """Fill rate and stock of three policies from careless to careful."""
    policies = {
        "paths": lambda level: path_rule(past, supply, seed=seed, threads=threads, service_target=level),
        "order_up_to_quantile": lambda level: order_up_to_quantile(past, level),
        "safety_stock": lambda level: known_policy(past, "safety_stock", service_target=level),
    }
    return frontier(past.scenario(), policies, _CARE, days_a_period=past.days_a_period)


def known_policy(past: Past, name: str, service_target: float | None = None) -> Order:
    """A policy of `policies.erp.POLICIES`, its parameters set anew at every review."""
    set_parameters = POLICIES[name]

    def order(inventory: Units, pipeline: Units, period: int) -> Units:
        if period + 1 >= past.periods:
            return np.zeros(len(inventory))
        wish = set_parameters(past.known(period + 1, service_target))(inventory, pipeline, period)
        return np.asarray(np.ceil(np.maximum(wish, 0) - _EXACT))

    return order


def order_up_to_quantile(past: Past, level: float) -> Order:
    """Order up to one quantile of forecast demand over the protection interval, the same for all lines."""
    levels = past.quantiles(np.full(len(past.terms), level))

    def order(inventory: Units, pipeline: Units, period: int) -> Units:
        wish = levels[min(period + 1, past.periods - 1)] - inventory - pipeline.sum(axis=1)
        return np.asarray(np.ceil(np.maximum(wish, 0) - _EXACT))

    return order


def path_rule(past: Past, supply: Supply, *, seed: int, threads: int = 1, service_target: float | None = None) -> Order:
    """What `purvey replenish` would have ordered: the same decision, at every review.

    Args:
        past: The past.
        supply: How orders are decided.
        seed: Seed of the sample paths.
        threads: Blocks of lines at work at once.
        service_target: Aim at this probability that nothing is missing, whatever the settings say.
    """
    items = len(past.terms)
    terms = {
        name: past.terms[name].cast(pl.Float64).to_numpy()
        for name in ("holding_cost", "shortage_cost", "service_target", "moq", "multiple", "maximum")
    }
    if service_target is not None:
        supply = supply.model_copy(update={"objective": "service"})
        terms["service_target"] = np.full(items, service_target)
    lines = Lines(
        on_hand=np.zeros(items),
        receipts=np.zeros((items, 1)),
        due=np.zeros((items, 1)),
        now=np.zeros(items),
        lead=past.lead.astype(np.float64),
        lead_sd=np.zeros(items),
        review=past.review.astype(np.float64),
        **terms,
    )
    lines = replace(lines, ratio=effective_ratios(lines, past.outlooks[0], supply, seed=seed, threads=threads))

    def order(inventory: Units, pipeline: Units, period: int) -> Units:
        if period + 1 >= past.periods:
            return np.zeros(items)
        ordered_ago = np.arange(pipeline.shape[1], 0, -1)  # the oldest order comes first
        now = replace(
            lines,
            on_hand=np.asarray(inventory, np.float64),
            receipts=np.asarray(pipeline, np.float64),
            due=np.maximum(lines.lead[:, None] - ordered_ago, 0.0),
            confidence=None,
        )
        decided = decide(now, past.outlooks[period + 1], supply, seed=seed, threads=threads)
        return np.asarray(decided["quantity"].to_numpy())

    return order
