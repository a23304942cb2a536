from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from pipelines.errors import ConfigError
from pipelines.settings import Settings, load_settings, sample_config

CONFIGS = Path(sample_config()).parent
MINIMAL = {"shop": "tea", "data_dir": "lake", "sources": [{"table": "order_lines", "path": "orders.parquet"}]}


def written(folder: Path, **changes: object) -> Path:
    file = folder / "shop.yaml"
    file.write_text(yaml.safe_dump(MINIMAL | changes))
    return file


def test_relative_paths_start_at_the_file(tmp_path):
    settings = load_settings(written(tmp_path))
    assert settings.lake_url == str(tmp_path / "lake" / "lake")
    assert settings.home == tmp_path / "lake"
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/lake/tracking/mlflow.db"


def test_a_folder_stands_for_its_shop_yaml(tmp_path):
    written(tmp_path)
    assert load_settings(tmp_path).shop == "tea"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"demnad": {}}, "demnad: unknown key; did you mean 'demand'?"),
        ({"demand": {"horizn": 3}}, "demand.horizn: unknown key; did you mean 'horizon'?"),
        ({"supply": {"illustrative": {"sede": 1}}}, "supply.illustrative.sede: unknown key; did you mean 'seed'?"),
        ({"sources": [{"table": "orderlines", "path": "x"}]}, "sources.0.table"),
        ({"sources": [{"table": "stock", "format": "sql", "query": "select 1"}]}, "needs `query` and `connection`"),
        ({"timezone": "Europe/Londn"}, "did you mean 'Europe/London'?"),
        ({"demand": {"quantiles": [0.5, 1.5]}}, "demand.quantiles.1"),
        ({"demand": {"horizon": 0}}, "demand.horizon"),
        ({"currency": "euro"}, "currency"),
    ],
)
def test_a_broken_rule_is_named(tmp_path, changes, said):
    file = written(tmp_path, **changes)
    with pytest.raises(ConfigError, match=re.escape(said)) as error:
        load_settings(file)
    assert str(file) in str(error.value)


def test_every_broken_rule_is_named_at_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        load_settings(written(tmp_path, demand={"horizn": 3}, timezone="Mars"))
    assert "horizn" in str(error.value)
    assert "timezone" in str(error.value)


def test_a_missing_file_and_broken_yaml_are_said_in_words(tmp_path):
    with pytest.raises(ConfigError, match="no configuration file"):
        load_settings(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not readable YAML"):
        load_settings(tmp_path / "bad.yaml")


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PURVEY_DEMAND__HORIZON", "21")
    monkeypatch.setenv("PURVEY_TIMEZONE", "Asia/Shanghai")
    settings = load_settings(written(tmp_path, demand={"horizon": 3, "frequency": "month"}, timezone="UTC"))
    assert settings.demand.horizon == 21
    assert settings.demand.frequency == "month"
    assert settings.timezone == "Asia/Shanghai"


def test_object_storage_keeps_local_state_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("PURVEY_STORAGE_AWS_REGION", "eu-west-1")
    settings = load_settings(written(tmp_path, data_dir="s3://bucket/tea"))
    assert settings.lake_url == "s3://bucket/tea/lake"
    assert settings.home == tmp_path / "data" / "tea"
    assert settings.storage_options == {"aws_region": "eu-west-1"}


def test_order_lines_give_demand_and_customers_unless_switched_off(tmp_path, monkeypatch):
    def asked(**changes):
        settings = load_settings(written(tmp_path, **changes))
        return settings.forecasts_demand, settings.judges_customers

    totals = [{"table": "demand", "path": "demand.parquet"}]
    assert asked() == asked(demand={"horizon": 3}) == asked(customers={}) == (True, True)
    assert asked(demand={"enabled": False}) == (False, True)
    assert asked(customers={"enabled": False}) == (True, False)
    assert asked(sources=totals) == (True, False)
    monkeypatch.setenv("PURVEY_DEMAND__HORIZON", "13")
    assert asked() == (True, True)


@pytest.mark.parametrize(("name", "value"), [("PURVEY_DEMAND", "foo"), ("PURVEY_SOURCES", "[")])
def test_an_environment_variable_that_is_no_setting_is_said_in_words(tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError):
        load_settings(written(tmp_path))


def test_a_key_that_is_no_name_is_said_in_words(tmp_path):
    (tmp_path / "shop.yaml").write_text("2024: x")
    with pytest.raises(ConfigError, match="no name: 2024"):
        load_settings(tmp_path)


def test_the_shipped_configurations_are_valid():
    assert load_settings(CONFIGS / "online_retail.yaml").demand.horizon == 8
    assert load_settings(CONFIGS / "template.yaml").shop == "my_shop"


def keys_of(model: type[BaseModel]) -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        found.add(name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= keys_of(part)
    return found


def test_every_key_stands_in_the_template_with_its_default():
    text = (CONFIGS / "template.yaml").read_text()
    missing = {key for key in keys_of(Settings) if not re.search(rf"\b{key}:", text)}
    assert not missing


def test_the_commented_defaults_of_the_template_are_the_defaults():
    text = (CONFIGS / "template.yaml").read_text()
    settings = load_settings(CONFIGS / "template.yaml")
    for section in ("demand", "customers", "supply", "monitoring", "serving"):
        block = re.search(rf"^#? ?{section}:\n((?:#?  .*\n)+)", text, re.MULTILINE)
        assert block, section
        shown = yaml.safe_load(re.sub(r"^#", " ", block[1], flags=re.MULTILINE).replace(" #  ", " "))
        default = getattr(settings, section).model_dump(mode="json")
        for key, value in shown.items():
            if key in (
                "holidays",
                "active_days",
                "fee_column",
                "obsolete_after_periods",
                "winsorise",
                "protected",
                "segment_names",
                "campaigns",
                "illustrative",
                "state",
                "oidc",
            ):
                continue  # shown as an example: unset by default
            assert default[key] == pytest.approx(value) if isinstance(value, float) else default[key] == value, key
