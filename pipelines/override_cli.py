"""`purvey override …`: parses and prints, nothing else."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from pipelines.options import HERE, Config, Json, Sample, shop, show, writing

override_app = typer.Typer(help="What planners say of coming demand, on top of the model.", no_args_is_help=True)


@override_app.command("add")
def override_add(
    from_period: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first period.")],
    to_period: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The last period.")],
    who: Annotated[str, typer.Option("--who", help="Who says it.")],
    why: Annotated[str, typer.Option("--why", help="The reason, in words.")],
    series: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE…", help="Which series; a key left out means every value.")
    ] = None,
    set_to: Annotated[float | None, typer.Option("--set", help="Their total in each period, units.")] = None,
    add: Annotated[float | None, typer.Option("--add", help="Units more in each period; below 0, fewer.")] = None,
    multiply: Annotated[float | None, typer.Option("--multiply", help="A factor, e.g. 1.3.")] = None,
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Say what the model cannot know. It is applied on top of the forecast, and judged when the actuals are there."""
    from pipelines.demand import planning

    with writing(config, sample, as_json) as at:
        summary = planning.override_add(
            at.settings,
            at.lake,
            series=series or [],
            from_period=from_period.date(),
            to_period=to_period.date(),
            said={"set": set_to, "add": add, "multiply": multiply},
            who=who,
            why=why,
        )
    show(summary, as_json)


@override_app.command("list")
def override_list(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Show everything that was said, newest first."""
    from pipelines.demand import planning

    at = shop(config, sample, as_json)
    show(planning.override_list(at.settings, at.lake), as_json)


@override_app.command("withdraw")
def override_withdraw(
    override_id: Annotated[str, typer.Argument(help="An override, as `override list` names it.")],
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Take an override back: it counts no more from now on, and stays on record."""
    from pipelines.demand import planning

    with writing(config, sample, as_json) as at:
        summary = planning.override_withdraw(at.settings, at.lake, override_id)
    show(summary, as_json)
