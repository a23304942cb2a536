"""The probability that a customer places no order within the horizon.

LightGBM says who, BTYD and the season say how many. The trees learn, over several past moments, how each customer
differs from what MBG/NBD expects at the level that came true in that moment's window, so no season teaches them a
level. At the cut, log-odds of MBG/NBD plus a share of what the trees add are shifted as a whole until their mean is
the level expected now: MBG/NBD's, moved by what the same window of earlier years held beyond MBG/NBD, shrunk by a
prior worth one year: half of what one year showed, two thirds of what two years showed on average.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from features.customers import FEATURES
from pipelines.customers.btyd import BetaGeometric
from pipelines.customers.calibration import MonotoneCurve, level_shift, log_odds
from pipelines.customers.moments import BTYD_FEATURES, YEAR_DAYS, Past, ages, keyed, threads_for, with_btyd

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
        folder.mkdir(parents=True, exist_ok=True)
        facts = {
            "class": "pipelines.customers.churn:ChurnModel",
            "btyd": self.btyd.as_dict(),
            "horizon_days": self.horizon_days,
            "period_days": self.period_days,
            "shift": self.shift,
            "season": self.season,
            "anchored_on": self.anchored_on.isoformat(),
            "trees": self.booster is not None,
        }
        (folder / "model.json").write_text(json.dumps(facts, indent=2, sort_keys=True), encoding="utf-8")
        if self.booster is not None:
            self.booster.save_model(str(folder / "trees.txt"))

    @classmethod
    def from_dir(cls, folder: Path) -> ChurnModel:
        """Read what `to_dir` wrote."""
        facts: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        booster = None
        if facts["trees"]:
            import lightgbm as lgb

            booster = lgb.Booster(model_file=str(folder / "trees.txt"))
        return cls(
            btyd=BetaGeometric(**facts["btyd"]),
            booster=booster,
            horizon_days=facts["horizon_days"],
            period_days=facts["period_days"],
            shift=facts["shift"],
            season=facts["season"],
            anchored_on=date.fromisoformat(facts["anchored_on"]),
        )

    def _log_odds(self, rows: pl.DataFrame) -> Floats:
        features = with_btyd(rows, self.btyd, self.periods)
        odds = log_odds(features["p_no_order"].to_numpy())
        if self.booster is None:
            return odds
        matrix = features.select(self.booster.feature_name()).cast(pl.Float64).to_numpy()
        added = self.booster.predict(matrix, raw_score=True, num_threads=threads_for(rows.height, 0))
        return odds + TREES_SHARE * np.asarray(added)


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
    import lightgbm as lgb

    starts = []
    for day, outcome in zip(days, outcomes, strict=True):
        odds = log_odds(past.moment(day).no_order)
        starts.append(odds + level_shift(odds, float(outcome.mean())))
    names = [*FEATURES, *BTYD_FEATURES]
    matrix = pl.concat([past.moment(day).features() for day in days]).select(names).cast(pl.Float64).to_numpy()
    data = lgb.Dataset(matrix, np.concatenate(outcomes), init_score=np.concatenate(starts), feature_name=names)
    return lgb.train(_parameters(len(matrix), seed=seed, threads=threads), data, num_boost_round=trees)


def _parameters(rows: int, *, seed: int, threads: int) -> dict[str, Any]:
    return {
        "objective": "binary",
        "learning_rate": 0.04,
        "num_leaves": 12,
        "min_data_in_leaf": max(5, min(80, rows // 50)),
        "lambda_l2": 10.0,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "num_threads": threads_for(rows, threads),
        "verbosity": -1,
    }
