"""Customers on contracts: encoding, leaks, folds, honest figures, the audit."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import polars as pl
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from features.tables import TABLES
from pipelines.customers import contract_jobs, contracts, jobs, metrics, subscription
from pipelines.customers.attributes import Encoder, describe
from pipelines.customers.folds import fold_of
from pipelines.customers.logistic import fit_logistic
from pipelines.customers.subscription import ContractChurnModel
from pipelines.errors import ConfigError, NotEnoughDataError
from pipelines.lake import Lake
from pipelines.settings import Customers, Settings, Source
from tests.made_contracts import made_contracts, with_truth


def shop(**terms: object) -> Settings:
    sources = [Source(table="contracts", path="contracts.parquet")]
    return Settings(shop="telecom", data_dir="data", sources=sources, customers=Customers(kind="contractual", **terms))


@pytest.fixture(autouse=True)
def one_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "REPEATS", 1)
    monkeypatch.setattr(contracts, "FOLDS", 3)


@pytest.fixture(scope="module")
def model() -> ContractChurnModel:
    return contracts.fit(contracts.cases(made_contracts(800), shop()), shop())


def test_the_regression_is_where_a_general_optimiser_ends() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 4))
    happened = (rng.random(300) < expit(features @ [1.0, -0.5, 0.0, 2.0] - 0.7)).astype(float)

    def loss(b: np.ndarray) -> float:
        odds = b[0] + features @ b[1:]
        return float(np.sum(np.logaddexp(0, odds) - happened * odds) + 1.5 * np.sum(b[1:] ** 2))

    general = minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(fit_logistic(features, happened, ridge=3.0), general.x, atol=1e-4)


def test_cases_that_can_be_told_apart_leave_coefficients_finite() -> None:
    found = fit_logistic(np.array([[-1.0], [-1.0], [1.0], [1.0]]) * 1e3, np.array([0.0, 0.0, 1.0, 1.0]), ridge=1.0)
    assert np.isfinite(found).all()


def test_text_that_holds_numbers_is_a_number_and_blanks_are_missing() -> None:
    rows = describe(made_contracts(400), protected=[])
    encoder = Encoder.fit(rows)
    assert "total_charges" in encoder.numbers
    assert set(encoder.codes) == {"term", "net"}
    encoded = encoder.encode(rows)
    new = encoded["total_charges"].is_null()
    assert new.any()
    assert new.equals(rows["months"].eq(0).rename("total_charges"))
    odd = rows.with_columns(term=pl.lit("Ten years"), months=pl.lit("?"))
    assert encoder.encode(odd)["term"].unique().to_list() == [-1.0]
    assert encoder.encode(odd)["months"].null_count() == rows.height


def test_a_start_is_learned_from_and_an_end_never() -> None:
    table = made_contracts(300)
    dated = table.with_columns(started_on=pl.date(2020, 1, 1) + pl.duration(days=pl.int_range(pl.len()) % 97))
    ended = dated.with_columns(ended_on=pl.when("churned").then(pl.date(2024, 1, 1)))
    assert "started_on" in contracts.cases(dated, shop()).encoder.names
    rows, shuffled = (describe(t, []) for t in (ended, ended.with_columns(pl.col("ended_on").shuffle(1))))
    assert rows.equals(shuffled)
    assert rows.equals(describe(dated, []))
    assert rows.filter(customer_id="C00007").equals(describe(dated.filter(customer_id="C00007"), []))


def test_ids_outcomes_and_protected_columns_are_no_attributes() -> None:
    table = made_contracts(300).with_columns(
        phone=pl.format("+49 {}", pl.int_range(pl.len())),
        row=pl.int_range(pl.len()),
        country=pl.lit("DE"),
        ended_on=pl.date(2024, 1, 1),
        contacted_on=pl.date(2024, 1, 1) + pl.duration(days=pl.int_range(pl.len()) % 7),
    )
    known = contracts.cases(table, shop(protected=["age_group"]))
    assert known.encoder.names == ["monthly_fee", "months", "paperless", "total_charges", "net", "term"]


@pytest.mark.parametrize("kind", ["number", "text", "missing"])
def test_an_attribute_that_is_the_outcome_raises_the_leak_alarm(kind: str) -> None:
    left = pl.col("churned")
    leak = {
        "number": left.cast(pl.Float64) * 80 + pl.col("months") / 10,
        "text": pl.when("churned").then(pl.lit("terminated")).otherwise(pl.lit("running")),
        "missing": pl.when(left).then(pl.col("net")),
    }[kind]
    known = contracts.cases(made_contracts(400).with_columns(final_bill=leak), shop())
    assert "final_bill" not in known.encoder.names
    assert "Leak alarm: final_bill" in known.notes[0]
    assert contracts.cases(made_contracts(400), shop()).notes == []


def test_folds_ignore_the_order_of_rows_keep_twins_together_and_are_balanced() -> None:
    table = made_contracts(400)
    twins = table.with_columns(customer_id=pl.format("twin of {}", "customer_id"))
    both = pl.concat([table, twins]).sort("customer_id")
    rows, churned = describe(both, []), both["churned"].cast(pl.Float64).to_numpy()
    fold = fold_of(rows, churned, folds=5, seed=3)
    by_id = dict(zip(rows["customer_id"], fold, strict=True))
    assert all(by_id[name] == by_id[f"twin of {name}"] for name in table["customer_id"])
    rates = [churned[fold == number].mean() for number in range(5)]
    assert max(rates) - min(rates) < 0.02
    assert max(np.bincount(fold)) - min(np.bincount(fold)) <= 8


def test_out_of_fold_is_as_good_as_the_truth_allows() -> None:
    table = with_truth(4000)
    judged = contracts.out_of_fold(contracts.cases(table.drop("truth"), shop()), table.drop("truth"), shop()).churn
    both = judged.join(table.select("customer_id", "truth"), on="customer_id")
    came = both["churned"].cast(pl.Float64).to_numpy()
    said, truth = both["churn_probability"].to_numpy(), both["truth"].to_numpy()
    assert metrics.auc(came, said) > metrics.auc(came, truth) - 0.006
    assert metrics.brier(came, said) < metrics.brier(came, truth) + 0.003
    chance = [metrics.calibration_error(np.random.default_rng(s).random(4000) < truth, truth) for s in range(40)]
    assert metrics.calibration_error(came, said) < max(0.012, float(np.quantile(chance, 0.95)))


def test_out_of_fold_is_the_same_whatever_the_order_of_rows() -> None:
    table = made_contracts(300)
    shuffled = table.sample(fraction=1, shuffle=True, seed=4)
    one, other = (contracts.out_of_fold(contracts.cases(t, shop()), t, shop()) for t in (table, shuffled))
    assert one.churn.equals(other.churn)
    assert one.evaluation.equals(other.evaluation)


def test_shuffled_outcomes_cannot_be_foretold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "TREES", 40)
    areas = []
    for seed in range(12):
        table = made_contracts(240).with_columns(pl.col("churned").shuffle(seed=seed))
        judged = contracts.out_of_fold(contracts.cases(table, shop()), table, shop()).churn
        areas.append(metrics.auc(judged["churned"].cast(pl.Float64).to_numpy(), judged["churn_probability"].to_numpy()))
    assert abs(np.mean(areas) - 0.5) < 3 * np.std(areas, ddof=1) / np.sqrt(len(areas)) + 0.01


def test_files_say_what_the_model_said_and_a_contract_alone_is_judged_as_among_others(
    model: ContractChurnModel, tmp_path: Path
) -> None:
    rows = describe(made_contracts(800), [])
    model.to_dir(tmp_path)
    said = model.predict(rows)
    assert ContractChurnModel.from_dir(tmp_path).predict(rows).equals(said)
    assert model.predict(rows[17:18]).equals(said[17:18])
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".json", ".txt"]


def test_scores_keep_their_table_and_fees_make_their_value(model: ContractChurnModel) -> None:
    table = made_contracts(800)
    terms = shop(churn_horizon_days=30, value_horizon_days=365)
    day = date(2024, 5, 1)
    scores = contracts.score(table, model, day, terms, "1")
    TABLES["customer_scores"].schema.validate(scores)
    TABLES["segments"].schema.validate(contracts.describe_segments(scores))
    both = scores.join(table.select("customer_id", "monthly_fee", "churned"), on="customer_id")
    assert both.filter("churned")["value"].unique().to_list() == [0.0]
    one = both.filter(~pl.col("churned")).row(0, named=True)
    share_left = (1 - one["churn_probability"]) ** (np.arange(365_000) / 1000 / 30)
    assert one["value"] == pytest.approx(one["monthly_fee"] * share_left.sum() / 1000 / (365.25 / 12), rel=1e-3)
    feeless = contracts.score(table, model, day, shop(fee_column="absent"), "1")
    assert feeless["value"].null_count() == feeless.height


def test_the_audit_is_a_count_by_hand_and_skips_small_groups() -> None:
    table = made_contracts(600).with_columns(
        age_group=pl.when(pl.int_range(pl.len()) < 30).then(pl.lit(9)).otherwise("age_group")
    )
    terms = shop(protected=["age_group"])
    judged = contracts.out_of_fold(contracts.cases(table, terms), table, terms)
    audit = judged.evaluation.filter(pl.col("slice").str.contains("="), cut="mean")
    assert set(audit["slice"]) == {"age_group=1", "age_group=2", "age_group=3"}
    said = judged.churn.join(table.select("customer_id", "age_group"), on="customer_id")
    limit = np.quantile(said["churn_probability"].to_numpy(), 1 - said["churned"].mean())
    group = said.filter(age_group=2)
    by_hand = {
        "selection_rate": (group["churn_probability"] > limit).mean(),
        "calibration_gap": group["churn_probability"].mean() - group["churned"].mean(),
        "false_negative_rate": (group.filter("churned")["churn_probability"] <= limit).mean(),
    }
    found = dict(audit.filter(slice="age_group=2").select("metric", "value").iter_rows())
    assert found == pytest.approx(by_hand)


def test_too_few_outcomes_are_said() -> None:
    table = made_contracts(200)
    few = pl.concat([table.filter("churned").head(4), table.filter(~pl.col("churned"))])
    for rows in (few, table.with_columns(churned=pl.lit(None, dtype=pl.Boolean))):
        with pytest.raises(NotEnoughDataError, match="too few to learn from"):
            contracts.cases(rows, shop())


def test_attributes_may_have_any_name() -> None:
    table = made_contracts(200).rename({"months": "place", "monthly_fee": "fold"})
    known = contracts.cases(table, shop())
    own = fold_of(known.rows, known.churned, folds=3, seed=0)
    plain = known.rows.rename({"place": "months", "fold": "monthly_fee"})
    np.testing.assert_array_equal(own, fold_of(plain, known.churned, folds=3, seed=0))


def test_a_protected_name_that_no_contract_has_is_said() -> None:
    assert contracts.cases(made_contracts(200), shop(protected=["age_group"])).notes == []
    (note,) = contracts.cases(made_contracts(200), shop(protected=["Age_Group"])).notes
    assert "Age_Group" in note


def test_a_fee_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.append("contracts", made_contracts(20))
    assert contract_jobs.read(shop(fee_column="monthly_fee"), lake).height == 20
    with pytest.raises(ConfigError, match="montly_fee"):
        contract_jobs.read(shop(fee_column="montly_fee"), lake)


def test_reasons_of_contracts_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="contracts"):
        jobs.explain(shop(), Lake(str(tmp_path)), MagicMock())
