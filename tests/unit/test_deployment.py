"""What is written about running the API holds: image, compose file and guide name only what there is."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import typing
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel

from pipelines.cli import app
from pipelines.settings import Settings, load_settings
from serving.auth import SCOPES

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GUIDE = (ROOT / "docs" / "deployment.md").read_text()
STORAGE = "PURVEY_STORAGE_"  # credentials of the lake's object store, passed on as they are


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name}\s+(.+)$", DOCKERFILE, re.MULTILINE)


def copied() -> list[str]:
    """What the image is made from, as paths of the checkout."""
    found = []
    for line in instructions("COPY"):
        words = line.split()
        if not words[0].startswith("--from"):
            found += words[:-1]
    return found


def environment_of(service: str) -> dict[str, str]:
    """Its variables, as compose gives them when each secret is set to its own name."""
    said = SERVICES[service].get("environment", {})
    return {name: re.sub(r"\$\{(\w+)[^}]*\}", r"\1", value) for name, value in said.items()}


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


def setting_at(place: list[str]) -> bool:
    """Whether the model of settings has a key at this place."""
    model: Any = Settings
    for part in place:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return False
        annotation = model.model_fields[part].annotation
        found = [one for one in (annotation, *typing.get_args(annotation)) if isinstance(one, type)]
        model = next((one for one in found if issubclass(one, BaseModel)), None)
    return True


def commands_named() -> set[tuple[str, ...]]:
    """Every command of the guide, in code spans and blocks, typed in a shell or given to the job's container."""
    code = "\n".join([*re.findall(r"`([^`\n]+)`", GUIDE), *fenced(r"\w*")])
    found = re.findall(r"(?:(?<![-\w./@])|(?<=bin/))purvey +([a-z][^\n`#]*)", code)
    found += re.findall(r"run --rm (?:--volume \S+ )?job +([a-z][^\n`#]*)", code)
    return {tuple(shlex.split(line)) for line in found}


# -- the image -----------------------------------------------------------------------------------------------------


def test_the_image_is_built_from_files_that_exist_and_are_sent() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, one) for one in sent), f".dockerignore keeps {source} back"


def test_what_is_copied_makes_the_whole_program(tmp_path: Path) -> None:
    for source in copied():
        place, new = ROOT / source, tmp_path / "source" / source
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(place, new) if place.is_dir() else shutil.copy(place, new)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=tmp_path / "source", check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for room in ("features", "pipelines", "serving"):
        there = {str(file.relative_to(ROOT)) for file in (ROOT / room).rglob("*.py")}
        assert there <= names


def test_the_image_runs_as_nobody_in_particular_and_compiles_once() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    (user,) = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    uid, _, group = user.partition(":")
    assert int(uid) > 0, "a number, so that an orchestrator can see it is not root"
    assert int(group) > 0
    assert f"--uid {uid}" in last
    assert last.index("apt-get") < last.index("USER"), "packages are installed before rights are given up"
    assert len(instructions("FROM")) == 2
    installs = [line for line in instructions("RUN") if "uv pip install" in line]
    assert installs
    assert all("--compile-bytecode" in line for line in installs)
    assert all(re.search(r"constraints requirements\.lock", line) for line in installs), "versions of the lock"
    assert "PYTHONDONTWRITEBYTECODE=1" in last, "a read-only root takes no bytecode"


def test_the_image_installs_extras_that_there_are() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set(re.findall(r"--extra (\w+)", DOCKERFILE)) | set(re.findall(r"extra `(\w+)`", GUIDE))
    assert {"postgres", "s3"} <= named <= set(extras)


