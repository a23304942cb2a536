"""`purvey quarantine …`: parses and prints, nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.options import HERE, Config, Json, Sample, shop, show, writing

quarantine_app = typer.Typer(help="Rows that broke a rule, kept as they came.", no_args_is_help=True)


@quarantine_app.command("list")
def quarantine_list(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Count quarantined rows by batch and rule."""
    from pipelines.ingest import jobs

    at = shop(config, sample, as_json)
    show(jobs.quarantine_list(at.settings, at.lake), as_json)


@quarantine_app.command("show")
def quarantine_show(
    batch: Annotated[str, typer.Argument(help="A batch, as `quarantine list` names it.")],
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Show the rows of a batch with the rules they broke."""
    from pipelines.ingest import jobs

    at = shop(config, sample, as_json)
    show(jobs.quarantine_show(at.settings, at.lake, batch), as_json)


@quarantine_app.command("replay")
def quarantine_replay(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Try quarantined rows again, after the configuration or the rules were mended."""
    from pipelines.ingest import jobs

    with writing(config, sample, as_json) as at:
        summary = jobs.quarantine_replay(at.settings, at.lake)
    show(summary, as_json)
