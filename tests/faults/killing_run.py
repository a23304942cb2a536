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

CONFIG, DEADLY = sys.argv[1:]
now = ""


def deadly(effect: Callable[..., Any]) -> Callable[..., Any]:
    def once(*arguments: Any, **named: Any) -> Any:
        result = effect(*arguments, **named)
        if now == DEADLY:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return once


def watched(name: str, job: Callable[[Shop], Any]) -> Callable[[Shop], Any]:
    def run(shop: Shop) -> Any:
        global now
        now = name
        return job(shop)

    return run


Lake._attempt = deadly(Lake._attempt)  # type: ignore[method-assign]
Tracker.promote = deadly(Tracker.promote)  # type: ignore[method-assign]
pipelines.assembly.freeze = deadly(pipelines.assembly.freeze)
workflow.run(Shop(load_settings(CONFIG)), steps=[replace(step, job=watched(step.name, step.job)) for step in STEPS])
