"""Drivers from the command line and from the release: the same figures on every way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from features.forecast_tables import DRIVERS
from pipelines.release import current
from pipelines.settings import load_settings
from tests.conftest import purvey


def test_a_series_is_explained_at_the_command_line_as_in_the_release(tea: Path):
    release = current(load_settings(tea / "shop.yaml").releases_dir)
    assert release is not None
    stored = release.table("forecast_drivers").filter(product_id="T3").sort("period")
    said = json.loads(purvey("explain", "product_id=T3", "--horizon", 2, "--json", cwd=tea).stdout)
    rows = said["tables"]["drivers"]
    assert [row["period"] for row in rows] == [str(period) for period in stored["period"][:2]]
    for row, kept in zip(rows, stored.iter_rows(named=True), strict=False):
        assert [row[driver] for driver in DRIVERS] == pytest.approx([kept[driver] for driver in DRIVERS])
        assert row["words_zh"] == kept["words_zh"]
    wrong = purvey("explain", "T3", cwd=tea, check=False)
    assert wrong.returncode == 2
    assert "'T3' is no KEY=VALUE" in wrong.stderr
