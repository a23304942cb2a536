"""The RFM rules are total: 125 cells, each with one name."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl

from pipelines.customers import rfm


def test_every_cell_has_exactly_one_segment_and_every_segment_a_cell() -> None:
    cells = {cell: rfm.rule(*cell) for cell in product(range(1, 6), repeat=3)}
    assert len(cells) == 125
    assert set(cells.values()) == set(rfm.DESCRIPTIONS)


def test_better_customers_never_fall_from_champions() -> None:
    for r, f, m in product(range(1, 5), repeat=3):
        if rfm.rule(r, f, m) == "champions":
            assert rfm.rule(r + 1, f + 1, m + 1) == "champions"


def test_customers_in_all_cells_get_the_names_of_their_cells() -> None:
    """One customer a cell: the quintiles are those of the numbers 1 … 5 themselves, in whatever order rows come."""
    cells = pl.DataFrame(list(product(range(1, 6), repeat=3)), schema=["r", "f", "m"], orient="row")
    rows = cells.select(days_since_last_order=100 - 10 * pl.col("r"), orders="f", spend=pl.col("m") * 7.5)
    rows = rows.with_columns(cells).sample(fraction=1.0, shuffle=True, seed=2)
    named = rfm.segments(rows, rfm.cut_points(rows)).to_list()
    assert named == [rfm.rule(*cell) for cell in rows.select("r", "f", "m").rows()]


def test_units_of_money_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    rows = pl.DataFrame(
        {
            "days_since_last_order": rng.integers(0, 400, 300),
            "orders": rng.geometric(0.3, 300),
            "spend": rng.lognormal(4, 1, 300),
        }
    )
    pence = rows.with_columns(pl.col("spend") * 128)
    assert rfm.segments(pence, rfm.cut_points(pence)).equals(rfm.segments(rows, rfm.cut_points(rows)))
