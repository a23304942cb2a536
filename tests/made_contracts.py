"""Contracts made from a seed, of which the true probability of leaving is known."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import expit


def made_contracts(rows: int, seed: int = 11) -> pl.DataFrame:
    """Contracts as a telecom exports them: numbers as text with blanks, groups, and columns that mean nothing."""
    return _made(rows, seed).drop("truth")


def with_truth(rows: int, seed: int = 11) -> pl.DataFrame:
    """The same with `truth`, the probability that `churned` was drawn with."""
    return _made(rows, seed)


def _made(rows: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    months, fee = rng.integers(0, 73, rows).astype(float), rng.uniform(18, 118, rows).round(2)
    term = rng.choice(["Month-to-month", "One year", "Two year"], rows, p=[0.55, 0.21, 0.24])
    net = rng.choice(["DSL", "Fiber optic", "No"], rows, p=[0.34, 0.44, 0.22])
    odds = -0.6 - 0.04 * months + 0.012 * (fee - 65) + np.where(net == "Fiber optic", 0.9, 0.0)
    truth = expit(odds - np.select([term == "One year", term == "Two year"], [1.2, 2.2], 0.0))
    total = [f"{value:.2f}" if value else " " for value in months * fee]
    return pl.DataFrame(
        {
            "customer_id": [f"C{number:05d}" for number in rng.permutation(rows)],
            "months": months,
            "monthly_fee": fee,
            "term": term,
            "net": net,
            "total_charges": total,
            "paperless": rng.random(rows) < 0.5,
            "age_group": rng.integers(1, 4, rows),
            "churned": rng.random(rows) < truth,
            "truth": truth,
        }
    )
