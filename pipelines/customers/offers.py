"""Next best products: what a customer may like that they have not bought yet, and what they may buy again.

Two kinds, ranked apart because a campaign asks for one of them:

- `new`: products not bought so far. Two products are alike when the same customers bought both not long ago (item-based
  collaborative filtering: Sarwar et al. 2001, WWW 10; Deshpande and Karypis 2004, ACM TOIS 22). A customer's own
  products speak for those that are like them, the lately bought ones loudest; what is popular now decides where they
  say little, and alone for whom there is no history.
- `again`: products bought before, by the share of the customer's order days that had them, recent days counting more,
  shrunk toward how often the product is bought again at all.

What a customer brought back as much of as they bought is neither liked nor offered to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from features.tables import TABLES
from pipelines.customers.purchases import Baskets
from pipelines.errors import ConfigError

Floats = NDArray[np.float64]

LEARNING_HALF_LIFE_DAYS = 21  # of a purchase, for which products are alike
TASTE_HALF_LIFE_DAYS = 90  # of a purchase, for what its customer likes
POPULARITY_HALF_LIFE_DAYS = 14  # of a purchase, for what is popular now
HABIT_HALF_LIFE_DAYS = 180  # of an order day, for what its customer buys again
SHRINKAGE = 10.0  # customers added to the buyers of a product before it is like another
POPULARITY_WEIGHT = 0.3  # of the share of customers who buy a product, beside the likeness to a product just bought
HABIT_PRIOR_DAYS = 3.0  # order days that the product's own repeat share weighs
REPEAT_PRIOR_CUSTOMERS = 10.0  # buyers of a product that the shop's repeat share weighs
NEIGHBOURS = 200  # likest products that a product speaks for
_CELLS = 4_000_000  # of a dense block, which bounds memory

MODEL = (
    f"co-purchase: half-lives {LEARNING_HALF_LIFE_DAYS} d (likeness), {TASTE_HALF_LIFE_DAYS} d (taste), "
    f"{POPULARITY_HALF_LIFE_DAYS} d (popularity), {HABIT_HALF_LIFE_DAYS} d (habit); shrinkage {SHRINKAGE:g} customers, "
    f"popularity weight {POPULARITY_WEIGHT:g}, {NEIGHBOURS} neighbours"
)


@dataclass(frozen=True)
class OffersModel:
    """What products have in common, and how popular they are, at the end of one day.

    Attributes:
        baskets: What customers bought by then.
        likeness: One row and one column a product: shrunk cosine of who bought them, the likest of each row only.
        popularity: One entry a product: recent buyers as a share of recent customers.
    """

    baskets: Baskets
    likeness: Any
    popularity: Floats

    def new(self, customer_ids: Sequence[str], count: int) -> pl.DataFrame:
        """Products that customers have not bought, best first.

        Args:
            customer_ids: Whom, each once; who has no history gets what is popular.
            count: How many a customer.

        Returns:
            customer_id, rank, product_id, score, because_of (the own product that says most for it; null where only
            popularity does), sorted by customer_id and rank.
        """
        blocks = [self._new_block(list(block), count) for block in self._blocks(sorted(set(customer_ids)))]
        return pl.concat(blocks) if blocks else _no_offers()

    def popular(self, customer_ids: Sequence[str], count: int, *, with_own: bool = False) -> pl.DataFrame:
        """What is popular now for each customer, the baseline: without what they have bought already unless said."""
        blocks = []
        for block in self._blocks(sorted(set(customer_ids))):
            scores = np.tile(self.popularity, (len(block), 1))
            if not with_own:
                scores[self._rows(self._touched, block).nonzero()] = -np.inf
            best = _best(scores, count).with_columns(owned=pl.lit(None, dtype=pl.Int64))
            blocks.append(self._named(best, block))
        return pl.concat(blocks) if blocks else _no_offers()

    def again(self, customer_ids: Sequence[str], count: int) -> pl.DataFrame:
        """Products that customers have bought, likeliest in their next order first; columns as of `new`."""
        pairs, days = self.baskets.liked, self.baskets.order_days
        weights = np.bincount(days["customer"], _decay(days["ago"], HABIT_HALF_LIFE_DAYS), self.baskets.customers.len())
        wanted = pl.DataFrame({"customer_id": sorted(set(customer_ids))}, schema={"customer_id": pl.String})
        own = pairs.with_columns(
            customer_id=self.baskets.customers.gather(pairs["customer"]),
            product_id=self.baskets.products.gather(pairs["product"]),
            score=(self._habit + HABIT_PRIOR_DAYS * self._repeat_share[pairs["product"]])
            / (weights[pairs["customer"]] + HABIT_PRIOR_DAYS),
        ).join(wanted, on="customer_id", how="semi")
        ranked = own.sort("customer", "score", "product", descending=[False, True, False])
        ranked = ranked.with_columns(rank=pl.int_range(1, pl.len() + 1).over("customer"))
        return ranked.filter(pl.col("rank") <= count).select(
            "customer_id", pl.col("rank").cast(pl.Int32), "product_id", "score", because_of="product_id"
        )

    def table(self, customer_ids: Sequence[str], count: int) -> pl.DataFrame:
        """Table next_products: both kinds, `count` of each a customer where there are as many.

        Raises:
            ConfigError: A customer has not ordered by then.
        """
        unknown = sorted(set(customer_ids).difference(self.baskets.customers))
        if unknown:
            raise ConfigError(
                f"No customer {unknown[0]!r} has ordered by {self.baskets.as_of}.",
                remedy="name customers as the table customer_scores does, or a later day",
            )
        kinds = {"again": self.again(customer_ids, count), "new": self.new(customer_ids, count)}
        places = pl.DataFrame(
            {"product_id": self.baskets.products, "popularity_rank": _places(self.popularity)},
            schema={"product_id": pl.String, "popularity_rank": pl.Int32},
        )
        found = pl.concat([frame.with_columns(kind=pl.lit(kind)) for kind, frame in kinds.items()])
        found = found.join(places, on="product_id", how="left", maintain_order="left")
        found = found.with_columns(as_of=pl.lit(self.baskets.as_of), model=pl.lit(MODEL))
        return found.select(TABLES["next_products"].schema.column_names()).sort("customer_id", "kind", "rank")

    def _new_block(self, block: list[str], count: int) -> pl.DataFrame:
        taste = self._rows(self._taste, block)
        scores = (taste @ self.likeness).toarray() + POPULARITY_WEIGHT * self.popularity
        scores[self._rows(self._touched, block).nonzero()] = -np.inf
        best = _best(scores, count)
        shares = taste[best["row"].to_numpy()].multiply(self._speaks_for[best["product"].to_numpy()]).tocsr()
        loudest = np.asarray(shares.argmax(axis=1)).ravel() if best.height else np.zeros(0, np.int64)
        heard = pl.Series(np.diff(shares.indptr) > 0)
        return self._named(best.with_columns(owned=pl.when(heard).then(pl.Series(loudest))), block)

    def _named(self, best: pl.DataFrame, block: Sequence[str]) -> pl.DataFrame:
        return best.select(
            pl.Series("customer_id", block, dtype=pl.String).gather(best["row"]),
            pl.col("rank").cast(pl.Int32),
            self.baskets.products.gather(best["product"]).alias("product_id"),
            "score",
            self.baskets.products.gather(best["owned"]).alias("because_of"),
        )

    def _blocks(self, customer_ids: Sequence[str]) -> Iterator[Sequence[str]]:
        size = max(_CELLS // max(self.baskets.products.len(), 1), 1)
        for start in range(0, len(customer_ids), size):
            yield customer_ids[start : start + size]

    def _rows(self, matrix: Any, block: Sequence[str]) -> Any:
        """The rows of some customers; empty ones for those without a history."""
        names = pl.DataFrame({"customer_id": block}, schema={"customer_id": pl.String}).with_row_index("row")
        there = pl.DataFrame({"customer_id": self.baskets.customers}).with_row_index("place")
        found = names.join(there, on="customer_id").sort("row")
        places = found["row"].to_numpy(), found["place"].to_numpy()
        rows = sparse.csr_matrix((np.ones(found.height), places), shape=(len(block), there.height)) @ matrix
        rows.sort_indices()
        return rows

    @cached_property
    def _taste(self) -> Any:
        return self.baskets.matrix(_decay(self.baskets.liked["ago"], TASTE_HALF_LIFE_DAYS))

    @cached_property
    def _touched(self) -> Any:
        """Bought or brought back: not to be offered as new."""
        return self.baskets.matrix(np.ones(self.baskets.touched.height), self.baskets.touched)

    @cached_property
    def _speaks_for(self) -> Any:
        """One row a product: which own products say how much for it."""
        return self.likeness.T.tocsr()

    @cached_property
    def _habit(self) -> Floats:
        """One entry a liked pair: its purchase days, each weighted by its age."""
        days = self.baskets.purchase_days
        weights = _decay(days["ago"], HABIT_HALF_LIFE_DAYS)
        return np.bincount(days["pair"], weights, self.baskets.liked.height).astype(np.float64)

    @cached_property
    def _repeat_share(self) -> Floats:
        """One entry a product: the share of its buyers who bought it on another day, shrunk toward the shop's."""
        pairs, products = self.baskets.liked, self.baskets.products.len()
        repeated = np.bincount(pairs["product"], pairs["days"].to_numpy() > 1, products)
        buyers = np.bincount(pairs["product"], minlength=products)
        shop = repeated.sum() / max(buyers.sum(), 1)
        share: Floats = (repeated + REPEAT_PRIOR_CUSTOMERS * shop) / (buyers + REPEAT_PRIOR_CUSTOMERS)
        return share


