"""Why a customer is given this probability of leaving: the three families of features that move it most.

TreeSHAP (Lundberg et al. 2020, Nature Machine Intelligence 2, section "TreeExplainer") gives each feature its share in
the log-odds of the trees. What buy-till-you-die says of a customer beyond what it says of active customers on average
is added to `p_no_order`. All shares of a customer and one constant add up to the log-odds of the model. They are summed
into families of features that tell of the same thing: single ones of a family could stand in for one another.

A share says how the probability goes with a feature, not that a change of the one would change the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.tables import TABLES
from pipelines.customers import boosting
from pipelines.customers.calibration import log_odds
from pipelines.customers.churn import TREES_SHARE, ChurnModel
from pipelines.customers.models import Models
from pipelines.customers.moments import Past, with_btyd
from pipelines.customers.wording import FAMILIES, WORDINGS, sentences
from pipelines.errors import ConfigError

Floats = NDArray[np.float64]
REASONS = 3  # a customer
_NOTHING = 1e-9  # log-odds: what moves less is no reason


def explain(past: Past, models: Models, customer_ids: Sequence[str], version: str = "") -> pl.DataFrame:
    """The reasons of some customers at the end of the day `past.cut`.

    TreeSHAP costs some hundred times what a score does: this is for customers on a list or asked for.

    Args:
        past: What was known by the day.
        models: The models, of which churn is explained.
        customer_ids: Whom.
        version: Names and versions of the models in words.

    Returns:
        Table customer_reasons, sorted by customer_id and rank: `impact` in log-odds of leaving, `value` of the feature
        that speaks for the family (the one that moves most in its direction) and its median over active customers.

    Raises:
        ConfigError: One has not ordered by then.
    """
    rows = past.moment(past.cut).rows
    active, named = _active(rows, models.segments.active_days), _named(rows, customer_ids, past)
    model = _anchored(models.churn, past)
    peers = with_btyd(active if active.height else rows, model.expectation, model.horizon_days)
    chosen = with_btyd(named, model.expectation, model.horizon_days)
    names, shares = contributions(model, chosen, level_of(peers))
    found = _strongest(names, shares)
    values = chosen.select(pl.col(names).cast(pl.Float64)).to_numpy()
    medians = peers.select(pl.col(names).cast(pl.Float64).median()).to_numpy()[0]
    row, feature = found["row"].to_numpy(), found["feature"].to_numpy()
    reasons = found.select(
        named["customer_id"].gather(found["row"]),
        pl.col("rank").cast(pl.Int32),
        pl.col("family").replace_strict(dict(enumerate(FAMILIES)), return_dtype=pl.String),
        "impact",
        as_of=pl.lit(past.cut),
        direction=pl.when(pl.col("impact") > 0).then(pl.lit("higher")).otherwise(pl.lit("lower")),
        value=pl.Series(values[row, feature]).fill_nan(None),
        peer_median=pl.Series(medians[feature]).fill_nan(None),
        actionable=pl.col("family").replace_strict(dict(enumerate(FAMILIES.values())), return_dtype=pl.Boolean),
        model_version=pl.lit(version),
    )
    seen = named.select("days_since_last_order", "frequency")[row]
    texts = sentences([names[one] for one in feature.tolist()], reasons.hstack(seen))
    return reasons.hstack(texts).select(TABLES["customer_reasons"].schema.column_names())


def chances(past: Past, model: ChurnModel, customer_ids: Sequence[str], *, active_days: int, top: int) -> pl.DataFrame:
    """customer_id and churn_probability of those named, else of the active customers likeliest to leave; these first.

    Raises:
        ConfigError: One of those named has not ordered by the day `past.cut`.
    """
    rows = past.moment(past.cut).rows
    rows = _named(rows, customer_ids, past) if customer_ids else _active(rows, active_days)
    said = _anchored(model, past).predict(rows).select("customer_id", "churn_probability")
    said = said.sort("churn_probability", "customer_id", descending=[True, False])
    return said if customer_ids else said.head(top)


def level_of(peers: pl.DataFrame) -> float:
    """The mean log-odds of no order that buy-till-you-die gives to peers: what the others are measured against."""
    return float(log_odds(peers["p_no_order"].to_numpy()).mean())


def contributions(model: ChurnModel, rows: pl.DataFrame, level: float) -> tuple[list[str], Floats]:
    """What each feature adds to the log-odds of leaving.

    Args:
        model: The churn model.
        rows: Features of customers with the outputs of buy-till-you-die (`moments.with_btyd`).
        level: Log-odds from which those of buy-till-you-die are counted.

    Returns:
        Names of the features, and one row a customer, one column a feature. The sum of a row is the log-odds of the
        model less a constant: level, shift and what the trees say where nothing is known.
    """
    beyond = log_odds(rows["p_no_order"].to_numpy()) - level
    if model.booster is None:
        return ["p_no_order"], beyond[:, None]
    names = model.booster.feature_name()
    shares = TREES_SHARE * boosting.contributions(model.booster, rows)
    shares[:, names.index("p_no_order")] += beyond
    return names, shares


def by_family(names: Sequence[str], shares: Floats) -> Floats:
    """The contributions summed by family: one row a customer, one column a family, in the order of `FAMILIES`."""
    family = np.array([WORDINGS[name].family for name in names])
    # in C order, so that a sum over a row does not depend on how many rows there are
    return np.column_stack([np.ascontiguousarray(shares[:, family == one]).sum(axis=1) for one in FAMILIES])


def _strongest(names: Sequence[str], shares: Floats) -> pl.DataFrame:
    """The families that move each customer most: row, rank, family, impact, and the feature that speaks for it."""
    families = list(FAMILIES)
    impacts = by_family(names, shares)
    own = np.array([families.index(WORDINGS[name].family) for name in names])
    strongest = np.argsort(-np.abs(impacts), axis=1, kind="stable")[:, :REASONS]
    found = []
    for rank in range(REASONS):
        family = strongest[:, rank]
        impact = np.take_along_axis(impacts, family[:, None], axis=1)[:, 0]
        speaking = np.where(own == family[:, None], shares * np.sign(impact)[:, None], -np.inf)
        found.append(
            pl.DataFrame({"family": family, "impact": impact, "feature": speaking.argmax(axis=1)})
            .with_row_index("row")
            .with_columns(rank=pl.lit(rank + 1))
        )
    return pl.concat(found).filter(pl.col("impact").abs() > _NOTHING).sort("row", "rank")


def _named(rows: pl.DataFrame, customer_ids: Sequence[str], past: Past) -> pl.DataFrame:
    unknown = sorted(set(customer_ids).difference(rows["customer_id"]))
    if unknown:
        raise ConfigError(
            f"No customer {unknown[0]!r} has ordered by {past.cut}.",
            remedy="name customers as the table customer_scores does, or a later day",
        )
    return rows.filter(pl.col("customer_id").is_in(list(customer_ids)))


def _anchored(model: ChurnModel, past: Past) -> ChurnModel:
    return model if model.expectation.as_of == past.cut else model.anchored(past)


def _active(rows: pl.DataFrame, active_days: int) -> pl.DataFrame:
    return rows.filter(pl.col("days_since_last_order") <= active_days)
