"""How often customers bought what they were offered: success@k at past cuts, beside what is popular."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.tables import MEAN, STANDARD_ERROR
from pipelines.customers.backtest import LEAST_CUSTOMERS
from pipelines.customers.offers import fit
from pipelines.customers.purchases import baskets

CAPABILITY = "offers"
WINDOW_DAYS = 28  # after a cut, in which an offer can succeed
TOPS = (1, 5, 10)
METRICS = tuple(f"success_{top}{what}" for top in reversed(TOPS) for what in ("", "_added"))  # the first one ranks
MOST_CUSTOMERS = 20_000  # judged at a cut
_PAIR = ["customer_id", "product_id"]
_SCHEMA = dict.fromkeys(("capability", "model", "metric", "slice", "cut"), pl.String) | {"value": pl.Float64}


def run(bought: pl.DataFrame, last: date, cuts: int) -> pl.DataFrame:
    """Success@k of offers against popularity.

    Success@k is the share of customers who bought one of their first k offers within 28 days, among customers with a
    history who ordered in these days: an offer can only succeed with one who orders. It is judged for new products
    (slice `new`), and for those bought before followed by new ones (slice `all`), where the baseline offers what is
    popular whether bought before or not.

    Args:
        bought: The shop's purchases (`purchases.purchases`); nothing known later than a cut goes into its offers.
        last: The last whole day on record.
        cuts: How many cuts, a window apart, as far as the record reaches.

    Returns:
        capability, model, metric, slice, cut, value, as in table evaluation; metric `success_K_added` is the paired
        difference to popularity. Standard errors are over customers, each of whom may stand in several cuts. Empty
        where the record is too short.
    """
    hits = [hits_at(bought, cut) for cut in _cuts(bought, last, cuts)]
    hits = [frame for frame in hits if frame["customer_id"].n_unique() >= LEAST_CUSTOMERS]
    return evaluate(pl.concat(hits)) if hits else pl.DataFrame(schema=_SCHEMA)


def hits_at(bought: pl.DataFrame, cut: date) -> pl.DataFrame:
    """Whether the first k offers of a cut held one that was bought, of a row a customer, slice and k.

    Returns:
        cut, customer_id, slice, metric, and whether each of `offers` and `popularity` succeeded.
    """
    known = baskets(bought, cut)
    end = cut + timedelta(days=WINDOW_DAYS)
    came = bought.filter("sale", pl.col("until") == date.max, pl.col("day").is_between(cut, end, closed="right"))
    came = came.select(_PAIR).unique()
    judged = known.customers.filter(known.customers.is_in(came["customer_id"].unique().to_list()))
    judged = judged.gather_every(max(-(-judged.len() // MOST_CUSTOMERS), 1))
    model, ids = fit(known), judged.to_list()
    had = pl.DataFrame(
        {
            "customer_id": known.customers.gather(known.touched["customer"]),
            "product_id": known.products.gather(known.touched["product"]),
        }
    )
    succeeded = {"new": came.join(had, on=_PAIR, how="anti"), "all": came}
    new = model.new(ids, TOPS[-1])
    said = {
        "new": (new, model.popular(ids, TOPS[-1])),
        "all": (_in_turn(model.again(ids, TOPS[-1]), new), model.popular(ids, TOPS[-1], with_own=True)),
    }
    return pl.concat(
        pl.DataFrame({"customer_id": judged}).select(
            pl.lit(cut).alias("cut"),
            "customer_id",
            pl.lit(part).alias("slice"),
            pl.lit(f"success_{top}").alias("metric"),
            offers=pl.col("customer_id").is_in(_lucky(offers, succeeded[part], top)),
            popularity=pl.col("customer_id").is_in(_lucky(popular, succeeded[part], top)),
        )
        for part, (offers, popular) in said.items()
        for top in TOPS
    )


def evaluate(hits: pl.DataFrame) -> pl.DataFrame:
    """Shares of customers, each cut and over all cuts, with standard errors clustered by customer."""
    measures = {"offers": pl.col("offers"), "popularity": pl.col("popularity")}
    measures = {name: measure.cast(pl.Float64) for name, measure in measures.items()}
    rows = []
    for (part, metric), group in hits.group_by("slice", "metric", maintain_order=True):
        for model, name, measure in (
            ("offers", metric, measures["offers"]),
            ("popularity", metric, measures["popularity"]),
            ("offers", f"{metric}_added", measures["offers"] - measures["popularity"]),
        ):
            figures = group.select("cut", "customer_id", value=measure)
            by_cut = figures.group_by("cut").agg(pl.col("value").mean()).sort("cut")
            keyed = [(str(cut), value) for cut, value in by_cut.iter_rows()]
            keyed += zip((MEAN, STANDARD_ERROR), _clustered(figures), strict=True)
            rows += [(CAPABILITY, model, name, part, cut, value) for cut, value in keyed]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row").with_columns(pl.col("value").fill_nan(None))


def headline(evaluation: pl.DataFrame) -> dict[str, float]:
    """Success@10 of offers and what they add to popularity, for new products and for all."""
    rows = evaluation.filter(pl.col("metric").str.starts_with("success_10"), model="offers", cut=MEAN)
    named = rows.select("metric", "slice", "value").iter_rows()
    return {f"offers_{metric}_{part}": value for metric, part, value in named if value is not None}


def _clustered(figures: pl.DataFrame) -> tuple[float, float]:
    """The mean over all rows and its standard error where those of one customer go together."""
    sums = figures.group_by("customer_id").agg(pl.col("value").sum(), count=pl.len()).sort("customer_id")
    value: NDArray[np.float64] = sums["value"].to_numpy()
    count: NDArray[np.float64] = sums["count"].cast(pl.Float64).to_numpy()
    mean = float(value.sum() / count.sum())
    customers = len(value)
    if customers < 2:
        return mean, float("nan")
    spread = float(np.square(value - mean * count).sum()) * customers / (customers - 1)
    return mean, float(np.sqrt(spread) / count.sum())


def _lucky(offers: pl.DataFrame, came: pl.DataFrame, top: int) -> list[str]:
    hit = offers.filter(pl.col("rank") <= top).join(came, on=_PAIR, how="semi")
    return hit["customer_id"].unique().to_list()


def _in_turn(again: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """What was bought before, then what was not."""
    both = pl.concat([again.with_columns(late=0), new.with_columns(late=1)]).sort("customer_id", "late", "rank")
    return both.with_columns(rank=pl.int_range(1, pl.len() + 1).over("customer_id"))


def _cuts(bought: pl.DataFrame, last: date, count: int) -> list[date]:
    """The newest cut with a whole window after it and those before it that have as long a record."""
    first = bought["day"].min()
    cuts = [last - timedelta(days=WINDOW_DAYS * back) for back in range(1, count + 1)]
    return [cut for cut in cuts if isinstance(first, date) and (cut - first).days >= WINDOW_DAYS]
