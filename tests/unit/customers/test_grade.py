"""The interval of a gain, and what it decides."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from pipelines.customers.grade import Grade, grade, weighted_auc
from pipelines.customers.metrics import auc
from pipelines.customers.promotion import GAINS


def said(strength: float, customers: int = 1500) -> pl.DataFrame:
    """Two cuts at which the model knows `strength` more than the rule."""
    rng = np.random.default_rng(3)
    days = rng.integers(1, 200, 2 * customers)
    hidden = rng.normal(size=2 * customers)
    churned = rng.normal(size=2 * customers) < days / 100 - 1 + hidden
    return pl.DataFrame(
        {
            "cut": np.repeat(["first", "second"], customers),
            "customer_id": [f"c{number}" for number in range(customers)] * 2,
            "churned": churned,
            "days_since_last_order": days,
            "churn": 1 / (1 + np.exp(-(days / 100 - 1 + strength * hidden))),
        }
    )


def test_weights_are_copies_of_customers() -> None:
    rng = np.random.default_rng(0)
    happened, score = (rng.random(60) < 0.4).astype(float), rng.integers(0, 12, 60).astype(float)
    times = rng.integers(0, 4, (5, 60)).astype(float)
    copied = [auc(np.repeat(happened, row.astype(int)), np.repeat(score, row.astype(int))) for row in times]
    np.testing.assert_allclose(weighted_auc(happened, score, times), copied)


def test_the_gain_is_the_mean_of_the_cuts_and_its_interval_that_of_a_plain_bootstrap() -> None:
    frame = said(0.3, customers=400)
    found = grade(frame, seed=1)
    assert found is not None

    def gain(part: pl.DataFrame) -> float:
        came = part["churned"].cast(pl.Float64).to_numpy()
        rule = part["days_since_last_order"].cast(pl.Float64).to_numpy()
        return auc(came, part["churn"].to_numpy()) - auc(came, rule)

    cuts = frame.partition_by("cut")
    assert found.gain == pytest.approx(np.mean([gain(part) for part in cuts]))
    rng = np.random.default_rng(99)
    draws = [np.mean([gain(part[picked]) for part in cuts]) for picked in rng.integers(0, 400, (300, 400))]
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.05, 0.95]), abs=0.006)


def test_grades_order_models_and_rows_do_not_matter() -> None:
    letters = [found.letter for strength in (1.0, 0.0, -0.5) if (found := grade(said(strength), seed=1))]
    assert letters == ["A", "C", "D"] or letters == ["A", "D", "D"]
    frame = said(0.2)
    assert grade(frame, seed=1) == grade(frame.sample(fraction=1, shuffle=True, seed=2), seed=1)
    assert grade(frame.with_columns(churned=pl.lit(True)), seed=1) is None


@pytest.mark.parametrize(("low", "wins"), [(-0.001, False), (0.001, True)])
def test_a_model_whose_lower_bound_is_below_the_rule_has_lost(low: float, wins: bool) -> None:
    assert (GAINS[0].lost(Grade(0.01, low, 0.02).rows()) is None) == wins
