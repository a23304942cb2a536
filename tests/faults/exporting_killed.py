"""`python exporting_killed.py FOLDER EFFECT`: export approved orders and kill this process after its n-th effect.

An effect is a commit to the lake or a file that appears.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.lake import Lake
from pipelines.settings import load_settings
from pipelines.supply.order_jobs import export


def main(folder: str, deadly: int) -> None:
    done = 0

    def fatal(effect: Callable[..., Any]) -> Callable[..., Any]:
        def once(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            result = effect(*arguments, **named)
            done += 1
            if done == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return once

    Lake._attempt = fatal(Lake._attempt)  # type: ignore[method-assign]
    Path.replace = fatal(Path.replace)  # type: ignore[method-assign]
    settings = load_settings(Path(folder) / "shop.yaml")
    export(settings, Lake(settings.lake_url), out=Path(folder) / "out", who="ann")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
