"""Every version of every order line: what was known of it, and until when.

A correction does not rewrite what was known before it. The table `order_lines` holds each line as it is known now,
`superseded_lines` holds what a correction took the place of. Together they say what was known at any moment: a version
counts from its `known_at` on, and until its `known_until` where it has one.
"""

from __future__ import annotations

import polars as pl

_VERSION = ["order_id", "line_no", "known_at"]


def every_version(lines: pl.DataFrame, superseded: pl.DataFrame) -> pl.DataFrame:
    """Current and superseded lines below one another, with `known_until` (null: known still).

    Args:
        lines: Table `order_lines`.
        superseded: Table `superseded_lines`. A version that is still current, as after a run that was killed between
            the two tables, is not counted twice.

    Example:
        >>> from datetime import datetime
        >>> now = pl.DataFrame({"order_id": ["a"], "line_no": [1], "known_at": [datetime(2024, 2, 1)], "quantity": [2]})
        >>> was = now.with_columns(known_at=datetime(2024, 1, 1), known_until="known_at", quantity=3)
        >>> every_version(now, was).select("quantity", "known_until").rows()
        [(2, None), (3, datetime.datetime(2024, 2, 1, 0, 0))]
    """
    current = lines.with_columns(known_until=pl.lit(None, dtype=lines.schema["known_at"]))
    past = superseded.join(lines, on=_VERSION, how="anti")
    return pl.concat([current, past.select(set(past.columns) & set(current.columns))], how="diagonal_relaxed")
