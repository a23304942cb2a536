"""Reasons: every feature has a family, shares add up to the model, words say what figures say and claim no cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.special import logit

from features.customers import FEATURES, ledger
from features.tables import TABLES
from pipelines.customers import churn, segments
from pipelines.customers.boosting import NAMES
from pipelines.customers.churn import TREES_SHARE
from pipelines.customers.models import Models
from pipelines.customers.moments import Past, with_btyd
from pipelines.customers.reasons import by_family, chances, contributions, explain, level_of
from pipelines.customers.wording import FAMILIES, WORDINGS, sentences
from pipelines.errors import ConfigError
from pipelines.settings import Customers, Settings, Source

CUT = date(2023, 3, 1)
SETTINGS = Settings(
    shop="made_up",
    data_dir="none",
    sources=[Source(table="order_lines", path="orders.parquet")],
    customers=Customers(active_days=120),
)


def feedback(lines: pl.DataFrame) -> pl.DataFrame:
    """Every third customer says a score and complains, some days after each order."""
    orders = lines.filter(pl.col("customer_id").str.slice(-1).is_in(["0", "3", "6", "9"]))
    after = [orders.select("customer_id", at=pl.col("ordered_at") + timedelta(days=days)) for days in (2, 9)]
    csat = after[0].with_columns(kind=pl.lit("csat"), score=(pl.int_range(pl.len()) % 5 + 1).cast(pl.Float64))
    complaints = after[1].with_columns(kind=pl.lit("complaint"), score=pl.lit(None, dtype=pl.Float64))
    return pl.concat([csat, complaints])


@pytest.fixture(scope="module")
def past(shop_lines: pl.DataFrame) -> Past:
    return past_of(shop_lines, feedback(shop_lines))


def past_of(lines: pl.DataFrame, said: pl.DataFrame) -> Past:
    return Past(ledger(lines, said), CUT, horizon_days=91, period_days=7)


@pytest.fixture(scope="module")
def models(past: Past) -> Models:
    leaving = churn.fit(past, trees=30, seed=1, threads=1)
    return Models(leaving, None, segments.fit_at(past.ledger, CUT, SETTINGS))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def everyone(past: Past) -> list[str]:
    return past.moment(CUT).rows["customer_id"].to_list()


def test_every_feature_belongs_to_one_of_a_dozen_families() -> None:
    assert set(WORDINGS) == set(FEATURES) | set(NAMES)
    assert {wording.family for wording in WORDINGS.values()} == set(FAMILIES)
    assert len(FAMILIES) <= 12
    for told in ([one.english for one in WORDINGS.values()], [one.chinese for one in WORDINGS.values()]):
        assert len(set(told)) == len(told), "two features are called the same"


def test_shares_add_up_to_the_log_odds_of_the_model(past: Past, models: Models) -> None:
    model, rows = models.churn, past.moment(CUT).rows
    features = with_btyd(rows, model.expectation, model.horizon_days)
    names, shares = contributions(model, features, level_of(features))
    assert model.booster is not None
    nothing_known = model.booster.predict(features.select(names).cast(pl.Float64).to_numpy(), pred_contrib=True)[0, -1]
    constant = level_of(features) + TREES_SHARE * nothing_known + model.shift
    said = logit(model.predict(rows)["churn_probability"].to_numpy())
    np.testing.assert_allclose(by_family(names, shares).sum(axis=1) + constant, said, atol=1e-9)
    assert np.abs(by_family(names, shares)[:, list(FAMILIES).index("feedback")]).max() > 0


def test_reasons_are_the_families_that_move_most(past: Past, models: Models, everyone: list[str]) -> None:
    found = explain(past, models, everyone, "churn 1")
    TABLES["customer_reasons"].schema.validate(found)
    assert found["customer_id"].n_unique() == len(everyone)
    rows = past.moment(CUT).rows
    features = with_btyd(rows, models.churn.expectation, models.churn.horizon_days)
    active = features.filter(rows["days_since_last_order"] <= 120)
    names, shares = contributions(models.churn, features, level_of(active))
    for place, customer in list(enumerate(rows["customer_id"]))[::23]:
        sums: dict[str, float] = dict.fromkeys(FAMILIES, 0.0)
        for name, share in zip(names, shares[place], strict=True):
            sums[WORDINGS[name].family] += share
        strongest = sorted(sums, key=lambda family: -abs(sums[family]))[:3]
        own = found.filter(customer_id=customer)
        assert own["rank"].to_list() == [1, 2, 3]
        assert own["family"].to_list() == strongest
        assert own["actionable"].to_list() == [FAMILIES[family] for family in strongest]
        for reason in own.to_dicts():
            assert reason["impact"] == pytest.approx(sums[reason["family"]])
            sign = np.sign(reason["impact"])
            members = [name for name in names if WORDINGS[name].family == reason["family"]]
            speaks = max(members, key=lambda name: sign * shares[place][names.index(name)])
            assert reason["value"] == (None if (value := features[speaks][place]) is None else pytest.approx(value))
            median = active[speaks].cast(pl.Float64).median()
            assert reason["peer_median"] == (None if median is None else pytest.approx(median))


def test_a_customer_alone_is_explained_as_among_others(past: Past, models: Models, everyone: list[str]) -> None:
    together = explain(past, models, everyone[::-1])
    for customer in everyone[::97]:
        assert explain(past, models, [customer]).equals(together.filter(customer_id=customer))
    assert explain(past, models, []).schema == together.schema


def test_nothing_later_changes_a_reason(
    past: Past, models: Models, everyone: list[str], shop_lines: pl.DataFrame
) -> None:
    later = pl.col("ordered_at").dt.date() > CUT
    noise = shop_lines.with_columns(unit_price=pl.when(later).then(pl.lit(1e5)).otherwise("unit_price"))
    said = feedback(shop_lines).filter(pl.col("at").dt.date() <= CUT)
    for lines in (shop_lines.filter(~later), noise):
        assert explain(past_of(lines, said), models, everyone).equals(explain(past, models, everyone))


def test_without_trees_the_expectation_is_the_reason(past: Past, models: Models, everyone: list[str]) -> None:
    alone = replace(models, churn=replace(models.churn, booster=None))
    found = explain(past, alone, everyone)
    assert found["family"].unique().to_list() == ["expectation"]
    assert found["customer_id"].to_list() == everyone
    rows = past.moment(CUT).rows
    for customer, words in found.select("customer_id", "text_en").head(20).iter_rows():
        days, repeats = rows.filter(customer_id=customer).select("days_since_last_order", "frequency").row(0)
        assert words.startswith(f"Days since the last order {days}, purchase days {repeats + 1}:")


def test_words_say_what_the_figures_say_and_claim_no_cause(past: Past, models: Models, everyone: list[str]) -> None:
    found = explain(past, models, everyone)
    for reason in found.to_dicts():
        higher = reason["impact"] > 0
        assert reason["text_en"].endswith(f"associated with a {'higher' if higher else 'lower'} risk of leaving")
        assert reason["text_zh"].endswith(f"与{'较高' if higher else '较低'}的流失风险相关")
        assert ("none yet" in reason["text_en"]) == (None in (reason["value"], reason["peer_median"]))
    everything = " ".join([*found["text_en"], *found["text_zh"]])
    assert not any(cause in everything.lower() for cause in ("because", "cause", "due to", "因为", "由于", "导致"))


def test_amounts_are_shown_as_closely_as_they_deserve() -> None:
    values = [0.0612, 1.26, 1234.5, -0.0001, None]
    facts = {"direction": "lower", "days_since_last_order": 1, "frequency": 0, "value": values, "peer_median": values}
    texts = sentences(["spend"] * 5, pl.DataFrame(facts))["text_en"]
    shown = [text.removeprefix("Spend so far: ").partition(" (")[0] for text in texts]
    assert shown == ["0.06", "1.3", "1234", "0", "none yet"]


def test_those_likeliest_to_leave_are_chosen_among_active_customers(past: Past, models: Models) -> None:
    top = chances(past, models.churn, (), active_days=models.segments.active_days, top=5)
    said = models.churn.predict(past.moment(CUT).rows)
    active = past.moment(CUT).rows.filter(pl.col("days_since_last_order") <= 120)["customer_id"]
    best = said.filter(pl.col("customer_id").is_in(active.to_list())).sort("churn_probability", descending=True)
    assert top["churn_probability"].to_list() == best["churn_probability"].head(5).to_list()
    named = chances(past, models.churn, said["customer_id"].to_list(), active_days=120, top=1)
    assert sorted(named.rows()) == sorted(said.select("customer_id", "churn_probability").rows())


def test_nobody_is_explained_who_has_not_ordered(past: Past, models: Models) -> None:
    for ask in (
        lambda: explain(past, models, ["ghost"]),
        lambda: chances(past, models.churn, ["ghost"], active_days=models.segments.active_days, top=5),
    ):
        with pytest.raises(ConfigError, match="No customer 'ghost' has ordered by 2023-03-01"):
            ask()
