"""Totals: what is known of groups draws the means of their parts, as far as it has proved right, and no further."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hierarchicalforecast.core import HierarchicalReconciliation
from hierarchicalforecast.methods import BottomUp, TopDown
from hierarchicalforecast.utils import aggregate

from pipelines.demand.alignment import Alignment, groups_of, habit, with_totals
from tests.made_panel import panel_of, tables

HORIZON = 4
STORES = pl.DataFrame({"store": ["a", "a", "b", "b"], "item": [1, 2, 1, 2]})


def rows_of(total: np.ndarray, level: str = "all", group: tuple[int, ...] = (0, 0, 0, 0)) -> pl.DataFrame:
    """Four series with the forecast of their group beside them (groups × horizon)."""
    return pl.DataFrame(
        {
            "series": np.repeat(np.arange(4, dtype=np.int32), HORIZON),
            "horizon": np.tile(np.arange(1, HORIZON + 1, dtype=np.int32), 4),
            f"group_{level}": np.repeat(np.array(group, dtype=np.int32), HORIZON),
            f"total_{level}": np.asarray(total, dtype=np.float64)[
                np.repeat(group, HORIZON), np.tile(range(HORIZON), 4)
            ],
            f"size_{level}": np.full(4 * HORIZON, group.count(0), dtype=np.int32),
        }
    )


@pytest.mark.parametrize(
    ("missed", "level"),
    [
        ([1.1, 1.1, 1.1], 1.1),  # a habit: all of it
        ([0.8, 1.3, 1.0], 1.0),  # chance: mean miss 0.033, standard error 0.145
        ([1.02, 1.10, 1.06], 1 + 0.06 * (0.06**2 - 0.04**2 / 3) / 0.06**2),  # in between, by hand
        ([1.1, 1.1], 1.0),  # two origins cannot tell
        ([2.0, 2.0, 2.0], 1.15),
    ],
)
def test_the_level_takes_over_what_stands_out_of_noise(missed: list[float], level: float):
    forecast = np.array([2.0, 5.0, 1.0, 2.0])
    actual = [np.array([2.0, 5.0, np.nan, 2.0]) * ratio for ratio in missed]
    assert habit([forecast] * len(missed), actual) == pytest.approx(level)


def test_means_go_to_the_total_only_as_far_as_it_was_right_before():
    rng = np.random.default_rng(0)
    means = [rng.uniform(5, 10, 4 * HORIZON) for _ in range(5)]
    true = [m * factor for m, factor in zip(means, (1.2, 0.9, 1.3, 0.8, 1.1), strict=True)]

    def rows(m: np.ndarray, factor: float) -> pl.DataFrame:
        return rows_of(factor * m.reshape(4, HORIZON).sum(axis=0, keepdims=True))

    right = [rows(m, f) for m, f in zip(means, (1.2, 0.9, 1.3, 0.8, 1.1), strict=True)]
    wrong = [rows(m, f) for m, f in zip(means, (0.8, 1.1, 0.7, 1.2, 0.9), strict=True)]
    assert Alignment.learn(right, means, true).pull == {"all": pytest.approx(0.5)}  # all the way, but no more than half
    assert Alignment.learn(wrong, means, true).pull == {"all": 0.0}


def test_a_total_moves_its_parts_in_proportion_and_within_bounds():
    means = np.arange(1.0, 17.0)
    sums = means.reshape(4, HORIZON).sum(axis=0)
    aligned = Alignment({"all": 0.5}, 1.0).of(rows_of(np.array([sums * [1.2, 1.0, 100.0, 0.0]])), means)
    np.testing.assert_allclose((aligned / means).reshape(4, HORIZON)[0], [1.1, 1.0, 1.4, 0.7])
    np.testing.assert_allclose((aligned / means).reshape(4, HORIZON).std(axis=0), 0, atol=1e-12)


def test_part_of_a_group_is_not_mistaken_for_the_whole():
    rows, means = rows_of(np.array([[100.0] * HORIZON])), np.ones(4 * HORIZON)
    alignment = Alignment({"all": 0.5}, 1.0)
    assert (alignment.of(rows, means) > 1).all()
    assert (alignment.of(rows.head(2 * HORIZON), means[: 2 * HORIZON]) == 1).all()


def test_sums_of_every_level_are_those_of_a_reconciliation_library():
    """Means of series are what moves, so every level is their sum: the same as bottom-up of the aligned series, and at
    a full pull without bounds the same as top-down by forecast proportions."""
    means = np.array([[4.0, 6, 5, 5], [2, 2, 3, 1], [1, 0.5, 1, 2], [8, 8, 7, 9]])
    total = means.sum(axis=0) * [1.1, 0.9, 1.05, 1.2]
    aligned = Alignment({"all": 1.0}, 1.0).of(rows_of(total[None]), means.ravel()).reshape(means.shape)
    long = STORES.with_row_index("n").join(pl.DataFrame({"ds": range(1, HORIZON + 1)}), how="cross")
    for values, method in ((aligned, BottomUp()), (means, TopDown(method="forecast_proportions"))):
        frame = long.with_columns(y=pl.Series(values.ravel()), item=pl.col("item").cast(pl.String))
        frame = frame.with_columns(shop=pl.lit("all")).drop("n")
        base, summing, tags = aggregate(frame.to_pandas(), [["shop"], ["shop", "store"], ["shop", "store", "item"]])
        base = base.rename(columns={"y": "model"})
        if isinstance(method, TopDown):
            base.loc[base["unique_id"] == "all", "model"] = total
        found = HierarchicalReconciliation([method]).reconcile(Y_hat_df=base, S_df=summing, tags=tags)
        name = next(column for column in found.columns if "/" in column)
        bottom = found[found["unique_id"].str.count("/") == 2].sort_values(["unique_id", "ds"])[name].to_numpy()
        np.testing.assert_allclose(bottom.reshape(means.shape), aligned)


def test_totals_of_groups_depend_on_nothing_later_and_every_row_knows_its_group():
    panel = panel_of("week", tables("week"))
    origin = panel.last - 10
    known = panel.known(origin)
    later = replace(
        panel, quantity=np.where(np.arange(panel.quantity.shape[1]) > origin - panel.first, 1e6, panel.quantity)
    )
    keys = pl.DataFrame({"horizon": np.tile(np.arange(1, 5, dtype=np.int32), known.series.height)})
    rows = with_totals(keys, known, 4, [[], ["kind"]])
    assert rows.equals(with_totals(keys, later.known(origin), 4, [[], ["kind"]]))
    group = groups_of(known.series, ["kind"])
    assert rows["group_kind"].to_list() == np.repeat(group, 4).tolist()
    assert rows["size_kind"].to_list() == np.repeat(np.bincount(group)[group], 4).tolist()
