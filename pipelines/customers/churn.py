"""The probability that a customer places no order within the horizon.

LightGBM says who, BTYD and the season say how many. The trees learn, over several past moments, how each customer
differs from what MBG/NBD expects at the level that came true in that moment's window, so no season teaches them a
level. At the cut, log-odds of MBG/NBD plus a share of what the trees add are shifted as a whole until their mean is
the level expected now: MBG/NBD's, moved by what the same window of earlier years held beyond MBG/NBD, shrunk by a
prior worth one year: half of what one year showed, two thirds of what two years showed on average.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from pipelines.customers import boosting
from pipelines.customers.btyd import BetaGeometric
from pipelines.customers.calibration import MonotoneCurve, level_shift, log_odds
from pipelines.customers.moments import YEAR_DAYS, Past, ages, keyed, with_btyd

if TYPE_CHECKING:
    import lightgbm as lgb

Floats = NDArray[np.float64]

MOMENTS = 6  # past snapshots to learn from
TREES_SHARE = 0.7  # of the trees' correction that is believed; the rest stays with BTYD


@dataclass(frozen=True)
class ChurnModel:
    """MBG/NBD, trees on top, and the shift to the level expected.

    Attributes:
        btyd: MBG/NBD as fitted at the cut.
        booster: The trees, or None where no label window was complete.
        horizon_days: Length of the window without an order.
        period_days: Unit of the BTYD times.
        shift: Added to all log-odds.
        season: Log-odds that the season added to the level of MBG/NBD.
        anchored_on: The day whose customers set the shift.
    """

    btyd: BetaGeometric
    booster: lgb.Booster | None
    horizon_days: int
    period_days: int
    shift: float
    season: float
    anchored_on: date

    @property
    def periods(self) -> float:
        """The horizon in periods."""
        return self.horizon_days / self.period_days

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
            p_alive=pl.Series(self.btyd.p_alive(*ages(rows))),
        )

    def anchored(self, past: Past) -> ChurnModel:
        """The same model at the level expected at another day's end: that of `past.cut`."""
        moment = past.moment(past.cut)
        season = season_at(past)
        level = float(expit(log_odds(moment.no_order.mean()) + season))
        shift = level_shift(self._log_odds(moment.rows), level)
        return replace(self, shift=shift, season=season, anchored_on=past.cut)

    def importances(self) -> pl.DataFrame:
        """Gain of each feature, largest first; empty without trees."""
        names = self.booster.feature_name() if self.booster else []
        gains = self.booster.feature_importance("gain").tolist() if self.booster else []
        frame = pl.DataFrame({"feature": names, "gain": gains}, schema={"feature": pl.String, "gain": pl.Float64})
        return frame.sort("gain", "feature", descending=[True, False])

    def to_dir(self, folder: Path) -> None:
        """Write `model.json` and, where there are trees, `trees.txt`."""
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "booster"}
        facts |= {"btyd": self.btyd.as_dict(), "anchored_on": self.anchored_on.isoformat()}
        boosting.write(folder, facts | {"class": "pipelines.customers.churn:ChurnModel"}, self.booster)

    @classmethod
    def from_dir(cls, folder: Path) -> ChurnModel:
        """Read what `to_dir` wrote."""
        facts, booster = boosting.read(folder)
        facts |= {"btyd": BetaGeometric(**facts["btyd"]), "anchored_on": date.fromisoformat(facts["anchored_on"])}
        return cls(booster=booster, **facts)

    def _log_odds(self, rows: pl.DataFrame) -> Floats:
        features = with_btyd(rows, self.btyd, self.periods)
        odds = log_odds(features["p_no_order"].to_numpy())
        if self.booster is None:
            return odds
        return odds + TREES_SHARE * boosting.predict(self.booster, features, raw=True)


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
    btyd = past.moment(past.cut).btyd
    booster = _grow(past, trees=trees, seed=seed, threads=threads)
    model = ChurnModel(btyd, booster, past.horizon_days, past.period_days, 0.0, 0.0, past.cut)
    return model.anchored(past)


def season_at(past: Past) -> float:
    """Log-odds that the season adds to what BTYD expects of the window after the cut; 0 in a first year.

    The mean over earlier years of what the same window held beyond BTYD, times years / (years + 1).
    """
    record_days = (past.cut - past.first).days
    seen = [
        past.surprise(past.cut - timedelta(days=YEAR_DAYS * back)) for back in range(1, record_days // YEAR_DAYS + 1)
    ]
    known = [surprise for surprise in seen if surprise is not None]
    return sum(known) / (len(known) + 1)


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
