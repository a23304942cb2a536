"""The audit of a transactional shop is a count by hand, cut by cut."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from pipelines.customers import audit


def test_figures_of_a_cut_are_a_count_by_hand_and_their_mean_is_over_cuts() -> None:
    rng = np.random.default_rng(3)
    people = 400
    names = pl.Series([f"c{number}" for number in range(people)])
    customers = pl.DataFrame(
        {"customer_id": names, "sex": ["f", "m", None, "x"] * 90 + ["f"] * 40, "age": rng.integers(18, 90, people)}
    ).with_columns(sex=pl.when((pl.col("sex") == "x") & (pl.int_range(pl.len()) > 150)).then(None).otherwise("sex"))
    cuts = [
        pl.DataFrame({"cut": [date(2024, month, 1)] * people, "customer_id": names.shuffle(month)}).with_columns(
            churn=pl.Series(said := rng.random(people)),
            churned=pl.Series(rng.random(people) < said),
            active=pl.Series(rng.random(people) < 0.9),
        )
        for month in (1, 2)
    ]
    found = audit.evaluation(pl.concat(cuts), customers.sample(fraction=1, shuffle=True, seed=1), ["sex", "age", "no"])

    assert set(found["slice"].str.extract(r"^(\w+)=")) == {"sex", "age"}
    assert "sex=x" not in set(found["slice"]), "fewer than fifty say nothing"
    assert found.filter(pl.col("slice").str.starts_with("age="))["slice"].n_unique() == 4
    by_hand = []
    for cut in cuts:
        active = cut.filter("active").join(customers, on="customer_id")
        selected = active["churn"] > np.quantile(active["churn"].to_numpy(), 1 - active["churned"].mean())
        group = active.with_columns(selected=selected).filter(sex="m")
        by_hand.append(
            {
                "selection_rate": group["selected"].mean(),
                "calibration_gap": group["churn"].mean() - group["churned"].mean(),
                "false_negative_rate": (~group.filter("churned")["selected"]).mean(),
            }
        )
    for cut, expected in zip(("2024-01-01", "2024-02-01"), by_hand, strict=True):
        assert dict(found.filter(slice="sex=m", cut=cut).select("metric", "value").iter_rows()) == pytest.approx(
            expected
        )
    mean = {metric: np.mean([one[metric] for one in by_hand]) for metric in by_hand[0]}
    assert dict(found.filter(slice="sex=m", cut="mean").select("metric", "value").iter_rows()) == pytest.approx(mean)


def test_where_nothing_is_protected_there_is_nothing_to_say() -> None:
    schema = {
        "cut": pl.Date,
        "customer_id": pl.String,
        "churn": pl.Float64,
        "churned": pl.Boolean,
        "active": pl.Boolean,
    }
    assert audit.evaluation(pl.DataFrame(schema=schema), pl.DataFrame({"customer_id": ["a"]}), []).is_empty()
