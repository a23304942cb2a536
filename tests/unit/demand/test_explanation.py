"""Drivers: every feature has one, TreeSHAP is what the definition says, units add up, words say it."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dataframely as dy
import lightgbm as lgb
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.demand import Vocabulary, features_of, rows_at
from features.forecast_tables import DRIVERS
from features.tables import TABLES
from pipelines.demand import jobs
from pipelines.demand.boosting import Boosting
from pipelines.demand.explanation import GROUPS, MODELLED, contributions, drivers, group_of, in_words, settled
from pipelines.demand.inputs import open_panel
from pipelines.demand.origins import Origins
from pipelines.errors import ConfigError
from pipelines.lake import Lake
from tests.made_panel import GRIDS, panel_of, tables
from tests.unit.demand.conftest import START, WEEKS, make_shop
from tests.unit.demand.test_jobs import Kept

TINY = ["lag_0", "season_all", "momentum_all", "holidays", "mean_4"]


@pytest.fixture(scope="module")
def tiny() -> SimpleNamespace:
    """Five trees on five features that act together, with a row of each kind."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(300, len(TINY))).astype(np.float32)
    target = np.exp(0.8 * values[:, 0] + values[:, 1] * values[:, 3] - 0.5 * (values[:, 2] > 0.3) + 0.3 * values[:, 4])
    plan = {"objective": "tweedie", "num_leaves": 8, "learning_rate": 0.3, "verbosity": -1, "num_threads": 1}
    booster = lgb.train(plan, lgb.Dataset(values, target), 5)
    scale = pl.Series(rng.gamma(2, 5, 40), dtype=pl.Float32)
    rows = pl.DataFrame(values[:40], schema=TINY).with_columns(scale=scale, series=pl.int_range(40), origin=7)
    return SimpleNamespace(trees=Boosting(booster, {}, TINY), rows=rows)


def expectation(node: dict[str, Any], x: Sequence[float], known: Collection[int]) -> float:
    """What a tree says where only some features are known: the others are followed both ways, by the rows they had."""
    if "leaf_value" in node:
        return float(node["leaf_value"])
    left, right = node["left_child"], node["right_child"]
    if node["split_feature"] in known:
        return expectation(left if x[node["split_feature"]] <= node["threshold"] else right, x, known)
    rows = [side.get("internal_count", side.get("leaf_count")) for side in (left, right)]
    both = [expectation(side, x, known) for side in (left, right)]
    return (rows[0] * both[0] + rows[1] * both[1]) / sum(rows)


def shapley(players: int, worth: Any) -> list[float]:
    """Shapley values from their definition: every coalition, weighed."""
    values = [0.0] * players
    for player in range(players):
        others = [one for one in range(players) if one != player]
        for size in range(players):
            weight = 1 / (players * math.comb(players - 1, size))
            for coalition in itertools.combinations(others, size):
                values[player] += weight * (worth({*coalition, player}) - worth(set(coalition)))
    return values


@pytest.mark.parametrize("country", ["GB", None])
@pytest.mark.parametrize("frequency", GRIDS)
def test_every_feature_of_every_panel_has_a_driver(frequency: str, country: str | None):
    panel = panel_of(frequency, tables(frequency))
    vocabulary = Vocabulary.of(panel.known(panel.last))
    features = features_of(rows_at(panel, panel.last, 8, vocabulary, country=country))
    found = {feature: group_of(feature) for feature in features}
    assert set(found.values()) == set(GROUPS) - ({"calendar"} if country is None and frequency != "day" else set())
    told = {name: group for name, group in found.items() if "promotion" in name or "price" in name or "weather" in name}
    assert len(told) > 8
    assert set(told.values()) == {"promotion"}


@pytest.mark.parametrize(
    ("feature", "group"),
    {
        "code_stock_class": "level",
        "value_stock": "level",
        "season_stock_level": "season",
        "momentum_stock_year": "trend",
        "ahead_stock_sale": "promotion",
        "ahead": "trend",
        "weekday": "calendar",
        "weekday_4": "season",
        "seen_available": "stock_outs",
        "share_out_of_stock_13": "stock_outs",
        "censored_mean_8": "stock_outs",
    }.items(),
)
def test_names_that_could_mislead(feature: str, group: str):
    assert group_of(feature) == group


def test_a_feature_of_a_new_kind_is_refused_rather_than_lost():
    with pytest.raises(ValueError, match="mystery_4"):
        group_of("mystery_4")


