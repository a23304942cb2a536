"""How much one sender may ask: a bucket of tokens per key, filled at a steady rate.

Time is the monotonic clock: setting the clock on the wall neither empties nor fills a bucket.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipelines.sections import Limits
from serving.problems import Problem

Of = Literal["requests", "exports", "what_if", "refused"]
_MOST_SENDERS = 20_000


@dataclass(frozen=True)
class Rate:
    """A bucket's size, and how fast it fills."""

    per_second: float
    burst: int


@dataclass(slots=True)
class Level:
    """What one sender's bucket holds, and when that was counted."""

    tokens: float
    at: float


class Limiter:
    """The buckets of all senders.

    Args:
        limits: How large they are.
        refused: Told of each request that is turned away.
    """

    def __init__(self, limits: Limits, refused: Callable[[], object] | None = None) -> None:
        self.enabled = limits.enabled
        self._refused = refused
        self._rates: dict[Of, Rate] = {
            "requests": Rate(limits.requests_per_second, limits.burst),
            "exports": Rate(limits.exports_per_minute / 60, limits.exports_burst),
            "what_if": Rate(limits.what_if_per_second, limits.what_if_burst),
            "refused": Rate(limits.refused_per_second, limits.refused_burst),
        }
        self._levels: dict[Of, dict[str, Level]] = {of: {} for of in self._rates}

    def take(self, of: Of, sender: str) -> tuple[Rate, float] | None:
        """Take one token from a sender's bucket.

        Returns:
            The bucket's rate and what it holds now; None when nothing is limited.

        Raises:
            Problem: 429, the bucket is empty.
        """
        if not self.enabled:
            return None
        rate, levels, now = self._rates[of], self._levels[of], time.monotonic()
        level = levels.get(sender)
        if level is None:
            if len(levels) >= _MOST_SENDERS:
                levels = self._forget_the_full(of, now)
            level = levels[sender] = Level(rate.burst, now)
        tokens = min(rate.burst, level.tokens + (now - level.at) * rate.per_second)
        level.at = now
        if tokens < 1:
            level.tokens = tokens
            if self._refused is not None:
                self._refused()
            raise _too_many(of, rate, tokens)
        level.tokens = tokens - 1
        return rate, level.tokens

    def _forget_the_full(self, of: Of, now: float) -> dict[str, Level]:
        """Who paused long enough for a full bucket needs no remembering; when all are busy, all begin anew."""
        rate, levels = self._rates[of], self._levels[of]
        kept = {
            sender: level
            for sender, level in levels.items()
            if level.tokens + (now - level.at) * rate.per_second < rate.burst
        }
        self._levels[of] = kept if len(kept) < _MOST_SENDERS else {}
        return self._levels[of]


def headers(rate: Rate, tokens: float) -> list[tuple[bytes, bytes]]:
    """What an answer says of its sender's bucket: its size, what is left, and in how many seconds it is full again.

    Example:
        >>> headers(Rate(2, 10), 7.0)
        [(b'ratelimit-limit', b'10'), (b'ratelimit-remaining', b'7'), (b'ratelimit-reset', b'2')]
    """
    reset = math.ceil((rate.burst - tokens) / rate.per_second)
    return [
        (b"ratelimit-limit", b"%d" % rate.burst),
        (b"ratelimit-remaining", b"%d" % tokens),
        (b"ratelimit-reset", b"%d" % reset),
    ]


def _too_many(of: Of, rate: Rate, tokens: float) -> Problem:
    said = {name.decode(): value.decode() for name, value in headers(rate, tokens)}
    wait = math.ceil((1 - tokens) / rate.per_second)
    named = {"requests": "requests", "exports": "exports", "what_if": "what-if requests"}.get(
        of, "requests without a key"
    )
    return Problem(
        "too-many-requests", f"Too many {named}; try again in {wait} s.", headers=said | {"Retry-After": str(wait)}
    )
