from __future__ import annotations

import sqlite3
import tarfile

import polars as pl
import pytest
import yaml

from pipelines.backup import backup, restore
from pipelines.errors import LakeError, PurveyError
from pipelines.lake import Lake
from pipelines.settings import load_settings
from pipelines.workflow import locked

STOCK = pl.DataFrame({"product_id": ["a", "b"], "on_hand": [1.0, 2.0]})


def shop(folder, data_dir="data", name="tea"):
    folder.mkdir(exist_ok=True)
    content = {"shop": name, "data_dir": data_dir, "sources": [{"table": "order_lines", "path": "orders.csv"}]}
    (folder / "shop.yaml").write_text(yaml.safe_dump(content))
    return load_settings(folder)


@pytest.fixture
def settings(tmp_path):
    settings = shop(tmp_path / "one")
    Lake(settings.lake_url).replace("stock", STOCK)
    release = settings.releases_dir / "r1"
    release.mkdir(parents=True)
    (release / "manifest.json").write_text("{}")
    (settings.releases_dir / "current").symlink_to("r1")
    settings.api_dir.mkdir()
    with sqlite3.connect(settings.api_dir / "api.sqlite") as state:
        state.execute("pragma journal_mode=wal")
        state.execute("create table keys (name text)")
        state.execute("insert into keys values ('till')")
    state.close()
    return settings


def test_a_restored_shop_is_the_shop_that_was_backed_up(settings, tmp_path):
    serving = sqlite3.connect(settings.api_dir / "api.sqlite")  # an API that holds the file open
    serving.execute("insert into keys values ('written just now')")
    serving.commit()
    backup(settings, tmp_path / "tea.tar")
    elsewhere = shop(tmp_path / "two", "other/place")
    restore(elsewhere, tmp_path / "tea.tar")
    assert Lake(elsewhere.lake_url).read("stock").equals(STOCK)
    assert (elsewhere.releases_dir / "current" / "manifest.json").read_text() == "{}"
    with sqlite3.connect(elsewhere.api_dir / "api.sqlite") as state:
        assert state.execute("select name from keys").fetchall() == [("till",), ("written just now",)]
    state.close()
    serving.close()


def test_what_is_kept_apart_is_backed_up_too_and_finds_its_place_again(settings, tmp_path):
    def apart(folder):
        content = yaml.safe_load((settings.folder / "shop.yaml").read_text())
        content |= {"data_dir": "tables", "work_dir": "work", "serving": {"state": "keys"}}
        folder.mkdir()
        (folder / "shop.yaml").write_text(yaml.safe_dump(content))
        return load_settings(folder)

    backup(settings, tmp_path / "together.tar")
    restore(apart(tmp_path / "two"), tmp_path / "together.tar")
    scattered = load_settings(tmp_path / "two")
    assert Lake(scattered.lake_url).read("stock").equals(STOCK)
    assert (scattered.api_dir / "api.sqlite").exists()
    backup(scattered, tmp_path / "apart.tar")
    again = shop(tmp_path / "three")
    restore(again, tmp_path / "apart.tar")
    assert Lake(again.lake_url).read("stock").equals(STOCK)
    assert (again.api_dir / "api.sqlite").exists()
    assert (again.releases_dir / "current" / "manifest.json").exists()


def test_a_backup_inside_the_shop_is_refused(settings):
    with pytest.raises(PurveyError, match="inside what it backs up"):
        backup(settings, settings.home / "tea.tar")


def test_restore_never_overwrites(settings, tmp_path):
    backup(settings, tmp_path / "tea.tar")
    with pytest.raises(PurveyError, match="not empty"):
        restore(settings, tmp_path / "tea.tar")


def test_a_damaged_backup_changes_nothing(settings, tmp_path):
    file = tmp_path / "tea.tar"
    backup(settings, file)
    with tarfile.open(file) as archive:
        member = next(one for one in archive.getmembers() if one.name.endswith(".parquet"))
    content = bytearray(file.read_bytes())
    content[member.offset_data + 10] ^= 1
    file.write_bytes(content)
    elsewhere = shop(tmp_path / "two")
    with pytest.raises(PurveyError, match="damaged"):
        restore(elsewhere, file)
    assert not elsewhere.home.exists()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(PurveyError, match="no whole backup"):
        restore(elsewhere, file)
    assert [path.name for path in elsewhere.folder.iterdir()] == ["shop.yaml"]


def test_another_shop_s_backup_is_refused(settings, tmp_path):
    backup(settings, tmp_path / "tea.tar")
    with pytest.raises(PurveyError, match="backup of shop tea, not of coffee"):
        restore(shop(tmp_path / "two", name="coffee"), tmp_path / "tea.tar")


def test_a_shop_at_work_is_not_backed_up(settings, tmp_path):
    with locked(settings), pytest.raises(PurveyError, match="at work"):
        backup(settings, tmp_path / "tea.tar")
    assert not (tmp_path / "tea.tar").exists()


def test_object_storage_and_empty_shops_are_refused_in_words(tmp_path):
    with pytest.raises(LakeError, match="object storage"):
        backup(shop(tmp_path / "one", "s3://bucket/tea"), tmp_path / "tea.tar")
    with pytest.raises(PurveyError, match="nothing to back up"):
        backup(shop(tmp_path / "two"), tmp_path / "tea.tar")
