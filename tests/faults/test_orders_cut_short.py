"""Orders cut short at every step of proposing and exporting: nothing is lost, nothing is ordered twice."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from pipelines.lake import Lake
from pipelines.settings import load_settings
from pipelines.supply.jobs import replenish
from pipelines.supply.order_choice import Choice
from pipelines.supply.order_jobs import decide, export
from pipelines.supply.orders import APPROVED, broken, current
from tests.conftest import ROOT
from tests.unit.supply.conftest import ISSUED, Shop

KILLER = Path(__file__).with_name("exporting_killed.py")
ALL = Choice(everything=True)
SAID = ["order_line", "state", "quantity", "export_id", "run"]


class Cut(BaseException):
    """Nothing catches it, as nothing catches a power cut."""


class Fuse:
    """Counts lasting effects (commits, files that appear) and ends the work just before or after one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.effects, self.at, self.after = 0, -1, False
        for owner, name in ((Lake, "_attempt"), (Path, "replace")):
            monkeypatch.setattr(owner, name, self._watched(getattr(owner, name)))

    def set(self, at: int, *, after: bool) -> None:
        self.effects, self.at, self.after = 0, at, after

    def _watched(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            mine, self.effects = self.effects, self.effects + 1
            if mine == self.at and not self.after:
                raise Cut
            result = effect(*arguments, **named)
            if mine == self.at:
                raise Cut
            return result

        return watched


def approved(folder: Path) -> Shop:
    """A shop with approved lines of two suppliers."""
    made = Shop(folder, approval={"hold_above": None})
    made.forecast()
    made.stock(1)
    supplier = pl.when(pl.col("product_id") < "P003").then(pl.lit("S1")).otherwise(pl.lit("S2"))
    made.lake.replace("supply_terms", made.terms().with_columns(supplier_id=supplier))
    replenish(made.settings, made.lake)
    decide(made.settings, made.lake, ALL, APPROVED, who="ann", why="as proposed")
    return made


def send(made: Shop, out: Path) -> None:
    export(made.settings, made.lake, out=out, who="ann")


def outcome(made: Shop, out: Path) -> tuple[Any, dict[str, bytes]]:
    decisions = made.lake.read("decisions")
    assert broken(decisions).is_empty()
    times = decisions.filter(state="exporting").group_by("order_line").len()["len"]
    assert set(times) == {1}, "each line is sent once"
    said = current(decisions).select(SAID).rows()
    return said, {file.name: file.read_bytes() for file in sorted(out.iterdir())}


def again(template: Path, folder: Path) -> Shop:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    return Shop(folder, approval={"hold_above": None})


def test_an_export_cut_at_every_effect_and_cut_again_ends_like_an_untouched_one(tmp_path, monkeypatch):
    approved(tmp_path / "template")
    untouched = again(tmp_path / "template", tmp_path / "untouched")
    send(untouched, tmp_path / "untouched_out")
    expected = outcome(untouched, tmp_path / "untouched_out")
    assert len(expected[1]) == 2
    fuse = Fuse(monkeypatch)
    for first, second, after in itertools.product(range(4), (None, 0, 1), (False, True)):
        out = tmp_path / f"out_{first}_{second}_{after}"
        made = again(tmp_path / "template", tmp_path / "shop")
        fuse.set(first, after=after)
        with pytest.raises(Cut):
            send(made, out)
        if second is not None:
            fuse.set(second, after=True)
            with contextlib.suppress(Cut):  # it may have fewer effects left
                send(made, out)
        fuse.set(-1, after=False)
        send(made, out)
        assert outcome(made, out) == expected


def test_an_export_is_finished_where_it_began_and_takes_new_lines_along(tmp_path, monkeypatch):
    made = approved(tmp_path / "shop")
    fuse = Fuse(monkeypatch)
    fuse.set(1, after=False)
    with pytest.raises(Cut):
        export(made.settings, made.lake, out=tmp_path / "first", choice=Choice(supplier="S1"), who="ann")
    fuse.set(-1, after=False)
    send(made, tmp_path / "second")
    files = {file.parent.name: pl.read_csv(file)["supplier_id"].unique().to_list() for file in tmp_path.glob("*/*.csv")}
    assert files == {"first": ["S1"], "second": ["S2"]}


@pytest.mark.parametrize("effect", [1, 2, 4])
def test_a_killed_export_is_finished_by_the_next(tmp_path, effect):
    made = approved(tmp_path)
    source = {"table": "stock", "path": "stock.parquet"}
    (tmp_path / "shop.yaml").write_text(
        yaml.safe_dump({"shop": "made_up", "data_dir": ".", "sources": [source], "demand": {"series": ["product_id"]}})
    )
    assert load_settings(tmp_path).lake_url == made.lake.url
    command = [sys.executable, KILLER, tmp_path, str(effect)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == -signal.SIGKILL, done.stderr
    states = set(current(made.lake.read("decisions"))["state"])
    assert states == ({"exported"} if effect == 4 else {"exporting"})
    send(made, tmp_path / "out")
    said, files = outcome(made, tmp_path / "out")
    rows = pl.concat(pl.read_csv(tmp_path / "out" / name) for name in files if name.endswith(".csv"))
    assert sorted(rows["reference"]) == ["REC-" + row[0] for row in said]
    assert all(row[1] == "exported" for row in said)


def test_a_run_cut_at_every_effect_enters_the_same(tmp_path, monkeypatch):
    def start(folder: Path) -> Shop:
        made = Shop(folder, approval={"by_rule": True, "max_change": None, "hold_above": 0.6})
        made.forecast()
        made.stock(1)
        made.terms(moq=20.0)
        return made

    untouched = start(tmp_path / "untouched")
    replenish(untouched.settings, untouched.lake)
    kept = current(untouched.lake.read("decisions")).select(SAID)
    table = untouched.lake.read("replenishment")
    assert set(kept["state"]) == {"approved", "held"}
    for at, after in itertools.product(range(2), (False, True)):
        made = start(tmp_path / f"shop_{at}_{after}")
        with monkeypatch.context() as patch:
            fuse = Fuse(patch)
            fuse.set(at, after=after)
            with pytest.raises(Cut):
                replenish(made.settings, made.lake)
        replenish(made.settings, made.lake, as_of=ISSUED)
        assert current(made.lake.read("decisions")).select(SAID).equals(kept)
        assert made.lake.read("replenishment").sort("product_id").equals(table.sort("product_id"))
        assert broken(made.lake.read("decisions")).is_empty()