def test_contributions_are_shapley_values_by_definition(tiny: SimpleNamespace):
    trees = [tree["tree_structure"] for tree in tiny.trees.mean.dump_model()["tree_info"]]
    found = contributions(tiny.trees, tiny.rows)
    groups = [group_of(name) for name in TINY]
    assert found["stock_outs"].tolist() == [0.0] * 40, "no such feature"
    for row in range(5):
        x = tiny.rows.select(TINY).row(row)

        def worth(known: set[int], x: Sequence[float] = x) -> float:
            return sum(expectation(tree, x, known) for tree in trees)

        values = shapley(len(TINY), worth)
        assert found["expected"][row] == pytest.approx(worth(set()), abs=1e-9)
        for group in GROUPS:
            mine = sum(value for value, owner in zip(values, groups, strict=True) if owner == group)
            assert found[group][row] == pytest.approx(mine, abs=1e-9), group


def test_units_are_what_shapley_gives_when_every_driver_comes_in_many_small_steps(tiny: SimpleNamespace):
    """The Shapley value of a product of factors, each split into equal parts, closes in on ours (Aumann & Shapley)."""
    parts = contributions(tiny.trees, tiny.rows)
    mean = tiny.trees.mean.predict(tiny.rows.select(TINY).to_numpy()) * tiny.rows["scale"].to_numpy()
    units = drivers(tiny.trees, tiny.rows, mean)
    moving = ["season", "trend", "calendar"]
    for row in range(3):
        level = units["level"][row]
        gaps = []
        for split in (1, 2, 3):
            steps = [parts[group][row] / split for group in moving for _ in range(split)]
            values = shapley(
                len(steps), lambda known, steps=steps, level=level: level * math.exp(sum(steps[one] for one in known))
            )
            brute = [sum(values[place * split : (place + 1) * split]) for place in range(len(moving))]
            gaps.append(max(abs(value - units[group][row]) for value, group in zip(brute, moving, strict=True)))
        assert gaps[0] < 0.03 * max(mean[row], level)
        assert gaps[1] == pytest.approx(gaps[0] / 2, rel=0.05)
        assert gaps[2] == pytest.approx(gaps[0] / 3, rel=0.05)


@pytest.mark.parametrize("factor", [1.0, 1.3, 1e-6, 1e6, 0.0], ids=str)
def test_drivers_add_up_whatever_was_done_to_the_mean_after_the_trees(tiny: SimpleNamespace, factor: float):
    own = tiny.trees.mean.predict(tiny.rows.select(TINY).to_numpy()) * tiny.rows["scale"].to_numpy()
    units = drivers(tiny.trees, tiny.rows, own * factor)
    assert units.columns == list(MODELLED)
    size = np.abs(units.to_numpy()).max(axis=1)
    np.testing.assert_array_less(np.abs(units.sum_horizontal().to_numpy() - own * factor), 1e-11 * (1 + size))
    assert (units["level"] > 0).all()
    if factor == 1.0:
        assert units["correction"].to_list() == [0.0] * 40
    elif factor > 0:
        np.testing.assert_array_equal(np.sign(units["correction"]), math.copysign(1, math.log(factor)))
    else:
        np.testing.assert_allclose(units["correction"], -units["level"])
        np.testing.assert_allclose(units.select(GROUPS[1:]).to_numpy(), 0)


def test_the_level_is_one_for_all_target_periods_of_a_series(tiny: SimpleNamespace):
    rows = tiny.rows.sort("season_all").with_columns(series=pl.int_range(40) % 10, scale=pl.int_range(40) % 10 + 1.0)
    before = contributions(tiny.trees, rows)
    after = settled(before, rows)
    for series in range(10):
        level = after["level"][series::10]
        assert level.tolist() == [level[0]] * 4
        assert level[0] == pytest.approx(np.mean(before["level"][series::10]))
    np.testing.assert_allclose(sum(after.values()), sum(before.values()), atol=1e-12)
    moved = {group: after[group] - before[group] for group in GROUPS[1:]}
    left = before["level"] - after["level"]
    size = sum(np.abs(before[group]) for group in moved)
    for group, change in moved.items():
        np.testing.assert_allclose(change, left * np.abs(before[group]) / size, atol=1e-9)
    units = drivers(tiny.trees, rows, np.full(40, 5.0))
    assert units["level"].n_unique() == 10


