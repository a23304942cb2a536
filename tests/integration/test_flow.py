"""The sample shop from files to served answers, through the real program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.tables import TABLES, quantile_column
from pipelines.release import current
from pipelines.scorecard import scorecard
from pipelines.settings import sample_config
from pipelines.supply.outlook import outlook
from pipelines.supply.paths import draws
from tests.conftest import purvey

pytestmark = pytest.mark.sample
README = Path(sample_config()).parent.parent / "README.md"


def test_every_table_keeps_its_contract(sample_run):
    keys = tuple(sample_run.settings.demand.series)
    for name in (
        "order_lines",
        "demand",
        "forecasts",
        "forecast_drivers",
        "customer_scores",
        "segments",
        "replenishment",
        "evaluation",
    ):
        frame = sample_run.lake.read(name)
        schema = TABLES[name].schema_with(frame.schema, keys)
        assert frame.height > 0
        schema.validate(frame)


def test_quantiles_are_ordered_and_totals_are_sane(sample_run):
    forecasts = sample_run.lake.read("forecasts")
    columns = [quantile_column(quantile) for quantile in sample_run.settings.demand.quantiles]
    values = forecasts.select(columns).to_numpy()
    assert (values[:, 1:] >= values[:, :-1]).all()
    assert (values >= 0).all()
    assert forecasts["period"].n_unique() == sample_run.settings.demand.horizon


def test_sample_paths_add_up_to_demand_over_the_lead_time(sample_run):
    """By quarter of volume: means within 5 % but for the one that hardly sells; the median and the ninth decile within
    10 % in the upper half, which sells all but a hundredth of the units."""
    keys = sample_run.settings.demand.series
    forecasts, lead_time, ranks = map(sample_run.lake.read, ("forecasts", "lead_time_demand", "path_ranks"))
    lines = lead_time.select(keys).unique().sort(keys).gather_every(3)
    ahead = outlook(lines, forecasts, lead_time, keys, ranks)
    assert ahead.joint is not None
    paths = ahead.paths(draws(ahead.joint.shape[2], ahead.horizon, seed=1), ahead.horizon)
    quarter = np.argsort(np.argsort(ahead.sums_mean[:, -1])) * 4 // lines.height
    for level in (0.5, 0.9):
        drawn, target = np.quantile(paths[:, -1], level, axis=1), ahead.sums[:, -1, list(ahead.levels).index(level)]
        for volume in (2, 3):
            assert np.abs(drawn - target)[quarter == volume].sum() < 0.1 * target[quarter == volume].sum()
    for volume in (1, 2, 3):
        own = quarter == volume
        assert paths[own, -1].mean(axis=1).sum() == pytest.approx(ahead.sums_mean[own, -1].sum(), rel=0.05)


def value(frame: pl.DataFrame, model: str, metric: str, slice_: str = "all") -> float:
    row = frame.filter((pl.col("model") == model) & (pl.col("slice") == slice_))
    assert row.height == 1, f"{model}, {slice_}: {row.height} rows"
    return row[metric].item()


def test_demand_beats_its_baselines(sample_run):
    demand = scorecard(sample_run.lake)["Demand"]
    ours = value(demand, "demand", "wape"), value(demand, "demand", "scaled_pinball")
    for baseline in ("seasonal_naive", "moving_average", "tsb"):
        assert ours[0] < value(demand, baseline, "wape")
        assert ours[1] < value(demand, baseline, "scaled_pinball")
    assert abs(value(demand, "demand", "bias_share")) <= 0.05


def test_churn_beats_its_baselines(sample_run):
    customers = scorecard(sample_run.lake)["Customers"]
    for slice_ in ("all", "active"):
        assert value(customers, "churn", "auc", slice_) > value(customers, "recency_rule", "auc", slice_)
    assert value(customers, "churn", "ece") <= 0.05
    assert value(customers, "churn", "ece") <= value(customers, "bg_nbd", "ece")


def test_a_second_run_changes_nothing(sample_run):
    before = current(sample_run.settings.releases_dir)
    versions = sample_run.lake.versions(TABLES)
    done = purvey("run", "--config", sample_config(), PURVEY_DATA_DIR=str(sample_run.home))
    assert "already ingested" in done.stdout or "nothing new" in done.stdout
    assert sample_run.lake.versions(TABLES) == versions
    assert current(sample_run.settings.releases_dir).id == before.id


def test_the_readme_shows_the_figures_of_a_run(sample_run):
    text = README.read_text()
    for title, frame in scorecard(sample_run.lake).items():
        frame = frame.drop(pl.selectors.ends_with("_standard_error"))
        block = re.search(rf"<!-- scorecard: {title} -->\n(.*?)<!-- end -->", text, re.DOTALL)
        assert block, f"the README has no table {title}"
        shown = [line.strip("| ").split(" | ") for line in block[1].splitlines()[2:]]
        assert [row[:2] for row in shown] == [[row["slice"], row["model"]] for row in frame.to_dicts()]
        for cells, row in zip(shown, frame.rows(), strict=True):
            for cell, figure in zip(cells[2:], row[2:], strict=True):
                assert figure is None or float(cell.split(" ± ")[0]) == pytest.approx(figure, abs=0.01)


def test_json_output_is_json(sample_run):
    done = purvey("releases", "--json", "--config", sample_config(), PURVEY_DATA_DIR=str(sample_run.home))
    assert any(row["current"] for row in json.loads(done.stdout))
