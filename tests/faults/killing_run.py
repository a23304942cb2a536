"""`python killing_run.py CONFIG STEP`: run the flow and kill this process in the middle of STEP.

The middle is right after the step's first lasting effect: a commit to the lake, a promotion, a frozen release.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pipelines.assembly
from pipelines import workflow
from pipelines.lake import Lake
from pipelines.settings import load_settings
from pipelines.steps import STEPS, Shop
from pipelines.tracking import Tracker


def main(config: str, deadly: str) -> None:
    now = ""

    def watched(name: str, job: Callable[[Shop], Any]) -> Callable[[Shop], Any]:
        def run(shop: Shop) -> Any:
            nonlocal now
            now = name
            return job(shop)

        return run

    def fatal(effect: Callable[..., Any]) -> Callable[..., Any]:
        def once(*arguments: Any, **named: Any) -> Any:
            result = effect(*arguments, **named)
            if now == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return once

    Lake._attempt = fatal(Lake._attempt)  # type: ignore[method-assign]
    Tracker.promote = fatal(Tracker.promote)  # type: ignore[method-assign]
    pipelines.assembly.freeze = fatal(pipelines.assembly.freeze)
    steps = [replace(step, job=watched(step.name, step.job)) for step in STEPS]
    workflow.run(Shop(load_settings(config)), steps=steps)


if __name__ == "__main__":
    main(*sys.argv[1:])
