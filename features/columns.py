"""Columns that the tables share: text that is never empty, times in UTC, and what is beyond belief."""

from __future__ import annotations

from datetime import UTC as UTC_ZONE
from datetime import datetime
from typing import Any

import dataframely as dy

UTC = "UTC"
# Beyond these a value is a slip of an export (no date given, a code in a column of numbers), never trade.
EARLIEST = datetime(1970, 1, 2, tzinfo=UTC_ZONE)
MOST = 1e9


def text(**rules: Any) -> dy.String:
    """Text that is not empty."""
    return dy.String(min_length=1, **rules)


def time(**rules: Any) -> dy.Datetime:
    """A moment, in UTC."""
    return dy.Datetime(time_unit="us", time_zone=UTC, **rules)
