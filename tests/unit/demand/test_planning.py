"""Planners and vintages on a made shop: what is applied, what is never seen, what stays as it was issued."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from features.tables import TABLES, quantile_of
from pipelines.cli import main
from pipelines.demand import jobs, planning
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.lake import Lake
from pipelines.settings import Settings
from pipelines.supply.jobs import replenish
from tests.unit.demand.conftest import START, WEEKS, MadeShop, make_shop
from tests.unit.demand.test_jobs import KEYS, Kept, order_shop

LAST = START + 109
NEXT = WEEKS.name(LAST + 1)
CAMPAIGN = {"from_period": NEXT, "to_period": WEEKS.name(LAST + 2), "who": "anna", "why": "TV campaign"}


def few_trees(shop: MadeShop, trees: int = 4) -> Settings:
    plan = {"trees": trees, "training_rows": 2000, "backtest_origins": 1}
    return shop.settings.model_copy(update={"demand": shop.settings.demand.model_copy(update=plan)})


def small_shop(home: Path) -> MadeShop:
    """Eight series over a year and a bit."""
    shop = make_shop(home)
    demand = shop.lake.read("demand").filter(pl.col("item") < 8, pl.col("period") > WEEKS.name(LAST - 60))
    shop.lake.replace("demand", demand)
    return shop


@pytest.fixture
def made(tmp_path: Path) -> tuple[MadeShop, Settings, Kept]:
    """A small shop with a trained model."""
    shop = small_shop(tmp_path)
    settings, tracker = few_trees(shop), Kept(tmp_path / "kept")
    jobs.train(settings, shop.lake, tracker)
    return shop, settings, tracker


def say(settings: Settings, lake: Lake, *series: str, **more: object) -> str:
    given = CAMPAIGN | {"said": {"set": None, "add": None, "multiply": 2.0}} | more
    return planning.override_add(settings, lake, series=series, **given).figures["override_id"]


def issued(lake: Lake, table: str = "forecasts") -> pl.DataFrame:
    rows = lake.read(table).filter(pl.col("issued_on") == pl.col("issued_on").max())
    return rows.sort(*KEYS, "horizon" if table == "forecasts" else "periods")


def test_what_planners_say_is_no_data_to_learn_from(made: tuple[MadeShop, Settings, Kept]) -> None:
    """Model and backtest are the same whatever stands in the table, issued forecasts with it included."""
    shop, settings, tracker = made
    told = shop.lake.read("evaluation")
    say(settings, shop.lake, said={"set": 1e6, "add": None, "multiply": None}, from_period=WEEKS.name(LAST - 50))
    say(settings, shop.lake, "store=S1", said={"set": None, "add": None, "multiply": 0.0})
    assert jobs.score(settings, shop.lake, tracker).figures["overridden"] == 16
    jobs.train(settings, shop.lake, tracker)
    one, two = ({file.name: file.read_bytes() for file in (tracker.folder / n).iterdir()} for n in ("1", "2"))
    assert one == two
    assert_frame_equal(shop.lake.read("evaluation"), told, check_exact=True)


def test_scoring_applies_what_is_known_and_takes_it_back(made: tuple[MadeShop, Settings, Kept]) -> None:
    shop, settings, tracker = made
    jobs.score(settings, shop.lake, tracker)
    plain, sums = issued(shop.lake), issued(shop.lake, "lead_time_demand")
    identity = say(settings, shop.lake, "store=S1", "item=1")
    tomorrow = shop.lake.read("overrides").with_columns(
        override_id=pl.lit("later"), at=pl.lit(datetime.now(UTC) + timedelta(days=1)).cast(pl.Datetime("us", "UTC"))
    )
    shop.lake.append("overrides", tomorrow)
    assert jobs.score(settings, shop.lake, tracker).figures["overridden"] == 2
    moved = issued(shop.lake)
    TABLES["forecasts"].schema_with(dict(moved.schema), tuple(KEYS)).validate(moved)
    spoken_of = (pl.col("item") == 1) & (pl.col("horizon") <= 2)
    assert moved.filter(spoken_of)["override_id"].to_list() == [identity] * 2
    expected = plain.with_columns(pl.when(spoken_of).then(pl.col("mean") * 2).otherwise("mean").alias("mean"))
    assert_frame_equal(moved.select("mean"), expected.select("mean"))
    assert moved["mean_model"].to_list() == plain["mean"].to_list()
    total = moved.filter(item=1)["mean"].sum()
    assert issued(shop.lake, "lead_time_demand").filter(item=1, periods=4)["mean"].item() == pytest.approx(total)
    planning.override_withdraw(settings, shop.lake, identity)
    jobs.score(settings, shop.lake, tracker)
    assert_frame_equal(issued(shop.lake), plain, check_exact=True)
    assert_frame_equal(issued(shop.lake, "lead_time_demand"), sums, check_exact=True)
    assert shop.lake.read("overrides").height == 2, "what was said stays on record"


@pytest.mark.parametrize("factor", [0.2, 1.5, 10.0])
def test_a_total_that_is_set_holds_over_the_lead_time_too(made: tuple[MadeShop, Settings, Kept], factor: float) -> None:
    """Sums of the means; and sums as wide, beside independent draws of their periods, as the model's own were."""
    shop, settings, tracker = made
    jobs.score(settings, shop.lake, tracker)
    plain, plain_sums = issued(shop.lake), issued(shop.lake, "lead_time_demand")
    total = factor * plain.filter(item=3, horizon=2)["mean"].item()
    said = {"set": total, "add": None, "multiply": None}
    say(settings, shop.lake, "item=3", from_period=WEEKS.name(LAST + 2), said=said)
    jobs.score(settings, shop.lake, tracker)
    forecasts, sums = issued(shop.lake), issued(shop.lake, "lead_time_demand")
    means = forecasts.with_columns(total=pl.col("mean").cum_sum().over(KEYS))["total"]
    assert sums["mean"].to_list() == pytest.approx(means.to_list())
    assert forecasts.filter(item=3, horizon=2)["mean"].item() == pytest.approx(total)
    untouched = (pl.col("item") != 3) | (pl.col("periods") == 1)
    assert_frame_equal(sums.filter(untouched), plain_sums.filter(untouched), check_exact=True)
    levels = [name for name in sums.columns if quantile_of(name) is not None]

    def too_wide(forecasts: pl.DataFrame, sums: pl.DataFrame) -> float:
        fan, rng = forecasts.filter(item=3).select(levels).to_numpy(), np.random.default_rng(1)
        drawn = sum(np.interp(rng.random(20_000), [quantile_of(name) for name in levels], row) for row in fan)
        own = sums.filter(item=3, periods=4).row(0, named=True)
        return (own["p90"] - own["p10"]) / float(np.quantile(drawn, 0.9) - np.quantile(drawn, 0.1))

    assert too_wide(forecasts, sums) == pytest.approx(too_wide(plain, plain_sums), rel=0.25)


