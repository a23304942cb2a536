"""Columns that the tables share: text that is never empty, times in UTC."""

from __future__ import annotations

from typing import Any

import dataframely as dy

UTC = "UTC"


def text(**rules: Any) -> dy.String:
    """Text that is not empty."""
    return dy.String(min_length=1, **rules)


def time(**rules: Any) -> dy.Datetime:
    """A moment, in UTC."""
    return dy.Datetime(time_unit="us", time_zone=UTC, **rules)