def test_the_health_check_asks_a_route_that_needs_no_key() -> None:
    (line,) = instructions("HEALTHCHECK")
    asked = json.loads(line[line.index("CMD") + 3 :])
    assert asked == SERVICES["serve"]["healthcheck"]["test"][1:], "compose asks what the image asks"
    compile(asked[-1], "healthcheck", "exec")
    paths = json.loads((ROOT / "serving" / "openapi.json").read_text())["paths"]
    (url,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", asked[-1])
    assert url[0] == instructions("EXPOSE")[0]
    assert "security" not in paths[url[1]]["get"]


def test_no_registry_is_named() -> None:
    named = [*instructions("FROM"), *(one["image"] for one in SERVICES.values() if "image" in one)]
    for image in named:
        first, slash, _ = image.split()[0].partition("/")
        assert not slash or "." not in first, image
    assert not re.search(r"index-url|pypi|https?://", "\n".join(instructions("RUN")))


# -- compose -------------------------------------------------------------------------------------------------------


def test_every_service_that_stays_says_whether_it_is_well() -> None:
    staying = {name for name, one in SERVICES.items() if one.get("restart") == "unless-stopped"}
    assert staying == {"serve", "mlflow", "postgres", "objects"}
    for name in staying:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD", name
    for name in SERVICES.keys() - staying:
        assert SERVICES[name]["healthcheck"] == {"disable": True}, name


def test_services_wait_for_what_can_be_waited_for() -> None:
    for name, one in SERVICES.items():
        for other, how in one.get("depends_on", {}).items():
            ends = how["condition"] == "service_completed_successfully"
            assert ends == ("restart" not in SERVICES[other]), f"{name} waits for {other}"


def test_ours_run_on_a_read_only_root_without_capabilities() -> None:
    for name in ("serve", "job", "mlflow", "bucket"):
        one = SERVICES[name]
        assert one["read_only"] is True
        assert one["tmpfs"] == "/tmp"
        assert one["cap_drop"] == ["ALL"]
    assert any(line.endswith(":/data") for line in SERVICES["serve"]["volumes"])


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for one in SERVICES.values() for port in one.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in SERVICES["postgres"]
    assert "ports" not in SERVICES["objects"]


def test_secrets_are_asked_for_and_never_written() -> None:
    secrets = set(re.findall(r"\$\{(\w+):\?", COMPOSE_TEXT))
    assert secrets == {"POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"}
    assert secrets <= set(re.findall(r"^(\w+)=\$", GUIDE, re.MULTILINE)), "the guide makes each"
    for name, one in SERVICES.items():
        for key, value in one.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY|DATABASE|BACKEND", key):
                assert re.search(r"\$\{\w+:\?", value), f"{name}: {key}"
    assert ".env" in (ROOT / ".gitignore").read_text().split()


def test_mounts_and_configs_are_declared() -> None:
    for name, one in SERVICES.items():
        for line in one.get("volumes", []):
            source = line.split(":")[0]
            assert source.startswith(("./", "$")) or source in COMPOSE["volumes"], f"{name}: {source}"
        for config in one.get("configs", []):
            assert config["source"] in COMPOSE["configs"], f"{name}: {config}"
    keys = json.loads(re.sub(r"\$\{(\w+)[^}]*\}", r"\1", COMPOSE["configs"]["objects"]["content"]))
    (credentials,) = keys["identities"][0]["credentials"]
    store = environment_of("mlflow")
    assert (credentials["accessKey"], credentials["secretKey"]) == (
        store["AWS_ACCESS_KEY_ID"],
        store["AWS_SECRET_ACCESS_KEY"],
    )


def test_the_bucket_is_the_one_that_mlflow_writes_to() -> None:
    (program,) = SERVICES["bucket"]["command"]
    compile(program, "bucket", "exec")
    (bucket,) = re.findall(r"s3://(\w+)", " ".join(SERVICES["mlflow"]["command"]))
    assert f'create_bucket(Bucket="{bucket}")' in program


def test_the_program_understands_what_compose_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.yaml").write_text(
        "shop: a\ndata_dir: data\nsources: [{table: order_lines, format: csv, path: a.csv}]\nserving: {port: 9999}\n"
    )
    image = dict(re.findall(r"(PURVEY_\w+)=(\S+)", " ".join(instructions("ENV"))))
    for name, value in (image | environment_of("serve")).items():
        monkeypatch.setenv(name, value)
    settings = load_settings(tmp_path / "shop.yaml")
    assert settings.serving.database == "postgresql+psycopg://purvey:POSTGRES_PASSWORD@postgres/purvey"
    assert settings.tracking_uri == "http://mlflow:5000"
    assert settings.home == Path("/data/shop")
    assert settings.home.parent != Path("/"), "restore needs a folder beside the shop's that can be written"
    assert (settings.serving.host, settings.serving.port) == ("0.0.0.0", 8000)
    assert not settings.serving.on_this_machine_only, "in a container nobody counts as local"


