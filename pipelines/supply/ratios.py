"""How careful each line is to be: the effective ratio, tuned on the simulator for lines of a kind.

Kinds are lead time, review interval and how dear a shortage is beside holding; within one, the factor on the odds of
the critical ratio is the same. What is tuned depends on the forecasts alone, so the same run gives the same ratios.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipelines.settings import Supply
from pipelines.supply.line_arrays import Lines
from pipelines.supply.outlook import Outlook
from pipelines.supply.paths import Array
from pipelines.supply.tuning import Stationary, critical_ratio, tune

_DEAR = (0.7, 0.9, 0.97)  # critical ratios between which lines are of a kind


def effective_ratios(lines: Lines, ahead: Outlook, supply: Supply, *, seed: int, threads: int = 1) -> Array:
    """What the critical ratio of each line is multiplied by, shape (n,).

    Args:
        lines: The lines; those that say a ratio of their own keep it.
        ahead: Demand ahead of the same lines.
        supply: `effective_ratio`: a number for all, or `auto` to tune it.
        seed: Seed of what is simulated.
        threads: Kinds at work at once; the result does not depend on it.
    """
    if supply.effective_ratio != "auto":
        ratio = np.full(len(lines.on_hand), float(supply.effective_ratio))
    elif supply.objective != "cost" or ahead.periods is None or ahead.periods_mean is None:
        ratio = np.ones(len(lines.on_hand))
    else:
        lead, _ = lines.lead_moments()
        lead = np.rint(lead)
        arrives = np.minimum(np.rint(lines.now + lead), ahead.horizon - 1).astype(np.int64)
        place = np.arange(len(arrives)), arrives
        waits = lines.backorder_cost if supply.unmet_demand == "backorder" else 0.0
        steady = Stationary(
            levels=ahead.levels,
            quantiles=ahead.periods[place],
            mean=ahead.periods_mean[place],
            lead=lead,
            review=lines.steps().astype(np.float64),
            holding_cost=lines.holding_cost,
            shortage_cost=lines.shortage_cost + waits * lines.review,
            multiple=lines.multiple,
            segment=np.zeros(len(arrives), dtype=np.int64),
        )
        kind = _numbered(lead.astype(np.int64), lines.steps(), np.digitize(critical_ratio(steady), _DEAR))
        steady = replace(steady, segment=kind)
        ratio = tune(steady, lost=supply.unmet_demand == "lost", seed=seed, threads=threads).multiplier
    return np.where(np.isnan(lines.ratio), ratio, lines.ratio)


def _numbered(*parts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One number for each combination, whatever else there is, shape (n,)."""
    number = np.zeros(len(parts[0]), dtype=np.int64)
    for part in parts:
        number = number * 1000 + np.minimum(part, 999)
    return number