def test_planners_speak_of_a_series_before_its_launch(made: tuple[MadeShop, Settings, Kept]) -> None:
    shop, settings, tracker = made
    rows = {"store": ["S9", "S8"], "item": [77, 78], "launched_on": [NEXT, NEXT - timedelta(days=1)]}
    shop.lake.replace("series", pl.DataFrame(rows))
    with pytest.raises(ConfigError, match="no series item=78"):
        say(settings, shop.lake, "item=78")  # launched, and never sold: nothing is forecast of it
    said = {"set": 12.0, "add": None, "multiply": None}
    summary = planning.override_add(settings, shop.lake, series=["store=S9", "item=77"], **CAMPAIGN | {"said": said})
    assert summary.figures["series"] == 1
    jobs.score(settings, shop.lake, tracker)
    assert issued(shop.lake).filter(item=77)["mean"][:2].to_list() == [12.0, 12.0]
    assert issued(shop.lake).filter(item=78).is_empty()


def test_late_actuals_revise_demand_and_no_issue(made: tuple[MadeShop, Settings, Kept]) -> None:
    shop, settings, tracker = made
    whole = shop.lake.read("demand")
    shop.lake.replace("demand", whole.filter(pl.col("period") < WEEKS.name(LAST)))
    jobs.score(settings, shop.lake, tracker)
    first = issued(shop.lake)
    late = whole.with_columns(
        quantity=pl.when(pl.col("period") >= WEEKS.name(LAST - 3)).then(pl.col("quantity") * 3).otherwise("quantity")
    )
    shop.lake.replace("demand", late)
    jobs.score(settings, shop.lake, tracker)
    say(settings, shop.lake)
    jobs.score(settings, shop.lake, tracker)
    forecasts = shop.lake.read("forecasts")
    assert forecasts["issued_on"].n_unique() == 2, "issued again, the newest issue replaces itself"
    assert_frame_equal(
        forecasts.filter(pl.col("issued_on") == first["issued_on"][0]).sort(*KEYS, "horizon"), first, check_exact=True
    )
    moves = shop.lake.read("forecast_changes")
    TABLES["forecast_changes"].schema_with(dict(moves.schema), tuple(KEYS)).validate(moves)
    assert moves.height == 8 * 3
    assert moves["issued_before"].unique().to_list() == [first["issued_on"][0]]
    parts = moves.select(pl.sum_horizontal("from_data", "from_model", "from_override")).to_series()
    assert parts.to_list() == pytest.approx((moves["mean"] - moves["mean_before"]).to_list())
    assert moves["from_model"].to_list() == [0.0] * moves.height
    assert moves.select(pl.col("from_data").abs().sum()).item() > 0
    told = moves.join(issued(shop.lake), on=[*KEYS, "period"])
    assert told["from_override"].to_list() == pytest.approx((told["mean"] - told["mean_model"]).to_list())
    summary = planning.newest_changes(settings, shop.lake)
    largest = summary.tables["Largest moves of a forecast"]["move"].abs()
    assert largest.is_sorted(descending=True)