@pytest.mark.parametrize("service", ["serve", "job"])
def test_a_service_runs_a_command_that_there_is(service: str) -> None:
    assert problem_of(tuple(SERVICES[service]["command"])) is None


# -- the guide -----------------------------------------------------------------------------------------------------


def problem_of(words: tuple[str, ...]) -> str | None:
    """What is wrong with a command line; only its command and the names of its options are looked at."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            return f"there is no command {' '.join(words)!r}"
        command = command.commands[rest.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
    return f"{' '.join(words)!r} has no {unknown[0]}" if unknown else None


def test_every_command_and_option_named_exists() -> None:
    named = commands_named()
    assert ("serve", "--workers", "4") in named
    assert ("backup", "--out", "/backups/shop.tar") in named
    assert ("keys", "create", "till", "--scope", "forecasts:read") in named, "given to the job's container"
    assert [problem for words in sorted(named) if (problem := problem_of(words))] == []


def test_a_command_that_does_not_exist_is_found() -> None:
    assert problem_of(("sevre",)) is not None
    assert problem_of(("keys", "rotate", "till", "--overlap", "7")) is not None


def test_every_setting_named_exists() -> None:
    heads = "|".join(Settings.model_fields)
    named = set(re.findall(rf"`((?:{heads})(?:\.\w+)+)`", GUIDE)) - {"shop.yaml"}
    assert {"serving.public_url", "serving.database", "serving.limits.body_bytes"} <= named
    assert [key for key in sorted(named) if not setting_at(key.split("."))] == []
    assert not setting_at(["serving", "limits", "body_byte"])


def test_every_variable_named_is_a_setting() -> None:
    named = {name for text in (DOCKERFILE, COMPOSE_TEXT, GUIDE) for name in re.findall(r"PURVEY_[A-Z0-9_]*\w", text)}
    settings = {name for name in named if not name.startswith(STORAGE)}
    assert "PURVEY_SERVING__DATABASE" in settings
    assert [name for name in sorted(settings) if not setting_at(name[7:].lower().split("__"))] == []


def test_every_piece_of_configuration_is_valid() -> None:
    shop = {"shop": "a", "data_dir": "d", "sources": [{"table": "order_lines", "format": "csv", "path": "a.csv"}]}
    pieces = [yaml.safe_load(text) for text in fenced("yaml")]
    ours = [piece for piece in pieces if "serving" in piece]
    assert len(ours) >= 2
    for piece in ours:
        Settings(**(shop | piece))


def test_every_scope_is_named_and_no_other() -> None:
    table = set(re.findall(r"^\| `([a-z:]+)` \|", GUIDE, re.MULTILINE)) - {"admin"}
    given = set(re.findall(r"--scope (\S+)", GUIDE))
    assert table | {"admin"} == set(SCOPES)
    assert given <= set(SCOPES)


def test_defaults_of_limits_are_those_of_the_program() -> None:
    limits = Settings.model_fields["serving"].default.limits
    rows = re.findall(r"^\| (`serving\.limits\.[^|]+) \| ([^|]+) \|", GUIDE, re.MULTILINE)
    told = {
        key: float(value)
        for keys, values in rows
        for key, value in zip(re.findall(r"limits\.(\w+)", keys), values.split(","), strict=True)
    }
    assert told == {key: float(value) for key, value in limits.model_dump().items() if key != "enabled"}


def test_every_figure_named_is_measured() -> None:
    source = (ROOT / "serving" / "metrics.py").read_text()
    from serving.metrics import COUNTED

    known = set(re.findall(r'"(purvey_\w+)"', source)) | {f"purvey_{name}" for name in COUNTED}
    named = {name.removesuffix("_total") for name in re.findall(r"`(purvey_\w+)`", GUIDE)}
    assert named
    assert named <= known


def test_every_link_leads_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in re.findall(r"^## (.+)$", GUIDE, re.M)
    }
    for link in re.findall(r"\]\(([^)\s]+)\)", GUIDE):
        if link.startswith("#"):
            assert link[1:] in headings, link
        else:
            assert (ROOT / "docs" / link).resolve().exists(), link
    assert "docs/deployment.md" in (ROOT / "README.md").read_text()
