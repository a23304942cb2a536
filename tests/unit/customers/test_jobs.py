"""The jobs on a real lake and a real registry: what they replace, what they promote, when they refuse."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from unittest.mock import MagicMock

import polars as pl
import pytest

from features.customers import describe
from features.tables import TABLES
from pipelines.customers import backtest, jobs
from pipelines.customers.churn import ChurnModel
from pipelines.customers.segments import SegmentsModel
from pipelines.customers.value import ValueModel
from pipelines.errors import ConfigError, NotEnoughDataError, TrackingError
from pipelines.lake import Lake
from pipelines.printing import print_reasons
from pipelines.settings import Customers, Settings, Source
from pipelines.tracking import Tracker

NAMES = {"churn": ChurnModel, "value": ValueModel, "segments": SegmentsModel}
TERMS = {"cuts": 2, "value_horizon_days": 98, "trees": 10}


def shop(home: Path, **terms: object) -> Settings:
    sources = [Source(table="order_lines", path="orders.parquet")]
    return Settings(shop="made_up", data_dir=str(home), sources=sources, customers=Customers(**(TERMS | terms)))


@dataclass
class Trained:
    """A shop after its first training and scoring."""

    home: Path
    settings: Settings
    lake: Lake
    tracker: Tracker
    notes: list[str]

    def champions(self) -> dict[str, str]:
        found = {name: self.tracker.champion(name) for name in NAMES}
        return {name: champion.version for name, champion in found.items() if champion is not None}


@pytest.fixture(scope="module")
def trained(shop_lines: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = tmp_path_factory.mktemp("trained")
    settings = shop(home, protected=["region"])
    lake, tracker = Lake(settings.lake_url), Tracker(settings)
    lake.append("order_lines", shop_lines)
    customers = shop_lines.select("customer_id").drop_nulls().unique().sort("customer_id")
    half = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("north")).otherwise(pl.lit("south"))
    lake.append("customers", customers.with_columns(region=half))
    summary = jobs.train(settings, lake, tracker)
    jobs.score(settings, lake, tracker)
    return Trained(home, settings, lake, tracker, summary.notes)


def test_models_load_by_alias_in_a_fresh_process_and_say_the_same(trained: Trained, tmp_path: Path) -> None:
    script = """
import sys
import mlflow
from pathlib import Path
import polars as pl
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_registry_uri(sys.argv[1])
for name in ("churn", "value", "segments"):
    rows = pl.read_parquet(Path(sys.argv[2]) / f"{name}.parquet").to_pandas()
    rows.loc[0, ["orders_4w", "gap_mean_days"]] = None  # a number may be missing, also one that never was
    said = mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(rows)
    pl.from_pandas(said).write_parquet(Path(sys.argv[2]) / f"{name}.said.parquet")