def test_a_new_model_is_told_apart_from_new_data(made: tuple[MadeShop, Settings, Kept]) -> None:
    shop, settings, tracker = made
    whole = shop.lake.read("demand")
    shop.lake.replace("demand", whole.filter(pl.col("period") < WEEKS.name(LAST)))
    jobs.score(settings, shop.lake, tracker)
    shop.lake.replace("demand", whole)
    jobs.score(settings, shop.lake, tracker)
    former_today = issued(shop.lake).select(*KEYS, "period", former="mean")
    jobs.train(few_trees(shop, trees=9), shop.lake, tracker)
    tracker.promote("demand", "2")
    assert jobs.score(settings, shop.lake, tracker).notes == []
    moves = shop.lake.read("forecast_changes").join(former_today, on=[*KEYS, "period"])
    assert moves["from_model"].to_list() == (moves["mean"] - moves["former"]).to_list()
    assert moves["from_data"].to_list() == pytest.approx((moves["former"] - moves["mean_before"]).to_list())
    (tracker.folder / "1" / "model.json").write_text("{}")
    summary = jobs.score(settings, shop.lake, tracker)
    assert "model 1" in summary.notes[0]
    unknown = shop.lake.read("forecast_changes")
    assert unknown["from_model"].null_count() == unknown.height
    assert unknown["from_data"].to_list() == pytest.approx((unknown["mean"] - unknown["mean_before"]).to_list())


def test_what_is_ordered_follows_what_planners_say(tmp_path: Path) -> None:
    settings, lake, tracker = order_shop(tmp_path, backtest_origins=1, training_rows=1000)
    jobs.build_features(settings, lake)
    jobs.train(settings, lake, tracker)
    expected = []
    for _ in range(2):
        jobs.score(settings, lake, tracker)
        replenish(settings, lake)
        expected.append(lake.read("replenishment").sort("store", "item"))
        periods = issued(lake)["period"]
        say(settings, lake, from_period=periods.min(), to_period=periods.max())
    for column in ("demand_mean", "demand_p50", "demand_p90"):
        twice = (expected[0][column] * 2).to_list()
        assert expected[1][column].to_list() == pytest.approx(twice, rel=0.1), column


