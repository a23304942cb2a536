"""Scores of customers whom the shop's record does not hold, from their order lines and the champions of a release."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl

from features.customers import snapshot
from pipelines.customers.churn import ChurnModel
from pipelines.customers.value import ValueModel

KIND = "pipelines.customers.churn:ChurnModel"
# Told by the lines of the whole shop: its list prices. From a few customers' lines they would depend on the others.
UNTOLD = ("discount_share",)


@dataclass(frozen=True)
class Unseen:
    """The champions of churn and value, as they see customers at the end of one day.

    Attributes:
        churn: Says who leaves; its level stays that of the shop's own customers.
        value: Says what customers are worth.
        as_of: The day.
        level_of: The day whose customers set the level of churn.
        timezone: The shop's time zone.
    """

    churn: ChurnModel
    value: ValueModel
    as_of: date
    level_of: date
    timezone: str

    @classmethod
    def from_dirs(cls, churn: Path, value: Path, as_of: date, timezone: str) -> Unseen | None:
        """Read the champions from the files of a release; None where customers have contracts."""
        if json.loads((churn / "model.json").read_text(encoding="utf-8"))["class"] != KIND:
            return None
        leaving = ChurnModel.from_dir(churn)
        seen = replace(leaving, expectation=replace(leaving.expectation, as_of=as_of))
        return cls(seen, ValueModel.from_dir(value).seen_from(as_of), as_of, leaving.expectation.as_of, timezone)

    def later(self, lines: pl.DataFrame) -> list[str]:
        """Customers with lines of days after the one they are seen at, sorted."""
        day = pl.col("ordered_at").dt.convert_time_zone(self.timezone).dt.date()
        return lines.filter(day > self.as_of)["customer_id"].unique().sort().to_list()

    def score(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Score customers; nobody's score depends on who else is asked about.

        Args:
            lines: customer_id, order_id, product_id, kind, quantity, unit_price, ordered_at (UTC).

        Returns:
            customer_id, churn_probability, p_alive and what `ValueModel.predict` says, sorted by customer_id;
            customers without a sale are left out.
        """
        known = lines.with_columns(known_at="ordered_at")
        rows = snapshot(known, self.as_of, timezone=self.timezone, period_days=self.churn.expectation.period_days)
        rows = rows.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in UNTOLD)
        if rows.is_empty():
            return pl.DataFrame(schema={"customer_id": pl.String})
        return self.churn.predict(rows).join(self.value.predict(rows), on="customer_id", maintain_order="left")
