"""The committed contract, `serving/openapi.json`, of the sample shop's API.

`python -m serving.contract` writes it anew and refuses to when that would break programs written against it;
`--check` writes nothing; `--force` writes all the same, which only a new path like `/v2` can excuse.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from pipelines.settings import load_settings, sample_config
from serving.app import create_app
from serving.compatibility import breaking_changes

FILE = Path(__file__).parent / "openapi.json"


def served() -> dict[str, Any]:
    """The OpenAPI document the program serves for the sample shop; nothing of the shop is touched."""
    with tempfile.TemporaryDirectory() as nowhere:
        document: dict[str, Any] = create_app(load_settings(sample_config(), data_dir=nowhere)).openapi()
    return document


def main(arguments: Sequence[str] = ()) -> int:
    """Compare the committed contract with what is served, and write the latter unless told to check only.

    Args:
        arguments: `--check`, `--force` or none.

    Returns:
        1 when the change would break programs and was not forced, else 0.
    """
    document = orjson.loads(orjson.dumps(served()))
    broken = breaking_changes(orjson.loads(FILE.read_bytes()), document)
    for change in broken:
        sys.stderr.write(f"breaking: {change}\n")
    if broken and "--force" not in arguments:
        sys.stderr.write("serving/openapi.json is what programs rely on: add beside it, or serve a new /v2.\n")
        return 1
    if "--check" not in arguments:
        FILE.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
