"""Public data that may be measured on but not passed on: PURVEY_EVALUATION_DATA names their folder, or tests skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def evaluation_data() -> Path:
    """The folder of evaluation data sets, each in a folder of its own name."""
    folder = os.environ.get("PURVEY_EVALUATION_DATA")
    if not folder:
        pytest.skip("PURVEY_EVALUATION_DATA names no folder of evaluation data (cdnow/cdnow_sample.parquet)")
    return Path(folder)
