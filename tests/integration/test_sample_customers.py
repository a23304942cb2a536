"""Customers of the whole sample shop: the first law, the bars, and what was written."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from features.customers import known_by, labels, ledger, snapshot
from features.tables import TABLES
from pipelines.lake import frame_digest
from pipelines.tracking import Tracker

pytestmark = pytest.mark.sample
AS_OF = date(2011, 6, 17)


@pytest.fixture(scope="module")
def order_lines(sample_run) -> pl.DataFrame:
    return sample_run.lake.read("order_lines")


def test_the_future_does_not_change_a_snapshot(order_lines: pl.DataFrame) -> None:
    zone = "Europe/London"
    later = pl.col("known_at").dt.convert_time_zone(zone).dt.date() > AS_OF
    whole = frame_digest(snapshot(order_lines, AS_OF, timezone=zone))
    assert frame_digest(snapshot(order_lines.filter(~later), AS_OF, timezone=zone)) == whole
    scrambled = order_lines.with_columns(
        customer_id=pl.when(later).then(pl.col("customer_id").shuffle(seed=1)).otherwise("customer_id"),
        quantity=pl.when(later).then(pl.col("quantity") * 1000).otherwise("quantity"),
    ).sample(fraction=1.0, shuffle=True, seed=2)
    assert frame_digest(snapshot(scrambled, AS_OF, timezone=zone)) == whole


def test_labels_come_from_complete_windows_only(order_lines: pl.DataFrame) -> None:
    book = ledger(order_lines, timezone="Europe/London")
    last = book["day"].max()
    assert labels(book, last - timedelta(days=91), 91).height > 5_000
    with pytest.raises(ValueError, match="label window"):
        labels(book, last - timedelta(days=90), 91)
    with pytest.raises(ValueError, match="label window"):
        labels(known_by(book, AS_OF), AS_OF - timedelta(days=90), 91, complete_through=AS_OF)


def test_the_churn_model_meets_its_bars(sample_run) -> None:
    means = sample_run.lake.read("evaluation").filter(capability="customers", cut="mean")
    figure = {(row["model"], row["metric"], row["slice"]): row["value"] for row in means.iter_rows(named=True)}
    for part in ("all", "active"):
        assert figure["churn", "auc", part] > figure["recency_rule", "auc", part]
    assert figure["churn", "ece", "all"] <= min(0.05, figure["bg_nbd", "ece", "all"])
    assert figure["churn", "auc", "all"] < 0.9  # better than that on this shop would be a leak


def test_one_training_speaks_of_customers_and_its_models_are_champions(sample_run) -> None:
    judged = sample_run.lake.read("evaluation").filter(pl.col("capability").is_in(["customers", "value"]))
    champions = {name: Tracker(sample_run.settings).champion(name) for name in ("churn", "value", "segments")}
    (run,) = judged["run"].unique()
    assert {champion.run_id for champion in champions.values()} == {run}
    said = " ".join(f"{name} {champion.version}" for name, champion in champions.items())
    assert sample_run.lake.read("customer_scores")["model_version"].unique().to_list() == [said]


def test_scores_and_segments_keep_their_contract(sample_run) -> None:
    scores, segments = (sample_run.lake.read(name) for name in ("customer_scores", "segments"))
    TABLES["customer_scores"].schema.validate(scores)
    TABLES["segments"].schema.validate(segments)
    assert set(scores["segment"]) == set(segments.filter(scheme="kmeans")["segment"])
    assert segments.group_by("scheme").agg(pl.col("share_of_customers").sum())["share_of_customers"].to_list() == [
        pytest.approx(1),
        pytest.approx(1),
    ]
