"""Each rule of approval alone, at its edge."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from pipelines.settings import Approval
from pipelines.supply.approval import judge, usual

NO_LINES = pl.DataFrame(
    schema={"order_line": pl.String, "sku": pl.String, "as_of": pl.Date, "state": pl.String, "quantity": pl.Float64}
)


def history(*quantities, state="received"):
    days = [date(2024, 1, day) for day in range(1, len(quantities) + 1)]
    names = [f"{day}" for day in days]
    frame = {"order_line": names, "sku": "A", "as_of": days, "state": state, "quantity": list(map(float, quantities))}
    return pl.DataFrame(frame)


def verdict(quantity, lines=NO_LINES, value=100.0, risk=0.8, illustrative=False, **rules):
    order = pl.DataFrame(
        {"sku": ["A"], "supplier_id": ["S"], "quantity": [quantity], "order_value": [value], "demand_p90": [20.0],
         "stock_out_risk_before": [risk], "illustrative": [illustrative]},
        schema_overrides={"order_value": pl.Float64},
    )  # fmt: skip
    given = Approval(**({"by_rule": True} | rules))
    return judge(order, lines, given, keys=["sku"], currency="EUR").select("state", "why").row(0)


@pytest.mark.parametrize(
    ("given", "state", "why"),
    [
        ({"quantity": 40.0}, "approved", "within every limit of supply.approval"),
        ({"quantity": 42.0}, "proposed", "42 is 2.1 times the demand of up to 20 until the next order could arrive"),
        ({"quantity": 100.0, "max_change": None}, "approved", "within every limit of supply.approval"),
        ({"quantity": 110.0}, "held", "far outside the usual: 110 is 5.5 times the demand of up to 20 until the next"),
        ({"quantity": 101.0, "by_rule": False}, "held", "far outside the usual"),
        ({"quantity": 101.0, "by_rule": False, "hold_above": None}, "proposed", "it waits for somebody to decide"),
        ({"quantity": 9.0, "max_value": 100.0}, "approved", "within every limit"),
        ({"quantity": 9.0, "max_value": 99.0}, "proposed", "its value of 100.0 EUR is above 99.0"),
        ({"quantity": 9.0, "max_value": 99.0, "value": None}, "proposed", "its value is not known"),
        ({"quantity": 9.0, "min_confidence": 0.8}, "approved", "within every limit"),
        ({"quantity": 9.0, "min_confidence": 0.81}, "proposed", "only 80 % sure that it is needed"),
        ({"quantity": 9.0, "illustrative": True}, "proposed", "its stock and terms are made up"),
        ({"quantity": 9.0, "lines": history(2, 2)}, "approved", "within every limit"),
        ({"quantity": 9.0, "lines": history(2, 2, 1)}, "proposed", "9 is 4.5 times the usual order of 2 (median of"),
        ({"quantity": 9.0, "lines": history(1, 1, 1)}, "held", "far outside the usual: 9 is 9.0 times the usual order"),
        ({"quantity": 9.0, "lines": history(1, 1, 1, state="rejected")}, "approved", "within every limit"),
    ],
)  # fmt: skip
def test_each_rule_says_why(given, state, why):
    found = verdict(**given)
    assert found[0] == state
    assert found[1].startswith(why)


def test_the_usual_order_is_the_median_of_the_last_twelve():
    assert usual(history(*[500] * 3, *range(1, 13)), ["sku"]).rows() == [("A", 6.5, 12)]
