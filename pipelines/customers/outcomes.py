"""What exported lists brought: those contacted against their control group, and what that says of the next list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from features.tables import TABLES
from pipelines.customers.lift import Difference, difference_of_means, difference_of_shares
from pipelines.settings import Campaign

ENOUGH_LISTS = 2
ENOUGH_CONTROLS = 30
ASSUMED = "assumed"
MEASURED = "measured"
_WHOLE = 10_000  # money is summed in whole ten-thousandths: the same in whatever order
_ARM = ["list_id", "customer_id"]


@dataclass(frozen=True)
class Response:
    """P(respond | contact) of those who would leave, and where it is from: assumed or measured."""

    rate: float
    basis: str


def measured_to(exported_on: pl.Expr, campaigns: Mapping[str, Campaign]) -> pl.Expr:
    """The last day on which an order still counts as a response to a list."""
    days = {name: campaign.measure_days for name, campaign in campaigns.items()}
    return exported_on + pl.duration(days=pl.col("campaign").replace_strict(days, return_dtype=pl.Int64))


def measure(
    lists: pl.DataFrame,
    sales: pl.DataFrame,
    outcomes: pl.DataFrame,
    *,
    campaigns: Mapping[str, Campaign],
    margins: Mapping[str, float],
    last: date,
) -> pl.DataFrame:
    """Compare everyone contacted with the control group of their list, for lists whose window is over.

    What another system posted of a customer counts; of all others, their orders in the window after the export: any
    sale is a response, revenue is sales less returns.

    Args:
        lists: Table lists.
        sales: customer_id, day, kind, amount (money ≥ 0) of order lines.
        outcomes: Table campaign_outcomes.
        campaigns: By name; lists of other campaigns are not measured.
        margins: Share of revenue that is the shop's, by campaign.
        last: The last day on record.

    Returns:
        Table campaign_results.
    """
    tried = lists.filter(pl.col("state").is_in(["exported", "held_out"]), pl.col("campaign").is_in(list(campaigns)))
    tried = tried.with_columns(measured_to=measured_to(pl.col("exported_on"), campaigns))
    tried = tried.filter(pl.col("measured_to") <= last)
    if tried.is_empty():
        return TABLES["campaign_results"].schema.create_empty()
    people = _responses(tried, sales, outcomes).sort("list_id", "customer_id")
    rows = [
        _result(one, margins[one["campaign"][0]])
        for one in people.partition_by("list_id", maintain_order=True)  # a handful of lists
    ]
    schema = TABLES["campaign_results"].schema.create_empty().schema
    return pl.DataFrame(rows, schema=schema).sort("list_id")


def _responses(tried: pl.DataFrame, sales: pl.DataFrame, outcomes: pl.DataFrame) -> pl.DataFrame:
    """One row a customer of a list: responded, revenue (whole ten-thousandths), posted."""
    window = tried.select(*_ARM, "exported_on", "measured_to").join(sales, on="customer_id")
    window = window.filter(pl.col("day") > pl.col("exported_on"), pl.col("day") <= pl.col("measured_to"))
    amount, sale = (pl.col("amount") * _WHOLE).round().cast(pl.Int64), pl.col("kind") == "sale"
    orders = window.group_by(_ARM).agg(_ordered=sale.any(), _net=pl.when(sale).then(amount).otherwise(-amount).sum())
    posted = outcomes.select(*_ARM, "responded", "revenue", posted=pl.lit(True))
    people = tried.join(orders, on=_ARM, how="left").join(posted, on=_ARM, how="left")
    told = (pl.col("revenue") * _WHOLE).round().cast(pl.Int64)
    return people.with_columns(
        responded=pl.coalesce("responded", "_ordered", pl.lit(False)),
        revenue=pl.coalesce(told, "_net", pl.lit(0)),
        posted=pl.col("posted").fill_null(False),
    )


def _result(people: pl.DataFrame, margin: float) -> dict[str, object]:
    treated, control = (people.filter(control_group=arm) for arm in (False, True))
    cost = float(treated["cost"].sum())
    counts = treated.height, control.height
    found: dict[str, object] = {
        **{name: people[name][0] for name in ("list_id", "campaign", "as_of", "exported_on", "measured_to")},
        "treated": counts[0],
        "control": counts[1],
        "posted_outcomes": int(people["posted"].sum()),
        "mean_churn_probability": people["churn_probability"].mean(),
        "treated_response_rate": treated["responded"].mean(),
        "control_response_rate": control["responded"].mean(),
        "cost": cost,
    }
    if not min(counts):
        return found
    lift = difference_of_shares(int(treated["responded"].sum()), counts[0], int(control["responded"].sum()), counts[1])
    heads = [arm["revenue"].to_numpy().astype(np.float64) / _WHOLE for arm in (treated, control)]
    money = difference_of_means(*heads)
    scale = margin * counts[0]
    profit = Difference(scale * money.value - cost, *(_times(end, scale, cost) for end in (money.low, money.high)))
    for name, figure in (("lift", lift), ("revenue_per_head_lift", money), ("profit", profit)):
        found |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return found


def _times(end: float | None, scale: float, cost: float) -> float | None:
    return None if end is None else scale * end - cost


def pooled(results: pl.DataFrame) -> tuple[float, float]:
    """The lift over all lists, each weighed by how sure it is, and its standard error (fixed effects).

    Shares are drawn to one half by one success and one failure (Agresti & Caffo 2000, The American Statistician 54:
    280–288), so that a list on which nobody answered is not taken for certain.
    """
    lift, variance = np.zeros(results.height), np.zeros(results.height)
    for arm, sign in (("treated", 1), ("control", -1)):
        count = results[arm].to_numpy()
        share = (results[f"{arm}_response_rate"].to_numpy() * count + 1) / (count + 2)
        lift += sign * results[f"{arm}_response_rate"].to_numpy()
        variance += share * (1 - share) / (count + 2)
    weight = 1 / variance
    return float((weight * lift).sum() / weight.sum()), float(weight.sum() ** -0.5)


def response(campaign: Campaign, results: pl.DataFrame, as_of: date) -> Response:
    """P(respond | contact) for the next list: measured where randomised history is enough, else as assumed.

    The pooled lift counts everyone contacted, the response rate those who would leave: one is the other times the
    mean P(churn) of the lists. It is drawn to the assumption, which counts as one observation whose standard error is
    as large as itself, by the weight each has (normal prior, normal likelihood).

    Args:
        campaign: Its assumed rate.
        results: Table campaign_results.
        as_of: Lists measured by then count.
    """
    usable = results.filter(
        pl.col("campaign") == campaign.name,
        pl.col("measured_to") <= as_of,
        pl.col("control") >= ENOUGH_CONTROLS,
        pl.col("treated") >= ENOUGH_CONTROLS,
        pl.col("mean_churn_probability") > 0,
    ).sort("list_id")
    if usable.height < ENOUGH_LISTS:
        return Response(campaign.response_rate, ASSUMED)
    lift, error = pooled(usable)
    risk = float(np.average(usable["mean_churn_probability"].to_numpy(), weights=usable["treated"].to_numpy()))
    seen, prior = (error / risk) ** -2, campaign.response_rate**-2
    rate = (seen * lift / risk + prior * campaign.response_rate) / (seen + prior)
    return Response(min(max(rate, 0.0), 1.0), MEASURED)
