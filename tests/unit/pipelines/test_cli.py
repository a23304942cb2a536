from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from tests.conftest import purvey

HEAVY = ("polars", "pandas", "lightgbm", "sklearn", "mlflow", "evidently", "fastapi", "pydantic")


def test_help_loads_nothing_heavy():
    code = "import sys, pipelines.cli; print([name for name in sys.argv[1:] if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_libraries_are_told_not_to_report_home():
    code = "import os, pipelines.cli; print(os.environ['DO_NOT_TRACK'], os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    env = {"PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["1", "true"]


DEMAND = "shop: tea\ndata_dir: d\nsources: [{table: demand, path: none.parquet}]\n"


@pytest.mark.parametrize(
    ("content", "said", "exit_code"),
    [
        (None, "There is no configuration file", 2),
        ("shop: [", "not readable YAML", 2),
        (
            "shop: tea\ndata_dir: d\nsources: [{table: demand, path: none.parquet}]\ndemnad: {}",
            "did you mean 'demand'",
            2,
        ),
        (DEMAND, "none.parquet", 3),
    ],
)
def test_what_a_user_can_mend_is_said_without_a_traceback(tmp_path, content, said, exit_code):
    if content is not None:
        (tmp_path / "shop.yaml").write_text(content)
    done = purvey("check", cwd=tmp_path, check=False)
    assert done.returncode == exit_code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "d").exists()


def test_commands_before_the_first_run_say_what_to_do(tmp_path):
    source = {"table": "order_lines", "path": "orders.csv", "format": "csv"}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump({"shop": "tea", "data_dir": "d", "sources": [source]}))
    for command in (["forecast", "--out", "f.parquet"], ["export", "churn", "--out", "c.csv"], ["rollback"]):
        done = purvey(*command, cwd=tmp_path, check=False)
        assert done.returncode in (4, 5, 6), done.stderr
        assert "what to do" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_unknown_capability_is_refused_in_words(tmp_path):
    done = purvey("train", "demnad", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "demand, customers or all" in done.stderr
