"""RFM rules are total; k-means finds the groups that are there, whatever the order of the rows."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.customers.segments import RFM_DESCRIPTIONS, SegmentsModel, fit, rfm_rule
from pipelines.errors import NotEnoughDataError


def customers(per_group: int = 120) -> pl.DataFrame:
    rng = np.random.default_rng(4)
    groups = [(5, 40, 9000), (20, 8, 600), (150, 3, 200), (400, 1, 40)]
    rows = [
        {
            "customer_id": f"{group}-{i:03d}",
            "days_since_last_order": round(days * rng.lognormal(0, 0.08)),
            "orders": max(1, round(orders * rng.lognormal(0, 0.08))),
            "spend": spend * rng.lognormal(0, 0.1),
        }
        for group, (days, orders, spend) in enumerate(groups)
        for i in range(per_group)
    ]
    return pl.DataFrame(rows)


def test_every_cell_has_exactly_one_segment_and_every_segment_a_cell() -> None:
    cells = {cell: rfm_rule(*cell) for cell in product(range(1, 6), repeat=3)}
    assert len(cells) == 125
    assert set(cells.values()) == set(RFM_DESCRIPTIONS)


def test_better_customers_never_fall_from_champions() -> None:
    for r, f, m in product(range(1, 5), repeat=3):
        if rfm_rule(r, f, m) == "champions":
            assert rfm_rule(r + 1, f + 1, m + 1) == "champions"


def test_the_groups_that_are_there_are_found() -> None:
    rows = customers()
    model = fit(rows, seed=1)
    found = model.predict(rows).with_columns(group=pl.col("customer_id").str.head(1))
    assert found.select(pl.col("segment").n_unique().over("group").max()).item() == 1
    assert found["segment"].n_unique() == 4
    assert found.filter(group="0")["segment"].unique().to_list() == ["recent_frequent_top_spenders"]
    assert found.filter(group="3")["segment"].unique().to_list() == ["lapsing_rare_small_spenders"]
    assert model.stability[4] == 1


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = customers()
    assert fit(rows.sample(fraction=1.0, shuffle=True, seed=3), seed=1) == fit(rows, seed=1)


def test_what_is_stored_is_what_is_loaded(tmp_path: Path) -> None:
    rows = customers()
    model = fit(rows, seed=1)
    model.to_dir(tmp_path)
    assert SegmentsModel.from_dir(tmp_path).predict(rows).equals(model.predict(rows))


def test_rfm_follows_the_rules() -> None:
    rows = customers()
    model = fit(rows, seed=1)
    best = rows.sort("orders", descending=True).head(1)
    expected = sum(1 for edge in model.edges["days_since_last_order"] if best["days_since_last_order"][0] > edge)
    assert model.predict(best)["rfm_segment"][0] == rfm_rule(5 - expected, 5, 5) == "champions"


def test_customers_who_are_all_alike_are_one_segment() -> None:
    rows = pl.DataFrame({"days_since_last_order": [3] * 9, "orders": [1] * 9, "spend": [5.0] * 9})
    assert fit(rows, seed=1).predict(rows)["segment"].n_unique() == 1


def test_too_few_customers_are_told_so() -> None:
    with pytest.raises(NotEnoughDataError, match="segments"):
        fit(customers().head(3), seed=1)
