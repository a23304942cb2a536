from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from features.forecast_tables import DRIVERS
from pipelines.printing import print_drivers
from pipelines.summary import Summary


def test_drivers_are_printed_as_bars_over_all_periods_and_in_words_by_period(capsys: pytest.CaptureFixture[str]):
    periods = [date(2024, 1, 1), date(2024, 1, 8)]
    units = dict.fromkeys(DRIVERS, 0.0) | {"level": 500.0, "season": 40.0, "trend": -20.0, "correction": -0.001}
    frame = pl.DataFrame({"shop": "A", "item": 7, "period": periods, "mean": 520.0} | units)
    frame = frame.with_columns(words_en=pl.Series(["first words", "other words"]))
    print_drivers(Summary("explain", tables={"drivers": frame}, notes=["a note"]), ["shop", "item"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "shop A item 7"
    rows = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in lines if "  " in line}
    assert rows["level"] == "1,000.0"
    assert rows["season"].split() == ["+80.0", "│██████████"]
    assert rows["trend"].split() == ["-40.0", "█████│"]
    assert rows["correction"].split() == ["+0.0", "│"], "less than is shown is neither more nor less"
    assert rows["forecast"].split() == ["1,040.0", "over", "2", "periods"]
    assert rows["2024-01-08"] == "other words"
    assert lines[-1] == "note: a note"
