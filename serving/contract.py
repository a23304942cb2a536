"""The committed contract, `serving/openapi.json`: `python -m serving.contract` writes it anew for the sample shop."""

from __future__ import annotations

from pathlib import Path

import orjson

from pipelines.settings import load_settings, sample_config
from serving.app import create_app

FILE = Path(__file__).parent / "openapi.json"


def write() -> None:
    """Write the OpenAPI document of the sample shop's API."""
    document = create_app(load_settings(sample_config())).openapi()
    FILE.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    write()
