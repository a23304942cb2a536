from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines import release
from pipelines.errors import ReleaseError
from pipelines.release import activate, current, freeze, prune, releases, rollback, verify

TABLE = pl.DataFrame({"product_id": ["a", "b"], "mean": [1.5, None]})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text("{}")
    (tmp_path / "drift.html").write_text("<p>drift</p>")
    return tmp_path


def make(home: Path, number: int, *, current: bool = True) -> release.Release:
    made = freeze(
        home / "releases",
        shop={"shop": "made"},
        tables={"forecasts": TABLE.with_columns(mean=pl.lit(float(number)))},
        models={"demand": home / "model"},
        reports={"drift.html": home / "drift.html"},
        facts={"model_versions": {"demand": str(number)}},
    )
    return activate(home / "releases", made.id) if current else made


def test_what_was_frozen_is_what_is_read(home: Path) -> None:
    made = make(home, 1)
    now = current(home / "releases")
    assert now is not None
    assert now.id == made.id
    assert_frame_equal(now.table("forecasts"), TABLE.with_columns(mean=pl.lit(1.0)))
    assert now.model_versions == {"demand": "1"}
    assert now.reports == ["drift.html"]
    assert (now.folder / "models" / "demand" / "model.json").read_text() == "{}"
    with pytest.raises(ReleaseError, match="no table stock"):
        now.table("stock")


def test_tables_are_uncompressed_so_that_they_can_be_mapped(home: Path) -> None:
    table = make(home, 1).folder / "tables" / "forecasts.arrow"
    import pyarrow as pa

    with pa.memory_map(str(table)) as file:
        before = pa.total_allocated_bytes()
        assert pa.ipc.open_file(file).read_all().num_rows == 2
        assert pa.total_allocated_bytes() == before  # nothing was unpacked


def test_a_frozen_release_is_not_current_until_it_is_activated(home: Path) -> None:
    first = make(home, 1)
    make(home, 2, current=False)
    now = current(home / "releases")
    assert now is not None
    assert now.id == first.id


def test_the_same_content_makes_no_second_release(home: Path) -> None:
    first = make(home, 1)
    assert make(home, 1).id == first.id
    make(home, 2)
    assert make(home, 1).id == first.id, "an older one with the same content serves as well"
    assert len(releases(home / "releases")) == 2


def test_a_damaged_twin_does_not_stand_in_the_way(home: Path) -> None:
    first = make(home, 1)
    (first.folder / "reports" / "drift.html").write_text("<p>DRIFT</p>")
    second = make(home, 1)
    assert second.id != first.id
    assert verify(second.folder).id == second.id


@pytest.mark.parametrize("where", [0, 100, -1])
def test_one_flipped_byte_anywhere_is_refused(home: Path, where: int) -> None:
    first, second = make(home, 1), make(home, 2, current=False)
    for file in sorted(path for path in second.folder.rglob("*") if path.is_file()):
        sound = file.read_bytes()
        damaged = bytearray(sound)
        damaged[where % len(sound)] ^= 0x01
        file.write_bytes(damaged)
        with pytest.raises(ReleaseError):
            activate(home / "releases", second.id)
        file.write_bytes(sound)
        now = current(home / "releases")
        assert now is not None
        assert now.id == first.id
    assert activate(home / "releases", second.id).id == second.id, "sound again, it is taken"


def test_a_missing_and_an_extra_file_are_refused(home: Path) -> None:
    made = make(home, 1)
    extra = made.folder / "models" / "demand" / "more.txt"
    extra.write_text("x")
    with pytest.raises(ReleaseError, match=r"more\.txt does not belong"):
        verify(made.folder)
    extra.unlink()
    (made.folder / "models" / "demand" / "model.json").unlink()
    with pytest.raises(ReleaseError, match=r"model\.json is missing"):
        verify(made.folder)


def test_a_newer_layout_is_refused_by_name(home: Path) -> None:
    made = make(home, 1)
    file = made.folder / "manifest.json"
    file.write_bytes(orjson.dumps(orjson.loads(file.read_bytes()) | {"layout": release.LAYOUT + 1}))
    with pytest.raises(ReleaseError, match="layout 2; this program knows layouts up to 1"):
        verify(made.folder)


def test_rollback_goes_to_what_was_current_before(home: Path) -> None:
    first, second = make(home, 1), make(home, 2)
    assert rollback(home / "releases").id == first.id
    third = make(home, 3)
    assert rollback(home / "releases").id == first.id, f"not {second.id}, which was rolled back from"
    assert third.manifest["previous"] == first.id
    with pytest.raises(ReleaseError, match="no sound earlier release"):
        rollback(home / "releases")
    now = current(home / "releases")
    assert now is not None
    assert now.id == first.id


def test_rollback_passes_over_a_damaged_release(home: Path) -> None:
    first, second, _ = make(home, 1), make(home, 2), make(home, 3)
    (second.folder / "manifest.json").write_text("{")
    assert rollback(home / "releases").id == first.id


def test_rollback_without_a_release_says_so(home: Path) -> None:
    with pytest.raises(ReleaseError, match="no current release"):
        rollback(home / "releases")
    assert current(home / "releases") is None


def test_prune_keeps_the_newest_the_current_and_its_way_back(home: Path) -> None:
    made = [make(home, number) for number in range(6)]
    assert rollback(home / "releases").id == made[4].id
    rollback(home / "releases")
    rollback(home / "releases")
    gone = prune(home / "releases", keep=2)
    assert sorted(gone) == sorted([made[0].id, made[3].id])
    assert {one.id for one in releases(home / "releases")} == {made[number].id for number in (1, 2, 4, 5)}
    assert rollback(home / "releases").id == made[1].id


def test_disk_full_leaves_nothing_and_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(home, 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(ReleaseError, match="No space left"):
        make(home, 2)
    left = {path.name for path in (home / "releases").iterdir()}
    assert left == {".lock", "current", first.id}


def test_current_that_points_nowhere_is_an_error_not_a_crash(home: Path) -> None:
    made = make(home, 1)
    shutil.rmtree(made.folder)
    with pytest.raises(ReleaseError, match="no readable manifest"):
        current(home / "releases")
