"""RFM: quintiles of recency, frequency and money, and a total table of rules from their 125 cells to classic names.

The classic names (Champions, Loyal, At Risk …) are usually given with bounds that overlap; here every cell has exactly
one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

COLUMNS = ("days_since_last_order", "orders", "spend")
Edges = dict[str, tuple[float, ...]]

# Row: recency quintile 1 (long ago) … 5 (just now). Column: mean quintile of orders and spend, 1 … 5.
RULES: tuple[tuple[str, ...], ...] = (
    ("lost", "lost", "at_risk", "at_risk", "cannot_lose"),
    ("about_to_sleep", "about_to_sleep", "at_risk", "at_risk", "cannot_lose"),
    ("about_to_sleep", "need_attention", "need_attention", "loyal", "loyal"),
    ("promising", "potential_loyalist", "potential_loyalist", "loyal", "loyal"),
    ("new", "potential_loyalist", "potential_loyalist", "champions", "champions"),
)
DESCRIPTIONS = {
    "champions": "Bought just now, often and for much.",
    "loyal": "Buy often and for much, and not long ago.",
    "potential_loyalist": "Bought lately, with some orders behind them.",
    "promising": "Bought lately, once or for little.",
    "new": "Bought just now, once or for little.",
    "need_attention": "Middling orders and spend, and not so lately.",
    "about_to_sleep": "Few orders, and the last one was a while ago.",
    "at_risk": "Bought often enough, but the last order was long ago.",
    "cannot_lose": "Among the best by orders and spend, but silent for long.",
    "lost": "Few orders, all of them long ago.",
}


def rule(recency: int, frequency: int, monetary: int) -> str:
    """The segment of a cell of quintiles, 5 best.

    Example:
        >>> rule(5, 5, 5), rule(1, 1, 1), rule(5, 1, 1)
        ('champions', 'lost', 'new')
    """
    return RULES[recency - 1][(frequency + monetary + 1) // 2 - 1]


def cut_points(rows: pl.DataFrame) -> Edges:
    """The four rising cut points between the quintiles of each column of a snapshot."""
    levels = (0.2, 0.4, 0.6, 0.8)
    return {name: tuple(np.quantile(rows[name].cast(pl.Float64).to_numpy(), levels).tolist()) for name in COLUMNS}


def quintiles(rows: pl.DataFrame, edges: Mapping[str, tuple[float, ...]]) -> tuple[NDArray[np.int64], ...]:
    """Recency, frequency and money of each row as quintiles 1 … 5, 5 best."""
    recency, frequency, monetary = (
        np.searchsorted(np.asarray(edges[name]), rows[name].cast(pl.Float64).to_numpy(), side="left")
        for name in COLUMNS
    )
    return 5 - recency, frequency + 1, monetary + 1


def segments(rows: pl.DataFrame, edges: Mapping[str, tuple[float, ...]]) -> pl.Series:
    """The name of the rule that each row falls under."""
    recency, frequency, monetary = quintiles(rows, edges)
    table = np.array(RULES, dtype=object)
    return pl.Series(table[recency - 1, (frequency + monetary + 1) // 2 - 1], dtype=pl.String)
