"""A program plays an inventory game round by round: new files in, orders out."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import yaml

from pipelines import rounds
from pipelines.ingest.jobs import ingest
from pipelines.settings import load_settings
from pipelines.steps import Shop
from tests.conftest import purvey
from tests.made_twin import HOLDING_COST, KEYS, LEAD_WEEKS, SHORTAGE_COST, made_twin

ITEMS, HISTORY = 80, 120


@pytest.fixture
def game(tmp_path):
    tables = ("demand", "series", "stock", "open_supply", "supply_terms")
    content = {
        "shop": "twin",
        "data_dir": "lake",
        "sources": [{"table": name, "path": f"{name}.parquet"} for name in tables],
        "demand": {"series": KEYS, "frequency": "week", "horizon": 8, "trees": 20},
        "supply": {"unmet_demand": "lost", "review_days": 7},
    }
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def write_round(folder, twin, week, on_hand, coming):
    keys, day = twin.series.select(KEYS), pl.lit(twin.opening(week))
    twin.table(week).write_parquet(folder / "demand.parquet")
    twin.series.write_parquet(folder / "series.parquet")
    keys.with_columns(as_of=day, on_hand=pl.Series(on_hand)).write_parquet(folder / "stock.parquet")
    keys.with_columns(
        supplier_id=pl.lit("warehouse"), due_on=day + timedelta(days=7), quantity=pl.Series(coming)
    ).write_parquet(folder / "open_supply.parquet")
    keys.with_columns(
        supplier_id=pl.lit("warehouse"),
        lead_time_days=7 * LEAD_WEEKS,
        holding_cost=HOLDING_COST,
        shortage_cost=SHORTAGE_COST,
    ).write_parquet(folder / "supply_terms.parquet")


def orders_of(folder, twin, week):
    shop = Shop(load_settings(folder / "shop.yaml"))
    ingest(shop.settings, shop.lake)
    rounds.play(shop.settings, shop.lake, as_of=twin.opening(week), out=folder / "orders.parquet")
    placed = twin.series.select(KEYS).join(pl.read_parquet(folder / "orders.parquet"), on=KEYS, how="left")
    return placed["quantity"].to_numpy()


def organiser(twin):
    """The contest's own benchmark: the mean of thirteen weeks with stock, deseasonalised, four weeks of it."""

    def player(week, stock, coming):
        known = twin.known(week)
        calendar = np.arange(known.shape[1]) % 52
        total = np.nanmean(known, axis=0)
        factor = np.array([total[calendar == k].mean() for k in range(52)])
        factor /= factor.mean()
        level = np.nanmean((known / factor[calendar])[:, -13:], axis=1)
        ahead = factor[(known.shape[1] + np.arange(4)) % 52].sum()
        return np.maximum(np.rint(level * ahead) - stock - coming, 0)

    return player


def test_six_rounds_cost_less_than_the_organisers_policy(game):
    twin = made_twin(7, ITEMS, HISTORY)

    def player(week, stock, coming):
        write_round(game, twin, week, stock, coming)
        ordered = orders_of(game, twin, week)
        assert np.isfinite(ordered).all()
        np.testing.assert_array_equal(ordered, np.rint(ordered))
        return ordered

    ours, theirs = twin.play(player), twin.play(organiser(twin))
    nothing = twin.play(lambda week, stock, coming: np.zeros_like(stock))
    assert ours.cost < 0.95 * theirs.cost
    assert ours.cost < 0.7 * nothing.cost


def test_a_round_knows_nothing_of_what_comes_after_its_day(game):
    twin = made_twin(8, 20, HISTORY)
    write_round(game, twin, 0, twin.on_hand, twin.coming)
    first = orders_of(game, twin, 0)
    later = twin.table(3).with_columns(
        quantity=pl.when(pl.col("period") >= twin.opening(0)).then(999.0).otherwise("quantity")
    )
    later.write_parquet(game / "demand.parquet")
    np.testing.assert_array_equal(orders_of(game, twin, 0), first)


def test_the_program_plays_a_round_and_leaves_the_lake_as_it_was(game):
    twin = made_twin(9, 12, HISTORY)
    write_round(game, twin, 0, twin.on_hand, twin.coming)
    purvey("ingest", cwd=game)
    before = sorted(path.name for path in (game / "lake").rglob("*"))
    purvey("replenish", "--as-of", twin.opening(0), "--out", "orders.parquet", cwd=game)
    assert sorted(path.name for path in (game / "lake").rglob("*")) == before
    orders = pl.read_parquet(game / "orders.parquet")
    assert orders.height == 12
    assert set(orders["receive_on"].drop_nulls()) <= {twin.opening(LEAD_WEEKS)}