"""
    for name in NAMES:
        trained.tracker.example(name).write_parquet(tmp_path / f"{name}.parquet")
    arguments = [sys.executable, "-W", "ignore", "-c", script, trained.tracker.uri, str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name, kind in NAMES.items():
        rows = trained.tracker.example(name)
        assert rows.height > 1
        first = pl.int_range(pl.len()) == 0
        rows = rows.with_columns(pl.when(~first).then(pl.col("orders_4w", "gap_mean_days")))
        native = kind.from_dir(trained.tracker.model_folder(name)).predict(rows)
        said = pl.read_parquet(tmp_path / f"{name}.said.parquet")
        assert said.cast(dict(native.schema)).equals(native)


def test_scores_of_a_day_replace_those_said_before_and_other_days_stay(trained: Trained) -> None:
    lake, table = trained.lake, "customer_scores"
    scores = lake.read(table)
    (day,) = scores["as_of"].unique()
    earlier = scores.with_columns(as_of=pl.lit(day - timedelta(days=7)), segment=pl.lit("where they were"))
    ghosts = scores.head(3).with_columns(customer_id=pl.format("ghost {}", "customer_id"))
    lake.append(table, pl.concat([earlier, ghosts]))
    lake.append("segments", lake.read("segments").head(1).with_columns(segment=pl.lit("gone"), name=pl.lit("Gone")))
    assert jobs.score(trained.settings, lake, trained.tracker).changed
    now = lake.read(table).filter(as_of=day)
    assert now["customer_id"].to_list() == scores["customer_id"].to_list()
    assert now["previous_segment"].unique().to_list() == ["where they were"]
    assert lake.read(table).filter(pl.col("as_of") < day).height == earlier.height
    assert set(lake.read("segments")["segment"]) == set(now["segment"]) | set(now["rfm_segment"])
    moves = lake.read("segment_migration").filter(scheme="kmeans")
    assert dict(moves.select("to_segment", "customers").iter_rows()) == dict(now["segment"].value_counts().iter_rows())
    assert set(lake.read("customer_changes")["from_segment"]) == {"where they were"}
    versions = lake.versions([table, "segments"])
    assert not jobs.score(trained.settings, lake, trained.tracker).changed
    assert lake.versions([table, "segments"]) == versions


def test_reasons_of_a_day_replace_those_of_the_same_customers(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    lake, table = trained.lake, "customer_reasons"
    first = jobs.explain(trained.settings, lake, trained.tracker, top=3)
    listed = first.tables["customers"]["customer_id"].to_list()
    other = next(name for name in lake.read("customer_scores")["customer_id"] if name not in listed)
    named = jobs.explain(trained.settings, lake, trained.tracker, [listed[0], other])
    kept = lake.read(table)
    TABLES[table].schema.validate(kept)
    assert set(kept["customer_id"]) == {*listed, other}
    assert kept.sort("customer_id", "rank").equals(kept.unique(["customer_id", "rank"]).sort("customer_id", "rank"))
    assert not jobs.explain(trained.settings, lake, trained.tracker, [other]).changed
    print_reasons(named)
    said = capsys.readouterr().out
    assert all(words in said for words in named.tables["reasons"]["text_en"])
    scores = lake.read("customer_scores").filter(customer_id=other)["churn_probability"]
    assert f"customer {other}: {scores[-1]:.0%} likely to leave" in said


def test_feedback_and_deliveries_are_learned_from_unless_protected(
    trained: Trained, shop_lines: pl.DataFrame, tmp_path: Path
) -> None:
    lake = Lake(tmp_path / "lake")
    day = pl.col("ordered_at").dt.date()
    stated = {"promised_on": day + timedelta(days=2), "delivered_on": day + timedelta(days=3), "channel": pl.lit("web")}
    lake.append("order_lines", shop_lines.with_columns(**stated))
    said = shop_lines.filter(pl.col("customer_id").is_first_distinct())
    after = said["ordered_at"].max() + timedelta(days=400)  # long after the last order
    answers = said.select("customer_id", at=pl.lit(after), kind=pl.lit("csat"), score=pl.lit(4.0)).head(1)
    at_once = said.select("customer_id", at="ordered_at", kind=pl.lit("csat"), score=pl.lit(3.0)).tail(1)
    lake.append("feedback", pl.concat([at_once, answers.cast({"at": at_once.schema["at"]})]))
    book, last = jobs._book(trained.settings, lake)
    assert last == shop_lines["ordered_at"].max().date(), "an answer is no order"
    rows = describe(book, last)
    assert rows["last_csat"].drop_nulls().to_list() == [3.0]
    assert rows["delay_days_26w"].drop_nulls().unique().to_list() == [1.0]
    assert rows["channels"].unique().to_list() == [1.0]
    hidden, _ = jobs._book(shop(tmp_path, protected=["channel"]), lake)
    assert describe(hidden, last)["channels"].null_count() == rows.height


LITTLE = {
    "nobody named": "map the column that names the customer",
    "one customer": "bring a longer record",
    "nobody comes back": "bring a longer record",
    "a week of orders": "bring a longer record",
    "half a year of orders": "set customers.churn_horizon_days to 89 or less",
}


@pytest.fixture(params=LITTLE)
def little(request: pytest.FixtureRequest, shop_lines: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    day = pl.col("ordered_at").dt.date()
    lines = {
        "nobody named": shop_lines.with_columns(customer_id=pl.lit(None, dtype=pl.String)),
        "one customer": shop_lines.filter(customer_id=shop_lines["customer_id"].mode()[0]),
        "nobody comes back": shop_lines.unique("customer_id", keep="first", maintain_order=True),
        "a week of orders": shop_lines.filter(day < date(2022, 1, 10)),
        "half a year of orders": shop_lines.filter(day < date(2022, 7, 2)),
    }[request.param]
    return lines, LITTLE[request.param]


def test_too_little_stops_training_with_a_remedy_that_is_true(
    little: tuple[pl.DataFrame, str], trained: Trained, tmp_path: Path
) -> None:
    lines, remedy = little
    settings = shop(tmp_path)
    lake = Lake(settings.lake_url)
    lake.append("order_lines", lines)
    for job in (lambda: jobs.train(settings, lake, trained.tracker), lambda: jobs.backtest(settings, lake)):
        with pytest.raises(NotEnoughDataError) as told:
            job()
        assert remedy in told.value.remedy
    assert not lake.exists("evaluation")
    assert "customers.enabled: false" in told.value.remedy
    assert not shop(tmp_path, enabled=False).judges_customers
    if "churn_horizon_days" in remedy:
        jobs.backtest(shop(tmp_path, churn_horizon_days=89), lake)


def test_nobody_can_be_scored_where_nobody_is_named(shop_lines: pl.DataFrame, trained: Trained, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append("order_lines", shop_lines.with_columns(customer_id=pl.lit(None, dtype=pl.String)))
    with pytest.raises(NotEnoughDataError, match="no order of a known customer"):
        jobs.score(trained.settings, lake, trained.tracker)
    with pytest.raises(NotEnoughDataError, match="on record by 2021-01-01"):
        jobs.score(trained.settings, trained.lake, trained.tracker, as_of=date(2021, 1, 1))


def test_a_young_shop_is_judged_at_the_cuts_at_which_it_had_customers(shop_lines: pl.DataFrame, tmp_path: Path) -> None:
    """Before day 400 one customer alone buys: cuts before that have nothing to learn from."""
    settings = shop(tmp_path, cuts=4, churn_horizon_days=56)
    lake = Lake(settings.lake_url)
    one = shop_lines["customer_id"].mode()[0]
    young = pl.col("ordered_at").dt.date() > date(2022, 1, 3) + timedelta(days=400)
    lake.append("order_lines", shop_lines.filter(young | (pl.col("customer_id") == one)))
    out = tmp_path / "said.parquet"
    jobs.backtest(settings, lake, out=out)
    assert pl.read_parquet(out)["cut"].n_unique() == 2


def test_of_a_dozen_customers_it_is_said_that_nothing_is_known(shop_lines: pl.DataFrame, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    best = shop_lines.group_by("customer_id").len().sort("len", "customer_id", descending=True).head(14)
    lake.append("order_lines", shop_lines.join(best, on="customer_id", how="semi"))
    tracker = MagicMock()
    tracker.champion.return_value = None
    run = tracker.run.return_value.__enter__.return_value
    run.id, run.register.return_value = "run", "1"
    notes = jobs.train(shop(tmp_path), lake, tracker).notes
    assert "Churn: there are too few customers to know how good it is." in notes
    assert [call.args for call in tracker.promote.call_args_list] == [(name, "1") for name in NAMES]
    assert set(lake.read("evaluation")["capability"]) == {"value", "segments"}


def test_a_protected_column_is_never_learned_from(trained: Trained, tmp_path: Path) -> None:
    jobs.customers(shop(trained.home, protected=["age"]), trained.lake, as_of=None, out=tmp_path / "scores.parquet")
    with pytest.raises(ConfigError, match="made from mean_hour, which the configuration protects"):
        jobs.customers(shop(trained.home, protected=["mean_hour"]), trained.lake, as_of=None, out=tmp_path / "s.csv")


def test_the_groups_of_a_protected_column_are_audited(trained: Trained) -> None:
    audited = trained.lake.read("evaluation").filter(pl.col("slice").str.contains("="), cut="mean")
    assert set(audited["slice"]) == {"region=north", "region=south"}
    assert set(audited["metric"]) == {"selection_rate", "calibration_gap", "false_negative_rate"}
    assert audited["value"].is_between(-1, 1).all()


def test_every_step_of_the_bar_is_a_step_of_the_work(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[tuple[int, list[int]]] = []

    @contextmanager
    def watched(what: str, steps: int):
        moves: list[int] = []
        bars.append((steps, moves))
        yield lambda steps=1, /: moves.append(steps)

    monkeypatch.setattr(jobs, "progress", watched)
    jobs.customers(trained.settings, trained.lake, as_of=None, out=tmp_path / "scores.parquet")
    jobs.score(trained.settings, trained.lake, trained.tracker, as_of=date(2023, 3, 1))
    assert [moves for _, moves in bars] == [[1] * steps for steps, _ in bars]
    assert len(bars) == 2


def worse(judged: backtest.Backtest, model: str, metric: str) -> backtest.Backtest:
    """The same backtest with one figure of one model at its worst."""
    chosen = (pl.col("model") == model) & (pl.col("metric") == metric)
    figures = judged.evaluation.with_columns(value=pl.when(chosen).then(0.01).otherwise("value"))
    return replace(judged, evaluation=figures)


def test_a_beaten_version_waits_unless_the_champion_answers_another_question(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trained.champions()
    assert before == dict.fromkeys(NAMES, "1")
    assert trained.notes == []
    honest = backtest.run
    monkeypatch.setattr(backtest, "run", lambda *given: worse(worse(honest(*given), "churn", "auc"), "value", "gini"))
    foreign = pl.DataFrame({"capability": ["demand"], "model": ["m"], "metric": ["wape"], "slice": ["all"],
                            "cut": ["mean"], "value": [0.5], "run": ["r"]})  # fmt: skip
    trained.lake.append("evaluation", foreign)
    changed = shop(trained.home, value_horizon_days=112)
    with pytest.raises(TrackingError, match="champion of value was trained for other settings"):
        jobs.score(changed, trained.lake, trained.tracker)
    assert {"98_days"} <= set(trained.lake.read("evaluation")["slice"])
    notes = " ".join(jobs.train(changed, trained.lake, trained.tracker).notes)
    assert trained.champions() == {"churn": "1", "value": "2", "segments": "2"}
    assert "Churn: the baseline recency_rule has the better auc" in notes
    assert "The champion so far stays." in notes
    assert "Value: the baseline past_spend has the better gini" in notes
    assert "It is champion only because there is no other." in notes
    kept = trained.lake.read("evaluation")
    TABLES["evaluation"].schema.validate(kept)
    assert set(kept["slice"]) == {"all", "active", "new", "112_days"}
    assert kept.filter(capability="demand").equals(foreign)
