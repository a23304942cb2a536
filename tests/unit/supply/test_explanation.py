from __future__ import annotations

import polars as pl
import pytest

from pipelines.supply.explanation import drivers

LINE = {
    "quantity": 12.0,
    "on_hand": 3.0,
    "on_order": 2.0,
    "protection_days": 21.0,
    "demand_mean": 10.0,
    "demand_p90": 15.26,
    "unconstrained_quantity": 9.5,
    "expected_cost_at_zero": 5.0,
    "expected_cost": 1.25,
    "stock_out_risk_before": 0.81,
    "stock_out_risk": 0.02,
    "binding_constraint": "none",
}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "ordering cuts the risk of running out from 81 % to 2 % and the expected cost by 3.75 GBP"),
        ({"binding_constraint": "moq"}, "the supplier's minimum order raises 9.5 to 12"),
        (
            {"binding_constraint": "moq_wait", "quantity": 0.0},
            "waiting costs less than the supplier's minimum order would: 9.5 were needed",
        ),
        ({"binding_constraint": "maximum", "quantity": 4.0}, "the largest order allowed cuts 9.5 to 4"),
        (
            {"binding_constraint": "multiple", "quantity": 0.0},
            "one pack would cost more than going without: 9.5 were needed",
        ),
        ({"quantity": 0.0}, "81 % risk of running out is worth less than more stock"),
    ],
)
def test_three_drivers_in_plain_words(changed, sentence):
    text = pl.DataFrame([LINE | changed]).select(drivers("GBP")).item()
    demand, cover, decided = text.split("; ")
    assert demand == ("10 expected in the 21 days until the next order could arrive, 15.3 or less in nine cases of ten")
    assert cover == "3 on hand and 2 on order cover 50 % of it"
    assert decided == sentence


def test_a_series_without_demand_still_has_its_reasons():
    text = pl.DataFrame([LINE | {"demand_mean": 0.0, "quantity": 0.0}]).select(drivers("GBP")).item()
    assert "3 on hand and 2 on order and no demand to cover" in text
