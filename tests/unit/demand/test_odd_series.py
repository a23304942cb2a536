"""Odd demand through the whole engine: any unit, any order, gaps, nothing at all, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipelines.demand import jobs
from pipelines.errors import NotEnoughDataError
from pipelines.lake import Lake
from tests.unit.demand.conftest import START, WEEKS, MadeShop, settings_for, totals

KEYS = ["store", "item"]
TWO_TO_30, TWO_TO_MINUS_10 = 2.0**30, 2.0**-10


def shop_of(home: Path, demand: pl.DataFrame, covariates: pl.DataFrame | None = None, **plan: object) -> MadeShop:
    shop = settings_for(home, **({"trees": 10} | plan))
    lake = Lake(shop.lake_url)
    lake.replace("demand", demand)
    if covariates is not None:
        lake.replace("covariates", covariates)
    return MadeShop(shop, lake, home)


def forecast(shop: MadeShop) -> pl.DataFrame:
    out = shop.home / "out.parquet"
    jobs.forecast(shop.settings, shop.lake, out=out)
    return pl.read_parquet(out)


def numbers(frame: pl.DataFrame) -> np.ndarray:
    return frame.select(pl.selectors.float()).to_numpy()


def weeks(item: int, quantities: list[float | None]) -> pl.DataFrame:
    """A series that ends with the made shop's record."""
    first = START + 110 - len(quantities)
    period = [WEEKS.name(first + i) for i in range(len(quantities))]
    quantity = pl.Series(quantities, dtype=pl.Float64)
    return pl.DataFrame({"store": "S0", "item": item, "period": period, "quantity": quantity})


