"""Demand jobs on a made shop: what they write, what they refuse, what moves a forecast and what must not."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.tables import TABLES
from pipelines.demand import jobs, promotion
from pipelines.demand.model import DemandModel
from pipelines.demand.promotion import is_promoted
from pipelines.errors import ConfigError, DataError, NotEnoughDataError, TrackingError
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.summary import Summary
from pipelines.supply.jobs import replenish
from tests.unit.demand.conftest import START, WEEKS, MadeShop, make_shop, settings_for

KEYS = ["store", "item"]


class Kept:
    """Stands in for the tracker: keeps in a folder what a run would register."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.logged, self.versions, self.promoted = folder, {}, 0, None
        self.id = "run-1"

    @contextmanager
    def run(self, job, parameters):
        self.logged["parameters"] = parameters
        yield self

    def __getattr__(self, name):
        if not name.startswith("log_"):
            raise AttributeError(name)
        return lambda *arguments: self.logged.setdefault(name, []).append(arguments)

    def register(self, name, folder, example):
        self.versions += 1
        target = self.folder / str(self.versions)
        target.mkdir(parents=True)
        for file in folder.iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        self.logged["example"] = example
        return str(self.versions)

    def promote(self, name, version):
        self.promoted = version

    def champion(self, name):
        return SimpleNamespace(version=self.promoted) if self.promoted else None

    def model_folder(self, name, alias="champion"):
        return self.folder / self.promoted

    def version_folder(self, name, version):
        return self.folder / version


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The made shop after training and scoring twice."""
    shop = make_shop(tmp_path_factory.mktemp("trained"))
    tracker = Kept(shop.home / "kept")
    summary = jobs.train(shop.settings, shop.lake, tracker)
    jobs.score(shop.settings, shop.lake, tracker)
    again = jobs.score(shop.settings, shop.lake, tracker)
    return SimpleNamespace(lake=shop.lake, tracker=tracker, summary=summary, again=again)


def forecast(shop: MadeShop, **how: object) -> pl.DataFrame:
    out = shop.home / "out.parquet"
    jobs.forecast(shop.settings, shop.lake, out=out, **how)
    return pl.read_parquet(out)


def test_training_beats_the_baselines_and_is_promoted(trained: SimpleNamespace):
    assert trained.summary.figures["promoted"] is True
    figures = trained.summary.tables["mean over cutoffs"]
    wape = {row["model"]: row["wape"] for row in figures.iter_rows(named=True)}
    assert (figures["wape_standard_error"] > 0).all()
    assert set(trained.summary.tables["demand against the baselines"].filter(metric="wape")["demand_is"]) == {"better"}
    assert wape["demand"] < min(wape[name] for name in ("seasonal_naive", "moving_average", "tsb"))
    evaluation = trained.lake.read("evaluation")
    TABLES["evaluation"].schema.validate(evaluation)
    cuts = {WEEKS.name(START + 109 - back).isoformat() for back in (4, 8)}
    assert set(evaluation["cut"].unique()) == cuts | {"mean", "standard_error"}
    assert evaluation["slice"].n_unique() > 1
    assert trained.summary.figures["outliers_of_the_last_year"] == 0, "promotions of a made shop are none"


def test_training_tells_how_far_the_quantiles_are_from_the_mean(trained: SimpleNamespace):
    assert trained.summary.figures["largest_mean_gap"] <= 0.05
    assert not any("the quantiles imply" in note for note in trained.summary.notes)
    metrics = {name: value for (found,) in trained.tracker.logged["log_metrics"] for name, value in found.items()}
    largest = max(abs(metrics[f"mean_gap_{volume}"]) for volume in ("small", "medium", "large"))
    assert 0 < largest == pytest.approx(trained.summary.figures["largest_mean_gap"], abs=1e-4)
    summary = Summary("train demand")
    jobs._tell_gaps({"small": 0.31, "medium": -0.02, "large": -0.06}, summary)
    assert summary.figures["largest_mean_gap"] == 0.31
    assert "+31% for small volumes, -6% for large volumes" in summary.notes[0]


def test_scoring_writes_what_the_contract_says(trained: SimpleNamespace):
    forecasts, lead_time = trained.lake.read("forecasts"), trained.lake.read("lead_time_demand")
    assert trained.lake.version("forecasts") == 0, "scoring twice changes nothing"
    assert forecasts.height == lead_time.height == 24 * 4 == trained.again.wrote["forecasts"]
    for name, frame in (("forecasts", forecasts), ("lead_time_demand", lead_time)):
        TABLES[name].schema_with(dict(frame.schema), tuple(KEYS)).validate(frame)
        fan = frame.select(pl.selectors.matches(r"^p\d\d$")).to_numpy()
        assert (fan >= 0).all()
        assert (np.diff(fan, axis=1) >= 0).all()
    ranks = trained.lake.read("path_ranks")
    TABLES["path_ranks"].schema.validate(ranks)
    assert trained.lake.version("path_ranks") == 0
    assert set(lead_time["pool"]) <= set(ranks["pool"])
    assert ranks.group_by("pool").len()["len"].unique().to_list() == [256 * 4]
    assert ranks["issued_on"].unique().to_list() == forecasts["issued_on"].unique().to_list()
    last = WEEKS.name(START + 109)
    assert forecasts["issued_on"].unique().to_list() == [last + timedelta(days=7)]
    assert forecasts["period"].min() == last + timedelta(weeks=1)


def test_sums_over_a_lead_time_grow_and_agree_with_the_mean(trained: SimpleNamespace):
    lead_time = trained.lake.read("lead_time_demand").sort(*KEYS, "periods")
    means = trained.lake.read("forecasts").sort(*KEYS, "horizon").select(m=pl.col("mean").cum_sum().over(KEYS))
    np.testing.assert_allclose(lead_time["mean"], means["m"])
    assert (lead_time.select(pl.col("p90").diff().over(KEYS)).drop_nulls().to_series() >= 0).all()


def test_a_model_survives_its_folder(trained: SimpleNamespace, tmp_path: Path):
    folder = trained.tracker.model_folder("demand")
    assert json.loads((folder / "model.json").read_text())["class"] == "pipelines.demand.model:DemandModel"
    assert not [file for file in folder.iterdir() if file.suffix not in (".txt", ".json")]
    once = DemandModel.from_dir(folder)
    once.to_dir(tmp_path / "copy")
    twice = DemandModel.from_dir(tmp_path / "copy")
    rows = trained.tracker.logged["example"]
    assert_frame_equal(once.predict(rows), twice.predict(rows), check_exact=True)
    shuffled = rows.select(sorted(rows.columns, reverse=True))
    assert_frame_equal(once.predict(rows), twice.predict(shuffled), check_exact=True)
    assert_frame_equal(once.joint.table(), twice.joint.table())
    facts = json.loads((folder / "model.json").read_text())
    del facts["implied"]
    (tmp_path / "copy" / "model.json").write_text(json.dumps(facts))
    with pytest.raises(TrackingError, match="older program"):
        DemandModel.from_dir(tmp_path / "copy")


def test_a_worse_model_than_a_baseline_does_not_replace_the_champion(trained: SimpleNamespace):
    overall = pl.DataFrame({"model": ["demand", "tsb"], "metric": ["wape"] * 2, "value": [0.9, 0.5]})
    summary = Summary("train demand")
    assert not is_promoted(True, overall, summary, "wape")
    assert summary.figures["promoted"] is False
    assert "previous champion stays" in summary.notes[0]


@pytest.mark.parametrize(
    ("optimise_for", "metric"), {"wape": "wape", "rmsse": "rmsse", "mase": "mase", "money": "wape_of_money"}.items()
)
def test_a_model_is_promoted_by_what_the_shop_optimises_for(trained: SimpleNamespace, optimise_for: str, metric: str):
    """Worse than a baseline in one loss, better in all others: only who optimises for that one keeps the old."""
    real = trained.lake.read("evaluation").filter(slice="all", cut="mean")
    for worse in ("wape", "rmsse", "mase", "wape_of_money"):
        told = pl.when(metric=worse, model="demand").then(99.0).otherwise("value").alias("value")
        summary = Summary("train demand")
        assert is_promoted(True, real.with_columns(told), summary, optimise_for) == (worse != metric)
    assert is_promoted(True, real, summary, optimise_for)


def test_forecast_does_not_see_what_comes_after_the_cutoff(shop: MadeShop):
    cutoff = WEEKS.name(START + 80)
    honest = forecast(shop, cutoff=cutoff)
    wild = shop.lake.read("demand").with_columns(
        quantity=pl.when(pl.col("period") > cutoff).then(9e5).otherwise("quantity")
    )
    shop.lake.replace("demand", wild)
    assert_frame_equal(honest, forecast(shop, cutoff=cutoff), check_exact=True)
    assert honest["period"].min() == cutoff + timedelta(weeks=1)


def test_extreme_quantiles_are_columns_like_any_other(shop: MadeShop):
    plan = {"quantiles": [0.005, 0.5, 0.975, 0.995], "trees": 4, "training_rows": 2000}
    shop.settings = shop.settings.model_copy(update={"demand": shop.settings.demand.model_copy(update=plan)})
    found = forecast(shop)
    assert found.columns[-4:] == ["p005", "p50", "p975", "p995"]
    assert (np.diff(found.select(found.columns[-4:]).to_numpy(), axis=1) >= 0).all()
    assert found["p995"].sum() > 1.05 * found["p975"].sum()


def test_order_of_rows_and_number_of_threads_do_not_matter(shop: MadeShop):
    one = forecast(shop)
    shop.lake.replace("demand", shop.lake.read("demand").sample(fraction=1, shuffle=True, seed=3))
    shop.settings = shop.settings.model_copy(update={"threads": 1})
    assert_frame_equal(one, forecast(shop), check_exact=True)


def test_a_promotion_planned_for_a_future_week_moves_its_forecast(shop: MadeShop):
    covariates = shop.lake.read("covariates")
    target = WEEKS.name(START + 111)
    means = {}
    for planned in (0.0, 1.0):
        flipped = pl.when(pl.col("period") == target).then(planned).otherwise("promotion").alias("promotion")
        shop.lake.replace("covariates", covariates.with_columns(flipped))
        means[planned] = forecast(shop).filter(period=target)["mean"].sum()
    assert 1.5 < means[1.0] / means[0.0] < 2.5, "promoted weeks sell twice as much"


def test_backtest_writes_predictions_beside_what_came_true(shop: MadeShop):
    out = shop.home / "b.parquet"
    summary = jobs.backtest(shop.settings, shop.lake, origins=2, out=out)
    frame = pl.read_parquet(out)
    assert frame.columns[:5] == ["store", "item", "cutoff", "period", "actual"]
    assert frame.height == 24 * 4 * 2
    actual = shop.lake.read("demand").rename({"quantity": "truth"})
    joined = frame.join(actual, on=[*KEYS, "period"], how="left")
    np.testing.assert_array_equal(joined["actual"], joined["truth"])
    assert summary.figures["series"] == 24
    known = frame.drop_nulls("actual").with_columns(miss=(pl.col("p50") - pl.col("actual")).abs())
    cuts = known.group_by("cutoff").agg(wape=pl.col("miss").sum() / pl.col("actual").sum())["wape"]
    own = summary.tables["mean over cutoffs"].row(by_predicate=pl.col("model") == "demand", named=True)
    assert own["wape"] == pytest.approx(cuts.mean())
    assert own["wape_standard_error"] == pytest.approx(cuts.std() / 2**0.5)
    assert not [file for file in shop.home.iterdir() if file.name.startswith(".b")], "no temporary file is left"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "quantities"),
    {
        "one observation": [7.0],
        "all zero": [0.0] * 40,
        "constant": [5.0] * 40,
        "long gap": [3.0] * 20 + [None] * 40 + [4.0] * 3,
        "unknown throughout": [None] * 30,
    }.items(),
)
def test_odd_series_in_a_normal_shop(shop: MadeShop, name: str, quantities: list[float | None]):
    first = START + 110 - len(quantities)
    odd = pl.DataFrame(
        {
            "store": "S0",
            "item": 99,
            "period": [WEEKS.name(first + i) for i in range(len(quantities))],
            "quantity": pl.Series(quantities, dtype=pl.Float64),
        }
    )
    shop.lake.replace("demand", pl.concat([shop.lake.read("demand"), odd], how="vertical_relaxed"))
    found = forecast(shop).filter(item=99)
    assert found.height == 4
    assert np.isfinite(found.select(pl.selectors.float()).to_numpy()).all()
    if name in ("constant", "all zero"):
        assert found["p50"].mean() == pytest.approx(quantities[0], abs=2.0)


@pytest.mark.parametrize("quantity", [0.0, 4.0])
@pytest.mark.parametrize("periods", [2, 5, 12])
def test_a_shop_of_one_short_series_still_gets_a_forecast(tmp_path: Path, periods: int, quantity: float):
    settings = settings_for(tmp_path, series=["store"])
    lake = Lake(settings.lake_url)
    period = [WEEKS.name(START + i) for i in range(periods)]
    lake.replace("demand", pl.DataFrame({"store": "S", "period": period, "quantity": [quantity] * periods}))
    found = forecast(MadeShop(settings, lake, tmp_path))
    assert found.height == 4
    np.testing.assert_allclose(found["p50"], quantity, atol=0.5)


def test_intervals_that_no_past_origin_calibrated_are_told(trained: SimpleNamespace, tmp_path: Path):
    settings = settings_for(tmp_path, series=["store"])
    lake, tracker = Lake(settings.lake_url), Kept(tmp_path / "kept")
    period = [WEEKS.name(START + i) for i in range(6)]
    lake.replace("demand", pl.DataFrame({"store": "S", "period": period, "quantity": [3.0, 5, 4, 6, 2, 4]}))
    summaries = [jobs.train(settings, lake, tracker), jobs.score(settings, lake, tracker)]
    summaries.append(jobs.forecast(settings, lake, out=tmp_path / "f.parquet"))
    assert summaries[0].figures["calibrated_on_origins"] == 0
    for summary in summaries:
        assert any("calibrated within the sample" in note for note in summary.notes), summary.job
    assert trained.summary.figures["calibrated_on_origins"] > 0
    for summary in (trained.summary, trained.again):
        assert not any("within the sample" in note for note in summary.notes)


def test_what_cannot_be_done_is_said(shop: MadeShop, tmp_path: Path):
    with pytest.raises(TrackingError, match="no champion"):
        jobs.score(shop.settings, shop.lake, Kept(tmp_path / "kept"))
    with pytest.raises(ConfigError, match="outside the record"):
        forecast(shop, cutoff=date(2031, 1, 6))
    with pytest.raises(NotEnoughDataError):
        forecast(shop, cutoff=WEEKS.name(START))
    assert not (shop.home / "out.parquet").exists()
    wrong = MadeShop(settings_for(shop.home, series=["store", "colour"]), shop.lake, shop.home)
    with pytest.raises(ConfigError, match="series"):
        forecast(wrong)
    with pytest.raises(ConfigError, match="XX"):
        forecast(MadeShop(settings_for(shop.home, holidays="XX"), shop.lake, shop.home))
    shifted = shop.lake.read("demand").with_columns(
        period=pl.when(pl.int_range(pl.len()) == 5).then(pl.col("period") + pl.duration(days=2)).otherwise("period")
    )
    shop.lake.replace("demand", shifted)
    with pytest.raises(DataError, match="grid"):
        forecast(shop)


def test_scoring_again_leaves_no_row_of_an_earlier_scoring_of_the_same_issue(tmp_path: Path):
    """A series that is taken back by the source must not stay in the issue; nor an issue of later data."""
    shop = make_shop(tmp_path)
    settings = shop.settings.model_copy(
        update={"demand": shop.settings.demand.model_copy(update={"trees": 4, "training_rows": 2000})}
    )
    tracker = Kept(tmp_path / "kept")
    jobs.train(settings, shop.lake, tracker)
    jobs.score(settings, shop.lake, tracker)
    demand = shop.lake.read("demand")
    shop.lake.replace("demand", demand.filter(pl.col("item") != 3))
    assert jobs.score(settings, shop.lake, tracker).changed
    for table in ("forecasts", "lead_time_demand"):
        assert 3 not in shop.lake.read(table)["item"]
        assert shop.lake.read(table).height == 23 * 4
    assert not jobs.score(settings, shop.lake, tracker).changed
    shop.lake.replace("demand", demand.filter(pl.col("period") < WEEKS.name(START + 105)))
    jobs.score(settings, shop.lake, tracker)
    newest = shop.lake.read("forecasts")["issued_on"].max()
    assert newest == WEEKS.name(START + 105), "an issue from data taken back is not the newest"


@pytest.mark.parametrize(
    "change",
    [
        {"horizon": 3},
        {"quantiles": [0.2, 0.5, 0.8]},
        {"frequency": "month"},
        {"series": ["item", "store"]},
        {"series": ["item"]},
    ],
    ids=str,
)
def test_a_changed_configuration_is_no_dead_end(tmp_path: Path, change: dict[str, object]):
    """A model worse than every baseline must still replace a champion that cannot do the work any more."""
    settings, lake, tracker = order_shop(tmp_path)
    for step in (jobs.build_features, replenish):
        if step is replenish:
            jobs.train(settings, lake, tracker)
            jobs.score(settings, lake, tracker)
        step(settings, lake)
    settings = order_shop(tmp_path, **change)[0]
    jobs.build_features(settings, lake)
    with pytest.raises(TrackingError, match="purvey train demand"):
        jobs.score(settings, lake, tracker)
    summary = jobs.train(settings, lake, tracker)
    assert summary.figures["promoted"] is True
    assert any("counts as none" in note for note in summary.notes)
    jobs.score(settings, lake, tracker)
    replenish(settings, lake)
    cuts = lake.read("evaluation").filter(~pl.col("cut").is_in(["mean", "standard_error"]))["cut"].unique()
    assert len(cuts) <= settings.demand.backtest_origins, "no ghosts of the earlier settings"
    forecasts = lake.read("forecasts")
    newest = forecasts.filter(pl.col("issued_on") == pl.col("issued_on").max())
    assert newest["model_version"].unique().to_list() == ["2"]
    assert newest.select(settings.demand.series).n_unique() * settings.demand.horizon == newest.height
    assert set(settings.demand.series) <= set(lake.read("replenishment").columns)


def test_evaluation_tells_of_the_champion_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings, lake, tracker = order_shop(tmp_path)
    jobs.build_features(settings, lake)
    jobs.train(settings, lake, tracker)
    served = lake.read("evaluation")
    monkeypatch.setattr(promotion, "BASELINES", ())
    jobs.train(settings, lake, tracker)
    assert tracker.promoted == "2"
    version = lake.version("evaluation")
    monkeypatch.setattr(promotion, "BASELINES", ("tsb",))
    monkeypatch.setattr(jobs, "is_promoted", lambda *given: False)
    jobs.train(settings, lake, tracker)
    assert tracker.promoted == "2"
    assert lake.version("evaluation") == version
    assert served.height == lake.read("evaluation").height


def order_shop(home: Path, **demand: object) -> tuple[Settings, Lake, Kept]:
    """Order lines of two stores whose demand is noise, so that trees do no better than a moving average."""
    plan = {"series": ["store", "item"], "horizon": 2, "backtest_origins": 2, "trees": 1} | demand
    settings = Settings(
        shop="orders",
        data_dir=str(home),
        sources=[{"table": "order_lines", "path": "x.parquet"}],
        demand=plan,
        supply={"illustrative": {}},
    )
    lake = Lake(settings.lake_url)
    if not lake.exists("order_lines"):
        rng = np.random.default_rng(3)
        days = 7 * 60
        lines = pl.DataFrame({"day": np.repeat(np.arange(days), 6)}).with_row_index("order_id")
        at = pl.lit(datetime(2023, 1, 2, 12, tzinfo=UTC)) + pl.duration(days="day")
        lines = lines.select(
            pl.col("order_id").cast(pl.String),
            line_no=pl.lit(1, dtype=pl.Int64),
            ordered_at=at,
            store=pl.Series(rng.choice(["A", "B"], lines.height)),
            item=pl.Series(rng.integers(0, 5, lines.height)),
            kind=pl.lit("sale"),
            quantity=pl.Series(rng.integers(1, 9, lines.height).astype(float)),
            unit_price=pl.lit(2.0),
            known_at=at,
            cancels_order_id=pl.lit(None, dtype=pl.String),
            cancels_line_no=pl.lit(None, dtype=pl.Int64),
        )
        lake.replace("order_lines", lines)
    return settings, lake, Kept(home / "kept")


def test_a_plan_that_ends_before_the_horizon_is_told(shop: MadeShop):
    out = shop.home / "plan.parquet"
    assert not [note for note in jobs.forecast(shop.settings, shop.lake, out=out).notes if "promotion" in note]
    covariates = shop.lake.read("covariates")
    shop.lake.replace("covariates", covariates.filter(pl.col("period") <= WEEKS.name(START + 110)))
    assert "no value for 3 of the 4 periods" in " ".join(jobs.forecast(shop.settings, shop.lake, out=out).notes)
