"""Where what-ifs are worked out: one thread beside the event loop, a short queue before it, and a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving.problems import Problem

MOST_WAITING = 16
MOST_SECONDS = 2.0
_RETRY = {"Retry-After": "1"}

_Result = TypeVar("_Result")


class Bench:
    """Work that would hold up the event loop, done elsewhere or refused at once.

    Args:
        waiting: How many may be at work or wait; the next is turned away.
        seconds: How long anybody waits for an answer.
        shed: Told of each request that is turned away or given up.
    """

    def __init__(
        self, waiting: int = MOST_WAITING, seconds: float = MOST_SECONDS, shed: Callable[[], object] | None = None
    ) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="what-if")
        self._most, self._seconds, self._taken = waiting, seconds, 0
        self._shed = shed

    async def work(self, task: Callable[[], _Result]) -> _Result:
        """Do a task.

        Raises:
            Problem: 503, too many wait or it took too long.
        """
        if self._taken >= self._most:
            raise self._busy(f"{self._taken} what-ifs wait already.")
        future = self._pool.submit(task)
        self._taken += 1
        future.add_done_callback(self._leave(asyncio.get_running_loop()))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._seconds)
        except TimeoutError as error:
            raise self._busy(f"No answer within {self._seconds:g} seconds.") from error

    def close(self) -> None:
        """Finish what is at work; what waits is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _busy(self, why: str) -> Problem:
        if self._shed is not None:
            self._shed()
        return Problem("busy", why, headers=_RETRY)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> Callable[[object], None]:
        """A place is free only once the work is over, whether or not somebody still waits for it."""

        def left(_done: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._free)

        return left

    def _free(self) -> None:
        self._taken -= 1