def beside(demand: pl.DataFrame, *odd: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([demand, *odd], how="vertical_relaxed")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Forecasts of the made shop as it is."""
    return forecast(shop_of(tmp_path_factory.mktemp("plain"), *totals()))


@pytest.mark.parametrize("unit", [TWO_TO_MINUS_10, TWO_TO_30])
def test_the_unit_of_demand_does_not_matter(tmp_path: Path, plain: pl.DataFrame, unit: float):
    """Powers of two change no digit of a number: whatever the engine adds, floors or compares has to be in the unit."""
    demand, covariates = totals()
    found = forecast(shop_of(tmp_path, demand.with_columns(pl.col("quantity") * unit), covariates))
    np.testing.assert_array_equal(numbers(found) / unit, numbers(plain))


@pytest.mark.parametrize("unit", [1e-3, 1e9])
def test_thousandths_and_billions_differ_by_rounding_only(tmp_path: Path, plain: pl.DataFrame, unit: float):
    """Where two splits of a tree are equally good the last digit decides: single cells may move, totals hardly."""
    demand, covariates = totals()
    found = forecast(shop_of(tmp_path, demand.with_columns(pl.col("quantity") * unit), covariates))
    assert found["mean"].sum() / unit == pytest.approx(plain["mean"].sum(), rel=0.02)
    np.testing.assert_allclose(numbers(found).sum(axis=0) / unit, numbers(plain).sum(axis=0), rtol=0.1)
    assert np.median(np.abs(numbers(found) / unit / numbers(plain) - 1)) < 0.03


def test_giants_and_dwarfs_share_a_shop(tmp_path: Path):
    level = np.random.default_rng(1).uniform(0.8, 1.2, 110)
    demand, covariates = totals()
    odd = [weeks(number, (size * level).tolist()) for number, size in ((98, 1e9), (99, 1e-3))]
    found = forecast(shop_of(tmp_path, beside(demand, *odd), covariates, trees=40, optimise_for="mase"))
    for number, size in ((98, 1e9), (99, 1e-3)):
        own = found.filter(item=number)
        np.testing.assert_allclose(own.select("mean", "p50").to_numpy(), size, rtol=0.3)
    assert found.filter(pl.col("item") < 98)["mean"].mean() == pytest.approx(demand["quantity"].mean(), rel=0.35)


def test_what_is_told_of_unknown_series_changes_nothing(tmp_path: Path, plain: pl.DataFrame):
    demand, covariates = totals()
    strangers = covariates.with_columns(item=pl.col("item") + 1_000, promotion=9e5)
    shop = shop_of(tmp_path, demand, pl.concat([strangers, covariates]))
    shop.lake.replace("series", pl.DataFrame({"store": ["S0", "S9"], "item": [1_000, 1_001]}))
    assert_frame_equal(forecast(shop), plain, check_exact=True)


def test_order_of_rows_and_number_of_threads_change_nothing(tmp_path: Path, plain: pl.DataFrame):
    demand, covariates = (frame.sample(fraction=1, shuffle=True, seed=5) for frame in totals())
    shop = shop_of(tmp_path, demand, covariates)
    for threads in (1, 2):
        shop.settings = shop.settings.model_copy(update={"threads": threads})
        assert_frame_equal(forecast(shop), plain, check_exact=True)


def test_demand_below_zero_counts_as_none(tmp_path: Path):
    """Intake refuses it; where returns are learned later they may still outweigh what was sold."""
    demand, covariates = totals(series=6, weeks=60)
    odd = pl.int_range(pl.len()) % 7 == 0
    found = []
    for number, instead in enumerate((-5.0, 0.0)):
        changed = demand.with_columns(quantity=pl.when(odd).then(instead).otherwise("quantity"))
        found.append(forecast(shop_of(tmp_path / str(number), changed, covariates)))
    assert_frame_equal(*found, check_exact=True)
    returned = demand.filter(odd).with_columns(known_period=pl.lit(WEEKS.name(START + 59)), quantity=-1e6)
    shop = shop_of(tmp_path / "returns", demand, covariates)
    shop.lake.replace("demand_revisions", returned.select(*KEYS, "period", "known_period", "quantity"))
    assert (numbers(forecast(shop)) >= 0).all()


def test_no_number_is_an_unknown_number(tmp_path: Path):
    demand, covariates = totals(series=6, weeks=60)
    found = []
    for number, unknown in enumerate((None, float("nan"))):
        odd = weeks(99, [unknown] * 40), weeks(98, [3.0] * 30 + [unknown] * 60 + [4.0] * 10)
        found.append(forecast(shop_of(tmp_path / str(number), beside(demand, *odd), covariates)))
    assert_frame_equal(*found, check_exact=True)
    assert np.isfinite(numbers(found[0])).all()
    assert found[0].filter(item=98)["p50"].mean() == pytest.approx(4.0, abs=2.0)


@pytest.mark.filterwarnings("error")
def test_a_shop_that_never_sold_sells_nothing(tmp_path: Path):
    demand, covariates = totals(series=6, weeks=60)
    shop = shop_of(tmp_path, demand.with_columns(quantity=0.0), covariates, backtest_origins=1)
    np.testing.assert_array_equal(numbers(forecast(shop)), 0.0)
    jobs.backtest(shop.settings, shop.lake, out=tmp_path / "past.parquet")
    assert pl.read_parquet(tmp_path / "past.parquet")["actual"].sum() == 0


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_a_shop_that_knows_nothing_is_told_so(tmp_path: Path, unknown: float | None):
    demand, covariates = totals(series=3, weeks=30)
    nothing = demand.with_columns(quantity=pl.lit(unknown, pl.Float64))
    with pytest.raises(NotEnoughDataError):
        forecast(shop_of(tmp_path, nothing, covariates))


@st.composite
def panels(draw: st.DrawFn) -> pl.DataFrame:
    """A few series of any length and size, with gaps, silence and outbursts."""
    quantity = st.one_of(st.none(), st.just(0.0), st.integers(0, 9).map(float), st.floats(0, 1e7))
    series = draw(st.lists(st.lists(quantity, min_size=1, max_size=25), min_size=1, max_size=5))
    # one regular series, so that there is something to learn from
    return pl.concat([weeks(0, [4.0, 6.0] * 12), *(weeks(1 + i, own) for i, own in enumerate(series))])


@given(panels())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_demand_was_forecasts_are_ordered_and_not_below_zero(tmp_path: Path, demand: pl.DataFrame):
    found = forecast(shop_of(tmp_path, demand, trees=2, holidays=None))
    assert found.height == 4 * demand["item"].n_unique()
    assert found.unique([*KEYS, "period"]).height == found.height
    values = numbers(found)
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (np.diff(found.select(pl.selectors.matches(r"^p\d+$")).to_numpy(), axis=1) >= 0).all()
