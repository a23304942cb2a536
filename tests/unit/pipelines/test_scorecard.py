from __future__ import annotations

import polars as pl
import pytest

from pipelines.errors import ConfigError
from pipelines.lake import Lake
from pipelines.printing import print_tables
from pipelines.scorecard import scorecard, write_into


@pytest.fixture
def lake(tmp_path):
    lake = Lake(tmp_path / "lake")
    rows = [
        ("demand", "naive", "wape", "all", "mean", 0.75),
        ("demand", "demand", "wape", "all", "mean", 0.5),
        ("demand", "demand", "wape", "all", "2011-09-25", 0.9),
        ("demand", "demand", "bias_share", "all", "mean", None),
        ("demand", "demand", "noise", "all", "mean", 3.0),
        ("demand", "demand", "wape", "all", "standard_error", 0.01),
        ("demand", "naive", "wape", "all", "standard_error", None),
        ("demand", "demand", "wape", "horizon=1", "mean", 0.4),
        ("customers", "churn", "auc", "all", "mean", 0.8),
    ]
    columns = ["capability", "model", "metric", "slice", "cut", "value"]
    lake.replace("evaluation", pl.DataFrame(rows, schema=columns, orient="row").with_columns(run=pl.lit("r")))
    return lake


def test_means_over_the_cuts_best_first(lake):
    demand = scorecard(lake)["Demand"]
    assert demand.columns == ["slice", "model", "wape", "wape_standard_error", "bias_share"]
    assert demand["model"].to_list() == ["demand", "naive"]
    assert demand["wape"].to_list() == [0.5, 0.75]
    assert demand["wape_standard_error"].to_list() == [0.01, None]
    assert scorecard(lake)["Customers"].columns == ["slice", "model", "auc"], "cuts without a known error have none"


def test_the_whole_scorecard_has_every_slice_and_metric(lake):
    demand = scorecard(lake, whole=True)["Demand"]
    assert demand["slice"].to_list() == ["all", "all", "horizon=1"]
    assert set(demand.columns) == {"slice", "model", "wape", "wape_standard_error", "bias_share", "noise"}


def test_a_standard_error_is_printed_beside_its_figure(lake, capsys):
    print_tables(scorecard(lake))
    printed = capsys.readouterr().out
    assert "0.500 ± 0.010" in printed
    assert "standard error" not in printed


def test_an_untrained_shop_has_no_tables(tmp_path):
    assert scorecard(Lake(tmp_path / "empty")) == {}


def test_only_what_stands_between_the_marks_is_rewritten(lake, tmp_path):
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- scorecard: Demand -->\nold\n<!-- end -->\nafter\n")
    write_into(file, scorecard(lake))
    lines = file.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert "| all | demand | 0.500 ± 0.010 | – |" in lines
    assert "| all | naive | 0.750 | – |" in lines
    assert "old" not in lines


def test_a_file_without_marks_is_refused(lake, tmp_path):
    file = tmp_path / "plain.md"
    file.write_text("nothing here")
    with pytest.raises(ConfigError, match="no scorecard marks"):
        write_into(file, scorecard(lake))
