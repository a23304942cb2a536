"""Churn and value on a made-up shop: honest at every cut, better than chance, nothing from shuffled labels."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.customers import known_by, labels, ledger
from pipelines.customers import backtest, churn, jobs
from pipelines.customers.churn import ChurnModel
from pipelines.customers.expectation import Expectation
from pipelines.customers.metrics import auc
from pipelines.customers.models import fit
from pipelines.customers.moments import Past
from pipelines.customers.outputs import describe_segments
from pipelines.customers.value import ValueModel
from pipelines.errors import NotEnoughDataError
from pipelines.lake import Lake
from pipelines.settings import Customers, Settings, Source

CUT = date(2023, 2, 1)


@pytest.fixture(scope="module")
def book(shop_lines: pl.DataFrame) -> pl.DataFrame:
    return ledger(shop_lines)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        shop="made_up",
        data_dir=str(tmp_path),
        sources=[Source(table="order_lines", path="orders.parquet")],
        customers=Customers(cuts=3, value_horizon_days=182, trees=40),
    )


def past(book: pl.DataFrame, cut: date = CUT) -> Past:
    return Past(book, cut, horizon_days=91, period_days=7)


def test_nothing_after_the_cut_changes_the_model(book: pl.DataFrame) -> None:
    later = pl.col("known_on") > CUT
    scrambled = book.with_columns(spend=pl.when(later).then(10**9).otherwise("spend"), orders=pl.when(later).then(7).otherwise("orders"))  # fmt: skip  # noqa: E501
    said = [
        churn.fit(past(lines), trees=30, seed=1, threads=1).predict(past(lines).moment(CUT).rows)
        for lines in (book, known_by(book, CUT), scrambled)
    ]
    assert said[0].equals(said[1])
    assert said[0].equals(said[2])


def test_training_windows_are_over_by_the_cut(book: pl.DataFrame) -> None:
    days = past(book).training_days(6)
    assert len(days) == 6
    assert max(days) + timedelta(days=91) == CUT
    with pytest.raises(ValueError, match="label window"):
        past(book).outcome(CUT - timedelta(days=90))
    with pytest.raises(ValueError, match="later than"):
        past(book).moment(CUT + timedelta(days=1))


def test_shuffled_labels_teach_nothing(book: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without BTYD to lean on, outcomes shuffled among customers leave a ranking no better than chance."""
    honest = Past.churned
    monkeypatch.setattr(churn, "TREES_SHARE", 1.0)
    monkeypatch.setattr(Expectation, "no_order", lambda self, rows, days: np.full(rows.height, 0.5))
    known = past(book)
    rows = known.moment(CUT).rows
    came = labels(book, CUT, 91)["churned"].cast(pl.Float64).to_numpy()

    def ranked(trees: int) -> float:
        said = churn.fit(known, trees=trees, seed=1, threads=1).predict(rows)["churn_probability"].to_numpy()
        return auc(came, said)

    assert ranked(60) > 0.75
    shuffled = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        monkeypatch.setattr(Past, "churned", lambda self, day, rng=rng: rng.permutation(honest(self, day)))
        shuffled.append(ranked(20))
    assert abs(np.mean(shuffled) - 0.5) < 3 * np.std(shuffled, ddof=1) / np.sqrt(20)


def test_a_large_shop_learns_from_customers_drawn_by_name(book: pl.DataFrame) -> None:
    few = jobs.drawn(book, 200)
    assert 140 < few["customer_id"].n_unique() < 260
    assert few.join(book, on="customer_id", how="semi").height == few.height
    assert jobs.drawn(book.reverse(), 200)["customer_id"].unique().sort().equals(few["customer_id"].unique().sort())
    assert jobs.drawn(book, 10_000).equals(book)


def test_the_level_is_the_one_expected(book: pl.DataFrame) -> None:
    model = churn.fit(past(book), trees=40, seed=1, threads=1)
    moment = past(book).moment(CUT)
    said = model.predict(moment.rows)["churn_probability"].mean()
    assert model.anchor.kind == "btyd"
    assert said == pytest.approx(model.anchor.level, abs=1e-6)
    assert said == pytest.approx(moment.no_order.mean(), abs=0.02)


