from __future__ import annotations

import numpy as np
import pytest

from pipelines.supply.constraints import Terms, constrain

CASES = [
    # wish, moq, multiple, maximum, holding: by cost → quantity, name; to meet a target → quantity, name
    pytest.param(7.0, 0, 0, np.inf, 0.1, (7.0, "none"), (7.0, "none"), id="free"),
    pytest.param(7.0, 0, 1, np.inf, 0.1, (7.0, "none"), (7.0, "none"), id="already a multiple"),
    pytest.param(7.0, 0, 6, np.inf, 0.1, (12.0, "multiple"), (12.0, "multiple"), id="up is cheaper"),
    pytest.param(7.0, 0, 6, np.inf, 0.9, (6.0, "multiple"), (12.0, "multiple"), id="down is cheaper"),
    pytest.param(2.0, 0, 6, np.inf, 0.9, (0.0, "multiple"), (6.0, "multiple"), id="not even one pack"),
    pytest.param(7.0, 20, 1, np.inf, 0.1, (20.0, "moq"), (20.0, "moq"), id="minimum bought"),
    pytest.param(7.0, 20, 1, np.inf, 0.9, (0.0, "moq_wait"), (20.0, "moq"), id="minimum waited for"),
    pytest.param(7.0, 20, 6, np.inf, 0.1, (24.0, "moq"), (24.0, "moq"), id="minimum in whole packs"),
    pytest.param(70.0, 0, 6, 20, 0.1, (18.0, "maximum"), (18.0, "maximum"), id="maximum in whole packs"),
    pytest.param(7.0, 8, 10, 9, 0.1, (0.0, "maximum"), (0.0, "maximum"), id="nothing satisfies all three"),
    pytest.param(0.0, 20, 6, np.inf, 0.1, (0.0, "none"), (0.0, "none"), id="nothing wanted"),
    pytest.param(0.3, 0, 0.1, np.inf, 0.1, (0.3, "none"), (0.3, "none"), id="tenths are not exact in binary"),
]


@pytest.mark.parametrize(("wish", "moq", "multiple", "maximum", "holding", "by_cost", "to_target"), CASES)
def test_terms_and_the_name_of_what_decided(wish, moq, multiple, maximum, holding, by_cost, to_target):
    terms = Terms(np.array([float(moq)]), np.array([float(multiple)]), np.array([float(maximum)]))

    def cost(quantity):
        return np.where(quantity > wish, holding * (quantity - wish), wish - quantity)

    for found, (quantity, name) in (
        (constrain(np.array([wish]), terms, cost), by_cost),
        (constrain(np.array([wish]), terms, None), to_target),
    ):
        assert found.quantity[0] == pytest.approx(quantity)
        assert found.binding[0] == name
