"""`purvey lists …`: parses and prints, nothing else."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from pipelines.options import HERE, Config, Day, Json, Sample, day, show, writing

lists_app = typer.Typer(help="Whom to contact: lists of campaigns, and what they brought.", no_args_is_help=True)


@lists_app.command("build")
def lists_build(
    config: Config = HERE,
    sample: Sample = False,
    as_of: Day = None,
    campaign: Annotated[str | None, typer.Option("--campaign", help="Only this one.")] = None,
    as_json: Json = False,
) -> None:
    """Choose whom each campaign should contact, under its budget and with a control group held out."""
    from pipelines.customers import campaign_jobs

    with writing(config, sample, as_json) as at:
        summary = campaign_jobs.build(at.settings, at.lake, at.tracker, as_of=day(as_of), campaign=campaign)
    show(summary, as_json)


@lists_app.command("export")
def lists_export(
    out: Annotated[Path, typer.Option("--out", help="A .csv, .parquet or .json file.")],
    list_id: Annotated[str | None, typer.Argument(metavar="[LIST]", help="A list, as `lists build` names it.")] = None,
    campaign: Annotated[str | None, typer.Option("--campaign", help="The newest list of this campaign.")] = None,
    contact_on: Annotated[
        datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="Day of contact; that of the newest scores.")
    ] = None,
    bom: Annotated[bool, typer.Option("--bom", help="Mark a CSV as UTF-8, for Excel.")] = False,
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Hand a list over: consent is judged again, who may not be contacted and the control group stay behind."""
    from pipelines.customers import campaign_jobs

    with writing(config, sample, as_json) as at:
        summary = campaign_jobs.export(
            at.settings, at.lake, list_id=list_id, campaign=campaign, out=out, day=day(contact_on), bom=bom
        )
    show(summary, as_json)


@lists_app.command("results")
def lists_results(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Show what exported lists brought, against their control groups."""
    from pipelines.customers import campaign_jobs

    with writing(config, sample, as_json) as at:
        summary = campaign_jobs.results(at.settings, at.lake)
    show(summary, as_json)
