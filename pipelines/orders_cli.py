"""`purvey orders …`: parses and prints, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.options import HERE, Config, Json, Sample, shop, show
from pipelines.options import writing as held

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.steps import Shop
    from pipelines.supply.order_choice import Choice

orders_app = typer.Typer(
    help="What is ordered: decide on proposals, hand them over, say what came of them.", no_args_is_help=True
)

_ASIDE = ("proposed_quantity", "receive_on", "at", "order_id", "export_id")
Lines = Annotated[list[str] | None, typer.Argument(metavar="LINE…", help="Which, by id or reference (REC-…).")]
Series = Annotated[list[str] | None, typer.Option("--series", help="Only of KEY=VALUE; repeat for several keys.")]
Supplier = Annotated[str | None, typer.Option("--supplier", help="Only of this supplier.")]
FromFile = Annotated[Path | None, typer.Option("--from", help="A text file, one line's id a row.")]
All = Annotated[bool, typer.Option("--all", help="All that can become it.")]
Who = Annotated[str, typer.Option("--who", envvar="USER", help="Who says so.")]
Why = Annotated[str, typer.Option("--why", help="The reason, in words.")]
OrderId = Annotated[str | None, typer.Option("--order-id", help="Its number where it was ordered.")]
On = Annotated[datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="The day; now unless said.")]


def _settling(name: str, state: str, said: str, why: str = "") -> None:
    """Add a command that takes lines to a state, with nothing more to say than who and why."""

    def settle(
        lines: Lines = None,
        series: Series = None,
        supplier: Supplier = None,
        from_file: FromFile = None,
        everything: All = False,
        who: Who = "",
        why: Why = why,
        config: Config = HERE,
        sample: Sample = False,
        as_json: Json = False,
    ) -> None:
        chosen = _choice(lines, series, supplier, from_file, everything)
        _decide(config, sample, as_json, chosen, state, who=who, why=why)

    orders_app.command(name, help=said)(settle)


@orders_app.command("list")
def orders_list(
    lines: Lines = None,
    series: Series = None,
    supplier: Supplier = None,
    state: Annotated[str | None, typer.Option("--state", help="Only in this state.")] = None,
    from_file: FromFile = None,
    everything: Annotated[bool, typer.Option("--all", help="Closed lines, too.")] = False,
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Show the order lines that are open, or those asked for, with who decided what and why."""
    from dataclasses import replace

    from pipelines.supply import order_jobs

    at = shop(config, sample, as_json)
    choice = replace(_choice(lines, series, supplier, from_file, everything), state=state)
    summary = order_jobs.show(at.settings, at.lake, choice)
    if not as_json:  # what fits a terminal
        summary.tables["Order lines"] = summary.tables["Order lines"].drop(_ASIDE)
    show(summary, as_json)


_settling(
    "approve",
    "approved",
    "Say that lines shall be ordered; one that is held by rule has to be named.",
    why="as proposed",
)


@orders_app.command()
def edit(
    quantity: Annotated[float, typer.Option("--quantity", help="Units to order instead.")],
    lines: Lines = None,
    series: Series = None,
    supplier: Supplier = None,
    from_file: FromFile = None,
    who: Who = "",
    why: Why = "",
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Say how much to order instead; it is judged later by what was sold. It still has to be approved."""
    chosen = _choice(lines, series, supplier, from_file, False)
    _decide(config, sample, as_json, chosen, "edited", who=who, why=why, quantity=quantity)


_settling(
    "reject", "rejected", "Say that lines shall not be ordered; what is still needed, the next run proposes anew."
)


_settling(
    "hold",
    "held",
    "Keep lines back; they count as on order until somebody decides, so that nothing is proposed beside them.",
)


@orders_app.command()
def export(
    lines: Lines = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; `orders` in the shop's folder unless said.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="csv or json")] = "csv",
    series: Series = None,
    supplier: Supplier = None,
    from_file: FromFile = None,
    who: Who = "",
    why: Why = "approved",
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Write what is approved, one file a supplier; what an earlier export left unfinished is finished."""
    from pipelines.supply import order_jobs

    choice = _choice(lines, series, supplier, from_file, True)
    with writing(config, sample, as_json) as at:
        summary = order_jobs.export(at.settings, at.lake, out=out, form=form, choice=choice, who=who, why=why)
    show(summary, as_json)


@orders_app.command()
def acknowledge(
    lines: Lines = None,
    series: Series = None,
    supplier: Supplier = None,
    from_file: FromFile = None,
    everything: All = False,
    order_id: OrderId = None,
    quantity: Annotated[float | None, typer.Option("--quantity", help="Units that are still to come.")] = None,
    who: Who = "",
    why: Why = "the supplier said so",
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Say that the supplier took the order, under which number, and how much of it is still to come."""
    chosen = _choice(lines, series, supplier, from_file, everything)
    _decide(
        config, sample, as_json, chosen, "acknowledged", who=who, why=why, quantity=quantity, order_id=order_id
    )  # fmt: skip


@orders_app.command()
def receive(
    lines: Lines = None,
    series: Series = None,
    supplier: Supplier = None,
    from_file: FromFile = None,
    everything: All = False,
    quantity: Annotated[float | None, typer.Option("--quantity", help="Units that came, where it was not all.")] = None,
    on: On = None,
    who: Who = "",
    why: Why = "it came in",
    config: Config = HERE,
    sample: Sample = False,
    as_json: Json = False,
) -> None:
    """Say that goods came in; until the stock is of a later day they count as on order still."""
    chosen = _choice(lines, series, supplier, from_file, everything)
    _decide(config, sample, as_json, chosen, "received", on=on, who=who, why=why, quantity=quantity)


_settling(
    "cancel", "cancelled", "Say that an exported order will not come; what is still needed, the next run proposes anew."
)


@orders_app.command()
def edits(config: Config = HERE, sample: Sample = False, as_json: Json = False) -> None:
    """Show what people's edits were worth on the demand that came, by who and why."""
    from pipelines.supply import edit_jobs

    at = shop(config, sample, as_json)
    show(edit_jobs.judge_edits(at.settings, at.lake), as_json)


@contextmanager
def writing(config: Path, sample: bool, as_json: bool) -> Iterator[Shop]:
    """The shop, once it knows what was decided over the API."""
    from pipelines.drain import drain

    with held(config, sample, as_json) as at:
        drain(at.settings, at.lake)
        yield at


def _choice(
    lines: list[str] | None,
    series: list[str] | None,
    supplier: str | None,
    from_file: Path | None,
    everything: bool,
) -> Choice:
    from pipelines.demand.planning import pairs
    from pipelines.supply.order_choice import Choice, ids_in

    named = [*(lines or []), *(ids_in(from_file) if from_file else [])]
    return Choice(named, pairs(series or []), supplier, everything=everything)


def _decide(
    config: Path,
    sample: bool,
    as_json: bool,
    choice: Choice,
    to: str,
    *,
    who: str,
    why: str,
    on: datetime | None = None,
    **said: Any,
) -> None:
    from pipelines.supply import order_jobs

    with writing(config, sample, as_json) as at:
        moment = _moment(at.settings, on)
        summary = order_jobs.decide(at.settings, at.lake, choice, to, who=who, why=why, at=moment, **said)
    show(summary, as_json)


def _moment(settings: Settings, on: datetime | None) -> datetime | None:
    """The start of a day, where the shop is."""
    return None if on is None else on.replace(tzinfo=settings.zone).astimezone(UTC)
