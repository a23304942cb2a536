"""Targets held against what came: coverage told window by window, and a target that demand without noise meets."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.errors import ConfigError
from pipelines.settings import Supply
from pipelines.supply import backtest, targets
from tests.unit.supply.test_backtest import BEFORE, LEAD_WEEKS, LEVELS, PERIODS, made_past


def test_coverage_is_a_count_of_windows():
    past = made_past(8)
    below = at_most = windows = 0
    for line in range(len(past.terms)):
        for period, ahead in enumerate(past.outlooks):
            came = past.demand[line, BEFORE + period : BEFORE + period + LEAD_WEEKS].tolist()
            if len(came) == LEAD_WEEKS and not np.isnan(came).any():
                quantile = ahead.sums[line, LEAD_WEEKS - 1, LEVELS.tolist().index(0.7)]
                below, at_most, windows = below + (sum(came) < quantile), at_most + (sum(came) <= quantile), windows + 1
    row = targets.coverage(past, [0.7]).row(0, named=True)
    assert windows == 8 * (PERIODS - LEAD_WEEKS + 1) - 2
    assert row["windows"] == windows
    assert row["share_below"] == pytest.approx(below / windows)
    assert row["share_at_most"] == pytest.approx(at_most / windows)
    assert row["miss"] == pytest.approx(max(below / windows - 0.7, 0.7 - at_most / windows, 0))


def test_a_higher_target_is_aimed_at_and_reached():
    past, realised = made_past(30), []
    for level in (0.8, 0.97):
        aimed, supply = targets.aimed(past, Supply(), "fill_rate", level)
        walked = backtest.walk(aimed, "paths", supply, seed=0)
        found = targets.reached(aimed, walked, "fill_rate", level).row(0, named=True)
        served = 1 - walked.totals.unmet.sum() / walked.totals.demand.sum()
        assert found["realised"] == pytest.approx(served)
        assert found["points"] == pytest.approx(100 * (served - level))
        realised.append(served)
    assert realised[0] < realised[1]
    assert realised == pytest.approx([0.8, 0.97], abs=0.06)


@pytest.mark.parametrize("said", ["fill_rate", "fill_rate=1.5", "cost=0.9", "service=nan"])
def test_what_is_no_target_is_refused(said):
    with pytest.raises(ConfigError, match="is no target"):
        targets.target(said)
