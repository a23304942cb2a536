"""Each way a source can be unreadable has one clear message; what is readable comes in whole, with row numbers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import create_engine, text

from pipelines.errors import ConfigError, SourceError
from pipelines.ingest.sources import find
from pipelines.settings import Settings, Source


def settings(folder: Path, **source: object) -> Settings:
    made = Settings(shop="s", data_dir=str(folder / "lake"), sources=[Source(**{"table": "order_lines", **source})])
    made._file = folder / "shop.yaml"
    return made


def read(folder: Path, **source: object) -> list[pl.DataFrame]:
    made = settings(folder, **source)
    return [extract.read() for extract in find(made.sources[0], made)]


def test_csv_is_text_and_rows_count_from_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,quantity\n007,1\n8,\n")
    [frame] = read(tmp_path, format="csv", path="a.csv")
    assert frame.rows() == [(1, "007", "1"), (2, "8", None)]
    assert frame.schema["id"] == pl.String


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("\ufeffid\n1\n".encode())
    [frame] = read(tmp_path, format="csv", path="a.csv")
    assert frame.columns == ["_row", "id"]


def test_a_glob_and_a_list_are_read_in_order_and_once(tmp_path: Path) -> None:
    for name in ("b", "a"):
        pl.DataFrame({"file": [name]}).write_parquet(tmp_path / f"{name}.parquet")
    frames = read(tmp_path, path=["*.parquet", "a.parquet"])
    assert [frame["file"].item() for frame in frames] == ["a", "b"]


def test_a_pattern_may_stand_in_any_part_of_a_path(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / "data [old]" / place).mkdir(parents=True)
        (tmp_path / "data [old]" / place / "o.csv").write_text(f"id\n{place}\n")
    for path in ("data*/*/o.csv", "data*/**/*.csv", str(tmp_path / "data*" / "?" / "o.csv")):
        assert [frame["id"].item() for frame in read(tmp_path, format="csv", path=path)] == ["a", "b"]
    with pytest.raises(SourceError, match="No file matches"):
        read(tmp_path, format="csv", path="data*/c/*.csv")


def test_a_row_with_too_many_fields_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,note\n1,"two\nlines"\n2,a,b\n3,a\n')
    with pytest.raises(SourceError) as caught:
        read(tmp_path, format="csv", path="a.csv")
    assert caught.value.where["row"] == 2
    assert "a.csv" in str(caught.value)


def test_the_digest_tells_content_not_name(tmp_path: Path) -> None:
    for name, content in (("a", "x\n1\n"), ("b", "x\n1\n"), ("c", "x\n2\n")):
        (tmp_path / f"{name}.csv").write_text(content)
    made = settings(tmp_path, format="csv", path="*.csv")
    a, b, c = (extract.digest for extract in find(made.sources[0], made))
    assert a == b != c


def test_sample_files_are_found_in_the_package(tmp_path: Path) -> None:
    [frame] = read(tmp_path, path="sample://online_retail.parquet")
    assert frame.height == 541_909


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent.parquet", None, "There is no such file"),
        ("empty.csv", b"", "The file is empty"),
        ("header.csv", b"order_id,quantity\n", "has no rows"),
        ("not.parquet", b"order_id,quantity\n1,2\n", "This is not a parquet file"),
        ("latin.csv", b"id,name\n1,ok\n2,caf\xe9\n", "not utf-8: byte 19 is 0xe9"),
        ("ragged.csv", b"id,name\n1,a,b,c\n", "The csv cannot be read"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError) as caught:
        read(tmp_path, format=name.rsplit(".", 1)[1], path=name)
    assert says in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.remedy


def test_wrong_encoding_names_the_row_and_reads_when_told(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"id,name\n1,ok\n2,caf\xe9\n")
    with pytest.raises(SourceError) as caught:
        read(tmp_path, format="csv", path="latin.csv")
    assert caught.value.where["row"] == 2
    assert "encoding:" in str(caught.value.remedy)
    [frame] = read(tmp_path, format="csv", path="latin.csv", encoding="cp1252")
    assert frame["name"].to_list() == ["ok", "café"]
    with pytest.raises(ConfigError, match="no encoding"):
        read(tmp_path, format="csv", path="latin.csv", encoding="latin-nonsense")


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.99])
def test_truncated_parquet(tmp_path: Path, kept: float) -> None:
    file = tmp_path / "cut.parquet"
    pl.DataFrame({"order_id": [str(i) for i in range(1000)]}).write_parquet(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(SourceError, match="truncated"):
        read(tmp_path, path="cut.parquet")


def test_damaged_parquet(tmp_path: Path) -> None:
    file = tmp_path / "bad.parquet"
    pl.DataFrame({"order_id": [str(i) for i in range(1000)]}).write_parquet(file)
    whole = bytearray(file.read_bytes())
    whole[4 : len(whole) // 2] = bytes(len(whole) // 2 - 4)
    file.write_bytes(whole)
    with pytest.raises(SourceError, match="damaged"):
        read(tmp_path, path="bad.parquet")


def test_no_match_folder_and_url(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path, says in (
        ("*.parquet", "No file matches"),
        ("folder", "folder/*"),
        ("https://x/y.csv", "local files or SQL"),
    ):
        with pytest.raises(SourceError) as caught:
            read(tmp_path, path=path)
        assert says in str(caught.value)


def test_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("create table orders (id integer, name text)"))
        connection.execute(text("insert into orders values (1, 'a'), (2, null)"))
    engine.dispose()
    source = {"format": "sql", "query": "select * from orders", "connection": "SHOP_DATABASE"}
    with pytest.raises(ConfigError, match="SHOP_DATABASE is not set"):
        read(tmp_path, **source)
    monkeypatch.setenv("SHOP_DATABASE", url)
    [frame] = read(tmp_path, **source)
    assert frame.rows() == [(1, 1, "a"), (2, 2, None)]
    with pytest.raises(SourceError, match="no such table: ordres"):
        read(tmp_path, **(source | {"query": "select * from ordres"}))


def test_a_refused_database_does_not_tell_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE", "nonsense://user:hunter2@host/name")
    with pytest.raises(SourceError) as caught:
        read(tmp_path, format="sql", query="select 1", connection="SHOP_DATABASE")
    assert "hunter2" not in str(caught.value)
