"""What time it is for whoever asks whether something has expired."""

import time

_BEGAN = time.time() - time.monotonic()


def now() -> float:
    """Seconds since 1970 that never go back while the program runs: what has expired stays expired.

    A clock set back would give an expired key a second life. The time since the start goes on regardless of the clock
    on the wall; where that is ahead (the machine slept, or started with a clock behind) it counts.
    """
    return max(time.time(), _BEGAN + time.monotonic())
