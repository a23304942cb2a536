"""Migration adds up on both sides; changes name who entered, left, moved and slips, and why."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from features.tables import TABLES
from pipelines.customers.migration import OUTSIDE, customer_changes, segment_migration

SEGMENTS = ("top", "middle", "bottom")


def scores(day: date, customers: list[str], seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    count = len(customers)
    place = rng.integers(0, 3, count)
    return pl.DataFrame(
        {
            "as_of": day,
            "customer_id": customers,
            "segment": np.array(SEGMENTS)[place],
            "rfm_segment": np.array(["champions", "lost"])[rng.integers(0, 2, count)],
            "status": np.array(["active", "lapsed"])[rng.integers(0, 2, count)],
            "churn_probability": rng.random(count),
            "value": 300.0 - 100 * place + rng.random(count),
            "orders": rng.integers(1, 9, count),
            "spend": rng.random(count) * 100,
            "days_since_last_order": rng.integers(0, 300, count),
        }
    )


BEFORE = scores(date(2024, 1, 1), [f"c{i:03d}" for i in range(200)], seed=1)
NOW = scores(date(2024, 2, 1), [f"c{i:03d}" for i in range(20, 230)], seed=2)


def test_everyone_is_counted_once_on_either_side() -> None:
    moves = segment_migration(NOW, BEFORE)
    TABLES["segment_migration"].schema.validate(moves)
    for scheme, column in (("kmeans", "segment"), ("rfm", "rfm_segment")):
        rows = moves.filter(scheme=scheme)
        for side, frame, value in (("from_segment", BEFORE, "value_before"), ("to_segment", NOW, "value_now")):
            counted = rows.group_by(side).agg(pl.col("customers", value).sum())
            sizes = frame.group_by(column).agg(customers=pl.len(), value=pl.col("value").sum())
            both = counted.join(sizes, left_on=side, right_on=column, suffix="_own")
            assert both.height == sizes.height
            assert both["customers"].to_list() == both["customers_own"].to_list()
            assert both[value].to_list() == pytest.approx(both["value"].to_list())
        assert rows.filter(from_segment=OUTSIDE)["customers"].sum() == 30
        assert rows.filter(to_segment=OUTSIDE)["customers"].sum() == 20
        shares = rows.group_by("from_segment").agg(pl.col("share_of_from_segment").sum())
        assert shares["share_of_from_segment"].to_list() == pytest.approx([1.0] * shares.height)


def test_changes_agree_with_what_is_said_customer_by_customer() -> None:
    """Against the definition, written out in a loop."""
    changes = customer_changes(NOW, BEFORE)
    TABLES["customer_changes"].schema.validate(changes)
    worth = dict(NOW.group_by("segment").agg(pl.col("value").mean()).iter_rows())
    was, now = ({row["customer_id"]: row for row in frame.to_dicts()} for frame in (BEFORE, NOW))
    expected = {}
    for who in was.keys() | now.keys():
        if who not in was or who not in now:
            expected[who] = "left" if who in was else "entered"
            continue
        a, b = was[who], now[who]
        down = worth[b["segment"]] < worth[a["segment"]]
        rise = b["churn_probability"] - a["churn_probability"]
        if a["status"] == "active" and (b["status"] == "lapsed" or (down and rise > 0) or rise >= 0.15):
            expected[who] = "slipping"
        elif a["segment"] != b["segment"]:
            expected[who] = "moved"
    assert dict(changes.select("customer_id", "change").iter_rows()) == expected
    assert set(expected.values()) == {"entered", "left", "moved", "slipping"}


def test_nothing_changes_between_equal_scores() -> None:
    assert customer_changes(BEFORE, BEFORE).is_empty()
    moves = segment_migration(BEFORE, BEFORE)
    assert moves.filter(pl.col("from_segment") != pl.col("to_segment")).is_empty()


def test_the_order_of_the_rows_does_not_matter() -> None:
    now, before = (frame.sample(fraction=1.0, shuffle=True, seed=5) for frame in (NOW, BEFORE))
    assert customer_changes(now, before).equals(customer_changes(NOW, BEFORE))


def test_why_is_said_in_words() -> None:
    one = {"status": "active", "churn_probability": 0.2, "segment": "top", "rfm_segment": "loyal", "value": 9.0}
    facts = {"orders": 3, "spend": 90.0, "days_since_last_order": 10, "customer_id": "a", "as_of": date(2024, 1, 1)}
    before = pl.DataFrame([one | facts])
    later = {"as_of": date(2024, 2, 1), "days_since_last_order": 41}

    def why(**changed: object) -> str:
        return str(customer_changes(pl.DataFrame([one | facts | later | changed]), before)["why"][0])

    assert why(churn_probability=0.5) == "No order for 41 days."
    assert why(status="lapsed") == "No order for 41 days, longer than active customers wait."
    assert why(segment="middle", orders=4, spend=102.5) == "Orders since 2024-01-01: 1, spend 12.5."
    assert why(segment="middle", spend=80.0) == "Returns since 2024-01-01: 10.0, and no order."
    gone = pl.DataFrame([one | facts | later | {"customer_id": "b"}])
    assert customer_changes(gone, before).select("customer_id", "change", "why").rows() == [
        ("a", "left", "No longer on record: the orders were corrected or removed."),
        ("b", "entered", "First known order after 2024-01-01."),
    ]