def test_a_series_alone_reads_as_in_a_crowd(tiny: SimpleNamespace):
    mean = np.arange(40.0)
    crowd = drivers(tiny.trees, tiny.rows, mean)
    for row in (0, 17, 39):
        alone = drivers(tiny.trees, tiny.rows[row], mean[row : row + 1])
        assert_frame_equal(alone, crowd[row], check_exact=True)


def test_where_nothing_ever_sold_nothing_is_explained():
    rows = pl.DataFrame(np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32), schema=TINY)
    booster = lgb.train({"objective": "l2", "verbosity": -1}, lgb.Dataset(rows.to_numpy(), np.zeros(50)), 3)
    keyed = rows.with_columns(scale=pl.lit(1.0), series=pl.int_range(50), origin=7)
    found = drivers(Boosting(booster, {}, TINY), keyed, np.zeros(50))
    np.testing.assert_array_equal(found.to_numpy(), 0)


def spoken(mean: float, level: float, **moved: float) -> tuple[str, str]:
    frame = {"mean": mean, "level": level} | dict.fromkeys(DRIVERS[1:], 0.0) | moved
    return in_words(pl.DataFrame(frame)).row(0)


def test_words_name_the_strongest_three_and_round_as_the_size_deserves():
    english, chinese = spoken(1250.4, 1000.0, season=150.0, promotion=120.0, trend=-70.0, stock_outs=60.4)
    assert english == (
        "1250 units: usual level 1000; +150 from the season, +120 from prices, promotions and the like, "
        "−70 from the trend"
    )
    assert chinese == "预计 1250：平常水平 1000；季节 +150，价格、促销等 +120，趋势 −70"
    assert spoken(2.46, 2.0, calendar=0.46)[0] == "2.5 units: usual level 2; +0.5 from holidays and the calendar"
    assert spoken(0.213, 0.2, trend=0.013)[0] == "0.21 units: usual level 0.2; +0.01 from the trend"
    assert spoken(1.0, 1.0) == ("1 unit: usual level 1; nothing moves it much", "预计 1：平常水平 1；其他因素影响很小")
    assert spoken(0.0, 30.0, correction=-30.0)[0] == "0 units: usual level 30; −30 from other methods and corrections"
    assert spoken(0.0, 0.0)[0] == "0 units: usual level 0; nothing moves it much"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The made shop after training and scoring, the largest five series explained."""
    shop = make_shop(tmp_path_factory.mktemp("explained"))
    small = {"trees": 40, "training_rows": 4000, "explained_series": 5, "backtest_origins": 1}
    settings = shop.settings.model_copy(update={"demand": shop.settings.demand.model_copy(update=small)})
    tracker = Kept(shop.home / "kept")
    jobs.train(settings, shop.lake, tracker)
    jobs.score(settings, shop.lake, tracker)
    return SimpleNamespace(settings=settings, lake=shop.lake, tracker=tracker)


def test_the_drivers_of_the_largest_series_are_stored(scored: SimpleNamespace):
    stored, forecasts = scored.lake.read("forecast_drivers"), scored.lake.read("forecasts")
    schema = TABLES["forecast_drivers"].schema_with(dict(stored.schema), ("store", "item"))
    schema.validate(stored)
    totals = forecasts.group_by("item").agg(pl.col("mean").sum()).sort("mean", descending=True)
    assert set(stored["item"]) == set(totals["item"][:5])
    both = stored.join(forecasts, on=["store", "item", "period", "issued_on", "model_version"], suffix="_forecast")
    assert both.height == 5 * 4
    np.testing.assert_array_equal(both["mean"], both["mean_forecast"])
    assert stored.group_by("item").agg(pl.col("level").n_unique())["level"].to_list() == [1] * 5
    with pytest.raises(dy.exc.ValidationError, match="drivers_add_up"):
        schema.validate(stored.with_columns(pl.col("season") + 1))


def test_a_promotion_that_doubles_demand_is_seen_as_such(scored: SimpleNamespace):
    panel = open_panel(scored.settings, scored.lake)
    origins = Origins(panel, scored.settings, 4)
    rows = origins.rows(panel.last)
    effect = contributions(origins.trees(panel.last), rows)["promotion"]
    promoted = rows["ahead_promotion"].to_numpy() == 1
    assert effect[promoted].min() > 0 > effect[~promoted].max()
    assert effect[promoted].mean() - effect[~promoted].mean() == pytest.approx(math.log(2), abs=0.15)


def test_any_series_is_explained_on_request_as_it_would_be_stored(scored: SimpleNamespace):
    def explain(series: dict[str, str], **how: object) -> pl.DataFrame:
        return jobs.explain(scored.settings, scored.lake, scored.tracker, series, **how).tables["drivers"]

    stored = scored.lake.read("forecast_drivers").sort("item", "period")
    item = stored["item"][0]
    expected = stored.filter(pl.col("item") == item)
    assert_frame_equal(
        explain({"item": str(item)}), expected.drop("issued_on", "model_version"), check_column_order=False
    )
    small = next(item for item in range(24) if item not in stored["item"])
    assert explain({"item": str(small)}, horizon=2).height == 2
    earlier = explain({"item": str(small), "store": f"S{small % 4}"}, cutoff=WEEKS.name(START + 90))
    assert earlier["period"].min() == WEEKS.name(START + 91)
    for series, said in (
        ({"store": "S1"}, "6 series fit"),
        ({"item": "99"}, "0 series fit"),
        ({"shop": "a"}, "'shop'"),
    ):
        with pytest.raises(ConfigError, match=said):
            explain(series)
    with pytest.raises(ConfigError, match="4 periods ahead, not 5"):
        explain({"item": "1"}, horizon=5)


def test_launches_ends_and_planners_are_drivers_of_their_own(scored: SimpleNamespace, tmp_path: Path):
    """An article that ends after two weeks, of which planners expect thrice as much: the model's own drivers stay."""
    lake = Lake(str(shutil.copytree(scored.lake.url, tmp_path / "lake")))
    stored = lake.read("forecast_drivers").sort("item", "period")
    one = {"store": stored["store"][0], "item": stored["item"][0]}
    weeks = stored.filter(item=one["item"])["period"]
    lake.replace("series", pl.DataFrame([one | {"discontinued_on": weeks[2] - timedelta(days=1)}]))
    schema = {"store": pl.String, "item": pl.Int64, **TABLES["overrides"].schema.create_empty().schema}
    told = {"override_id": "1", "at": datetime.now(UTC), "who": "anna", "why": "fair", "kind": "multiply", "value": 3.0}
    span = {"from_period": weeks[0], "to_period": weeks[3], "withdrawn_at": None}
    lake.replace("overrides", pl.DataFrame([one | told | span], schema=schema))
    named = {key: str(value) for key, value in one.items()}
    found = jobs.explain(scored.settings, lake, scored.tracker, named).tables["drivers"]
    before = stored.filter(item=one["item"])
    assert_frame_equal(found.select(MODELLED), before.select(MODELLED), check_exact=True)
    expected = before["mean"].to_list()
    assert found["mean"].to_list() == pytest.approx([3 * expected[0], 3 * expected[1], 0, 0])
    assert found["override"].to_list() == pytest.approx([2 * expected[0], 2 * expected[1], 0, 0])
    assert found["lifecycle"].to_list() == pytest.approx([0, 0, -expected[2], -expected[3]])
    assert ["from planners" in words for words in found["words_en"]] == [True, True, False, False]
    assert ["from its launch or end" in words for words in found["words_en"]] == [False, False, True, True]
    assert "计划员调整" in found["words_zh"][0]
    assert "上市或退市" in found["words_zh"][2]
    early = jobs.explain(scored.settings, lake, scored.tracker, named, cutoff=WEEKS.name(START + 106))
    assert early.tables["drivers"].filter(pl.col("period") == weeks[0])["override"].to_list() == [0.0], "not said yet"
    jobs.score(scored.settings, lake, scored.tracker)
    again = lake.read("forecast_drivers").filter(item=one["item"]).sort("period")
    TABLES["forecast_drivers"].schema_with(dict(again.schema), ("store", "item")).validate(again)
    assert_frame_equal(again.select(found.columns), found)


def test_drivers_at_a_cutoff_do_not_see_what_comes_after_it(scored: SimpleNamespace, tmp_path: Path):
    cutoff = WEEKS.name(START + 90)
    lake = Lake(str(shutil.copytree(scored.lake.url, tmp_path / "lake")))
    honest = lake.read("demand")
    found = []
    for later in (pl.col("quantity"), pl.lit(9e5)):
        lake.replace(
            "demand", honest.with_columns(quantity=pl.when(pl.col("period") > cutoff).then(later).otherwise("quantity"))
        )
        found.append(
            jobs.explain(scored.settings, lake, scored.tracker, {"item": "3"}, cutoff=cutoff).tables["drivers"]
        )
    assert lake.read("demand")["quantity"].max() == 9e5, "the scrambling did something"
    assert_frame_equal(found[0], found[1], check_exact=True)
