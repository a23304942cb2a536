"""The offer each series is bought from, where several suppliers offer it: table supply_terms made into `Offers`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.special import ndtri

from pipelines.supply.leads import SUPPORT, leads
from pipelines.supply.paths import Array
from pipelines.supply.sourcing import Offers

LATE_IF_UNTOLD = 0.5  # a supplier nobody has watched keeps its mean lead time as often as not


def best_offers(
    offers: pl.DataFrame, record: pl.DataFrame, *, keys: Sequence[str], periods_a_year: float, concentration: float
) -> pl.DataFrame:
    """One offer a series: that of least landed cost (then the shortest lead time, then the name).

    An offer whose price nobody knows is taken only where no other states one. The surcharge for leaning on one supplier
    goes by what each would be spent on without it.

    Args:
        offers: One row a series and offer, every term filled; `suppliers` (how many offers the series has),
            `unit_cost_known`, `on_time_share`, and `demand` (units a period, null where nobody knows: 1).
        record: Table supply_terms: what every item of a supplier tells of its lead times.
        keys: The shop's series columns.
        periods_a_year: Demand periods in a year.
        concentration: As for `Offers.landed`.

    Returns:
        The rows of the offers taken, in the order given.
    """
    rows = offers.with_row_index("_row")
    several = rows.filter(pl.col("suppliers") > 1)
    if several.is_empty():
        return offers
    only = rows.filter(pl.col("suppliers") <= 1)
    taken = _cheapest(several, _offers(several, record, periods_a_year).landed()[:, 0], keys)
    if concentration > 0:
        share = _spend_share(pl.concat([only, taken]), several)
        taken = _cheapest(several, _offers(several, record, periods_a_year, share).landed(concentration)[:, 0], keys)
    return pl.concat([only, taken]).sort("_row").drop("_row")


def lateness_cost(holding: Array, shortage: Array, review: Array) -> Array:
    """What a period of lateness costs a unit, where stock is kept against it as cheaply as can be.

    A newsvendor pays (h·R + b)·φ(z)·σ a cycle, z the normal quantile of b / (h·R + b) (Snyder & Shen, Fundamentals of
    Supply Chain Theory, 2nd ed., section 4.3). With σ = demand · sd of the lead time, a cycle of R periods and
    φ(0)·sd periods of expected lateness, a unit pays (h·R + b) / R · exp(−z² / 2) for each period of it. Demand that is
    uncertain too makes lateness cost less than that.

    Args:
        holding: Per unit and period, shape (n,).
        shortage: Per unit of unmet demand, shape (n,).
        review: Periods a cycle, shape (n,).

    Example:
        >>> lateness_cost(np.array([0.5]), np.array([1.0]), np.array([2.0])).tolist()  # h·R = b, hence z = 0
        [1.0]
    """
    total = holding * review + shortage
    deviate = ndtri(shortage / np.where(total > 0, total, 1.0))
    return np.asarray(total / review * np.exp(-(deviate**2) / 2))


def _offers(
    rows: pl.DataFrame, record: pl.DataFrame, periods_a_year: float, spend_share: Array | None = None
) -> Offers:
    """Each row as the one offer of its own line: landed costs are compared afterwards."""
    days_a_period = 365.25 / periods_a_year
    number = {
        name: rows[name].cast(pl.Float64).to_numpy()
        for name in ("unit_cost", "fixed_order_cost", "holding_cost", "shortage_cost", "backorder_cost_per_day")
    }
    review_days = rows["review_days"].cast(pl.Float64).to_numpy()
    told = leads(rows, record)
    seen = told.quantiles(SUPPORT)
    lead, lead_sd = np.where(told.observed, (seen.mean(axis=1), seen.std(axis=1)), (told.mean, told.deviation))
    late = lateness_cost(
        number["holding_cost"],
        number["shortage_cost"] + number["backorder_cost_per_day"] * review_days,
        review_days / days_a_period,
    )
    on_time = rows["on_time_share"].fill_null(LATE_IF_UNTOLD).to_numpy()
    nothing = np.zeros(rows.height)
    columns = {
        "unit_cost": number["unit_cost"],
        "inbound_cost": nothing,
        "lead": lead / days_a_period,
        "lead_sd": lead_sd / days_a_period,
        "on_time_share": on_time,
        "fixed_cost": number["fixed_order_cost"],
        "spend_share": nothing if spend_share is None else spend_share,
    }
    each = {name: values[:, None] for name, values in columns.items()}
    return Offers(**each, holding_cost=number["holding_cost"], lateness_cost=late)


def _cheapest(rows: pl.DataFrame, landed: Array, keys: Sequence[str]) -> pl.DataFrame:
    return (
        rows.with_columns(_landed=pl.Series(landed))
        .sort(
            *keys, "unit_cost_known", "_landed", "lead_time_days", "supplier_id",
            descending=[*(False for _ in keys), True, False, False, False],
        )
        .unique(list(keys), keep="first", maintain_order=True)
        .drop("_landed")
    )  # fmt: skip


def _spend_share(taken: pl.DataFrame, rows: pl.DataFrame) -> Array:
    """Part of all spend that goes to the supplier of each row, shape (rows,)."""
    spend = taken.select("supplier_id", spend=pl.col("unit_cost") * pl.col("demand").fill_null(1.0))
    names = pl.concat([taken["supplier_id"], rows["supplier_id"]]).unique().sort()
    place = {name: number for number, name in enumerate(names)}
    number = spend["supplier_id"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    order = np.lexsort([spend["spend"].to_numpy(), number])  # sums do not depend on the order of rows
    total = np.bincount(number[order], weights=spend["spend"].to_numpy()[order], minlength=len(names))
    share = total / total.sum() if total.sum() > 0 else total
    return np.asarray(share[rows["supplier_id"].replace_strict(place, return_dtype=pl.Int64).to_numpy()])
