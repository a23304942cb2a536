"""From a proposal to its receipt, in a lake: a need is ordered once, whatever the day and however often one asks."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from features.tables import TABLES
from pipelines.errors import DecisionError
from pipelines.supply.jobs import replenish
from pipelines.supply.order_choice import Choice
from pipelines.supply.order_jobs import decide, export, show
from pipelines.supply.orders import (
    ACKNOWLEDGED,
    APPROVED,
    CANCELLED,
    EDITED,
    HELD,
    RECEIVED,
    REJECTED,
    broken,
    current,
)
from tests.unit.supply.conftest import ISSUED

NEXT_DAY = ISSUED + timedelta(days=1)
ALL = Choice(everything=True)
ANN = {"who": "ann", "why": "as proposed"}


@pytest.fixture
def made(shop):
    """A shop whose six series all need something, on each day alike: what is missing is delivered later."""
    made = shop(unmet_demand="backorder", approval={"hold_above": None})
    made.forecast()
    made.stock(1)
    made.terms()
    return made


def round_of(made, day=ISSUED):
    """A run on fresh forecasts that say the same every day, so that the need stays the same."""
    made.forecast(issued=day)
    return replenish(made.settings, made.lake, as_of=day)


def lines(made):
    decisions = made.lake.read("decisions")
    assert broken(decisions).is_empty()
    return current(decisions)


def placed(made, day):
    orders = made.lake.read("replenishment").filter(pl.col("as_of") == day)
    return dict(orders.select("product_id", "quantity").iter_rows())


def test_every_proposal_enters_the_ledger_and_again_adds_nothing(made):
    round_of(made)
    known = lines(made)
    assert set(known["state"]) == {"proposed"}
    wanted = made.lake.read("replenishment").filter(pl.col("quantity") > 0)
    assert dict(known.select("product_id", "quantity").iter_rows()) == dict(
        wanted.select("product_id", "quantity").iter_rows()
    )
    version = made.lake.version("decisions")
    assert not round_of(made).changed
    assert made.lake.version("decisions") == version


@pytest.mark.parametrize("to", ["approved", "edited", "held", "exported", "acknowledged"])
def test_what_is_in_hand_is_not_ordered_again_the_next_day(made, tmp_path, to):
    round_of(made)
    if to in ("edited", "held"):
        decide(made.settings, made.lake, ALL, to, **ANN, quantity=100.0 if to == "edited" else None)
    else:
        decide(made.settings, made.lake, ALL, APPROVED, **ANN)
    if to in ("exported", "acknowledged"):
        export(made.settings, made.lake, out=tmp_path / "out", who="ann")
    if to == "acknowledged":
        decide(made.settings, made.lake, ALL, ACKNOWLEDGED, **ANN, order_id="PO1")
    before = lines(made)
    summary = round_of(made, NEXT_DAY)
    assert set(placed(made, NEXT_DAY).values()) == {0.0}
    assert any(f"{before.height} order lines of earlier runs" in note for note in summary.notes)
    assert lines(made).equals(before)
    assert set(placed(made, ISSUED).values()) != {0.0}, "the day before stays on record"
    assert not round_of(made, NEXT_DAY).changed


def test_what_nobody_decided_on_is_superseded_by_the_next_day(made):
    round_of(made)
    first = lines(made)
    round_of(made, NEXT_DAY)
    now = lines(made)
    old = now.join(first, on="order_line", how="semi")
    assert set(old["state"]) == {"superseded"}
    assert set(now.join(first, on="order_line", how="anti")["state"]) == {"proposed"}
    assert dict(now.filter(state="proposed").select("product_id", "quantity").iter_rows()) == dict(
        first.select("product_id", "quantity").iter_rows()
    )


@pytest.mark.parametrize("to", [REJECTED, CANCELLED, RECEIVED])
def test_what_is_closed_counts_no_more(made, tmp_path, to):
    round_of(made)
    if to != REJECTED:
        decide(made.settings, made.lake, ALL, APPROVED, **ANN)
        export(made.settings, made.lake, out=tmp_path, who="ann")
    first = placed(made, ISSUED)
    decide(made.settings, made.lake, ALL, to, **ANN, at=datetime(2024, 4, 15, 10, tzinfo=UTC))
    made.stock(1, as_of=NEXT_DAY)
    round_of(made, NEXT_DAY)
    assert placed(made, NEXT_DAY) == first, "the stock of the next day has nothing of it, so it is needed still"


def test_a_receipt_of_the_day_counts_until_the_stock_is_of_a_later_one(made, tmp_path):
    round_of(made)
    decide(made.settings, made.lake, ALL, APPROVED, **ANN)
    export(made.settings, made.lake, out=tmp_path, who="ann")
    decide(made.settings, made.lake, ALL, RECEIVED, **ANN, at=datetime(2024, 4, 16, 9, tzinfo=UTC))
    made.stock(1, as_of=NEXT_DAY)
    orders = round_of(made, NEXT_DAY) and made.lake.read("replenishment").filter(pl.col("as_of") == NEXT_DAY)
    received = lines(made).filter(state="received")["quantity"].sum()
    assert orders["on_order"].sum() == received > 0, "the stock was counted before the lorry came"
    made.stock(1, as_of=NEXT_DAY + timedelta(days=1))
    round_of(made, NEXT_DAY + timedelta(days=1))
    assert made.lake.read("replenishment").filter(pl.col("as_of") > NEXT_DAY)["on_order"].sum() == 0


def test_a_receipt_of_the_day_counts_for_stock_that_is_known_by_its_lots_alone(made, tmp_path):
    def counted(day):
        lot = {"lot_id": "A", "expires_on": None, "quantity": 1.0, "as_of": day, "unit": None}
        columns = [
            pl.lit(value, TABLES["stock_lots"].schema.columns()[name].dtype).alias(name) for name, value in lot.items()
        ]
        made.lake.replace("stock", made.stock(1).clear())
        made.lake.replace("stock_lots", made.keys().with_columns(columns))

    counted(ISSUED)
    round_of(made)
    decide(made.settings, made.lake, ALL, APPROVED, **ANN)
    export(made.settings, made.lake, out=tmp_path, who="ann")
    decide(made.settings, made.lake, ALL, RECEIVED, **ANN, at=datetime(2024, 4, 16, 9, tzinfo=UTC))
    counted(NEXT_DAY)
    round_of(made, NEXT_DAY)
    orders = made.lake.read("replenishment").filter(pl.col("as_of") == NEXT_DAY)
    assert orders["on_order"].sum() == lines(made).filter(state="received")["quantity"].sum() > 0


def test_open_orders_that_carry_the_reference_count_once_and_close_the_line_when_they_go(made, tmp_path):
    round_of(made)
    decide(made.settings, made.lake, ALL, APPROVED, **ANN)
    export(made.settings, made.lake, out=tmp_path, who="ann")
    first = lines(made)
    there = first.select(
        "product_id", "supplier_id", "quantity", due_on="receive_on", order_id="REC-" + pl.col("order_line")
    )
    made.lake.replace("open_supply", there)
    round_of(made, NEXT_DAY)
    orders = made.lake.read("replenishment").filter(pl.col("as_of") == NEXT_DAY)
    assert orders["on_order"].sum() == pytest.approx(first["quantity"].sum()), "once, not twice"
    assert set(lines(made)["state"]) == {"acknowledged"}
    assert not round_of(made, NEXT_DAY).changed
    made.lake.replace("open_supply", there.clear())
    made.stock(500, as_of=NEXT_DAY)
    round_of(made, NEXT_DAY)
    assert set(lines(made)["state"]) == {"received"}
    assert set(lines(made)["who"]) == {"open_supply"}


def test_an_order_of_another_series_under_the_same_number_is_not_taken_for_ours(made, tmp_path):
    round_of(made)
    decide(made.settings, made.lake, ALL, APPROVED, **ANN)
    export(made.settings, made.lake, out=tmp_path, who="ann")
    decide(made.settings, made.lake, ALL, ACKNOWLEDGED, **ANN, order_id="PO1")
    stranger = lines(made).filter(product_id="P002").select(
        "product_id", "supplier_id", due_on="receive_on", quantity=pl.lit(1.0), order_id=pl.lit("PO1")
    )  # fmt: skip
    made.lake.replace("open_supply", stranger)
    before = lines(made)["quantity"].sum() - lines(made).filter(product_id="P002")["quantity"].item() + 1
    round_of(made, NEXT_DAY)
    orders = made.lake.read("replenishment").filter(pl.col("as_of") == NEXT_DAY)
    assert orders["on_order"].sum() == pytest.approx(before)


def test_what_lapses_is_closed_with_the_reason_and_needed_anew(shop, tmp_path):
    made = shop(approval={"hold_above": None, "lapse_days": 5})
    made.forecast()
    made.stock(1)
    made.terms()
    round_of(made)
    decide(made.settings, made.lake, Choice(series={"product_id": "P001"}), HELD, who="ann", why="wait")
    decide(made.settings, made.lake, Choice(series={"product_id": "P002"}), APPROVED, **ANN)
    export(made.settings, made.lake, out=tmp_path, who="ann")
    for days, states in ((5, {"held", "exported"}), (6, {"superseded", "cancelled"})):
        round_of(made, ISSUED + timedelta(days=days))
        old = lines(made).filter(pl.col("as_of") == ISSUED, pl.col("product_id").is_in(["P001", "P002"]))
        assert set(old["state"]) == states
    assert all("within 5 days" in why for why in old["why"])
    assert placed(made, ISSUED + timedelta(days=6))["P002"] > 0


def test_a_rule_approves_and_holds_and_says_why(shop):
    made = shop(effective_ratio=1.0, approval={"by_rule": True, "max_change": None, "hold_above": 1.2})
    made.forecast()
    made.stock(1)
    made.terms(moq=60.0)
    summary = round_of(made)
    known = lines(made)
    held = known.filter(state="held")
    assert set(known["state"]) == {"held", "approved"}
    assert all(why.startswith("far outside the usual: 60 is ") for why in held["why"])
    assert set(known.filter(state="approved")["who"]) == {"rule"}
    table = made.lake.read("replenishment").filter(pl.col("quantity") > 0)
    assert sorted(table.select("product_id", "state").rows()) == sorted(known.select("product_id", "state").rows())
    assert set(table.filter(state="held")["state_reason"]) == set(held["why"])
    assert any("held" in note for note in summary.notes)
    assert not round_of(made).changed
    by_filter = decide(made.settings, made.lake, Choice(supplier="S1"), APPROVED, **ANN)
    assert by_filter.figures["lines"] == 0
    assert f"{held.height} lines are held by rule" in by_filter.notes[0]
    decide(made.settings, made.lake, Choice(lines=held["order_line"].to_list()), APPROVED, **ANN)
    assert set(lines(made)["state"]) == {"approved"}


def test_an_edit_on_the_day_stays_when_it_is_run_again_with_other_stock(made):
    round_of(made)
    one = lines(made).row(0, named=True)
    edited = Choice(lines=["REC-" + one["order_line"]])
    decide(made.settings, made.lake, edited, EDITED, who="ann", why="a fair", quantity=77.0)
    made.stock(0)
    summary = round_of(made)
    now = lines(made).filter(order_line=one["order_line"])
    assert now.select("quantity", "proposed_quantity", "who").row(0) == (77.0, one["quantity"], "ann")
    assert placed(made, ISSUED)[one["product_id"]] == 77.0
    assert "1 series of the day are decided already and stay as they are." in summary.notes
    others = lines(made).filter(pl.col("order_line") != one["order_line"])
    assert set(others["state"]) == {"proposed"}
    assert others["run"].n_unique() == 1
    assert others["run"][0] != one["run"]


def test_files_one_a_supplier_the_same_lines_the_same_bytes(made, tmp_path):
    made.terms(supplier_id="=cmd()/../x")
    round_of(made)
    decide(made.settings, made.lake, ALL, APPROVED, **ANN)
    known = lines(made)
    summary = export(made.settings, made.lake, out=tmp_path / "out", who="ann")
    (file,) = (tmp_path / "out").iterdir()
    rows = pl.read_csv(file)
    assert rows["reference"].to_list() == ["REC-" + name for name in sorted(known["order_line"])]
    assert rows["quantity"].sum() == known["quantity"].sum() == summary.figures["units"]
    assert rows["supplier_id"].unique().to_list() == ["'=cmd()/../x"], "a spreadsheet shows it and runs nothing"
    again = export(made.settings, made.lake, out=tmp_path / "other", who="ann")
    assert not again.changed
    assert not (tmp_path / "other").exists()
    assert file.name == f"cmd_x-{lines(made)['export_id'][0]}.csv"


def test_json_and_two_suppliers(made, tmp_path):
    terms = made.terms().with_columns(
        supplier_id=pl.when(pl.col("product_id") < "P003").then(pl.lit("S1")).otherwise(pl.lit("S2"))
    )
    made.lake.replace("supply_terms", terms)
    round_of(made)
    decide(made.settings, made.lake, ALL, APPROVED, **ANN)
    export(made.settings, made.lake, out=tmp_path / "out", form="json", choice=Choice(supplier="S2"), who="ann")
    (file,) = (tmp_path / "out").iterdir()
    rows = json.loads(file.read_text())
    assert {row["supplier_id"] for row in rows} == {"S2"}
    assert date.fromisoformat(rows[0]["receive_on"]) == ISSUED + timedelta(days=14)
    assert dict(lines(made).group_by("supplier_id").agg(pl.col("state").first()).iter_rows()) == {
        "S1": "approved",
        "S2": "exported",
    }


def test_impossible_wishes_name_line_state_and_remedy_and_change_nothing(made, tmp_path):
    round_of(made)
    one, two = lines(made)["order_line"].to_list()[:2]
    decide(made.settings, made.lake, Choice(lines=[one]), APPROVED, **ANN)
    before = made.lake.read("decisions")
    refused = [
        (Choice(lines=[two, one]), RECEIVED, {}, rf"{two} is proposed and cannot become received|{one} is approved"),
        (Choice(lines=["nobody"]), APPROVED, {}, r"no order line 'nobody'(.|\n)*purvey orders list"),
        (Choice(), APPROVED, {}, "not said which lines"),
        (Choice(series={"shade": "red"}), APPROVED, {}, "'shade' does not name series"),
        (Choice(lines=[two]), EDITED, {}, "--quantity"),
        (Choice(lines=[two]), EDITED, {"quantity": 0.0}, "reject the line instead"),
        (Choice(lines=[two]), EDITED, {"quantity": float("nan")}, "no quantity"),
    ]
    for choice, to, more, said in refused:
        with pytest.raises(DecisionError, match=said):
            decide(made.settings, made.lake, choice, to, **ANN, **more)
    for who, why in ((" ", "x"), ("ann", ""), ("rule", "x")):
        with pytest.raises(DecisionError, match=r"not say (who|why)|speaks under"):
            decide(made.settings, made.lake, ALL, APPROVED, who=who, why=why)
    with pytest.raises(DecisionError, match=rf"{two} is proposed(.|\n)*approve it first: purvey orders approve {two}"):
        export(made.settings, made.lake, out=tmp_path, choice=Choice(lines=[two]), who="ann")
    assert made.lake.read("decisions").equals(before)


def test_the_list_shows_what_is_open_and_a_filter_anything(made):
    round_of(made)
    decide(made.settings, made.lake, Choice(series={"product_id": "P001"}), REJECTED, who="ann", why="enough")
    round_of(made, NEXT_DAY)
    shown = show(made.settings, made.lake, Choice())
    assert set(shown.tables["Order lines"]["state"]) == {"proposed"}
    rejected = show(made.settings, made.lake, Choice(state="rejected")).tables["Order lines"]
    assert rejected.select("product_id", "who", "why").rows() == [("P001", "ann", "enough")]
    with pytest.raises(DecisionError, match="no state 'gone'"):
        show(made.settings, made.lake, Choice(state="gone"))
