"""What the flow does when something changes, is missing or is taken back."""

from __future__ import annotations

import shutil

import polars as pl
import pytest
import yaml

from pipelines.lake import Lake
from pipelines.release import current
from pipelines.settings import load_settings
from tests.conftest import purvey
from tests.shops import orders, tea_shop


def release_of(folder):
    release = current(load_settings(folder).releases_dir)
    assert release is not None
    return release


def test_nothing_new_changes_nothing(tea):
    before = release_of(tea)
    done = purvey("run", cwd=tea)
    assert done.stdout.count("nothing new") == 10
    assert release_of(tea).id == before.id


def test_what_a_setting_decides_is_done_again(tea):
    content = yaml.safe_load((tea / "shop.yaml").read_text())
    (tea / "shop.yaml").write_text(yaml.safe_dump(content | {"currency": "USD"}))
    purvey("run", cwd=tea)
    assert release_of(tea).shop["currency"] == "USD"


def test_a_rollback_stands_until_there_is_something_new(tea):
    first = release_of(tea)
    newest = (
        orders()
        .tail(200)
        .with_columns(pl.col("order_id") + "x", ordered_at=pl.col("ordered_at").str.replace("^2024-0.", "2024-07"))
    )
    newest.write_csv(tea / "orders_august.csv")
    purvey("run", cwd=tea)
    second = release_of(tea)
    assert second.id != first.id
    purvey("rollback", cwd=tea)
    assert release_of(tea).id == first.id
    assert purvey("run", cwd=tea).stdout.count("nothing new") == 10
    assert release_of(tea).id == first.id


def test_a_lost_tracking_folder_is_made_anew(tea):
    shutil.rmtree(tea / "data" / "tracking")
    purvey("run", cwd=tea)
    assert purvey("run", cwd=tea).stdout.count("nothing new") == 10


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(lambda frame: frame.filter(pl.col("ordered_at") < "2023-02-20"), id="seven weeks"),
        pytest.param(lambda frame: frame.with_columns(customer_id=pl.lit(None, dtype=pl.String)), id="nobody known"),
    ],
)
def test_what_there_is_too_little_data_for_is_left_out_and_said(tmp_path, lines):
    config = tea_shop(tmp_path)
    lines(orders()).write_csv(tmp_path / "orders.csv")
    done = purvey("run", "--config", config)
    assert "train customers" in done.stdout
    assert "left out" in done.stdout
    assert "forecasts" in release_of(tmp_path).tables
    assert "customer_scores" not in release_of(tmp_path).tables


def test_too_little_for_anything_is_an_error_in_words(tmp_path):
    config = tea_shop(tmp_path)
    orders().head(3).write_csv(tmp_path / "orders.csv")
    done = purvey("run", "--config", config, check=False)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert Lake(load_settings(config).lake_url).read("order_lines").height == 3
