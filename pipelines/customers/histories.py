"""Purchase histories as buy-till-you-die models see them: x, t_x and T, equal ones once with their number.

Special functions are dear and different counts of purchases few: whatever of a likelihood hangs on x alone is summed
over the distinct counts, the rest over the distinct histories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.customers.likelihood import Floats, Optimum, maximise
from pipelines.customers.record import too_little

HistoriesLoss = Callable[..., tuple[float, Floats]]

DRAFT = 5_000  # customers of the first descents, at the least
SHARE = 20  # one in so many beyond
_FEWEST = 10


@dataclass(frozen=True)
class Histories:
    """Distinct histories in rising order, whatever order the customers came in.

    Attributes:
        x: Repeat purchases.
        recency: Age at the last purchase, in units of `scale`.
        age: Age at the end, in units of `scale`.
        customers: How many customers share the history.
        counts: The distinct x, rising.
        place: Which of `counts` each history has.
        customers_by_count: How many customers have each of `counts`.
        scale: The greatest age, in periods: with it as the unit, all models start from like places.
    """

    x: Floats
    recency: Floats
    age: Floats
    customers: Floats
    counts: Floats
    place: NDArray[np.intp]
    customers_by_count: Floats
    scale: float

    @classmethod
    def gather(cls, x: pl.Series, recency: pl.Series, age: pl.Series) -> Histories:
        """Gather the histories of customers who are older than nothing.

        Args:
            x: Repeat purchases a customer.
            recency: Age at the last purchase, in periods.
            age: Age at the end, in periods.

        Raises:
            NotEnoughDataError: No customer has bought twice, or fewer than ten customers are known.

        Example:
            >>> found = Histories.gather(pl.Series([0, 2] * 5), pl.Series([0.0, 3.0] * 5), pl.Series([4.0] * 10))
            >>> found.x.tolist(), found.customers.tolist(), found.recency.tolist(), found.scale
            ([0.0, 2.0], [5.0, 5.0], [0.0, 0.75], 4.0)
        """
        known = pl.DataFrame({"x": x.cast(pl.Float64), "recency": recency, "age": age}).filter(pl.col("age") > 0)
        if known.height < _FEWEST or not (known["x"] > 0).any():
            raise too_little(
                "Too few customers have bought again to learn how they come back: "
                f"{known.filter(pl.col('x') > 0).height} of {known.height}.",
                rule="at least ten customers, one of them with two purchase days",
                remedy="bring a longer record of orders",
            )
        cells = known.group_by("x", "recency", "age").agg(customers=pl.len())
        scale = float(known["age"].max())  # type: ignore[arg-type]
        x_, recency_, age_, customers = (cells[name].cast(pl.Float64).to_numpy() for name in cells.columns)
        order = np.lexsort((age_, recency_, x_))
        return cls._of(x_[order], recency_[order] / scale, age_[order] / scale, customers[order], scale)

    @classmethod
    def _of(cls, x: Floats, recency: Floats, age: Floats, customers: Floats, scale: float) -> Histories:
        counts, place = np.unique(x, return_inverse=True)
        return cls(x, recency, age, customers, counts, place, np.bincount(place, customers).astype(np.float64), scale)

    @property
    def total(self) -> float:
        """How many customers there are."""
        return float(self.customers.sum())

    def maximise(self, loss: HistoriesLoss, starts: Sequence[Sequence[float]], times: Sequence[bool]) -> Optimum:
        """The parameters, in periods, with the greatest likelihood.

        Args:
            loss: Mean negative log-likelihood and its slopes, of log-parameters and `histories`.
            starts: Parameters to start from, times in units of `scale`.
            times: Which of the parameters are times.
        """
        draft = self.draft()
        first = None if draft is None else partial(loss, histories=draft)
        best = maximise(partial(loss, histories=self), starts, self.total, first)
        unit = np.where(times, self.scale, 1.0)
        purchases = float((self.customers * self.x).sum())
        return Optimum(
            best.parameters * unit,
            best.standard_errors * unit,
            best.log_likelihood - purchases * float(np.log(self.scale)),  # each purchase brings a density in time
            best.gradient_norm,
            best.converged,
        )

    def draft(self) -> Histories | None:
        """Every so many'th customer along the order of histories; None where these would not be far fewer."""
        size = drafted(self.total)
        if not size:
            return None
        ends = np.cumsum(self.customers)
        chosen = np.searchsorted(ends, (np.arange(size) + 0.5) * (self.total / size))
        kept, counts = np.unique(chosen, return_counts=True)
        return Histories._of(self.x[kept], self.recency[kept], self.age[kept], counts.astype(np.float64), self.scale)


def drafted(customers: float) -> int:
    """How many customers to begin a fit with; 0: with all of them.

    Example:
        >>> drafted(2_000), drafted(20_000), drafted(1_000_000)
        (0, 5000, 50000)
    """
    return max(DRAFT, int(customers) // SHARE) if customers >= 2 * DRAFT else 0