@pytest.mark.parametrize(
    ("series", "change", "words"),
    [
        (["colour=red"], {}, "'colour' does not name series"),
        (["item=99"], {}, "no series item=99"),
        (["store=S1", "item=2"], {}, "no series store=S1, item=2"),
        (["item"], {}, "'item' is no KEY=VALUE"),
        (["item=1", "item=2"], {}, "given twice"),
        ([], {"from_period": NEXT + timedelta(days=1)}, "not on the week grid"),
        ([], {"to_period": NEXT - timedelta(weeks=1)}, "is after"),
        ([], {"said": {"set": -1.0, "add": None, "multiply": None}}, "set -1 is below 0"),
        ([], {"said": {"set": None, "add": None, "multiply": -0.5}}, "multiply -0.5 is below 0"),
        ([], {"said": {"set": None, "add": float("nan"), "multiply": None}}, "not a quantity"),
        ([], {"said": {"set": 1.0, "add": None, "multiply": 2.0}}, "exactly one thing"),
        ([], {"said": {"set": None, "add": None, "multiply": None}}, "exactly one thing"),
        ([], {"who": " "}, "does not say who"),
        ([], {"why": ""}, "does not say why"),
    ],
)
def test_what_cannot_be_meant_is_refused(shop: MadeShop, series: list[str], change: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        say(shop.settings, shop.lake, *series, **change)
    assert not shop.lake.exists("overrides")


def test_what_is_not_there_cannot_be_withdrawn_nor_twice(shop: MadeShop, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no override 'x'"):
        planning.override_withdraw(shop.settings, shop.lake, "x")
    identity = say(shop.settings, shop.lake, "store=S1")
    planning.override_withdraw(shop.settings, shop.lake, identity)
    with pytest.raises(ConfigError, match="was withdrawn at"):
        planning.override_withdraw(shop.settings, shop.lake, identity)
    with pytest.raises(NotEnoughDataError, match="share no period"):
        planning.newest_changes(shop.settings, shop.lake)
    with pytest.raises(NotEnoughDataError, match="no demand"):
        say(shop.settings, Lake(tmp_path / "empty"))


def test_a_planner_at_the_command_line(shop: MadeShop, capsys: pytest.CaptureFixture[str]) -> None:
    file = shop.home / "shop.yaml"
    file.write_text(yaml.safe_dump(json.loads(shop.settings.model_dump_json(exclude_unset=True))))

    def purvey(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--config", str(file)])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    said = ["override", "add", "--from", str(NEXT), "--to", str(NEXT), "--who", "anna", "--why", "TV campaign"]
    code, printed, _ = purvey(*said, "store=S1", "--add", "-3", "--json")
    assert code == 0
    figures = json.loads(printed)["figures"]
    assert figures["series"] == 6
    code, printed, _ = purvey("override", "list")
    assert code == 0
    assert "anna" in printed
    assert purvey("override", "withdraw", figures["override_id"])[0] == 0
    rows = json.loads(purvey("override", "list", "--json")[1])["tables"]["Overrides"]
    found = [(row["value"], row["store"], row["item"], row["why"], row["state"][:9]) for row in rows]
    assert found == [(-3.0, "S1", None, "TV campaign", "withdrawn")]
    code, _, error = purvey(*said, "store=S9", "--multiply", "2")
    assert code == 2
    assert "There is no series store=S9" in error
    assert "Traceback" not in error


def test_an_override_of_the_past_is_said_to_be_idle(shop: MadeShop) -> None:
    past = CAMPAIGN | {"from_period": WEEKS.name(START), "to_period": date(2022, 1, 10)}
    summary = planning.override_add(
        shop.settings, shop.lake, series=[], said={"set": 1.0, "add": None, "multiply": None}, **past
    )
    assert any("periods are over" in note for note in summary.notes)
