"""The probability that a customer places no order within the horizon.

LightGBM says who, BTYD and the season say how many. The trees learn, over several past moments, how each customer
differs from what BTYD expects at the level that came true in that moment's window, so no season teaches them a
level. At the cut, log-odds of BTYD plus a share of what the trees add are shifted as a whole until their mean is
the level expected now (`anchor`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from pipelines.customers import boosting
from pipelines.customers.anchor import Anchor, choose
from pipelines.customers.calibration import MonotoneCurve, level_shift, log_odds
from pipelines.customers.expectation import Expectation
from pipelines.customers.moments import Past, keyed, with_btyd

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = NDArray[np.float64]

MOMENTS = 6  # past snapshots to learn from
TREES_SHARE = 0.7  # of the trees' correction that is believed; the rest stays with BTYD


@dataclass(frozen=True)
class ChurnModel:
    """BTYD, trees on top, and the shift to the level expected.

    Attributes:
        expectation: Buy-till-you-die as fitted, at the day whose customers set the shift.
        booster: The trees, or None where no label window was complete.
        horizon_days: Length of the window without an order.
        shift: Added to all log-odds.
        anchor: The level they were shifted to, and how it was found.
    """

    expectation: Expectation
    booster: lgb.Booster | None
    horizon_days: int
    shift: float
    anchor: Anchor

    def predict(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Churn probabilities.

        Args:
            rows: Rows of a snapshot (`features.customers`).

        Returns:
            customer_id (where the rows have it), churn_probability, p_alive.
        """
        return keyed(
            rows,
            churn_probability=pl.Series(expit(self._log_odds(rows) + self.shift)),
            p_alive=pl.Series(self.expectation.p_alive(rows)),
        )

    def anchored(self, past: Past) -> ChurnModel:
        """The same model at the level expected, in the way it was anchored before, at another day's end: `past.cut`."""
        anchor, past = choose(past, self.anchor.kind)
        return self._at(anchor, past)

    def importances(self) -> pl.DataFrame:
        """Gain of each feature, largest first; empty without trees."""
        names = self.booster.feature_name() if self.booster else []
        gains = self.booster.feature_importance("gain").tolist() if self.booster else []
        frame = pl.DataFrame({"feature": names, "gain": gains}, schema={"feature": pl.String, "gain": pl.Float64})
        return frame.sort("gain", "feature", descending=[True, False])

    def to_dir(self, folder: Path) -> None:
        """Write `model.json` and, where there are trees, `trees.txt`."""
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "booster"}
        facts |= {
            "period_days": self.expectation.period_days,
            "expectation": self.expectation.as_dict(),
            "anchor": asdict(self.anchor),
        }
        boosting.write(folder, facts | {"class": "pipelines.customers.churn:ChurnModel"}, self.booster)

    @classmethod
    def from_dir(cls, folder: Path) -> ChurnModel:
        """Read what `to_dir` wrote."""
        facts, booster = boosting.read(folder)
        del facts["period_days"]
        facts |= {"expectation": Expectation.from_dict(facts["expectation"]), "anchor": Anchor(**facts["anchor"])}
        return cls(booster=booster, **facts)

    def _log_odds(self, rows: pl.DataFrame) -> Floats:
        features = with_btyd(rows, self.expectation, self.horizon_days)
        odds = log_odds(features["p_no_order"].to_numpy())
        if self.booster is None:
            return odds
        return odds + TREES_SHARE * boosting.predict(self.booster, features, raw=True)

    def _at(self, anchor: Anchor, past: Past) -> ChurnModel:
        seen = replace(self.expectation, clock=past.clock, as_of=past.cut)
        model = replace(self, anchor=anchor, expectation=seen, shift=0.0)
        return replace(model, shift=level_shift(model._log_odds(past.moment(past.cut).rows), anchor.level))


def fit(past: Past, *, trees: int, seed: int, threads: int) -> ChurnModel:
    """Learn from the moments before a cut whose label windows were over by then.

    Args:
        past: What was known at the cut.
        trees: Number of trees.
        seed: Seed of the sampling of rows and columns.
        threads: Threads of LightGBM.

    Raises:
        NotEnoughDataError: Too few customers have bought again.
    """
    anchor, past = choose(past)
    booster = _grow(past, trees=trees, seed=seed, threads=threads)
    expectation = past.moment(past.cut).expectation
    return ChurnModel(expectation, booster, past.horizon_days, 0.0, anchor)._at(anchor, past)


def fit_recency_rule(past: Past) -> MonotoneCurve:
    """The baseline: churn probability by days since the last order alone, learned in the newest complete window.

    Raises:
        IndexError: No label window was complete.
    """
    day = past.training_days(1)[0]
    return MonotoneCurve.fit(recency_score(past.moment(day).rows), past.churned(day))


def recency_score(rows: pl.DataFrame) -> Floats:
    """Days since the last order, the score of the recency rule."""
    return rows["days_since_last_order"].cast(pl.Float64).to_numpy()


def _grow(past: Past, *, trees: int, seed: int, threads: int) -> lgb.Booster | None:
    days = past.training_days(MOMENTS)
    outcomes = [past.churned(day) for day in days]
    if not days or min(len(np.unique(outcome)) for outcome in outcomes) < 2:
        return None
    starts = []
    for day, outcome in zip(days, outcomes, strict=True):
        odds = log_odds(past.moment(day).no_order)
        starts.append(odds + level_shift(odds, float(outcome.mean())))
    target, start = np.concatenate(outcomes), np.concatenate(starts)
    return boosting.grow(
        past, days, target, {"objective": "binary"}, trees=trees, seed=seed, threads=threads, start=start
    )
