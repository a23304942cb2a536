"""Policies that are known: what replenishment is measured against, and what a user may choose by name.

Exact answers of the textbooks, one idea a module:

- `lot_sizing`: known demand, fixed ordering cost: EOQ and its kin, Wagner–Whitin, joint replenishment
- `newsvendor`: one uncertain period, base stock
- `reorder_point`: (r, Q) under continuous review
- `order_up_to`, `finite_horizon`: (s, S) under periodic review
- `echelons`, `guaranteed_service`: several stages
- `disruptions`: supply that fails
- `lost_sales`: the exact optimum where unmet demand is lost

What planning systems do, by name: `erp` sets the parameters of a rule (`rules`) from what is `known` of the items.
"""

from pipelines.supply.policies.erp import POLICIES
from pipelines.supply.policies.known import Forecast, Known
from pipelines.supply.policies.lot_sizing import economic_order_quantity
from pipelines.supply.policies.newsvendor import (
    base_stock_normal,
    newsvendor_discrete,
    newsvendor_normal,
    newsvendor_poisson,
)
from pipelines.supply.policies.rules import Rule

__all__ = [
    "POLICIES",
    "Forecast",
    "Known",
    "Rule",
    "base_stock_normal",
    "economic_order_quantity",
    "newsvendor_discrete",
    "newsvendor_normal",
    "newsvendor_poisson",
]
