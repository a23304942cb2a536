"""Which order lines are meant: named ones, or all that a filter lets through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipelines.errors import DecisionError, SourceError


@dataclass(frozen=True)
class Choice:
    """Which order lines are meant: these by name, or all that every filter lets through.

    Attributes:
        lines: Ids, or the references they carry elsewhere.
        series: Key column → value.
        supplier: Only of this supplier.
        state: Only in this state.
        everything: All lines; without it, an empty choice is none.
    """

    lines: Sequence[str] = ()
    series: Mapping[str, str] = field(default_factory=dict)
    supplier: str | None = None
    state: str | None = None
    everything: bool = False

    @property
    def filters(self) -> bool:
        """Whether it names no lines but says which."""
        return bool(self.series or self.supplier or self.state or self.everything)

    def of(self, lines: pl.DataFrame) -> pl.DataFrame:
        """The lines that are meant.

        Raises:
            DecisionError: A line or a key that is named does not exist.
        """
        named = [name.removeprefix("REC-") for name in self.lines]
        unknown = sorted(set(named) - set(lines["order_line"]))
        if unknown:
            raise DecisionError(f"There is no order line {unknown[0]!r}.", remedy="`purvey orders list` names them")
        for key in self.series:
            if key not in lines.columns:
                raise DecisionError(f"{key!r} does not name series.", column=key)
        wanted = [pl.col(key).cast(pl.String) == value for key, value in self.series.items()]
        wanted += [pl.col("order_line").is_in(named)] if named else []
        wanted += [pl.col("supplier_id") == self.supplier] if self.supplier else []
        wanted += [pl.col("state") == self.state] if self.state else []
        return lines.filter(pl.all_horizontal(pl.lit(True), *wanted))


def ids_in(file: Path) -> list[str]:
    """Order lines from a text file, one a row; empty rows are passed over.

    Raises:
        SourceError: The file cannot be read.
    """
    try:
        return [row.strip() for row in file.read_text(encoding="utf-8-sig").splitlines() if row.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            "The list of order lines cannot be read.", file=file, remedy="one order line's id a row"
        ) from error
