"""Lists on a real lake: who is on them, who must never be, what they brought."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as patience
from hypothesis import strategies as st

from features.tables import TABLES
from pipelines import workflow
from pipelines.customers import campaign_jobs as jobs
from pipelines.customers import outcomes
from pipelines.customers.lists import draw
from pipelines.errors import ConfigError, LakeError, NotEnoughDataError, OutputError
from pipelines.lake import Lake, frame_digest
from pipelines.settings import Campaign, Settings
from pipelines.steps import Shop, steps_named
from tests.made_shop import AS_OF, CUSTOMERS, made_settings, made_tables

CALL = {
    "name": "call",
    "action": "Call them",
    "channel": "phone",
    "response_rate": 0.1,
    "cost_per_contact": 1.0,
    "offer_cost": 2.0,
    "audience": {"min_churn_probability": 0.2},
    "holdout": 0.2,
}
EARLIER = AS_OF - timedelta(days=60)


def shop(folder: Path, *campaigns: dict[str, Any]) -> tuple[Settings, Lake]:
    settings = made_settings(folder, customers={"campaigns": [CALL | more for more in campaigns or ({},)]})
    return settings, Lake(settings.lake_url)


def people(**columns: Any) -> pl.DataFrame:
    """Table customers: everyone of the made shop said yes, unless a column says otherwise."""
    said = {"consent": [True] * len(CUSTOMERS)} | columns
    frame = pl.DataFrame({"customer_id": CUSTOMERS, **said})
    empty = TABLES["customers"].schema.create_empty()
    return pl.concat([empty, frame], how="diagonal").cast(dict(empty.schema))


def scored(as_of: date = AS_OF) -> pl.DataFrame:
    return made_tables()["customer_scores"].drop("reasons").with_columns(as_of=pl.lit(as_of))


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Settings, Lake]:
    settings, lake = shop(tmp_path)
    lake.append("customer_scores", scored())
    lake.append("customers", people())
    return settings, lake


def exported(settings: Settings, lake: Lake, out: Path, **which: Any) -> pl.DataFrame:
    jobs.export(settings, lake, out=out, **({"campaign": "call"} | which))
    return pl.read_parquet(out)


def test_a_list_holds_what_it_says(filled, tmp_path):
    settings, lake = filled
    assert jobs.build(settings, lake).changed
    rows = lake.read("lists")
    TABLES["lists"].schema.validate(rows)
    assert rows["list_id"].unique().to_list() == ["call-2011-12-09"]
    assert rows["rank"].to_list() == list(range(1, rows.height + 1))
    assert rows["expected_profit"].is_sorted(descending=True)
    scores = scored().filter(pl.col("customer_id").is_in(rows["customer_id"].implode()))
    assert set(scores["status"]) == {"active"}
    assert scores["churn_probability"].min() >= 0.2
    one = rows.row(0, named=True)
    gain = 0.1 * one["churn_probability"] * one["value"] * 0.3
    cost = 1.0 + 2.0 * (1 - one["churn_probability"])
    assert one["expected_profit"] == pytest.approx(gain - cost)


def test_a_second_run_changes_nothing(filled):
    settings, lake = filled
    jobs.build(settings, lake)
    versions = lake.versions(TABLES)
    assert not jobs.build(settings, lake).changed
    assert lake.versions(TABLES) == versions


def test_a_build_that_was_cut_short_is_completed_by_the_next(filled, monkeypatch):
    settings, lake = filled
    whole = Lake.replace_where

    def cut_short(self: Lake, table: str, *given: Any) -> Any:
        if table == "list_suppressions":
            raise LakeError("no space left")
        return whole(self, table, *given)

    with monkeypatch.context() as broken:
        broken.setattr(Lake, "replace_where", cut_short)
        with pytest.raises(LakeError, match="no space left"):
            jobs.build(settings, lake)
    assert jobs.build(settings, lake).changed
    assert set(lake.versions(["lists", "list_suppressions", "list_leavers"])) == {
        "lists",
        "list_suppressions",
        "list_leavers",
    }


def test_the_flow_makes_lists_once_and_no_model_anew_for_a_campaign(filled, tmp_path, monkeypatch):
    settings, lake = filled
    monkeypatch.setattr(jobs, "_explain", lambda *terms: False)  # the scores were made up: no model gave them
    shops = Shop(settings), Shop(shop(tmp_path, {"budget": 20})[0])
    (step,) = steps_named(["lists"])
    results = [workflow.run(one, steps=[step]).rows[0]["result"] for one in (shops[0], shops[0], shops[1])]
    assert results == ["done", "nothing new", "done"]
    treated = lake.read("lists").filter(~pl.col("control_group"))
    assert 0 < treated["cost"].sum() <= 20
    (training,) = steps_named(["train customers"])
    assert training.fingerprint(shops[0]) == training.fingerprint(shops[1])
    assert not step.applies(made_settings(tmp_path))


def test_the_order_of_the_rows_does_not_matter(filled, tmp_path):
    settings, lake = filled
    jobs.build(settings, lake)
    other, shuffled = shop(tmp_path / "other")
    shuffled.append("customer_scores", scored().sample(fraction=1, shuffle=True, seed=3))
    shuffled.append("customers", people().reverse())
    jobs.build(other, shuffled)
    assert shuffled.read("lists").equals(lake.read("lists"))


def test_the_control_group_is_a_share_of_its_own_for_each_list():
    ids = pl.Series([f"C{number}" for number in range(20_000)])
    march, april = draw(ids, "call-2024-03-01") < 0.1, draw(ids, "call-2024-04-01") < 0.1
    for held in (march, april):
        assert abs(held.mean() - 0.1) < 4 * np.sqrt(0.09 / 20_000)
    assert abs((march & april).mean() - 0.01) < 4 * np.sqrt(0.01 / 20_000), "one month says nothing of another"


def test_the_control_group_is_never_exported(filled, tmp_path):
    settings, lake = filled
    jobs.build(settings, lake)
    rows = lake.read("lists")
    held = set(rows.filter(pl.col("control_group"))["customer_id"])
    assert held
    assert set(exported(settings, lake, tmp_path / "l.parquet")["customer_id"]) == set(rows["customer_id"]) - held
    assert set(lake.read("lists").filter(state="held_out")["customer_id"]) == held


consents = st.lists(st.sampled_from([True, False, None]), min_size=len(CUSTOMERS), max_size=len(CUSTOMERS))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    settings, lake = shop(folder)
    lake.append("customer_scores", scored())
    lake.append("customers", people())
    jobs.build(settings, lake)
    return folder


@given(general=consents, phone=consents, never=consents, gone=st.integers(0, 50))
@patience(max_examples=8, deadline=None)
def test_consent_taken_back_after_the_build_is_honoured(built, general, phone, never, gone):
    folder = built.parent / "export"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(built, folder)
    settings, lake = shop(folder)
    now = people(consent=general, consent_phone=phone, do_not_contact=never)
    lake.replace("customers", now.tail(len(CUSTOMERS) - gone))
    sent = exported(settings, lake, folder / "l.parquet")["customer_id"].to_list()
    allowed = {
        one
        for position, one in enumerate(CUSTOMERS)
        if position >= gone
        and never[position] is not True
        and (phone[position] if phone[position] is not None else general[position]) is True
    }
    on_list = lake.read("lists").filter(~pl.col("control_group"))
    assert set(sent) == set(on_list["customer_id"]) & allowed
    against = lake.read("list_suppressions").filter(stage="export")
    assert against["customers"].sum() + len(sent) == on_list.height


def test_not_knowing_is_a_no_but_for_letters(tmp_path):
    settings, lake = shop(tmp_path, {}, {"name": "letter", "channel": "post"})
    lake.append("customer_scores", scored())
    lake.append("customers", people(consent=[None] * len(CUSTOMERS)))
    jobs.build(settings, lake)
    assert lake.read("lists")["campaign"].unique().to_list() == ["letter"]
    against = lake.read("list_suppressions").filter(campaign="call")
    assert against["reason"].to_list() == ["consent_unknown"]


def test_nobody_is_contacted_twice_within_the_cool_off_days(filled, tmp_path):
    settings, lake = shop(tmp_path, {}, {"name": "letter", "channel": "post"})
    jobs.build(settings, lake)
    called = exported(settings, lake, tmp_path / "a.parquet")
    assert called.height
    again = exported(settings, lake, tmp_path / "b.parquet")
    assert again.equals(called), "a list is not in its own way"
    written = exported(settings, lake, tmp_path / "c.parquet", campaign="letter")
    assert not set(written["customer_id"]) & set(called["customer_id"])
    next_month = AS_OF + timedelta(days=20)
    lake.append("customer_scores", scored(next_month))
    jobs.build(settings, lake)
    listed = lake.read("lists").filter(as_of=next_month, campaign="call")
    assert not set(listed["customer_id"]) & set(called["customer_id"])
    left = lake.read("list_leavers").filter(campaign="call")
    assert set(left.filter(reason="recently_contacted")["customer_id"]) >= set(called["customer_id"])


def test_an_unreadable_or_missing_customers_table_stops_the_export(filled, tmp_path):
    settings, lake = filled
    jobs.build(settings, lake)
    table = Path(settings.lake_url) / "customers"
    for file in table.glob("*.parquet"):
        file.write_bytes(b"")
    with pytest.raises(LakeError, match="nobody knows who may be contacted"):
        exported(settings, lake, tmp_path / "l.parquet")
    shutil.rmtree(table)
    with pytest.raises(NotEnoughDataError, match="nobody knows who may be contacted"):
        exported(settings, lake, tmp_path / "l.parquet")
    assert not (tmp_path / "l.parquet").exists()
    assert set(lake.read("lists")["state"]) == {"built"}


def test_what_cannot_be_meant_is_said_in_words(filled, tmp_path):
    settings, lake = filled
    jobs.build(settings, lake)
    with pytest.raises(ConfigError, match="no campaign 'mail'"):
        jobs.build(settings, lake, campaign="mail")
    with pytest.raises(ConfigError, match="which list is meant"):
        jobs.export(settings, lake, out=tmp_path / "l.csv")
    with pytest.raises(ConfigError, match="xlsx"):
        exported(settings, lake, tmp_path / "l.xlsx")
    with pytest.raises(OutputError, match="expired on 2012-01-06"):
        exported(settings, lake, tmp_path / "l.parquet", day=date(2012, 2, 1))
    with pytest.raises(NotEnoughDataError, match="scored by 2001-01-01"):
        jobs.build(settings, lake, as_of=date(2001, 1, 1))


def test_files_carry_reasons_and_are_safe_to_open(filled, tmp_path):
    settings, lake = filled
    jobs.build(settings, lake)
    first = lake.read("lists").filter(~pl.col("control_group"))["customer_id"][0]
    reason = {"as_of": [AS_OF], "customer_id": [first], "rank": [1], "text_en": ["=1+1"], "text_zh": ["很久没下单"]}
    lake.append("customer_reasons", pl.DataFrame(reason))
    offer = {"as_of": AS_OF, "customer_id": [first] * 3, "kind": ["again", "new", "new"], "rank": [1, 1, 2]}
    lake.append("next_products", pl.DataFrame(offer | {"product_id": ["socks", "=lamp", "cup"]}))
    jobs.export(settings, lake, campaign="call", out=tmp_path / "l.csv", bom=True)
    text = (tmp_path / "l.csv").read_bytes()
    assert text.startswith(b"\xef\xbb\xbf")
    rows = pl.read_csv(tmp_path / "l.csv", infer_schema=False)
    assert rows.row(0, named=True)["reason_1_en"] == "'=1+1"
    assert rows.row(0, named=True)["reason_1_zh"] == "很久没下单"
    assert rows["best_offer"].to_list() == ["'=lamp"] + [None] * (rows.height - 1)
    assert not rows["segment"].str.starts_with("=").any()
    jobs.export(settings, lake, campaign="call", out=tmp_path / "l.json")
    assert pl.read_json(tmp_path / "l.json")["customer_id"].to_list() == rows["customer_id"].to_list()


def bought(rows: pl.DataFrame, after: date, *, treated: float, control: float) -> pl.DataFrame:
    """An order of 100 by the given share of each group ten days after a day, and one by a stranger much later."""
    parts = []
    for arm, share in ((False, treated), (True, control)):
        group = rows.filter(control_group=arm).sort("customer_id")["customer_id"]
        parts.append(group.head(round(share * len(group))))
    ids = [*pl.concat(parts), "stranger"]
    at = [datetime(after.year, after.month, after.day, 12, tzinfo=UTC) + timedelta(days=10)] * (len(ids) - 1)
    at.append(datetime(2012, 6, 1, tzinfo=UTC))
    lines = {"order_id": [f"{after}-{one}" for one in ids], "customer_id": ids, "ordered_at": at}
    frame = pl.DataFrame(lines).with_columns(
        line_no=pl.lit(1, dtype=pl.Int64), product_id=pl.lit("x"), location_id=pl.lit("all"), kind=pl.lit("sale"),
        quantity=pl.lit(2.0), unit_price=pl.lit(50.0), known_at="ordered_at",
    )  # fmt: skip
    empty = TABLES["order_lines"].schema.create_empty()
    return pl.concat([empty, frame.cast(dict(empty.select(frame.columns).schema))], how="diagonal")


def test_what_a_list_brought_is_measured_from_orders_and_posted_outcomes(filled, tmp_path):
    settings, lake = filled
    jobs.build(settings, lake)
    exported(settings, lake, tmp_path / "l.parquet")
    rows = lake.read("lists")
    lake.append("order_lines", bought(rows, AS_OF, treated=0.5, control=0.25))
    summary = jobs.results(settings, lake)
    assert summary.changed
    (one,) = lake.read("campaign_results").to_dicts()
    treated, control = rows.filter(~pl.col("control_group")), rows.filter("control_group")
    hits, controls = round(0.5 * treated.height), round(0.25 * control.height)
    assert (one["treated"], one["control"]) == (treated.height, control.height)
    assert one["lift"] == pytest.approx(hits / treated.height - controls / control.height)
    assert one["lift_low"] < one["lift"] < one["lift_high"]
    assert one["revenue_per_head_lift"] == pytest.approx(100 * one["lift"])
    assert one["profit"] == pytest.approx(0.3 * 100 * one["lift"] * treated.height - treated["cost"].sum())
    assert not jobs.results(settings, lake).changed
    quiet = treated["customer_id"].sort()[-1]
    posted = {"list_id": [one["list_id"]], "customer_id": [quiet], "responded": [True], "revenue": [30.0]}
    empty = TABLES["campaign_outcomes"].schema.create_empty()
    lake.append("campaign_outcomes", pl.concat([empty, pl.DataFrame(posted)], how="diagonal"))
    jobs.results(settings, lake)
    (now,) = lake.read("campaign_results").to_dicts()
    assert now["posted_outcomes"] == 1
    assert now["treated_response_rate"] == pytest.approx((hits + 1) / treated.height)


def measured(lift: float, lists: int, *, control: int = 400) -> pl.DataFrame:
    rows = [
        {
            "list_id": f"call-{number}", "campaign": "call", "as_of": EARLIER, "exported_on": EARLIER,
            "measured_to": AS_OF, "treated": 4000, "control": control, "posted_outcomes": 0, "cost": 1.0,
            "mean_churn_probability": 0.5, "treated_response_rate": 0.3 + lift, "control_response_rate": 0.3,
        }
        for number in range(lists)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=TABLES["campaign_results"].schema.create_empty().schema)


def test_the_response_is_measured_once_there_is_enough_and_drawn_to_the_assumption():
    call = Campaign(**CALL)
    assert outcomes.response(call, measured(0.2, 1), AS_OF).basis == "assumed"
    assert outcomes.response(call, measured(0.2, 3, control=29), AS_OF).basis == "assumed"
    assert outcomes.response(call, measured(0.2, 3), AS_OF - timedelta(days=1)).basis == "assumed"
    few, many = (outcomes.response(call, measured(0.2, lists), AS_OF) for lists in (2, 400))
    assert few.basis == "measured"
    assert 0.1 < few.rate < many.rate < 0.4, "0.2 more of everyone is 0.4 more of the half that would leave"
    assert many.rate == pytest.approx(0.4, abs=0.01)
    assert outcomes.response(call, measured(-0.2, 400), AS_OF).rate == 0


def test_a_campaign_that_was_measured_to_bring_nothing_lists_nobody(filled):
    settings, lake = filled
    lake.append("campaign_results", measured(-0.2, 400))
    jobs.build(settings, lake)
    assert lake.read("lists").is_empty()
    assert set(lake.read("list_suppressions")["reason"]) == {"no_profit"}


def test_what_is_known_later_does_not_move_an_earlier_list(filled, tmp_path):
    settings, lake = shop(tmp_path / "early")
    lake.append("customers", people())
    lake.append("customer_scores", scored(EARLIER))
    jobs.build(settings, lake)
    before = frame_digest(lake.read("lists"))
    lake.append("customer_scores", scored())
    lake.append("campaign_results", measured(0.3, 3))
    at = pl.Series([datetime(2011, 12, 1, tzinfo=UTC)] * len(CUSTOMERS), dtype=pl.Datetime("us", "UTC"))
    posted = pl.DataFrame({"list_id": "mail", "customer_id": CUSTOMERS, "contacted_at": at})
    lake.append(
        "campaign_outcomes", pl.concat([TABLES["campaign_outcomes"].schema.create_empty(), posted], how="diagonal")
    )
    assert not jobs.build(settings, lake, as_of=EARLIER).changed
    assert frame_digest(lake.read("lists")) == before


@pytest.mark.parametrize("term", ["cool_off_days", "expires_days", "measure_days", "cost_per_contact", "offer_cost"])
def test_terms_beyond_any_calendar_or_purse_are_refused(term: str) -> None:
    terms: dict[str, Any] = {"name": "call", "action": "Call", "channel": "phone", "response_rate": 0.1}
    terms |= {"cost_per_contact": 2.0}
    absurd = float("inf") if "cost" in term else 99_999_999
    with pytest.raises(ValueError, match=term):
        Campaign(**(terms | {term: absurd}))
