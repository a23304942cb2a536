"""What a customer is expected to spend (or bring in margin) within the value horizon, with an interval.

Two views are combined. BTYD × Gamma-Gamma gives the level and extends to any horizon; LightGBM (Tweedie), taught at
the longest horizon that past windows complete, ranks better but drifts in level. The served value is their geometric
mean, rescaled so that its total is that of BTYD × Gamma-Gamma. The interval is what past customers with a similar
expectation turned out to be worth, relative to it: its 10th and 90th percentile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.customers import boosting
from pipelines.customers.anchor import choose
from pipelines.customers.clock import Clock
from pipelines.customers.expectation import Expectation
from pipelines.customers.moments import Past, keyed, with_btyd
from pipelines.customers.spending import GammaGamma, fit_gamma_gamma

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = NDArray[np.float64]

MOMENTS = 3
SLICES = 12  # of the horizon, each discounted from its middle
WINSOR = 0.995  # training values above this quantile are cut to it; evaluation never is
INTERVAL = (0.1, 0.9)
BINS = 10
_LEAST = 1e-6


@dataclass(frozen=True)
class ValueModel:
    """BTYD × Gamma-Gamma, trees that rank, and how far past customers ended from their expectation.

    Attributes:
        expectation: Buy-till-you-die as fitted at the cut.
        spending: Gamma-Gamma of net spend a purchase day.
        worth: Runs with the season of what a purchase day is worth.
        booster: The trees, or None where no window was complete.
        horizon_days: The value horizon.
        taught_days: Length of the windows that taught the trees.
        rate: Share of revenue that counts: 1, or the margin rate.
        discount_rate_a_year: Interest by which later orders count less.
        scale: Brings the total of the geometric mean to that of BTYD.
        expectations: Rising expected revenue of the bins of the interval.
        low: Lower end over the expectation in each bin.
        high: Upper end over the expectation in each bin.
    """

    expectation: Expectation
    spending: GammaGamma
    worth: Clock
    booster: lgb.Booster | None
    horizon_days: int
    taught_days: int
    rate: float = 1.0
    discount_rate_a_year: float = 0.0
    scale: float = 1.0
    expectations: tuple[float, ...] = (0.0, 1.0)
    low: tuple[float, ...] = (0.0, 0.0)
    high: tuple[float, ...] = (1.0, 1.0)

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Expected orders and value over the horizon.

        Args:
            rows: Rows of a snapshot (`features.customers`).

        Returns:
            customer_id (where the rows have it), expected_orders (purchase days), value, value_low, value_high, and
            next_order_in_days: the day by which an order is more likely than not, null where it never is; and
            next_order_from_days, next_order_to_days: the 80 % range of that day for one who is still a customer.
        """
        value = self._value(rows)
        low, high = self._interval(value / self.rate if self.rate else value)
        return keyed(
            rows,
            expected_orders=pl.Series(self.expectation.orders(rows, self.horizon_days)),
            value=pl.Series(value),
            value_low=pl.Series(np.minimum(low * value, value)),
            value_high=pl.Series(np.maximum(high * value, value)),
            next_order_in_days=self._wait_days(rows, 0.5),
            next_order_from_days=self._wait_days(rows, INTERVAL[0], living=True),
            next_order_to_days=self._wait_days(rows, INTERVAL[1], living=True),
        )

    def seen_from(self, day: date) -> ValueModel:
        """The same model for the customers of a snapshot of another day: the season that lies ahead is another."""
        return replace(self, expectation=replace(self.expectation, as_of=day))

    def expected_revenue(self, rows: pl.DataFrame) -> Floats:
        """BTYD × Gamma-Gamma over the horizon: discounted expected purchase days times their expected value."""
        ends = np.linspace(0, self.horizon_days, SLICES + 1)
        reached = np.array([self.expectation.orders(rows, end) for end in ends])
        worth = self.worth.between(self.expectation.as_of, ends[:-1], ends[1:]) / np.diff(ends)
        years = (ends[1:] + ends[:-1]) / 2 / 365.25
        discounted = (np.diff(reached, axis=0).T * worth / (1 + self.discount_rate_a_year) ** years).sum(axis=1)
        revenue: Floats = discounted * self.spending.expected_value(*purchases(rows))
        return revenue

    def to_dir(self, folder: Path) -> None:
        """Write `model.json` and, where there are trees, `trees.txt`."""
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "booster"}
        facts |= {
            "period_days": self.expectation.period_days,
            "expectation": self.expectation.as_dict(),
            "spending": self.spending.as_dict(),
        }
        facts |= {"worth": self.worth.as_dict()}
        boosting.write(folder, facts | {"class": "pipelines.customers.value:ValueModel"}, self.booster)

    @classmethod
    def from_dir(cls, folder: Path) -> ValueModel:
        """Read what `to_dir` wrote."""
        facts, booster = boosting.read(folder)
        del facts["period_days"]
        facts |= {"expectation": Expectation.from_dict(facts["expectation"])}
        facts |= {"spending": GammaGamma(**facts["spending"]), "worth": Clock.from_dict(facts["worth"])}
        facts |= {name: tuple(facts[name]) for name in ("expectations", "low", "high")}
        return cls(booster=booster, **facts)

    def _value(self, rows: pl.DataFrame) -> Floats:
        revenue = self.expected_revenue(rows)
        if self.booster is not None:
            revenue = np.sqrt(np.maximum(revenue, _LEAST) * np.maximum(_ranked(self, rows), _LEAST)) * self.scale
        return revenue * self.rate

    def _interval(self, revenue: Floats) -> tuple[Floats, Floats]:
        return np.interp(revenue, self.expectations, self.low), np.interp(revenue, self.expectations, self.high)

    def _wait_days(self, rows: pl.DataFrame, q: float, *, living: bool = False) -> pl.Series:
        days = self.expectation.wait_days(rows, q, living=living)
        known = np.isfinite(days) & (days <= 2 * self.horizon_days)
        return pl.Series(np.where(known, np.ceil(np.where(known, days, 0)), np.nan)).fill_nan(None).cast(pl.Int64)


