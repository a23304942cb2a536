"""Observed lead times against numpy's inverse distribution function, supplier by supplier."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.supply.leads import SUPPORT, leads
from pipelines.supply.paths import lead_times

records = st.lists(st.lists(st.integers(0, 60), max_size=8), min_size=1, max_size=6)


def lines(records, suppliers, stated=True, mean=14.0, deviation=4.0):
    written = [";".join(map(str, record)) or None for record in records]
    return pl.DataFrame(
        {"supplier_id": suppliers, "lead_times_days": pl.Series(written, dtype=pl.String)}
        | {"lead_time_days": mean, "lead_time_sd_days": deviation, "lead_time_stated": stated}
    )


def by_hand(record, supplier, levels):
    """Weight n of the own record, 5 of the supplier's; numpy's quantiles of each."""
    theirs = np.quantile(supplier, levels, method="inverted_cdf")
    if not record:
        return theirs
    own = np.quantile(record, levels, method="inverted_cdf")
    return (len(record) * own + 5 * theirs) / (len(record) + 5)


@given(records=records)
def test_records_are_drawn_toward_their_supplier(records):
    suppliers = [f"S{number % 2}" for number in range(len(records))]
    terms = lines(records, suppliers, stated=False)
    made = leads(terms, terms)
    quantiles = made.quantiles(SUPPORT)
    for line, (record, supplier) in enumerate(zip(records, suppliers, strict=True)):
        pooled = [day for other, name in zip(records, suppliers, strict=True) if name == supplier for day in other]
        assert made.observed[line] == bool(pooled)
        if pooled:
            assert quantiles[line] == pytest.approx(by_hand(record, pooled, SUPPORT))
            assert (np.diff(quantiles[line]) >= -1e-12).all()
        else:
            assert quantiles[line] == pytest.approx(lead_times(SUPPORT, np.array([14.0]), np.array([4.0]))[0])


def test_what_is_stated_beats_the_record_of_other_items():
    terms = lines([[], [3, 4, 5]], ["S", "S"])
    made = leads(terms, terms)
    assert made.observed.tolist() == [False, True]
    assert made.quantiles(np.array([0.5]))[0, 0] == pytest.approx(
        lead_times(np.array([0.5]), *np.array([[14.0], [4.0]]))
    )


def test_offers_that_were_not_taken_tell_of_their_supplier_too():
    terms = lines([[10] * 5], ["S"])
    offers = pl.concat([terms, lines([[20] * 5], ["S"]), lines([[90]], ["T"])])
    assert leads(terms, offers).quantiles(np.array([0.2, 0.9])).tolist() == [[10.0, 15.0]]


def test_the_order_of_rows_and_observations_tells_nothing():
    one = lines([[5, 1, 9], [7]], ["S", "T"])
    other = lines([[9, 5, 1], [7]], ["S", "T"])
    assert leads(one, one).quantiles(SUPPORT).tobytes() == leads(other, other.reverse()).quantiles(SUPPORT).tobytes()
