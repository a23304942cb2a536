"""What can be allowed, and what one sender is allowed: scopes, and the locations they hold for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from pipelines.errors import AccessError

SCOPES: dict[str, str] = {
    "forecasts:read": "forecasts of demand",
    "customers:read": "customer scores and segments",
    "lists:export": "whole lists as CSV",
    "replenishment:read": "proposed orders",
    "replenishment:write": "decisions on proposed orders",
    "outcomes:write": "what became of things: order events, actual stock, outcomes of campaigns",
    "monitoring:read": "drift, models, reports, metrics",
    "audit:read": "who exported, decided and changed keys",
    "admin": "everything",
}
READING = [scope for scope in SCOPES if scope.endswith(":read") or scope == "lists:export"]
# What a key that is bound to locations may be allowed: all else knows no locations, so nothing could be held back.
BY_LOCATION = frozenset(
    {"forecasts:read", "lists:export", "replenishment:read", "replenishment:write", "outcomes:write"}
)
LOCATION = "location_id"


@dataclass(frozen=True)
class Access:
    """What the sender of a request may do.

    Attributes:
        prefix: What the key is called in logs; it is no secret.
        name: Who uses it.
        scopes: What it may do.
        locations: Where it may do it; None is everywhere.
    """

    prefix: str
    name: str
    scopes: frozenset[str]
    locations: frozenset[str] | None = None

    def may(self, scope: str) -> bool:
        """Whether the key covers a scope.

        Example:
            >>> everywhere, in_lyon = frozenset({"admin"}), frozenset({"forecasts:read", "customers:read"})
            >>> Access("a", "ops", everywhere).may("customers:read")
            True
            >>> Access("b", "shop", in_lyon, frozenset({"lyon"})).may("customers:read")
            False
        """
        if self.locations is not None and scope not in BY_LOCATION:
            return False
        return scope in self.scopes or "admin" in self.scopes

    def allows(self, location: str) -> bool:
        """Whether the key holds for a location."""
        return self.locations is None or location in self.locations

    def within(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows of a table that the key may know of, by its `location_id`: of a table without one, none.

        Example:
            >>> stock = pl.DataFrame({"location_id": ["lyon", "nice"], "on_hand": [3, 4]})
            >>> Access("b", "shop", frozenset(), frozenset({"nice"})).within(stock)["on_hand"].to_list()
            [4]
        """
        if self.locations is None:
            return frame
        if LOCATION not in frame.columns:
            return frame.clear()
        return frame.filter(pl.col(LOCATION).cast(pl.String).is_in(list(self.locations)))

    def within_totals(self, totals: pl.DataFrame) -> pl.DataFrame:
        """The totals that the key may know of: those of its locations, not those that others are summed into."""
        if self.locations is None:
            return totals
        return totals.filter((pl.col("level") == LOCATION) & pl.col("group").is_in(list(self.locations)))


def check(name: str, scopes: Iterable[str], locations: Iterable[str] | None) -> None:
    """Whether a key may be made like this.

    Raises:
        AccessError: It has no name, no scope, an unknown one, or one that cannot be bound to locations.
    """
    scopes = list(scopes)
    for scope in scopes:
        if scope not in SCOPES:
            near = difflib.get_close_matches(scope, SCOPES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(SCOPES)}"
            raise AccessError(f"There is no scope {scope!r}.", remedy=hint)
    if not name.strip() or not scopes:
        raise AccessError("A key needs a name and at least one scope.", remedy=f"scopes: {', '.join(SCOPES)}")
    wide = [scope for scope in scopes if locations is not None and scope not in BY_LOCATION]
    if wide:
        raise AccessError(
            f"A key for some locations cannot have {wide[0]}, which knows no locations.",
            remedy=f"with locations there are: {', '.join(sorted(BY_LOCATION))}",
        )