def fit(baskets: Baskets) -> OffersModel:
    """Learn which products are alike and popular from what customers bought by one day."""
    recent = baskets.matrix(_decay(baskets.liked["ago"], LEARNING_HALF_LIFE_DAYS))
    weights = _decay(baskets.liked["ago"], POPULARITY_HALF_LIFE_DAYS)
    buyers = np.bincount(baskets.liked["product"], weights, baskets.products.len())
    newest = baskets.liked.group_by("customer").agg(pl.col("ago").min()).sort("customer")["ago"]
    customers = _decay(newest, POPULARITY_HALF_LIFE_DAYS).sum()
    return OffersModel(baskets, likeness(recent), buyers / max(customers, 1e-9))


def likeness(bought: Any, *, neighbours: int = NEIGHBOURS, shrinkage: float = SHRINKAGE) -> Any:
    """The shrunk cosine of the columns: a'b / √((a'a + s)(b'b + s)), without that of a column and itself.

    Args:
        bought: Sparse, one row a customer, one column a product.
        neighbours: How many of a row stay, the highest (and those equal to the last of them).
        shrinkage: s; what is on few customers' record alone is not like anything.

    Returns:
        Sparse, one row and one column a product.
    """
    by_product = bought.T.tocsr()
    length = np.sqrt(np.asarray(by_product.multiply(by_product).sum(axis=1)).ravel() + shrinkage)
    products = by_product.shape[0]
    size = max(_CELLS // max(products, 1), 1)
    blocks = []
    for start in range(0, products, size):
        block = (by_product[start : start + size] @ bought).toarray()
        block /= length[start : start + size, None] * length
        own = np.arange(block.shape[0])
        block[own, start + own] = 0.0
        if products > neighbours:
            least = np.partition(block, products - neighbours, axis=1)[:, products - neighbours, None]
            block[block < least] = 0.0
        blocks.append(sparse.csr_matrix(block))
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_matrix((0, 0))


def _best(scores: Floats, count: int) -> pl.DataFrame:
    """row, product, score and rank of the highest scores of each row, of equal ones the first products."""
    place = max(scores.shape[1] - count, 0)
    least = np.partition(scores, place, axis=1)[:, place, None] if scores.size else scores
    row, product = np.nonzero((scores >= least) & np.isfinite(scores))
    found = pl.DataFrame({"row": row, "product": product, "score": scores[row, product]})
    found = found.sort("row", "score", "product", descending=[False, True, False])
    return found.with_columns(rank=pl.int_range(1, pl.len() + 1).over("row")).filter(pl.col("rank") <= count)


def _decay(ago: pl.Series, half_life_days: int) -> Floats:
    return np.exp2(-ago.to_numpy() / half_life_days)


def _places(popularity: Floats) -> NDArray[np.int32]:
    """1 for the most popular; of equal ones the first product."""
    places = np.empty(popularity.size, np.int32)
    places[np.argsort(-popularity, kind="stable")] = np.arange(1, popularity.size + 1)
    return places


def _no_offers() -> pl.DataFrame:
    text = pl.String
    return pl.DataFrame(
        schema={"customer_id": text, "rank": pl.Int32, "product_id": text, "score": pl.Float64, "because_of": text}
    )