def test_the_backtest_ranks_and_adds_up(book: pl.DataFrame, settings: Settings) -> None:
    judged = backtest.run(book, book["day"].max(), settings)  # type: ignore[arg-type]
    assert judged.churn["cut"].n_unique() == 3
    assert backtest.figure(judged.evaluation, "churn", "auc", "all") > 0.75
    assert backtest.figure(judged.evaluation, "churn", "ece", "all") < 0.08
    slices = judged.evaluation.filter(capability="value")["slice"].unique().to_list()
    for part in slices:
        assert backtest.figure(judged.evaluation, "value", "gini", part) > 0.4
        assert backtest.figure(judged.evaluation, "value", "total_ratio", part) == pytest.approx(1, abs=0.3)
    assert judged.evaluation.select("capability", "model", "metric", "slice", "cut").is_unique().all()


def test_models_come_back_from_their_folders(book: pl.DataFrame, settings: Settings, tmp_path: Path) -> None:
    models, known = fit(book, CUT, settings, lambda steps=1, /: None)
    rows = known.moment(CUT).rows
    models.churn.to_dir(tmp_path / "churn")
    models.value.to_dir(tmp_path / "value")
    assert ChurnModel.from_dir(tmp_path / "churn").predict(rows).equals(models.churn.predict(rows))
    assert ValueModel.from_dir(tmp_path / "value").predict(rows).equals(models.value.predict(rows))
    said = models.value.predict(rows)
    assert said.select(
        (pl.col("value_low") <= pl.col("value")).all() & (pl.col("value") <= pl.col("value_high")).all()
    ).item()
    assert said["value"].sum() == pytest.approx(models.value.expected_revenue(rows).sum())


def test_customers_writes_one_file_and_nothing_else(
    shop_lines: pl.DataFrame, settings: Settings, tmp_path: Path
) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append("order_lines", shop_lines)
    before = lake.versions(["order_lines", "evaluation", "customer_scores", "segments"])
    jobs.customers(settings, lake, as_of=CUT, out=tmp_path / "scores.parquet")
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert lake.versions(["order_lines", "evaluation", "customer_scores", "segments"]) == before
    ordered = shop_lines.filter(pl.col("ordered_at").dt.date() <= CUT)["customer_id"].unique().sort()
    assert scores["customer_id"].to_list() == ordered.to_list()
    assert scores.filter(pl.col("status") == "lapsed")["churn_band"].unique().to_list() == ["lapsed"]
    assert scores["next_order_on"].drop_nulls().min() > CUT
    described = describe_segments(scores)
    assert described.group_by("scheme").agg(pl.col("customers").sum())["customers"].to_list() == [scores.height] * 2


@pytest.mark.parametrize("shop", ["nobody", "one customer", "nobody comes back", "a week of orders"])
def test_too_little_is_told_clearly(shop: str, shop_lines: pl.DataFrame, settings: Settings, tmp_path: Path) -> None:
    lines = {
        "nobody": shop_lines.with_columns(customer_id=pl.lit(None, dtype=pl.String)),
        "one customer": shop_lines.filter(customer_id=shop_lines["customer_id"].mode()[0]),
        "nobody comes back": shop_lines.unique("customer_id", keep="first", maintain_order=True),
        "a week of orders": shop_lines.filter(pl.col("ordered_at").dt.date() < date(2022, 1, 5)),
    }[shop]
    lake = Lake(tmp_path / "lake")
    lake.append("order_lines", lines)
    with pytest.raises(NotEnoughDataError) as told:
        jobs.customers(settings, lake, as_of=None, out=tmp_path / "scores.parquet")
    assert told.value.remedy
    assert not (tmp_path / "scores.parquet").exists()


def test_a_day_beyond_the_record_is_refused(shop_lines: pl.DataFrame, settings: Settings, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.append("order_lines", shop_lines)
    with pytest.raises(NotEnoughDataError, match="newest order"):
        jobs.customers(settings, lake, as_of=date(2024, 1, 1), out=tmp_path / "scores.parquet")
