"""The sample shop's demand: the first law on real orders, and the accuracy that is promised."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.calendar import Grid
from features.demand import Vocabulary, rows_at
from features.orders import demand_from_orders
from features.panel import Panel
from pipelines.demand.origins import Origins
from tests.conftest import SampleRun

pytestmark = pytest.mark.sample

GRID = Grid.starting_monday("week")
ZONE = "Europe/London"


def panel_of(lines: pl.DataFrame, last: int | None = None) -> Panel:
    demand, revisions = demand_from_orders(lines, ["product_id"], GRID, ZONE)
    return Panel.build(demand, ["product_id"], GRID, revisions=revisions, last=last)


def figure(sample_run: SampleRun, model: str, metric: str) -> float:
    evaluation = sample_run.lake.read("evaluation").filter(
        pl.col("capability") == "demand", pl.col("slice") == "all", pl.col("cut") == "mean"
    )
    return evaluation.filter(model=model, metric=metric)["value"].item()


@pytest.mark.parametrize("how", ["deleted", "scrambled"])
def test_rows_do_not_see_orders_known_after_the_origin(sample_run: SampleRun, how: str):
    lines = sample_run.lake.read("order_lines")
    whole = panel_of(lines)
    origin = whole.last - 20
    end = GRID.last_day(origin)
    later = pl.col("known_at").dt.convert_time_zone(ZONE).dt.date() > end
    if how == "deleted":
        changed = panel_of(lines.filter(~later))
        assert changed.last == origin
    else:
        rng = np.random.default_rng(1)
        noise = pl.Series(rng.integers(1, 5000, lines.height).astype(float))
        changed = panel_of(lines.with_columns(quantity=pl.when(later).then(noise).otherwise("quantity")))
    honest, other = (
        rows_at(panel, origin, 8, Vocabulary.of(panel.known(origin)), country="GB") for panel in (whole, changed)
    )
    if how == "scrambled":
        assert (whole.quantity != changed.quantity).any(), "the scrambling did something"
    names = [panel.series["product_id"].gather(rows["series"]) for panel, rows in ((whole, honest), (changed, other))]
    assert names[0].to_list() == names[1].to_list()
    for name in honest.columns:
        if name != "series":
            assert honest[name].to_numpy().tobytes() == other[name].to_numpy().tobytes(), name


def test_what_is_learned_at_a_cutoff_depends_on_no_order_known_later(sample_run: SampleRun):
    """Rows, thinning, weights and labels, chosen on each side from what that side knows."""
    lines = sample_run.lake.read("order_lines")
    whole = panel_of(lines)
    cutoff = whole.last - 24
    later = pl.col("known_at").dt.convert_time_zone(ZONE).dt.date() > GRID.last_day(cutoff)
    names, learned = [], []
    for panel in (whole, panel_of(lines.filter(~later))):
        rows, target, weight = Origins(panel, sample_run.settings, 8).training_rows(cutoff)
        names.append(panel.series["product_id"].gather(rows["series"]).to_list())
        columns = [rows[name].to_numpy() for name in rows.columns if name != "series"]
        learned.append([rows.columns, *(array.tobytes() for array in (*columns, target, weight))])
    assert names[0] == names[1]
    assert learned[0] == learned[1]
    assert len(names[0]) == pytest.approx(sample_run.settings.demand.training_rows, rel=0.02), "thinned to the budget"


def test_labels_are_what_the_orders_say(sample_run: SampleRun):
    """Demand as known today, summed straight from the lines by another route."""
    lines = sample_run.lake.read("order_lines")
    week = pl.col("ordered_at").dt.convert_time_zone(ZONE).dt.date().dt.truncate("1w").alias("week")
    sales = lines.filter(kind="sale").with_columns(week)
    cancelled = (
        lines.filter(pl.col("kind") == "return", pl.col("cancels_order_id").is_not_null())
        .group_by("cancels_order_id", "cancels_line_no")
        .agg(off=pl.col("quantity").sum())
    )
    net = sales.join(
        cancelled, left_on=["order_id", "line_no"], right_on=["cancels_order_id", "cancels_line_no"], how="left"
    ).select("product_id", "week", quantity=pl.col("quantity") - pl.col("off").fill_null(0))
    panel = panel_of(lines)
    known = panel.known(panel.last + 1_000)
    inside = net.filter(pl.col("week").is_between(GRID.name(panel.first), GRID.name(panel.last)))
    assert np.nansum(known.quantity, dtype=np.float64) == pytest.approx(inside["quantity"].sum())
    top = inside.group_by("product_id").agg(pl.col("quantity").sum()).sort("quantity", descending=True).head(20)
    for product, units in top.iter_rows():
        place = known.series["product_id"].to_list().index(product)
        assert np.nansum(known.quantity[place], dtype=np.float64) == pytest.approx(units)


@pytest.mark.parametrize("baseline", ["seasonal_naive", "moving_average", "tsb"])
@pytest.mark.parametrize("metric", ["wape", "scaled_pinball", "wql"])
def test_the_model_beats_every_baseline(sample_run: SampleRun, baseline: str, metric: str):
    assert figure(sample_run, "demand", metric) < figure(sample_run, baseline, metric)


def test_the_mean_is_nearly_unbiased_and_quantiles_are_honest(sample_run: SampleRun):
    assert abs(figure(sample_run, "demand", "bias_share")) <= 0.05
    assert figure(sample_run, "demand", "calibration_gap") <= 0.03