def fit(
    past: Past,
    *,
    horizon_days: int,
    trees: int,
    seed: int,
    threads: int,
    rate: float = 1.0,
    discount_rate_a_year: float = 0.0,
) -> ValueModel:
    """Learn what customers are worth from what was known at a cut.

    Args:
        past: What was known at the cut; its horizon is the length of the windows that teach.
        horizon_days: The value horizon.
        trees: Number of trees.
        seed: Seed of the sampling of rows and columns.
        threads: Threads of LightGBM.
        rate: Share of revenue that counts.
        discount_rate_a_year: Interest by which later orders count less.

    Raises:
        NotEnoughDataError: Too few customers have bought again, or spent anything.
    """
    _, past = choose(past)
    days = past.training_days(MOMENTS)
    if not days:
        return _at(past, past.cut, None, horizon_days, rate, discount_rate_a_year)
    booster = _grow(past, days, trees=trees, seed=seed, threads=threads)
    rows = past.moment(past.cut).rows
    grown = _rescaled(_at(past, past.cut, booster, horizon_days, rate, discount_rate_a_year), rows)
    return _with_interval(grown, past, days[0])


def teaching_days(record_days: int, horizon_days: int) -> int:
    """Length of the windows that teach: the horizon, or whole weeks of a quarter of the record where that is less.

    Example:
        >>> teaching_days(record_days=738, horizon_days=365)
        182
    """
    return min(horizon_days, max(7, record_days // 4 // 7 * 7))


def purchases(rows: pl.DataFrame) -> tuple[Floats, Floats]:
    """Purchase days and mean net spend a purchase day; none where the mean is not positive."""
    count = rows["frequency"].cast(pl.Float64).to_numpy() + 1
    mean = rows["spend"].to_numpy() / count
    return np.where(mean > 0, count, 0.0), np.maximum(mean, 0.0)


def _at(
    past: Past, day: date, booster: lgb.Booster | None, horizon_days: int, rate: float, discount: float
) -> ValueModel:
    moment = past.moment(day)
    count, mean = purchases(moment.rows)
    spending = fit_gamma_gamma(pl.Series(count), pl.Series(mean))
    return ValueModel(
        moment.expectation, spending, past.worth, booster, horizon_days, past.horizon_days, rate, discount
    )


def _ranked(model: ValueModel, rows: pl.DataFrame) -> Floats:
    assert model.booster is not None
    return boosting.predict(model.booster, with_btyd(rows, model.expectation, model.taught_days))


def _rescaled(model: ValueModel, rows: pl.DataFrame) -> ValueModel:
    """The same model with the total that BTYD expects."""
    combined = (model._value(rows) / model.rate).sum() if model.rate else 1.0
    total = model.expected_revenue(rows).sum()
    return ValueModel(**{**model.__dict__, "scale": float(total / combined) if combined > 0 else 1.0})


def _with_interval(model: ValueModel, past: Past, day: date) -> ValueModel:
    """What the customers of the newest complete window were worth, relative to the same model's expectation then."""
    rows = past.moment(day).rows
    then = _rescaled(_at(past, day, model.booster, past.horizon_days, 1.0, 0.0), rows)
    expected = np.maximum(then._value(rows), _LEAST)
    actual = past.outcome(day)["spend"].clip(0).to_numpy()
    groups = [g for g in np.array_split(np.argsort(expected, kind="stable"), BINS) if len(g)]
    # Bins are named by expectation; a longer horizon stretches them in proportion.
    stretch = float(model.expected_revenue(past.moment(past.cut).rows).mean() / expected.mean())
    middles = tuple(float(np.median(expected[g])) * stretch for g in groups)
    ends = [tuple(float(np.quantile((actual / expected)[g], q)) for g in groups) for q in INTERVAL]
    return ValueModel(**{**model.__dict__, "expectations": middles, "low": ends[0], "high": ends[1]})


def _grow(past: Past, days: list[date], *, trees: int, seed: int, threads: int) -> lgb.Booster:
    spend = np.concatenate([past.outcome(day)["spend"].clip(0).to_numpy() for day in days])
    target = np.minimum(spend, np.quantile(spend, WINSOR))
    objective = {"objective": "tweedie", "tweedie_variance_power": 1.3}
    return boosting.grow(past, days, target, objective, trees=trees, seed=seed, threads=threads)
