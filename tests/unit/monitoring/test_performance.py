"""Realised accuracy against figures worked out by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from features.tables import TABLES
from pipelines.lake import Lake
from pipelines.monitoring.jobs import monitor
from pipelines.monitoring.performance import realised
from pipelines.settings import Settings

WEEK = {number: date(2024, 1, 1 + 7 * (number - 1)) for number in (1, 2, 3, 4)}
ISSUED = WEEK[3]
FORECASTS = pl.DataFrame(
    {
        "product_id": ["a", "a", "b", "b"],
        "issued_on": [ISSUED] * 4,
        "period": [WEEK[3], WEEK[4]] * 2,
        "horizon": pl.Series([1, 2, 1, 2], dtype=pl.Int32),
        "mean": [10.0, 10.0, 4.0, 4.0],
        "p_zero": [0.0] * 4,
        "members": [""] * 4,
        "flags": [""] * 4,
        "model_version": ["1"] * 4,
        "p10": [6.0, 6.0, 1.0, 1.0],
        "p50": [9.0, 9.0, 3.0, 3.0],
        "p90": [14.0, 14.0, 8.0, 8.0],
    }
)
# Known now: a sold 12 in week 3 of which 2 were cancelled in week 4; week 4 is not over for b.
DEMAND = pl.DataFrame(
    {
        "product_id": ["a", "a", "a", "b", "b", "b", "a"],
        "period": [WEEK[1], WEEK[2], WEEK[3], WEEK[1], WEEK[2], WEEK[3], WEEK[4]],
        "quantity": [5.0, 8.0, 12.0, 2.0, 2.0, 10.0, 20.0],
    }
)
REVISIONS = pl.DataFrame(
    {
        "product_id": ["a", "a", "a"],
        "period": [WEEK[3], WEEK[2], WEEK[2]],
        "known_period": [WEEK[4], WEEK[2], WEEK[3]],
        "quantity": [-2.0, -1.0, -3.0],
    }
)


def figures(rows: pl.DataFrame, which: str) -> dict[str, float]:
    return dict(rows.filter(pl.col("slice") == which).select("metric", "value").rows())


def test_the_figures_are_those_worked_out_by_hand() -> None:
    rows = realised(FORECASTS, DEMAND, REVISIONS, ["product_id"])
    # Cells: a week 3: actual 12 - 2 = 10; a week 4: 20; b week 3: 10. Naive: a 8 - 1 = 7 (the 3 were not known), b 2.
    found = figures(rows, "all")
    assert found["wape"] == pytest.approx((1 + 11 + 7) / 40)
    assert found["bias_share"] == pytest.approx((10 + 10 + 4 - 40) / 40)
    assert found["wape_naive"] == pytest.approx((3 + 13 + 8) / 40)
    assert found["coverage_80"] == pytest.approx(1 / 3)
    pinball_a3 = (0.1 * 4 + 0.5 * 1 + 0.1 * 4) / 3
    pinball_a4 = (0.1 * 14 + 0.5 * 11 + 0.9 * 6) / 3
    pinball_b3 = (0.1 * 9 + 0.5 * 7 + 0.9 * 2) / 3
    assert found["pinball"] == pytest.approx((pinball_a3 + pinball_a4 + pinball_b3) / 3)
    assert figures(rows, "horizon=2")["wape"] == pytest.approx(11 / 20)
    assert dict(rows.select("slice", "cells").unique().rows()) == {"all": 3, "horizon=1": 2, "horizon=2": 1}
    assert TABLES["performance"].schema.is_valid(rows)


def test_overrides_are_judged_against_the_model_they_moved(tmp_path: Path) -> None:
    """Cells as above: a week 3: 10, a week 4: 20, b week 3: 10. The model's means were 10, 10 and 8."""
    moved = FORECASTS.with_columns(
        mean=pl.Series([10.0, 18.0, 4.0, 4.0]),
        mean_model=pl.Series([10.0, 10.0, 8.0, 4.0]),
        override_id=pl.Series([None, "1", "2", None], dtype=pl.String),
    )
    overrides = pl.DataFrame({"override_id": ["1", "2", "3"], "who": ["anna", "bert", "anna"]})
    rows = realised(moved, DEMAND, REVISIONS, ["product_id"], overrides)
    # anna: 18 for 10 where 20 came; bert: 4 for 8 where 10 came
    assert figures(rows, "overridden by anna") == {
        "wape_of_mean": 2 / 20,
        "wape_of_model_mean": 10 / 20,
        "override_value_added": 8 / 20,
    }
    assert figures(rows, "overridden by bert")["override_value_added"] == pytest.approx((2 - 6) / 10)
    assert figures(rows, "overridden") == {
        "wape_of_mean": pytest.approx((2 + 6) / 30),
        "wape_of_model_mean": pytest.approx((10 + 2) / 30),
        "override_value_added": pytest.approx(4 / 30),
    }
    assert rows.filter(pl.col("slice") == "overridden")["cells"].unique().to_list() == [2]
    assert figures(rows, "all").keys() == figures(realised(FORECASTS, DEMAND, REVISIONS, ["product_id"]), "all").keys()
    assert TABLES["performance"].schema.is_valid(rows)
    lake = Lake(tmp_path / "lake")
    for table, frame in (("forecasts", moved), ("demand", DEMAND), ("demand_revisions", REVISIONS)):
        lake.append(table, frame)
    lake.append("overrides", overrides)
    settings = Settings(shop="due", data_dir=str(tmp_path), sources=[{"table": "demand", "path": "none.parquet"}])
    assert monitor(settings, lake).tables["What overrides added"]["slice"].to_list() == [
        "overridden",
        "overridden by anna",
        "overridden by bert",
    ]


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_period_in_which_stock_ran_out_is_not_judged(share: float) -> None:
    available = DEMAND.with_columns(
        available=pl.when((pl.col("product_id") == "b") & (pl.col("period") == WEEK[3])).then(share).otherwise(1.0)
    )
    rows = realised(FORECASTS, available, REVISIONS, ["product_id"])
    assert rows.filter(pl.col("slice") == "all")["cells"].unique().to_list() == [2]


def test_what_has_not_come_due_is_not_judged(tmp_path: Path) -> None:
    settings = Settings(shop="due", data_dir=str(tmp_path), sources=[{"table": "demand", "path": "none.parquet"}])
    lake = Lake(tmp_path / "lake")
    lake.append("forecasts", FORECASTS)
    lake.append("demand", DEMAND.filter(pl.col("period") < ISSUED))
    assert any("no forecast has come due" in note for note in monitor(settings, lake).notes)
    assert not lake.exists("performance")
    lake.replace("demand", DEMAND)
    summary = monitor(settings, lake)
    assert summary.tables["Forecasts that came due"]["cells"].to_list() == [3]
    before = lake.version("performance")
    monitor(settings, lake)
    assert lake.version("performance") == before
