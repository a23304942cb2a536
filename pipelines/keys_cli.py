"""`purvey keys …`: parses and prints, nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.options import HERE, Config, Json, Sample, settings, show

keys_app = typer.Typer(help="Keys of the API.", no_args_is_help=True)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Who uses it.")],
    scopes: Annotated[list[str], typer.Option("--scope", help="Repeat for several.")],
    days: Annotated[int, typer.Option(min=1, help="Valid for so many days.")] = 365,
    locations: Annotated[list[str] | None, typer.Option("--location", help="Only for it; repeat for several.")] = None,
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Create a key. It is shown once: only its hash is kept."""
    from serving.auth import create_key

    key = create_key(settings(config, sample), name=name, scopes=scopes, days=days, locations=locations or None)
    _show_key(key, as_json, name=name, scopes=scopes, locations=locations or None, days=days)


@keys_app.command("rotate")
def keys_rotate(
    name: Annotated[str, typer.Argument(help="Whose key.")],
    overlap_days: Annotated[int, typer.Option(min=0, help="The old key stays good for so many days.")] = 7,
    days: Annotated[int, typer.Option(min=1, help="The new one is valid for so many days.")] = 365,
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Create the key that replaces another; both are good for a while."""
    from serving.auth import rotate_key

    key = rotate_key(settings(config, sample), name, overlap_days=overlap_days, days=days)
    _show_key(key, as_json, name=name, overlap_days=overlap_days, days=days)


@keys_app.command("list")
def keys_list(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """List the keys: who, scopes, expiry, last use."""
    from pipelines.printing import print_json, print_rows
    from serving.auth import list_keys

    rows = list_keys(settings(config, sample))
    print_json(rows) if as_json else print_rows(rows, "no keys yet: purvey keys create NAME --scope forecasts:read")


@keys_app.command("revoke")
def keys_revoke(
    prefix: Annotated[str, typer.Argument(help="The part before the dot.")],
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Make a key useless at once."""
    from pipelines.summary import Summary
    from serving.auth import revoke_key

    revoke_key(settings(config, sample), prefix)
    show(Summary("keys revoke", wrote={"revoked": prefix}), as_json)


@keys_app.command("audit")
def keys_audit(
    limit: Annotated[int, typer.Option(min=1, help="So many entries, the newest.")] = 50,
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Show who exported, decided and changed keys, the newest first."""
    from pipelines.printing import print_json, print_rows
    from serving.auth import list_audit

    rows = list_audit(settings(config, sample), limit)
    print_json(rows) if as_json else print_rows(rows, "nothing was exported or decided, and no key was made")


def _show_key(key: str, as_json: bool, **facts: object) -> None:
    if as_json:
        from pipelines.printing import print_json

        print_json({"key": key} | facts)
    else:
        print(f"{key}\nKeep it now: it cannot be shown again.")
